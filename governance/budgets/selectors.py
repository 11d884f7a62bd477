"""Reads about budgets: freezes, the periods that bind a session, and what a change of limit would do."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone

from governance.budgets.calls import Call
from governance.budgets.models import Authorization, Budget, BudgetPeriod, Freeze, Session
from governance.budgets.rules import rules_of
from governance.errors import NotFound
from governance.tenancy.access import Actor, members_who_decide, scoped
from governance.tenancy.directory import Attribution, directory_of
from governance.tenancy.models import Organization


def session_freeze_of(actor: Actor, session_key: str) -> Freeze | None:
    """What refuses the session's calls: its own freeze, else one of a wider budget that covers it. None when it may go on."""
    own = scoped(actor, Freeze.objects.all()).filter(session_key=session_key, ended_at=None)
    found = own.select_related("period__budget").order_by("cause", "-started_at").first()
    if found is not None:
        return found
    frozen = [period.pk for period in binding_periods(actor, session_key) if period.frozen_at is not None]
    wider = scoped(actor, Freeze.objects.all()).filter(period__in=frozen, ended_at=None)
    return wider.select_related("period__budget").order_by("-started_at").first()


def authorization_of(actor: Actor, authorization_id: UUID) -> Authorization:
    """One authorization of the organization. Raises NotFound."""
    found = scoped(actor, Authorization.objects.all()).filter(pk=authorization_id).first()
    if found is None:
        raise NotFound("There is no such authorization here.")
    return found


def lease_remaining(found: Authorization) -> Decimal | None:
    """What of a lease is left to spend, in money. None for what is no lease, holds nothing any more or counts against no budget in money."""
    if not found.is_lease or found.state not in (Authorization.State.HELD, Authorization.State.SETTLING):
        return None
    rows = BudgetPeriod.objects.filter(organization=found.organization_id, pk__in=found.periods, budget__measure=Budget.Measure.MONEY)
    in_money = set(rows.values_list("pk", flat=True))
    return min((amount for period, amount in zip(found.periods, found.amounts, strict=True) if period in in_money), default=None)


def binding_periods(actor: Actor, session_key: str) -> list[BudgetPeriod]:
    """The periods that hold now and that the session's calls count against, the session's own first, the organization's last."""
    session = scoped(actor, Session.objects.all()).filter(key=session_key).first()
    if session is None:
        return []
    who = Attribution(session.team_id, session.project_id, session.member_id)
    return periods_covering(actor, Call(who, session.key, session.task, harness=session.harness, gateway=session.gateway))


def periods_covering(actor: Actor, call: Call) -> list[BudgetPeriod]:
    """The present periods that exist and that the call counts against, most specific first.

    What is not known of it (an empty label) speaks for no budget and against none.
    """
    version = Organization.objects.values_list("config_version", flat=True).get(pk=actor.organization.pk)
    rules, now = rules_of(directory_of(actor.organization, version)), timezone.now()
    order = {rule.id: place for place, rule in enumerate(rules.matching(call, is_lenient=True))}
    rows = scoped(actor, BudgetPeriod.objects.all()).filter(
        Q(ends_at=None) | Q(ends_at__gt=now), budget__in=list(order), session_key__in={"", call.session_key}, task_key__in={"", call.task},
        starts_at__lte=now,
    )
    return sorted(rows.select_related("budget__team"), key=lambda period: (-order[period.budget_id], period.pk))


def deciders_of(organization: Organization, team_id: int | None) -> list[dict[str, str]]:
    """Who may grant more for the team, as an API answer names them."""
    return [{"name": str(member), "email": member.user.email} for member in members_who_decide(organization, team_id)]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a limit would do at once to the periods that run now."""

    freezes: list[BudgetPeriod]
    thaws: list[BudgetPeriod]


def limit_preview(actor: Actor, budget: Budget, *, limit_amount: Decimal, is_hard: bool) -> Preview:
    """The periods that would freeze and thaw if the budget had this limit."""
    rows = scoped(actor, BudgetPeriod.objects.filter(budget=budget)).filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))
    rows = rows.annotate(would_allow=F("topup") + limit_amount).order_by("-spent", "id")
    reached = Q(spent__gte=F("would_allow")) if is_hard else Q(pk__in=[])
    return Preview(
        freezes=list(rows.filter(reached, frozen_at=None)[:200]),
        thaws=list(rows.filter(~reached, frozen_at__isnull=False)[:200]),
    )

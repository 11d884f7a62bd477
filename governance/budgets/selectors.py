"""Reads about budgets: freezes, the periods that bind a session, and what a change of limit would do."""

from decimal import Decimal
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from governance import sql
from governance.budgets.calls import Call
from governance.budgets.ledger import ledger
from governance.budgets.models import Authorization, Budget, BudgetPeriod, Freeze, Session
from governance.budgets.reach import FREEZES_OVER_CALL
from governance.budgets.rules import Rules, rules_of
from governance.errors import NotFound
from governance.tenancy.access import Actor, members_who_decide, scoped
from governance.tenancy.directory import Attribution, directory_of
from governance.tenancy.models import Organization


def session_freeze_of(actor: Actor, session_key: str) -> Freeze | None:
    """What refuses the session's calls: the first of `freezes_reaching`. None when it may go on."""
    return next(iter(freezes_reaching(actor, session_key)), None)


def freezes_reaching(actor: Actor, session_key: str) -> list[Freeze]:
    """Every active freeze that refuses the session's next call, if it is like the latest.

    Its own come first, then those of the sessions above it, those of wide scopes, and those of budgets that cover it.
    """
    reached = Q(session_key=session_key) & ~Q(session_key="")
    session = scoped(actor, Session.objects.all()).filter(key=session_key).first()
    if session is not None:
        rules = _rules_now(actor)
        call = ledger().latest_call(actor.organization.pk, session.key, at=session.last_at) or call_of(session)
        lineage = rules.directory.lineage.get(session.team_id or 0, ())
        switched = [switch.id for switch in rules.switches if switch.reaches(call, lineage, session.model)]
        frozen = [period.pk for period in _periods(actor, rules, call, is_lenient=False) if period.frozen_at is not None]
        reached |= Q(pk__in=[*_freezes_above(actor, session), *switched]) | Q(period__in=frozen)
        reached |= Q(scope_kind=Freeze.ScopeKind.KEY, cause=Freeze.Cause.KEY, api_key=session.api_key_id, api_key__isnull=False)
    found = scoped(actor, Freeze.objects.filter(reached, ended_at=None)).select_related(
        "period__budget", "team", "member__user", "api_key", "started_by__user"
    )
    return sorted(found, key=lambda freeze: (
        freeze.session_key != session_key, freeze.period_id is not None and not freeze.session_key, not freeze.session_key, freeze.cause, -freeze.pk,
    ))


def _freezes_above(actor: Actor, session: Session) -> list[int]:
    """The freezes of the sessions above, and the session's own that no budget caused."""
    told = {"organization": actor.organization.pk, "session": session.key, "parent": session.parent_key}
    return [row.id for row in sql.rows(f"SELECT id FROM {FREEZES_OVER_CALL} over", told)]  # noqa: S608


def call_of(session: Session) -> Call:
    """A call like the session's latest."""
    return Call(
        Attribution(session.team_id, session.project_id, session.member_id), session.key, session.task, session.api_key_id,
        harness=session.harness, gateway=session.gateway, model=session.model, provider=session.provider,
    )


def _rules_now(actor: Actor) -> Rules:
    version = Organization.objects.values_list("config_version", flat=True).get(pk=actor.organization.pk)
    return rules_of(directory_of(actor.organization, version))


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
    return periods_covering(actor, _of_session(session))


def _of_session(session: Session) -> Call:
    """Any call of the session, of which only is known what it shares with the others."""
    who = Attribution(session.team_id, session.project_id, session.member_id)
    return Call(who, session.key, session.task, harness=session.harness, gateway=session.gateway)


def periods_covering(actor: Actor, call: Call) -> list[BudgetPeriod]:
    """The present periods that exist and that the call counts against, most specific first.

    What is not known of it (an empty label) speaks for no budget and against none.
    """
    return _periods(actor, _rules_now(actor), call)


def _periods(actor: Actor, rules: Rules, call: Call, *, is_lenient: bool = True) -> list[BudgetPeriod]:
    now = timezone.now()
    matching = rules.matching(call, is_lenient=is_lenient)
    order = {rule.id: place for place, rule in enumerate(matching) if is_lenient or rule.counts_notional or not call.is_notional}
    rows = scoped(actor, BudgetPeriod.objects.all()).filter(
        Q(ends_at=None) | Q(ends_at__gt=now), budget__in=list(order), session_key__in={"", call.session_key}, task_key__in={"", call.task},
        starts_at__lte=now,
    )
    return sorted(rows.select_related("budget__team"), key=lambda period: (-order[period.budget_id], period.pk))


def deciders_of(organization: Organization, team_id: int | None) -> list[dict[str, str]]:
    """Who may grant more for the team, as an API answer names them."""
    return [{"name": str(member), "email": member.user.email} for member in members_who_decide(organization, team_id)]

"""What is frozen now, what it reaches among the sessions that run, what a switch would stop, and what was frozen before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from governance.budgets.freezes import freezes_visible
from governance.budgets.models import Freeze, Session, SessionLink
from governance.budgets.models.sessions import CLOSED_AFTER
from governance.budgets.reach import WIDE, Switch
from governance.budgets.refused import Refused, refused_by_freezes, refused_by_periods
from governance.budgets.selectors import call_of
from governance.tenancy.access import Actor, scoped, visible
from governance.tenancy.directory import directory_at
from governance.tenancy.models import ApiKey, Member, Team

Kind = Freeze.ScopeKind
# Of the sessions of the last day the latest so many are looked through.
LOOKED_AT = 2000
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """A freeze in force, the sessions of the last day that it refuses, and whether the actor may end it here."""

    freeze: Freeze
    sessions: Sequence[Session]
    may_end: bool
    refused: Refused | None


def freezes_standing(actor: Actor, *, may_freeze: bool, now: datetime) -> list[Standing]:
    """What is frozen now, latest first, in a fixed number of queries. Of revoked keys those of the last day, and those that ran a session in it."""
    looking = _Looking(actor, now)
    used = {session.api_key_id for session in looking.sessions}
    is_past = Q(cause=Freeze.Cause.KEY, started_at__lt=now - CLOSED_AFTER) & ~Q(api_key__in=used - {None})
    found = list(freezes_visible(actor).filter(ended_at=None).exclude(is_past).order_by("-started_at", "-id")[:SHOWN])
    by_freeze = refused_by_freezes(actor, [freeze.pk for freeze in found])
    by_period = refused_by_periods(actor, [freeze.period_id for freeze in found if freeze.period_id])
    return [
        Standing(freeze, looking.reached(freeze), may_freeze and _may_end(actor, freeze), by_freeze.get(freeze.pk) or by_period.get(freeze.period_id or 0))
        for freeze in found
    ]


def freezes_ended(actor: Actor) -> QuerySet[Freeze]:
    """What was frozen and goes on, the latest first."""
    return freezes_visible(actor).filter(ended_at__isnull=False).order_by("-ended_at", "-id")


def sessions_stopped(actor: Actor, *, kind: str, key: str, now: datetime) -> list[Session]:
    """The sessions of the last day whose next call a switch would refuse. `key` as the freeze would keep it."""
    return _Looking(actor, now).switched(Switch(0, kind, key))


def sessions_run(actor: Actor, key: ApiKey, *, now: datetime) -> int:
    """How many sessions of the last day were last called for with the key."""
    return scoped(actor, Session.objects.filter(api_key_id=key.pk, last_at__gte=now - CLOSED_AFTER)).count()


def names_offered(actor: Actor, *, now: datetime) -> dict[str, list[str]]:
    """Names by kind of scope: what sessions of the last day use, and the actor's teams and people."""
    recent = scoped(actor, Session.objects.filter(last_at__gte=now - CLOSED_AFTER)).order_by()
    used = list(recent.values_list("provider", "model").distinct()[:LOOKED_AT])
    teams, members = scoped(actor, Team.objects.all()), scoped(actor, Member.objects.filter(is_active=True))
    if actor.team_ids is not None:
        teams, members = teams.filter(pk__in=actor.team_ids), members.filter(team__in=actor.team_ids)
    offered = {
        Kind.TEAM.value: list(teams.order_by("slug").values_list("slug", flat=True)),
        Kind.MEMBER.value: list(members.order_by("user__email").values_list("user__email", flat=True)[:SHOWN]),
    }
    if actor.team_ids is None:
        offered |= {
            Kind.PROVIDER.value: sorted({provider for provider, _ in used if provider}), Kind.MODEL.value: sorted({model for _, model in used if model}),
        }
    return offered


def _may_end(actor: Actor, freeze: Freeze) -> bool:
    if freeze.period_id is not None or freeze.cause == Freeze.Cause.KEY:
        return False
    if actor.team_ids is None or freeze.scope_kind == Kind.SESSION:
        return True
    of = freeze.team_id or (freeze.member and freeze.member.team_id) or (freeze.api_key and freeze.api_key.member and freeze.api_key.member.team_id)
    return of in actor.team_ids


class _Looking:
    """The sessions of the last day that the actor sees, looked through for each freeze."""

    def __init__(self, actor: Actor, now: datetime) -> None:
        recent = visible(actor, Session.objects.filter(last_at__gte=now - CLOSED_AFTER))
        self.sessions = list(recent.order_by("-last_at")[:LOOKED_AT])
        said = scoped(actor, SessionLink.objects.order_by("-at"))
        self.links = list(said.values_list("key", "parent_key")[:LOOKED_AT])
        self.lineage: Mapping[int, tuple[int, ...]] = directory_at(actor.organization).lineage

    def reached(self, freeze: Freeze) -> list[Session]:
        if freeze.session_key:
            return self._below(freeze.session_key)
        if freeze.period is None:
            return self.switched(Switch(freeze.pk, freeze.scope_kind, freeze.scope_key))
        budget = freeze.period.budget
        wanted = {"team": budget.team_id, "member": budget.member_id, "organization": ""}.get(budget.scope_kind)
        if budget.scope_kind == "project":
            return [session for session in self.sessions if session.project_id == budget.project_id]
        return [] if wanted is None or budget.filters else self.switched(Switch(freeze.pk, budget.scope_kind, str(wanted)))

    def switched(self, switch: Switch) -> list[Session]:
        if switch.kind not in WIDE:
            return []
        return [
            session for session in self.sessions
            if switch.reaches(call_of(session), self.lineage.get(session.team_id or 0, ()), session.model)
        ]

    def _below(self, key: str) -> list[Session]:
        reached, has_grown = {key}, True
        pairs = [(session.key, session.parent_key) for session in self.sessions if session.parent_key] + self.links
        while has_grown:
            more = {below for below, above in pairs if above in reached} - reached
            reached, has_grown = reached | more, bool(more)
        return [session for session in self.sessions if session.key in reached]

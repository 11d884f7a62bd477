"""Sessions as pages show them: their state, limit and names, one session's calls and everything that happened to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from django.db.models import Case, CharField, Count, DecimalField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import NullIf

from dashboards.selectors.frozen import freeze_scopes
from dashboards.selectors.narrowing import Narrowing, narrowed
from governance.approvals.models import ApprovalRequest
from governance.budgets.models import Authorization, BudgetPeriod, Freeze, Session, TopUp
from governance.budgets.models.sessions import CLOSED_AFTER, RUNNING_WITHIN
from governance.errors import NotFound
from governance.tenancy.access import Actor, scoped, visible
from governance.tenancy.models import Member, Project, Team
from ingest.models import UsageEvent

CALLS_SHOWN = 300
HOLDS_SHOWN = 50
STATES = ("running", "idle", "frozen", "closed")
ANY = Narrowing({})


class Shown(TypedDict):
    """What a query adds to a session: its state, and the balance of the tightest period of its own (None: it has none)."""

    state: str
    allowance: Decimal | None
    period_spent: Decimal | None
    held: Decimal | None
    share: Decimal | None


if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    ListedSession = WithAnnotations[Session, Shown]
else:
    ListedSession = Session


@dataclass(frozen=True, slots=True)
class Names:
    """Names of teams, projects and members by id."""

    teams: Mapping[int, str]
    projects: Mapping[int, str]
    members: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a session at an instant: `kind` is freeze, resume, topup or request."""

    at: datetime
    kind: str
    label: str
    who: str = ""
    link_id: str = ""
    amount: Decimal | None = None


def with_state(actor: Actor, rows: QuerySet[Session], now: datetime) -> QuerySet[Any]:
    """Annotates `state`: frozen (by its own freeze, or by a wider one while it is not closed), closed, running or idle."""
    own = Freeze.objects.filter(organization=actor.organization, ended_at=None, session_key=OuterRef("key"))
    is_closed = Q(closed_at__isnull=False) | Q(last_at__lt=now - CLOSED_AFTER)
    found: QuerySet[Any] = rows.annotate(
        state=Case(
            When(Exists(own), then=Value("frozen")),
            When(is_closed, then=Value("closed")),
            When(freeze_scopes(actor), then=Value("frozen")),
            When(last_at__gte=now - RUNNING_WITHIN, then=Value("running")),
            default=Value("idle"),
            output_field=CharField(),
        )
    )
    return found


def with_limit(actor: Actor, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Annotates `allowance` (limit and top-ups of the session's tightest own period), `period_spent`, `held` and `share` of it."""
    amount: DecimalField[Any, Any] = DecimalField(max_digits=28, decimal_places=15)
    own = (
        BudgetPeriod.objects.filter(organization=actor.organization, session_key=OuterRef("key"), budget__is_active=True, budget__measure="money")
        .annotate(allowed=F("limit_amount") + F("topup"), remaining=F("limit_amount") + F("topup") - F("spent") - F("held"))
        .order_by("remaining", "id")
    )
    found: QuerySet[Any] = rows.annotate(
        allowance=Subquery(own.values("allowed")[:1], output_field=amount),
        period_spent=Subquery(own.values("spent")[:1], output_field=amount),
        held=Subquery(own.values("held")[:1], output_field=amount),
    ).annotate(share=F("period_spent") / NullIf(F("allowance"), Value(Decimal(0), output_field=amount)))
    return found


def not_closed(actor: Actor, now: datetime) -> Q:
    """Sessions that can be other than closed: a call within the day, or frozen. Lets the index by last call do the work."""
    frozen = scoped(actor, Freeze.objects.filter(ended_at=None)).exclude(session_key="").order_by()
    return Q(last_at__gte=now - CLOSED_AFTER) | Q(key__in=frozen.values("session_key"))


def listed(actor: Actor, *, now: datetime) -> QuerySet[ListedSession]:
    """The sessions the actor may see, with state and balance."""
    return with_limit(actor, with_state(actor, visible(actor, Session.objects.all()), now))


def sessions_listed(actor: Actor, *, state: str = "live", wanted: Narrowing = ANY, now: datetime) -> QuerySet[ListedSession]:
    """The sessions the actor may see that pass, latest call first. State "live" is everything but closed, "all" everything."""
    rows: QuerySet[Any] = narrowed(listed(actor, now=now), wanted)
    if state in ("live", "running", "idle", "frozen"):
        rows = rows.filter(not_closed(actor, now))
    if state == "live":
        rows = rows.exclude(state="closed")
    elif state in STATES:
        rows = rows.filter(state=state)
    return rows.order_by("-last_at", "key")


def session_get(actor: Actor, key: str, *, now: datetime) -> ListedSession:
    """One session with its state and allowance. Raises NotFound for sessions the actor may not see."""
    row = listed(actor, now=now).filter(key=key).first()
    if row is None:
        raise NotFound("There is no such session here, or it belongs to somebody else.")
    return row


def session_calls(session: Session, limit: int = CALLS_SHOWN) -> list[UsageEvent]:
    """The session's latest calls, oldest first."""
    rows = UsageEvent.objects.filter(
        organization=session.organization_id, session=session.key, occurred_at__gte=session.first_at, occurred_at__lte=session.last_at
    ).order_by("-occurred_at", "-id")[:limit]
    return list(rows)[::-1]


def context_of(call: UsageEvent) -> int | None:
    """The call's whole input, cached or not; None when nothing of it is known."""
    parts = (call.input_tokens, call.cache_read_tokens, call.cache_write_5m_tokens, call.cache_write_1h_tokens)
    return None if all(part is None for part in parts) else sum(part or 0 for part in parts)


def cache_writes_of(call: UsageEvent) -> int | None:
    """Tokens written to a cache, for whatever time; None when not known."""
    parts = (call.cache_write_5m_tokens, call.cache_write_1h_tokens)
    return None if all(part is None for part in parts) else sum(part or 0 for part in parts)


def is_measured(call: UsageEvent) -> bool:
    """Whether the call's size is known; of one that is not, no price could tell the cost."""
    return call.input_tokens is not None or call.output_tokens is not None


@dataclass(frozen=True, slots=True)
class Uncosted:
    """Calls without a cost: those that lack a price they should have, and those of unknown size. Subscriptions and own hardware need no price."""

    lacking: int
    unmeasured: int


def lacks_price(call: UsageEvent) -> bool:
    """Whether the call, which has no cost, should have a price: it is billed by itself and its size is known."""
    return call.billing_mode == "metered" and is_measured(call)


def uncosted_calls(session: Session, calls: Sequence[UsageEvent]) -> Uncosted:
    """The session's calls without a cost, by why; `calls` are the latest of them, and all of them in most sessions."""
    if not session.unpriced_calls:
        return Uncosted(0, 0)
    if len(calls) >= session.calls:
        bare = [call for call in calls if call.cost is None]
        return Uncosted(sum(map(lacks_price, bare)), sum(not is_measured(call) for call in bare))
    rows = UsageEvent.objects.filter(
        organization=session.organization_id, session=session.key, occurred_at__gte=session.first_at, occurred_at__lte=session.last_at, cost=None
    )
    of_unknown_size = Q(input_tokens=None, output_tokens=None)
    counted = rows.aggregate(lacking=Count("id", filter=~of_unknown_size & Q(billing_mode="metered")), unmeasured=Count("id", filter=of_unknown_size))
    return Uncosted(counted["lacking"], counted["unmeasured"])


def is_visible(actor: Actor, session: Session) -> bool:
    """Whether the actor may open the session."""
    return visible(actor, Session.objects.filter(key=session.key)).exists()


def session_call(session: Session, call_id: UUID) -> UsageEvent:
    """One call of the session. Raises NotFound."""
    row = UsageEvent.objects.filter(
        organization=session.organization_id,
        session=session.key,
        occurred_at__gte=session.first_at,
        occurred_at__lte=session.last_at,
        id=call_id,
    ).first()
    if row is None:
        raise NotFound("This session has no such call.")
    return row


def sessions_below(actor: Actor, key: str, *, now: datetime, limit: int = 100) -> list[ListedSession]:
    """The sessions this one started, latest first."""
    return list(listed(actor, now=now).filter(parent_key=key).order_by("-last_at", "key")[:limit])


def session_holds(actor: Actor, key: str) -> list[Authorization]:
    """The session's open authorizations, latest first."""
    rows = scoped(actor, Authorization.objects.filter(session_key=key, state=Authorization.State.HELD))
    return list(rows.order_by("-created_at", "id")[:HOLDS_SHOWN])


def session_periods(actor: Actor, key: str) -> list[BudgetPeriod]:
    """The periods of session budgets that belong to the session itself, tightest first."""
    rows = scoped(actor, BudgetPeriod.objects.filter(session_key=key)).select_related("budget")
    return sorted(rows, key=lambda period: (period.limit_amount + period.topup - period.spent - period.held, period.pk))


def session_marks(actor: Actor, key: str, periods: Sequence[BudgetPeriod]) -> list[Mark]:
    """Freezes, resumptions, top-ups and requests of the session, oldest first."""
    ids = [period.pk for period in periods]
    people = ("started_by__user", "ended_by__user")
    freezes = scoped(actor, Freeze.objects.filter(Q(session_key=key) | Q(period__in=ids))).select_related(*people, "period__budget")
    topups = scoped(actor, TopUp.objects.filter(period__in=ids)).select_related("granted_by__user", "decision")
    requests = scoped(actor, ApprovalRequest.objects.filter(session_key=key)).select_related("requester__user")
    marks: list[Mark] = []
    for freeze in freezes:
        reason = freeze.reason or freeze.get_cause_display()
        marks.append(Mark(freeze.started_at, "freeze", reason, freeze.starter))
        if freeze.ended_at:
            marks.append(Mark(freeze.ended_at, "resume", freeze.end_reason or "resumed", str(freeze.ended_by or "")))
    for topup in topups:
        decision = getattr(topup, "decision", None)
        link = str(decision.request_id) if decision else ""
        marks.append(Mark(topup.granted_at, "topup", decision.note if decision else "", str(topup.granted_by or ""), link, topup.amount))
    marks += [Mark(row.created_at, "request", row.reason, str(row.requester), str(row.pk)) for row in requests]
    return sorted(marks, key=lambda mark: mark.at)


def names_of(actor: Actor, rows: Iterable[Session]) -> Names:
    """The names that the sessions' ids stand for, in three queries at most."""
    rows = list(rows)
    teams = {row.team_id for row in rows if row.team_id}
    projects = {row.project_id for row in rows if row.project_id}
    members = {row.member_id for row in rows if row.member_id}
    people = scoped(actor, Member.objects.filter(pk__in=members)).select_related("user").order_by()
    return Names(
        dict(scoped(actor, Team.objects.filter(pk__in=teams)).order_by().values_list("pk", "name")),
        dict(scoped(actor, Project.objects.filter(pk__in=projects)).order_by().values_list("pk", "name")),
        {member.pk: str(member) for member in people},
    )


def any_session(actor: Actor) -> bool:
    """Whether the actor can see a session at all."""
    return visible(actor, Session.objects.all()).exists()


def counts_by_state(actor: Actor, *, wanted: Narrowing = ANY, now: datetime) -> dict[str, int]:
    """How many of the visible sessions that pass run, idle and stand frozen."""
    open_ones = narrowed(visible(actor, Session.objects.filter(not_closed(actor, now))), wanted)
    rows = with_state(actor, open_ones, now).exclude(state="closed").order_by()
    return dict(rows.values_list("state").annotate(number=Count("key")))

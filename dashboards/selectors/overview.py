"""What the overview shows: the month against its budget, today, movers, teams, and what waits for a person."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Q, Sum

from dashboards.components.ranges import Range
from dashboards.insights.market import binding_of
from dashboards.selectors import usage
from dashboards.selectors.periods import Line, budget_lines
from dashboards.selectors.unpriced import Unpriced, unpriced_models
from governance.approvals import selectors as approvals
from governance.approvals.models import ApprovalRequest
from governance.budgets.models import Budget, Freeze, Session
from governance.budgets.tree import teams_below
from governance.forecast import Forecast
from governance.periods import local_midnight
from governance.tenancy.access import Actor, Right, scoped, visible
from governance.tenancy.models import Team
from ingest.models import UsageRollup, UsageRollupDay
from ingest.once.selectors import pairs_undecided

ZERO = Decimal(0)
USUAL_WEEKS = 4
SPARK_DAYS = 30
MOST_SHOWN = 8
NEAR = Decimal("0.9")
# By then the pass that settles pairs has looked at them.
PASSED = timedelta(minutes=2)
SINGLE_VENDOR = "single-vendor"


@dataclass(frozen=True, slots=True)
class Today:
    """Spend since local midnight, and what the same weekday had spent by this time on average; None where there is no such day yet."""

    spent: Decimal
    usual: Decimal | None
    hours: Sequence[Decimal]


@dataclass(frozen=True, slots=True)
class Mover:
    """A model's spend in the range and in the one before."""

    key: str
    name: str
    current: Decimal
    previous: Decimal

    @property
    def change(self) -> Decimal:
        return self.current - self.previous


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team with the teams below it (`teams` are the keys of all of them): month to date, the same days before, its monthly budget
    where it has one, and its last thirty days. `own` is what the team itself spent: these add up to the month. Key "" is what has no team.
    """

    key: str
    name: str
    teams: Sequence[str]
    spent: Decimal
    own: Decimal
    previous: Decimal
    line: Line | None
    days: Sequence[Decimal]

    @property
    def limit(self) -> Decimal | None:
        return self.line.allowance if self.line else None

    @property
    def charged(self) -> Decimal:
        """What counts against the budget, which may count subscription usage too."""
        return self.line.period.spent if self.line else self.spent

    @property
    def is_with_teams_below(self) -> bool:
        return len(self.teams) > 1

    @property
    def forecast(self) -> Forecast | None:
        return self.line.forecast if self.line else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What needs a person."""

    requests: Sequence[ApprovalRequest]
    frozen: Sequence[tuple[Freeze, Session | None]]
    near: Sequence[Line]
    unpriced: Sequence[Unpriced]
    pairs: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.requests or self.frozen or self.near or self.unpriced or self.pairs)

    @property
    def unpriced_calls(self) -> int:
        return sum(model.calls for model in self.unpriced)

    @property
    def unpriced_tokens(self) -> int:
        return sum(model.tokens or 0 for model in self.unpriced)


def has_usage(actor: Actor) -> bool:
    """Whether anything was ever counted in the organization."""
    return scoped(actor, UsageRollup.objects.all()).exists() or scoped(actor, Session.objects.all()).exists()


def is_month_of_money(line: Line) -> bool:
    """Whether it limits all the money of a calendar month, so that spend can be held against it."""
    budget = line.budget
    return budget.period_kind == Budget.Kind.MONTH and budget.measure == Budget.Measure.MONEY and not budget.filters and budget.anchor_day == 1


def headline_line(actor: Actor, lines: Iterable[Line]) -> Line | None:
    """The monthly budget the headline is held against: the organization's, or the approver's own team's."""
    monthly = [line for line in lines if is_month_of_money(line)]
    if actor.team_ids is None:
        return next((line for line in monthly if line.budget.scope_kind == Budget.ScopeKind.ORGANIZATION), None)
    own = actor.member.team_id if actor.member else None
    return next((line for line in monthly if line.budget.team_id == own and line.budget.scope_kind == Budget.ScopeKind.TEAM), None)


def today_so_far(actor: Actor, *, now: datetime) -> Today:
    """Today by hour against the same weekday of the last four weeks, up to the same minute of the day."""
    zone = actor.organization.zone
    today = now.astimezone(zone).date()
    same = [today - timedelta(days=7 * week) for week in range(USUAL_WEEKS + 1)]
    hours = _hour_costs(actor, same)
    midnight = local_midnight(today, zone)
    elapsed = now - midnight
    first = _first_day(actor)
    known = [_spent_by(hours, local_midnight(day, zone), elapsed) for day in same[1:] if first is not None and first <= day]
    own = {hour: cost for hour, cost in hours.items() if hour >= midnight}
    steps = [sum((cost for hour, cost in own.items() if hour <= midnight + timedelta(hours=index)), ZERO) for index in range(int(elapsed / timedelta(hours=1)) + 1)]
    return Today(sum(own.values(), ZERO), sum(known, ZERO) / len(known) if known else None, steps)


def _hour_costs(actor: Actor, days: Sequence[date]) -> dict[datetime, Decimal]:
    """Billed cost by hour of the local days given."""
    zone = actor.organization.zone
    spans = Q()
    for day in days:
        spans |= Q(hour__gte=local_midnight(day, zone), hour__lt=local_midnight(day + timedelta(days=1), zone))
    rows = scoped(actor, UsageRollup.objects.filter(spans, currency=actor.organization.currency))
    if actor.team_ids is not None:
        rows = rows.filter(team_id__in=actor.team_ids)
    return dict(rows.order_by().values_list("hour").annotate(amount=Sum("cost")))


def _first_day(actor: Actor) -> date | None:
    """The first day anything the actor sees was used: a day before it was not free, it is not known."""
    return visible(actor, UsageRollupDay.objects.all()).order_by("day").values_list("day", flat=True).first()


def _spent_by(hours: Mapping[datetime, Decimal], midnight: datetime, elapsed: timedelta) -> Decimal:
    """Spent from midnight until so long after it, the last hour in part."""
    total = ZERO
    for hour, cost in hours.items():
        if midnight <= hour < midnight + elapsed:
            part = min((midnight + elapsed - hour) / timedelta(hours=1), 1)
            total += cost * Decimal(str(part))
    return total


def movers(current: Iterable[usage.Row], before: Iterable[usage.Row], most: int = 6) -> list[Mover]:
    """The models whose spend moved most since the range before, largest move first."""
    now, past = ({row.key: row for row in rows} for rows in (current, before))
    found = [Mover(key, (now.get(key) or past[key]).name, _cost(now.get(key)), _cost(past.get(key))) for key in {*now, *past}]
    return sorted((mover for mover in found if mover.change), key=lambda mover: (-abs(mover.change), mover.key))[:most]


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of the spend of a range: what belongs to a team, what ran through harnesses bound to one vendor; None when nothing was spent."""

    allocated: Decimal | None
    bound: Decimal | None


def split_of(actor: Actor, span: Range) -> Split:
    """Both shares, from one query."""
    rows = usage.combinations(actor, ("team", "harness"), window=span.window, sums=("cost",))
    total = sum((row.figures.cost for row in rows), ZERO)
    if not total:
        return Split(None, None)
    allocated = sum((row.figures.cost for row in rows if row.keys[0]), ZERO)
    bound = sum((row.figures.cost for row in rows if binding_of(row.keys[1]) == SINGLE_VENDOR), ZERO)
    return Split(allocated / total, bound / total)


def team_rows(actor: Actor, lines: Sequence[Line], *, month: Range, now: datetime) -> list[TeamRow]:
    """Each visible team with usage or a monthly budget, most spent first, each with the teams below it; and what has no team, for who sees everything."""
    today = now.astimezone(actor.organization.zone).date()
    costs = _team_costs(actor, first=min(month.previous.first, today - timedelta(days=SPARK_DAYS - 1)), last=today)
    held = {str(line.budget.team_id): line for line in lines if is_month_of_money(line) and line.budget.scope_kind == Budget.ScopeKind.TEAM}
    names = {"": "Unallocated", **{str(team.pk): team.name for team in scoped(actor, Team.objects.all())}}
    used = {key for key, days in costs.items() if any(day >= month.first for day in days)}
    shown = {key for key in {*used, *held} if actor.team_ids is None or (key and int(key) in actor.team_ids)}
    below = teams_below(actor)
    rows = []
    for key in shown:
        counted = sorted({key, *(str(team_id) for team_id in (below.get(int(key), ()) if key else ()) if str(team_id) in costs)})
        days = _added(costs.get(team_id, {}) for team_id in counted)
        own = _between(costs.get(key, {}), month.first, month.last)
        spent, before = (_between(days, span.first, span.last) for span in (month, month.previous))
        recent = [days.get(today - timedelta(days=back), ZERO) for back in reversed(range(SPARK_DAYS))]
        rows.append(TeamRow(key, names.get(key, key), counted, spent, own, before, held.get(key), recent))
    return sorted(rows, key=lambda row: (-row.spent, row.name))


def _added(parts: Iterable[Mapping[date, Decimal]]) -> dict[date, Decimal]:
    found: dict[date, Decimal] = defaultdict(Decimal)
    for days in parts:
        for day, cost in days.items():
            found[day] += cost
    return found


def _between(days: Mapping[date, Decimal], first: date, last: date) -> Decimal:
    return sum((cost for day, cost in days.items() if first <= day <= last), ZERO)


def _team_costs(actor: Actor, *, first: date, last: date) -> dict[str, dict[date, Decimal]]:
    """Billed cost by team ("" for none) and local day, in the organization's currency."""
    rows = visible(actor, UsageRollupDay.objects.filter(day__gte=first, day__lte=last, currency=actor.organization.currency))
    found: dict[str, dict[date, Decimal]] = defaultdict(dict)
    for team_id, day, amount in rows.order_by().values_list("team_id", "day").annotate(amount=Sum("cost")):
        found[str(team_id or "")][day] = amount
    return found


def waiting(actor: Actor, lines: Sequence[Line], *, now: datetime) -> Waiting:
    """Requests to decide, frozen sessions nobody asked about yet, budgets near their limit, models without a price, pairs of calls that may be one."""
    requests = list(approvals.requests_to_decide(actor)[:MOST_SHOWN])
    asked = {request.session_key for request in requests if request.session_key}
    near = [line for line in lines if not line.below and _is_near(line)]
    unpriced = [model for model in unpriced_models(actor, now=now) if model.calls]
    return Waiting(requests, _frozen_sessions(actor, asked), near[:MOST_SHOWN], unpriced, _pairs(actor, now))


def _pairs(actor: Actor, now: datetime) -> int:
    """How many pairs of calls the later pass has left for whoever may decide about them."""
    if not actor.can(Right.MANAGE_ORGANIZATION):
        return 0
    return pairs_undecided(actor).filter(noted_at__lt=now - PASSED).count()


def _is_near(line: Line) -> bool:
    return line.is_frozen or line.share >= NEAR or (line.forecast is not None and line.forecast.exhausted_at is not None)


def _frozen_sessions(actor: Actor, asked: set[str]) -> list[tuple[Freeze, Session | None]]:
    freezes = scoped(actor, Freeze.objects.filter(ended_at=None)).exclude(session_key="").exclude(session_key__in=asked)
    if actor.team_ids is not None:
        freezes = freezes.filter(session_key__in=visible(actor, Session.objects.all()).values("key"))
    found = list(freezes.order_by("-started_at", "-id")[:MOST_SHOWN])
    sessions = {row.key: row for row in visible(actor, Session.objects.filter(key__in=[freeze.session_key for freeze in found]))}
    return [(freeze, sessions.get(freeze.session_key)) for freeze in found]


def lines_of(actor: Actor, *, now: datetime) -> list[Line]:
    """The budgets the actor sees, with their current periods and forecasts."""
    return budget_lines(actor, now=now)


def _cost(row: usage.Row | None) -> Decimal:
    return row.figures.cost if row else ZERO

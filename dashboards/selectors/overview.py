"""What the overview shows: the month against its budget, today, movers, teams, and what waits for a person."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from dashboards.components.ranges import Range
from dashboards.insights.concentration import Concentration, concentration_of
from dashboards.insights.dependence import binding_shares, share_of
from dashboards.insights.figures import Figures, figures_sum
from dashboards.insights.forecast import Forecast
from dashboards.selectors import lockin, usage
from dashboards.selectors.periods import Line, budget_lines
from governance.approvals import selectors as approvals
from governance.approvals.models import ApprovalRequest
from governance.budgets.models import Budget, Freeze, Session
from governance.periods import local_midnight
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team
from ingest.models import UsageRollup, UsageRollupDay

ZERO = Decimal(0)
USUAL_WEEKS = 4
UNPRICED_DAYS = 30
SPARK_DAYS = 30
MOST_SHOWN = 8
NEAR = Decimal("0.9")
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
    """One team: month to date, the same days before, its monthly budget where it has one, and its last thirty days."""

    key: str
    name: str
    spent: Decimal
    previous: Decimal
    line: Line | None
    days: Sequence[Decimal]

    @property
    def limit(self) -> Decimal | None:
        return self.line.allowance if self.line else None

    @property
    def forecast(self) -> Forecast | None:
        return self.line.forecast if self.line else None


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A model whose calls could not be priced lately."""

    provider: str
    model: str
    calls: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What needs a person."""

    requests: Sequence[ApprovalRequest]
    frozen: Sequence[tuple[Freeze, Session | None]]
    near: Sequence[Line]
    unpriced: Sequence[Unpriced]

    @property
    def is_empty(self) -> bool:
        return not (self.requests or self.frozen or self.near or self.unpriced)


@dataclass(frozen=True, slots=True)
class Dependence:
    """Concentration by provider, and the part of spend through harnesses bound to one vendor."""

    providers: Concentration
    bound_share: Decimal | None


def has_usage(actor: Actor) -> bool:
    """Whether anything was ever counted in the organization."""
    return scoped(actor, UsageRollup.objects.all()).exists() or scoped(actor, Session.objects.all()).exists()


def headline_line(actor: Actor, lines: Iterable[Line]) -> Line | None:
    """The monthly budget the headline is held against: the organization's, or the approver's own team's."""
    monthly = [line for line in lines if line.budget.period_kind == Budget.Kind.MONTH]
    if actor.team_ids is None:
        return next((line for line in monthly if line.budget.scope_kind == Budget.ScopeKind.ORGANIZATION), None)
    own = actor.member.team_id if actor.member else None
    return next((line for line in monthly if line.budget.team_id == own and line.budget.scope_kind == Budget.ScopeKind.TEAM), None)


def today_so_far(actor: Actor, *, now: datetime) -> Today:
    """Today by hour against the same weekday of the last four weeks, up to the same minute of the day."""
    zone = actor.organization.zone
    today = now.astimezone(zone).date()
    midnight = local_midnight(today, zone)
    elapsed = now - midnight
    hours = _hour_costs(actor, since=local_midnight(today - timedelta(days=7 * USUAL_WEEKS), zone))
    before = [_spent_by(hours, local_midnight(today - timedelta(days=7 * week), zone), elapsed) for week in range(1, USUAL_WEEKS + 1)]
    known = [amount for amount in before if amount is not None]
    own = {hour: cost for hour, cost in hours.items() if hour >= midnight}
    steps = [sum((cost for hour, cost in own.items() if hour <= midnight + timedelta(hours=index)), ZERO) for index in range(int(elapsed / timedelta(hours=1)) + 1)]
    return Today(sum(own.values(), ZERO), sum(known, ZERO) / len(known) if known else None, steps)


def _hour_costs(actor: Actor, *, since: datetime) -> dict[datetime, Decimal]:
    rows = scoped(actor, UsageRollup.objects.filter(hour__gte=since, currency=actor.organization.currency))
    if actor.team_ids is not None:
        rows = rows.filter(team_id__in=actor.team_ids)
    return dict(rows.order_by().values_list("hour").annotate(amount=Sum("cost")))


def _spent_by(hours: Mapping[datetime, Decimal], midnight: datetime, elapsed: timedelta) -> Decimal | None:
    """Spent from midnight until so long after it, the last hour in part; None when nothing is known of that day or before it."""
    if not any(hour < midnight + timedelta(days=1) for hour in hours):
        return None
    total = ZERO
    for hour, cost in hours.items():
        if midnight <= hour < midnight + elapsed:
            part = min((midnight + elapsed - hour) / timedelta(hours=1), 1)
            total += cost * Decimal(str(part))
    return total


def by_day(actor: Actor, span: Range) -> dict[date, Figures]:
    """The sums of each day of the range; days without usage are absent."""
    points = usage.series_by(actor, "provider", window=span.window, keys=[])
    return {point.at: point.figures for point in points if isinstance(point.at, date)}


def dependence(actor: Actor, providers: Sequence[usage.Row], span: Range) -> Dependence:
    """The lock-in headline from the providers' spend and the flows through harnesses."""
    parts = concentration_of((row.key, row.name, row.figures.cost) for row in providers)
    return Dependence(parts, share_of(binding_shares(lockin.flows(actor, window=span.window)), SINGLE_VENDOR))


def movers(actor: Actor, span: Range, most: int = 6) -> list[Mover]:
    """The models whose spend moved most since the range before, largest move first."""
    current = {row.key: row for row in usage.spend_by(actor, "model", window=span.window)}
    before = {row.key: row for row in usage.spend_by(actor, "model", window=span.previous.window)}
    found = [
        Mover(key, (current.get(key) or before[key]).name, _cost(current.get(key)), _cost(before.get(key))) for key in {*current, *before}
    ]
    return sorted((mover for mover in found if mover.change), key=lambda mover: (-abs(mover.change), mover.key))[:most]


def allocated_share(teams: Iterable[usage.Row]) -> Decimal | None:
    """The part of spend that belongs to a team; None when nothing was spent."""
    rows = list(teams)
    total = figures_sum((row.figures for row in rows), rows[0].figures.currency).cost if rows else ZERO
    return sum((row.figures.cost for row in rows if row.key), ZERO) / total if total else None


def team_rows(actor: Actor, lines: Sequence[Line], *, month: Range, now: datetime) -> list[TeamRow]:
    """Each visible team with usage or a monthly budget, most spent first. A budget of a team counts the teams below it as well."""
    current = {row.key: row for row in usage.spend_by(actor, "team", window=month.window)}
    before = {row.key: row for row in usage.spend_by(actor, "team", window=month.previous.window)}
    held = {str(line.budget.team_id): line for line in lines if line.budget.period_kind == Budget.Kind.MONTH and line.budget.scope_kind == Budget.ScopeKind.TEAM}
    days = _team_days(actor, now=now)
    names = {str(team.pk): team.name for team in scoped(actor, Team.objects.all())}
    shown = {key for key in {*current, *held} if key and (actor.team_ids is None or int(key) in actor.team_ids)}
    rows = [
        TeamRow(key, names.get(key, key), held[key].period.spent if key in held else _cost(current.get(key)), _cost(before.get(key)), held.get(key), days[key])
        for key in shown
    ]
    return sorted(rows, key=lambda row: (-row.spent, row.name))


def _team_days(actor: Actor, *, now: datetime) -> dict[str, list[Decimal]]:
    today = now.astimezone(actor.organization.zone).date()
    first = today - timedelta(days=SPARK_DAYS - 1)
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first, team_id__isnull=False, currency=actor.organization.currency)).order_by()
    found: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO] * SPARK_DAYS)
    for team_id, day, amount in rows.values_list("team_id", "day").annotate(amount=Sum("cost")):
        if day <= today:
            found[str(team_id)][(day - first).days] = amount
    return found


def waiting(actor: Actor, lines: Sequence[Line], *, now: datetime) -> Waiting:
    """Requests to decide, frozen sessions nobody asked about yet, budgets near their limit, models without a price."""
    requests = list(approvals.requests_to_decide(actor)[:MOST_SHOWN])
    asked = {request.session_key for request in requests if request.session_key}
    near = [line for line in lines if not line.below and _is_near(line)]
    return Waiting(requests, _frozen_sessions(actor, asked), near[:MOST_SHOWN], _unpriced(actor, now=now))


def _is_near(line: Line) -> bool:
    return line.is_frozen or line.share >= NEAR or (line.forecast is not None and line.forecast.exhausted_at is not None)


def _frozen_sessions(actor: Actor, asked: set[str]) -> list[tuple[Freeze, Session | None]]:
    freezes = scoped(actor, Freeze.objects.filter(ended_at=None)).exclude(session_key="").exclude(session_key__in=asked).order_by("-started_at", "-id")
    found = list(freezes[:MOST_SHOWN])
    sessions = {row.key: row for row in usage.visible(actor, Session.objects.filter(key__in=[freeze.session_key for freeze in found]))}
    seen = [freeze for freeze in found if actor.team_ids is None or freeze.session_key in sessions]
    return [(freeze, sessions.get(freeze.session_key)) for freeze in seen]


def _unpriced(actor: Actor, *, now: datetime) -> list[Unpriced]:
    since = now.astimezone(actor.organization.zone).date() - timedelta(days=UNPRICED_DAYS)
    rows = usage.visible(actor, UsageRollupDay.objects.filter(day__gte=since, unpriced_calls__gt=0)).order_by()
    found = rows.values_list("provider", "model").annotate(calls=Sum("unpriced_calls"), total=Sum(usage.TOKENS)).order_by("-calls", "model")
    return [Unpriced(provider, model, calls, tokens) for provider, model, calls, tokens in found[:MOST_SHOWN]]


def lines_of(actor: Actor, *, now: datetime) -> list[Line]:
    """The budgets the actor sees, with their current periods and forecasts."""
    return budget_lines(actor, now=now)


def _cost(row: usage.Row | None) -> Decimal:
    return row.figures.cost if row else ZERO

"""Budgets as pages show them: the tree with its current periods, one budget's course, and the pace of each scope."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import TruncHour

from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import requests_visible
from governance.budgets.models import Budget, BudgetPeriod, Freeze, Session, ThresholdCrossing, TopUp
from governance.errors import NotFound
from governance.forecast import HISTORY_DAYS, Forecast, forecast
from governance.periods import local_midnight, window_at
from governance.tenancy.access import Actor, scoped, visible
from governance.tenancy.models import Team
from ingest.models import UsageEvent, UsageRollup, UsageRollupDay

ZERO = Decimal(0)
DAY = timedelta(days=1)
Days = Mapping[date, Decimal]


@dataclass(frozen=True, slots=True)
class Below:
    """What a session budget adds up to over the sessions of the last day."""

    sessions: int = 0
    frozen: int = 0
    spent: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Line:
    """One budget in the tree with its current period (not stored yet when nothing was spent), freeze and forecast."""

    budget: Budget
    period: BudgetPeriod
    depth: int = 0
    is_frozen: bool = False
    forecast: Forecast | None = None
    below: Below | None = None

    @property
    def allowance(self) -> Decimal:
        return self.period.allowance

    @property
    def left(self) -> Decimal:
        return self.period.left

    @property
    def share(self) -> Decimal:
        """Spent as a part of the allowance; more than 1 when it is passed."""
        spent: Decimal = self.period.spent
        if self.allowance > 0:
            return spent / self.allowance
        return Decimal(1) if spent > 0 else ZERO

    @property
    def forecast_at_end(self) -> Decimal | None:
        """The spend expected at the period's end; None without a forecast or an end."""
        return self.forecast.at_end.expected if self.forecast is not None and self.period.ends_at is not None else None


@dataclass(frozen=True, slots=True)
class Tree:
    """The organization's teams, by id and in order, with the teams below each."""

    order: tuple[int, ...] = ()
    depth: Mapping[int, int] = field(default_factory=dict)
    below: Mapping[int, frozenset[int]] = field(default_factory=dict)
    above: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def team_tree(actor: Actor) -> Tree:
    """The teams of the organization as a tree, in one query."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for team_id, parent_id in scoped(actor, Team.objects.all()).order_by("name", "id").values_list("id", "parent_id"):
        children[parent_id].append(team_id)
    order: list[int] = []
    above: dict[int, tuple[int, ...]] = {}
    pending: list[tuple[int, tuple[int, ...]]] = [(team_id, ()) for team_id in reversed(children[None])]
    while pending:
        team_id, path = pending.pop()
        order.append(team_id)
        above[team_id] = path
        pending += [(child, (*path, team_id)) for child in reversed(children[team_id])]
    below = {team_id: frozenset(other for other in order if other == team_id or team_id in above[other]) for team_id in order}
    return Tree(tuple(order), {team_id: len(path) for team_id, path in above.items()}, below, above)


def teams_below(actor: Actor) -> Mapping[int, frozenset[int]]:
    """Each team with all teams below it, itself included."""
    return team_tree(actor).below


def budgets_visible(actor: Actor, tree: Tree | None = None) -> QuerySet[Budget]:
    """The budgets the actor may see: all, or those that cover the actor or the actor's teams. Ordered by name."""
    rows = scoped(actor, Budget.objects.all()).select_related("team", "project", "member__user").order_by("name", "id")
    if actor.team_ids is None:
        return rows
    tree = tree or team_tree(actor)
    own = {actor.member.team_id} if actor.member is not None and actor.member.team_id else set()
    teams = set(actor.team_ids) | own
    covering = teams | {parent for team_id in teams for parent in tree.above.get(team_id, ())}
    return rows.filter(
        Q(scope_kind=Budget.ScopeKind.ORGANIZATION)
        | Q(team__in=covering)
        | Q(project__team__in=teams)
        | Q(member__team__in=actor.team_ids)
        | Q(member=actor.member)
        | Q(scope_kind=Budget.ScopeKind.SESSION, team=None, project=None, member=None)
    )


def budget_seen(actor: Actor, budget_id: int) -> Budget:
    """One budget. Raises NotFound when there is none the actor may see."""
    budget = budgets_visible(actor).filter(pk=budget_id).first()
    if budget is None:
        raise NotFound("There is no such budget here.")
    return budget


def current_period(budget: Budget, *, now: datetime) -> BudgetPeriod:
    """A period for the window at the instant, not stored: what a budget has before anything was charged to it."""
    organization = budget.organization
    window = window_at(budget.period_kind, now, organization.zone, organization.year_starts_in)  # type: ignore[arg-type]
    return BudgetPeriod(
        organization=organization,
        budget=budget,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        limit_amount=budget.limit_amount,
        is_hard=budget.is_hard,
    )


def current_periods(actor: Actor, budgets: Iterable[Budget], *, now: datetime) -> dict[int, BudgetPeriod]:
    """The period of each budget that holds the instant, by budget id; session budgets have none of their own."""
    rows = scoped(actor, BudgetPeriod.objects.filter(budget__in=[budget.pk for budget in budgets], session_key="", starts_at__lte=now))
    stored = {period.budget_id: period for period in rows.filter(Q(ends_at=None) | Q(ends_at__gt=now)).order_by("starts_at")}
    found = {}
    for budget in budgets:
        budget.organization = actor.organization
        period = stored.get(budget.pk) or current_period(budget, now=now)
        period.budget, period.organization = budget, actor.organization
        found[budget.pk] = period
    return found


def budget_lines(actor: Actor, *, now: datetime, is_active: bool = True) -> list[Line]:
    """The visible budgets in tree order, each with its current period, whether it stands frozen, and its forecast."""
    tree = team_tree(actor)
    budgets = list(budgets_visible(actor, tree).filter(is_active=is_active))
    periods = current_periods(actor, budgets, now=now)
    below = sessions_below_budgets(actor, [budget for budget in budgets if is_template(budget)], now=now)
    paces = histories(actor, [budget for budget in budgets if not is_template(budget)], tree=tree, now=now)
    lines = [
        Line(
            budget=budget,
            period=periods[budget.pk],
            depth=depth_of(budget, tree),
            is_frozen=periods[budget.pk].frozen_at is not None,
            forecast=None if is_template(budget) else period_forecast(periods[budget.pk], paces.get(budget.pk, {}), now=now),
            below=below.get(budget.pk, Below()) if is_template(budget) else None,
        )
        for budget in budgets
    ]
    return sorted(lines, key=lambda line: position_of(line.budget, tree))


def budget_line(actor: Actor, budget: Budget, *, now: datetime) -> Line:
    """One budget as a line of the tree."""
    tree = team_tree(actor)
    period = current_periods(actor, [budget], now=now)[budget.pk]
    if is_template(budget):
        return Line(budget, period, below=sessions_below_budgets(actor, [budget], now=now).get(budget.pk, Below()))
    pace = histories(actor, [budget], tree=tree, now=now).get(budget.pk, {})
    return Line(budget, period, is_frozen=period.frozen_at is not None, forecast=period_forecast(period, pace, now=now))


def is_template(budget: Budget) -> bool:
    """Whether every session in the budget's scope has its own period."""
    return budget.scope_kind == Budget.ScopeKind.SESSION


def scope_team(budget: Budget) -> int | None:
    """The team a budget hangs under in the tree."""
    if budget.team_id:
        return budget.team_id
    if budget.project is not None:
        return budget.project.team_id
    return budget.member.team_id if budget.member is not None else None


def depth_of(budget: Budget, tree: Tree) -> int:
    """How far a budget is indented: the organization 0, a team 1 and deeper by its parents, what lies in a team one more."""
    if budget.scope_kind == Budget.ScopeKind.ORGANIZATION:
        return 0
    team_id = scope_team(budget)
    base = 1 if team_id is None else 1 + tree.depth.get(team_id, 0)
    return base if budget.scope_kind == Budget.ScopeKind.TEAM or team_id is None else base + 1


KIND_ORDER = {kind: position for position, kind in enumerate(("organization", "team", "project", "member", "session"))}


def position_of(budget: Budget, tree: Tree) -> tuple[int, int, int, str, int]:
    """Where a budget comes in the tree: the organization's first, then team by team, then what belongs to no team."""
    is_whole = budget.scope_kind == Budget.ScopeKind.ORGANIZATION
    team_id = scope_team(budget)
    place = tree.order.index(team_id) if team_id in tree.order else len(tree.order)
    return (0 if is_whole else 1, -1 if is_whole else place, KIND_ORDER[budget.scope_kind], budget.name, budget.pk)


def sessions_below_budgets(actor: Actor, budgets: Sequence[Budget], *, now: datetime) -> dict[int, Below]:
    """For session budgets: how many sessions of the last day they cover, how many stand frozen, and their spend."""
    if not budgets:
        return {}
    recent = scoped(actor, Session.objects.filter(last_at__gte=now - DAY)).order_by().values("key")
    periods = scoped(actor, BudgetPeriod.objects.filter(budget__in=budgets)).order_by()
    counted = periods.filter(session_key__in=recent).values_list("budget_id").annotate(sessions=Count("id"), total=Sum("spent"))
    frozen = dict(
        scoped(actor, Freeze.objects.filter(period__budget__in=budgets, ended_at=None))
        .order_by()
        .values_list("period__budget_id")
        .annotate(number=Count("id"))
    )
    found = {budget.pk: Below(frozen=frozen.get(budget.pk, 0)) for budget in budgets}
    return found | {key: Below(number, frozen.get(key, 0), total) for key, number, total in counted}


def histories(actor: Actor, budgets: Sequence[Budget], *, tree: Tree, now: datetime, days: int = HISTORY_DAYS) -> dict[int, Days]:
    """Spend by local day of each budget's scope over the last days and today, by budget id: two queries for all of them."""
    if not budgets:
        return {}
    first = now.astimezone(actor.organization.zone).date() - timedelta(days=days)
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first)).order_by()
    members = {budget.member_id for budget in budgets if budget.member_id}
    sums = {"billed": Sum("cost"), "notional": Sum("notional_cost")}
    shared = list(rows.values_list("currency", "day", "team_id", "project_id").annotate(**sums)) if len(members) < len(budgets) else []
    personal = list(rows.filter(member_id__in=members).values_list("currency", "day", "member_id").annotate(**sums)) if members else []
    found: dict[int, Days] = {}
    for budget in budgets:
        spent: dict[date, Decimal] = defaultdict(Decimal)
        if budget.member_id:
            picked = ((row[1], row[3], row[4]) for row in personal if row[2] == budget.member_id and row[0] == budget.currency)
        else:
            picked = ((row[1], row[4], row[5]) for row in shared if row[0] == budget.currency and holds(budget, tree, row[2], row[3]))
        for day, billed, notional in picked:
            spent[day] += billed + notional if budget.counts_notional else billed
        found[budget.pk] = dict(spent)
    return found


def holds(budget: Budget, tree: Tree, team_id: int | None, project_id: int | None) -> bool:
    """Whether usage of a team and project falls under the budget's scope."""
    if budget.project_id:
        return project_id == budget.project_id
    if budget.team_id:
        return team_id in tree.below.get(budget.team_id, ())
    return True


def period_forecast(period: BudgetPeriod, history: Days, *, now: datetime) -> Forecast | None:
    """The forecast of a running period from its scope's daily spend."""
    return forecast(
        spent=period.spent,
        allowance=period.limit_amount + period.topup,
        history=history,
        now=now,
        ends_at=period.ends_at,
        zone=period.organization.zone,
    )


def period_levels(actor: Actor, period: BudgetPeriod, *, now: datetime) -> list[tuple[datetime, Decimal]]:
    """How the period's spend grew: (instant, spent so far), oldest first, ending with exactly what it has spent.

    Walked back from the balance by hour (windows of a day) or by day, so that the line ends on the balance.
    """
    budget = period.budget
    steps = hourly(actor, budget, period) if budget.period_kind == Budget.Kind.DAY else daily(actor, budget, period)
    end = min(now, period.ends_at) if period.ends_at else now
    levels = [(end, period.spent)]
    level = period.spent
    for at, amount in sorted(steps.items(), reverse=True):
        level = max(level - amount, ZERO)
        levels.append((max(at, period.starts_at), level))
    # Nothing was spent until the first step: the line begins there, not on a slope from the start of the window.
    if levels[-1][0] > period.starts_at > now - timedelta(days=HISTORY_DAYS * 14):
        levels.append((period.starts_at, level if steps else ZERO))
    return levels[::-1]


def scope_q(budget: Budget, below: Mapping[int, frozenset[int]]) -> Q:
    """Rollup rows under the budget's scope."""
    if budget.member_id:
        return Q(member_id=budget.member_id)
    if budget.project_id:
        return Q(project_id=budget.project_id)
    return Q(team_id__in=below.get(budget.team_id, ())) if budget.team_id else Q()


def amount_of(budget: Budget) -> Sum:
    return Sum(F("cost") + F("notional_cost")) if budget.counts_notional else Sum("cost")


def hourly(actor: Actor, budget: Budget, period: BudgetPeriod) -> dict[datetime, Decimal]:
    """Cost by hour of a window of a day. Hour rollups know no member: a person's hours are summed from the calls of that day."""
    if budget.member_id:
        return hourly_of_member(actor, budget, period)
    rows = scoped(
        actor, UsageRollup.objects.filter(scope_q(budget, teams_below(actor)), hour__gte=period.starts_at, currency=budget.currency)
    )
    rows = rows.filter(hour__lt=period.ends_at) if period.ends_at else rows
    return dict(rows.order_by().values_list("hour").annotate(amount=amount_of(budget)))


def hourly_of_member(actor: Actor, budget: Budget, period: BudgetPeriod) -> dict[datetime, Decimal]:
    calls = scoped(
        actor,
        UsageEvent.objects.filter(
            member_id=budget.member_id, occurred_at__gte=period.starts_at, currency=budget.currency, cost__isnull=False
        ),
    )
    calls = calls.filter(occurred_at__lt=period.ends_at) if period.ends_at else calls
    if not budget.counts_notional:
        calls = calls.exclude(billing_mode="subscription")
    hour = TruncHour("occurred_at", tzinfo=actor.organization.zone)
    return dict(calls.annotate(hour=hour).order_by().values_list("hour").annotate(amount=Sum("cost")))


def spent_before(actor: Actor, budget: Budget, period: BudgetPeriod) -> Decimal:
    """What of the period's spend came before the budget was made: a new budget counts its present period from the start."""
    made = budget.created_at
    if made <= period.starts_at:
        return ZERO
    rows = scope_q(budget, teams_below(actor))
    sums: QuerySet[Any]
    # Hour rollups know no member: there whole days are summed, and the calls of the day on which the budget was made.
    if budget.member_id:
        zone = actor.organization.zone
        day = made.astimezone(zone).date()
        since, first = local_midnight(day, zone), period.starts_at.astimezone(zone).date()
        sums = scoped(actor, UsageRollupDay.objects.filter(rows, day__gte=first, day__lt=day, currency=budget.currency))
    else:
        since = made.replace(minute=0, second=0, microsecond=0)
        sums = scoped(actor, UsageRollup.objects.filter(rows, hour__gte=period.starts_at, hour__lt=since, currency=budget.currency))
    last = scoped(
        actor,
        UsageEvent.objects.filter(
            rows, occurred_at__gte=max(since, period.starts_at), occurred_at__lt=made, currency=budget.currency, cost__isnull=False
        ),
    )
    if not budget.counts_notional:
        last = last.exclude(billing_mode="subscription")
    whole: Decimal = sums.order_by().aggregate(amount=amount_of(budget))["amount"] or ZERO
    begun: Decimal = last.order_by().aggregate(amount=Sum("cost"))["amount"] or ZERO
    spent: Decimal = period.spent
    return min(whole + begun, spent)


def daily(actor: Actor, budget: Budget, period: BudgetPeriod) -> dict[datetime, Decimal]:
    zone = actor.organization.zone
    rows = scoped(actor, UsageRollupDay.objects.filter(scope_q(budget, teams_below(actor)), currency=budget.currency))
    rows = rows.filter(day__gte=period.starts_at.astimezone(zone).date())
    rows = rows.filter(day__lt=period.ends_at.astimezone(zone).date()) if period.ends_at else rows
    found = rows.order_by().values_list("day").annotate(amount=amount_of(budget))
    return {datetime(day.year, day.month, day.day, tzinfo=zone): amount for day, amount in found}


def periods_of(actor: Actor, budget: Budget, limit: int = 24) -> list[BudgetPeriod]:
    """The budget's windows so far, latest first."""
    rows = list(scoped(actor, BudgetPeriod.objects.filter(budget=budget, session_key="")).order_by("-starts_at", "id")[:limit])
    for row in rows:
        row.budget, row.organization = budget, actor.organization
    return rows


def sessions_of(actor: Actor, budget: Budget) -> QuerySet[Any]:
    """A session budget's periods of sessions the actor may see, each with its session's `last_at`: frozen first, then by what is spent."""
    session = scoped(actor, Session.objects.filter(key=OuterRef("session_key")))
    rows: QuerySet[Any] = scoped(actor, BudgetPeriod.objects.filter(budget=budget).exclude(session_key=""))
    rows = rows.annotate(last_at=Subquery(session.values("last_at")[:1]))
    if actor.team_ids is not None:
        rows = rows.filter(session_key__in=visible(actor, Session.objects.all()).values("key"))
    return rows.order_by(F("frozen_at").desc(nulls_last=True), "-spent", "-id")


def seen_periods(actor: Actor) -> Q:
    """Rows of periods that belong to no session, or to one that the actor may see."""
    if actor.team_ids is None:
        return Q()
    return Q(period__session_key="") | Q(period__session_key__in=visible(actor, Session.objects.all()).values("key"))


def topups_of(actor: Actor, budget: Budget, limit: int = 50) -> list[TopUp]:
    """The top-ups of the budget's periods, latest first; for a session budget those of all its sessions."""
    rows = scoped(actor, TopUp.objects.filter(seen_periods(actor), period__budget=budget)).select_related(
        "period", "granted_by__user", "decision"
    )
    return list(rows.order_by("-granted_at", "-id")[:limit])


def crossings_of(actor: Actor, period: BudgetPeriod) -> list[ThresholdCrossing]:
    """The thresholds the period has passed, lowest first."""
    return list(scoped(actor, ThresholdCrossing.objects.filter(period=period)).order_by("percent")) if period.pk else []


def freezes_of(actor: Actor, budget: Budget, limit: int = 50) -> list[Freeze]:
    """The freezes the budget caused, latest first."""
    rows = scoped(actor, Freeze.objects.filter(seen_periods(actor), period__budget=budget)).select_related(
        "started_by__user", "ended_by__user"
    )
    return list(rows.order_by("-started_at", "-id")[:limit])


def requests_of(actor: Actor, budget: Budget, limit: int = 20) -> list[ApprovalRequest]:
    """The requests on the budget that the actor may see, latest first."""
    return list(requests_visible(actor).filter(period__budget=budget).order_by("-created_at", "-id")[:limit])


def requests_pending(actor: Actor, period_ids: Sequence[int]) -> list[ApprovalRequest]:
    """Requests the actor may see that wait on one of the periods, oldest first."""
    rows = requests_visible(actor).filter(period__in=period_ids, state=ApprovalRequest.State.PENDING)
    return list(rows.order_by("created_at", "id"))

"""Budgets as pages show them: the tree with its current periods, one budget's course, and the pace of each scope."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from dashboards.selectors.budget_course import Days, budget_rule, directory_now, histories
from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import requests_visible
from governance.budgets.ledger import ledger
from governance.budgets.models import Budget, BudgetPeriod, BudgetVersion, Freeze, Session, ThresholdCrossing, TopUp
from governance.budgets.tree import budgets_visible, depth_of, position_of, present_periods, team_tree
from governance.forecast import HISTORY_DAYS, Forecast, forecast
from governance.tenancy.access import Actor, scoped, visible

ZERO = Decimal(0)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Below:
    """What a session or task budget adds up to over the sessions or tasks of the last day."""

    subjects: int = 0
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


def budget_lines(actor: Actor, *, now: datetime, is_active: bool = True) -> list[Line]:
    """The visible budgets in tree order, each with its current period, whether it stands frozen, and its forecast."""
    tree = team_tree(actor)
    budgets = list(budgets_visible(actor, tree).filter(is_active=is_active))
    periods = present_periods(actor, budgets, now=now)
    below = below_budgets(actor, [budget for budget in budgets if budget.is_template], now=now)
    paces = histories(actor, [budget for budget in budgets if has_course(budget)], now=now)
    lines = [
        Line(
            budget=budget,
            period=periods[budget.pk],
            depth=depth_of(budget, tree),
            is_frozen=periods[budget.pk].frozen_at is not None,
            forecast=period_forecast(periods[budget.pk], paces.get(budget.pk, {}), now=now) if has_course(budget) else None,
            below=below.get(budget.pk, Below()) if budget.is_template else None,
        )
        for budget in budgets
    ]
    return sorted(lines, key=lambda line: position_of(line.budget, tree))


def budget_line(actor: Actor, budget: Budget, *, now: datetime) -> Line:
    """One budget as a line of the tree."""
    period = present_periods(actor, [budget], now=now)[budget.pk]
    if budget.is_template:
        return Line(budget, period, below=below_budgets(actor, [budget], now=now).get(budget.pk, Below()))
    pace = histories(actor, [budget], now=now).get(budget.pk, {}) if has_course(budget) else {}
    return Line(budget, period, is_frozen=period.frozen_at is not None, forecast=period_forecast(period, pace, now=now) if has_course(budget) else None)


def has_course(budget: Budget) -> bool:
    """Whether its spend only grows until the window ends: not what lets go of it again, and not what has a balance for each session."""
    return not budget.is_template and budget.period_kind != Budget.Kind.ROLLING


def below_budgets(actor: Actor, budgets: Sequence[Budget], *, now: datetime) -> dict[int, Below]:
    """For session and task budgets: how many of the last day they cover, how many stand frozen, and their spend."""
    if not budgets:
        return {}
    recent = scoped(actor, Session.objects.filter(last_at__gte=now - DAY)).order_by()
    is_recent = Q(session_key="", task_key__in=recent.exclude(task="").values("task")) | Q(task_key="", session_key__in=recent.values("key"))
    periods = scoped(actor, BudgetPeriod.objects.filter(budget__in=budgets)).order_by()
    counted = periods.filter(is_recent).values_list("budget_id").annotate(subjects=Count("id"), total=Sum("spent"))
    frozen = dict(
        scoped(actor, Freeze.objects.filter(period__budget__in=budgets, ended_at=None))
        .order_by()
        .values_list("period__budget_id")
        .annotate(number=Count("id"))
    )
    found = {budget.pk: Below(frozen=frozen.get(budget.pk, 0)) for budget in budgets}
    return found | {key: Below(number, frozen.get(key, 0), total) for key, number, total in counted}


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

    Walked back from the balance by hour (windows up to two days) or by day, so that the line ends on the balance.
    """
    begins = period.slides_from or period.starts_at
    end = min(now, period.ends_at) if period.ends_at else now
    is_short = period.budget.period_kind == Budget.Kind.DAY or (period.slides_from is not None and end - begins <= 2 * DAY)
    steps = ledger().course(
        directory_now(actor), budget_rule(period.budget), starts_at=begins, ends_at=period.ends_at, step="hour" if is_short else "day"
    )
    levels = [(end, period.spent)]
    level = period.spent
    for at, amount in sorted(steps.items(), reverse=True):
        level = max(level - amount, ZERO)
        levels.append((max(at, begins), level))
    # Nothing was spent until the first step: the line begins there, not on a slope from the start of the window.
    if levels[-1][0] > begins > now - timedelta(days=HISTORY_DAYS * 14):
        levels.append((begins, level if steps else ZERO))
    return levels[::-1]


def leaving_levels(actor: Actor, period: BudgetPeriod, *, now: datetime) -> list[tuple[datetime, Decimal]]:
    """What a rolling window will still hold, if nothing more is used, as its quarter hours leave it: from now to its whole length on."""
    hours = timedelta(hours=period.budget.rolling_hours or 0)
    slices = scoped(actor, period.slices.all()).order_by("slice_at").values_list("slice_at", "spent")
    level, levels = period.spent, [(now, period.spent)]
    for at, spent in slices:
        leaves = max(at + hours + timedelta(minutes=15), now)
        levels.append((leaves, level))
        level -= spent
        levels.append((leaves, level))
    levels.append((now + hours, level))
    return levels


def spent_before(actor: Actor, budget: Budget, period: BudgetPeriod) -> Decimal:
    """What of the period's spend came before the budget was made: a new budget counts its present period from the start."""
    if budget.created_at <= period.starts_at or budget.is_template:
        return ZERO
    sums = ledger().sums(directory_now(actor), budget_rule(budget), starts_at=period.slides_from or period.starts_at, ends_at=budget.created_at)
    spent: Decimal = period.spent
    return min(sum((found.amount for found in sums), ZERO), spent)


def periods_of(actor: Actor, budget: Budget, limit: int = 24) -> list[BudgetPeriod]:
    """The budget's windows so far, latest first."""
    rows = list(scoped(actor, BudgetPeriod.objects.filter(budget=budget, session_key="", task_key="")).order_by("-starts_at", "id")[:limit])
    for row in rows:
        row.budget, row.organization = budget, actor.organization
    return rows


def sessions_of(actor: Actor, budget: Budget) -> QuerySet[Any]:
    """A template's periods of sessions (tasks) the actor may see, each with the `last_at` of its calls: frozen first, then by what is spent."""
    key, column = ("task_key", "task") if budget.scope_kind == Budget.ScopeKind.TASK else ("session_key", "key")
    session = scoped(actor, Session.objects.filter(**{column: OuterRef(key)})).order_by("-last_at")
    rows: QuerySet[Any] = scoped(actor, BudgetPeriod.objects.filter(budget=budget).exclude(**{key: ""}))
    rows = rows.annotate(last_at=Subquery(session.values("last_at")[:1]))
    if actor.team_ids is not None:
        rows = rows.filter(**{f"{key}__in": visible(actor, Session.objects.all()).values(column)})
    return rows.order_by(F("frozen_at").desc(nulls_last=True), "-spent", "-id")


def seen_periods(actor: Actor) -> Q:
    """Rows of periods that belong to no session or task, or to one that the actor may see."""
    if actor.team_ids is None:
        return Q()
    seen = visible(actor, Session.objects.all())
    return (
        Q(period__session_key="", period__task_key="")
        | Q(period__task_key="", period__session_key__in=seen.values("key"))
        | Q(period__session_key="", period__task_key__in=seen.exclude(task="").values("task"))
    )


def topups_of(actor: Actor, budget: Budget, limit: int = 50) -> list[TopUp]:
    """The top-ups of the budget's periods, latest first; for a session budget those of all its sessions."""
    rows = scoped(actor, TopUp.objects.filter(seen_periods(actor), period__budget=budget)).select_related(
        "period", "granted_by__user", "decision", "other_period__budget"
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


def versions_of(actor: Actor, budget: Budget, limit: int = 30) -> list[BudgetVersion]:
    """How the budget stood since each of its changes, latest first."""
    return list(scoped(actor, BudgetVersion.objects.filter(budget=budget)).select_related("by__user").order_by("-number")[:limit])


def requests_of(actor: Actor, budget: Budget, limit: int = 20) -> list[ApprovalRequest]:
    """The requests on the budget that the actor may see, latest first."""
    return list(requests_visible(actor).filter(period__budget=budget).order_by("-created_at", "-id")[:limit])


def requests_pending(actor: Actor, period_ids: Sequence[int]) -> list[ApprovalRequest]:
    """Requests the actor may see that wait on one of the periods, oldest first."""
    rows = requests_visible(actor).filter(period__in=period_ids, state=ApprovalRequest.State.PENDING)
    return list(rows.order_by("created_at", "id"))

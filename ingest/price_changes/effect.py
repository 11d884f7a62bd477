"""What found prices change for one organization: last month's bill at the new price, by team, and the forecasts of budgets."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from governance.budgets.calls import Call
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services.forecasts import period_forecast
from governance.budgets.tree import present_periods
from governance.forecast import HISTORY_DAYS
from governance.money import quantize
from governance.periods import add_months
from governance.pricing.book import Book, CatalogueModel, current_book
from governance.pricing.models import PriceFinding
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.directory import Attribution, Directory, directory_of
from governance.tenancy.models import Organization
from ingest.models import UsageRollupDay
from ingest.price_changes.rates import Rates, before_and_after, growth

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
LABELS = ("provider", "maker", "model", "tier", "harness", "gateway", "role", "task_class", "billing_mode")
Kind, State = PriceFinding.Kind, PriceFinding.State
KNOWN_AFTER = timedelta(days=1)
PRICED = (Kind.CHANGED, Kind.ANNOUNCED)


@dataclass(frozen=True, slots=True)
class BudgetEffect:
    """A budget whose forecast moves: what was expected at its period's end, and what is now."""

    budget_id: int
    name: str
    expected: Decimal
    expected_after: Decimal
    allowance: Decimal

    @property
    def will_run_out(self) -> bool:
        """Whether it is the new price that takes it over its limit."""
        return self.expected < self.allowance <= self.expected_after


@dataclass(frozen=True, slots=True)
class Effect:
    """One finding as one organization feels it. Amounts are in the organization's currency, `month` is the first day of the month compared."""

    finding: PriceFinding
    month: date
    calls: int
    before: Decimal
    after: Decimal
    by_team: dict[int | None, Decimal]
    budgets: tuple[BudgetEffect, ...] = ()

    @property
    def difference(self) -> Decimal:
        return self.after - self.before

    @property
    def is_felt(self) -> bool:
        return self.calls > 0


@dataclass(slots=True)
class Changed:
    """A finding with its two prices, and the names calls of its model are stored under."""

    finding: PriceFinding
    model: CatalogueModel
    before: Rates
    after: Rates
    growths: dict[str, Decimal] = field(default_factory=dict)


def effects_of(
    organization: Organization,
    findings: Iterable[PriceFinding],
    *,
    now: datetime,
    with_budgets: bool = False,
    team_ids: Collection[int] | None = None,
) -> list[Effect]:
    """The effect of each finding that changes a price, those that are felt most first. Others (new models, vanished ones) have none.

    With `team_ids`, what only these teams would feel, without budgets: those are shared with others.
    """
    book = current_book(refresh=True)
    changed = [found for finding in findings if (found := changed_of(finding, book)) is not None]
    effects = [_effect(organization, each, book, now=now, team_ids=team_ids) for each in changed]
    if with_budgets and team_ids is None:
        budgets = _budget_effects(organization, changed, book, now=now)
        effects = [_with_budgets(effect, budgets.get(effect.finding.pk, ())) for effect in effects]
    return sorted(effects, key=lambda effect: (-abs(effect.difference), effect.finding.provider, effect.finding.slug))


def changed_of(finding: PriceFinding, book: Book) -> Changed | None:
    """The finding's two prices; None for one that compares none."""
    if finding.kind not in PRICED or not finding.steps:
        return None
    model = next((each for each in book.models() if (each.provider, each.slug) == (finding.provider, finding.slug)), None)
    if model is None:
        return None
    is_applied = finding.state in (State.APPLIED, State.ACCEPTED)
    begins = finding.valid_from or finding.run.started_at
    row = model.row_at(max(begins, finding.run.started_at) if is_applied else finding.run.started_at)
    if row is None:
        return None
    before, after = before_and_after(row.rates, finding.steps, is_applied=is_applied)
    return Changed(finding, model, before, after)


def _effect(organization: Organization, changed: Changed, book: Book, *, now: datetime, team_ids: Collection[int] | None) -> Effect:
    first, end = month_before(organization, min(now, changed.finding.valid_from or now))
    calls, billed = 0, Decimal(0)
    by_team: defaultdict[int | None, Decimal] = defaultdict(Decimal)
    for row in _usage(organization, changed, book, since=first, until=end):
        share = _growth(changed, row) if team_ids is None or row["team_id"] in team_ids else None
        if share is not None:
            calls += row["count"]
            billed += row["billed"]
            by_team[row["team_id"]] += row["billed"] * share
    difference = quantize(sum(by_team.values(), Decimal(0)))
    return Effect(changed.finding, first, calls, billed, billed + difference, {team: quantize(amount) for team, amount in by_team.items()})


def month_before(organization: Organization, instant: datetime) -> tuple[date, date]:
    """The last full month on the organization's calendar before the instant: its first day, and the first day after it."""
    this = instant.astimezone(organization.zone).date().replace(day=1)
    return add_months(this, -1), this


def _usage(organization: Organization, changed: Changed, book: Book, *, since: date, until: date, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Billed sums of the model's calls by team, under whatever provider resells it."""
    rows = UsageRollupDay.objects.filter(organization=organization, model=changed.model.slug, day__gte=since, day__lt=until, billing_mode="metered")
    sums = {bucket: Sum(bucket) for bucket in BUCKETS}
    grouped = rows.order_by().values("provider", "team_id", *columns).annotate(count=Sum("calls"), billed=Sum("cost"), **{f"sum_{key}": value for key, value in sums.items()})
    return [row for row in grouped if book.entry(row["provider"], changed.model.slug) is changed.model]


def _growth(changed: Changed, row: dict[str, Any]) -> Decimal | None:
    usage = Usage(**{bucket: row[f"sum_{bucket}"] for bucket in BUCKETS})
    return growth(changed.before, changed.after, usage, calls=row["count"])


def _budget_effects(organization: Organization, changed: Sequence[Changed], book: Book, *, now: datetime) -> dict[int, tuple[BudgetEffect, ...]]:
    """By finding: the running budgets that count its model's calls, with their forecast before and after."""
    actor = system_actor(organization)
    version = Organization.objects.values_list("config_version", flat=True).get(pk=organization.pk)
    directory = directory_of(organization, version)
    rules = rules_of(directory)
    today = now.astimezone(organization.zone).date()
    found: dict[int, tuple[BudgetEffect, ...]] = {}
    for each in changed:
        if _is_known(each.finding, now):
            continue
        daily: defaultdict[int, Decimal] = defaultdict(Decimal)
        extra = ("project_id", "member_id", *(label for label in LABELS if label not in ("provider", "billing_mode")))
        for row in _usage(organization, each, book, since=today - timedelta(days=HISTORY_DAYS), until=today, columns=extra):
            share = _growth(each, row)
            for rule_id in _counting(rules, row) if share else ():
                daily[rule_id] += row["billed"] * (share or 0) / HISTORY_DAYS
        found[each.finding.pk] = _forecasts(actor, directory, rules, daily, begins=each.finding.valid_from or now, now=now)
    return found


def _is_known(finding: PriceFinding, now: datetime) -> bool:
    """Whether calls have been rated by the price for days, so that forecasts go by it already."""
    if finding.state not in (State.APPLIED, State.ACCEPTED):
        return False
    applied = finding.decided_at or finding.run.started_at
    return max(applied, finding.valid_from or applied) < now - KNOWN_AFTER


def _counting(rules: Rules, row: dict[str, Any]) -> list[int]:
    who = Attribution(row["team_id"], row["project_id"], row["member_id"])
    call = Call(who, **{label: row[label] for label in LABELS if label in row})
    return [rule.id for rule in rules.matching(call) if rule.is_money and rule.scope_kind not in ("session", "task")]


def _forecasts(
    actor: Actor, directory: Directory, rules: Rules, daily: dict[int, Decimal], *, begins: datetime, now: datetime
) -> tuple[BudgetEffect, ...]:
    budgets = list(Budget.objects.filter(organization=actor.organization, pk__in=daily, is_active=True).order_by("name", "id"))
    periods = present_periods(actor, budgets, now=now)
    found = (_budget_effect(directory, rules, budget, periods[budget.pk], daily[budget.pk], begins=begins, now=now) for budget in budgets)
    return tuple(effect for effect in found if effect is not None)


def _budget_effect(  # noqa: PLR0917 - one budget with all that its forecast takes
    directory: Directory, rules: Rules, budget: Budget, period: BudgetPeriod, daily: Decimal, *, begins: datetime, now: datetime
) -> BudgetEffect | None:
    course = period_forecast(directory, rules.by_id[budget.pk], period, now=now)
    if course is None or period.ends_at is None:
        return None
    days = max(Decimal(0), Decimal(str((period.ends_at - max(begins, now)).total_seconds())) / 86_400)
    expected = quantize(course.at_end.expected)
    return BudgetEffect(budget.pk, budget.name, expected, quantize(expected + daily * days), period.allowance)


def _with_budgets(effect: Effect, budgets: tuple[BudgetEffect, ...]) -> Effect:
    return Effect(effect.finding, effect.month, effect.calls, effect.before, effect.after, effect.by_team, budgets)


def calls_since(organization: Organization, finding: PriceFinding, *, until: datetime) -> tuple[int, Decimal]:
    """Calls of the model between the price's beginning and now that were rated before it was known, and by how much their cost would move."""
    book = current_book()
    changed = changed_of(finding, book)
    if changed is None or finding.valid_from is None:
        return 0, Decimal(0)
    first = finding.valid_from.astimezone(organization.zone).date()
    last = until.astimezone(organization.zone).date() + timedelta(days=1)
    calls, difference = 0, Decimal(0)
    for row in _usage(organization, changed, book, since=first, until=last):
        calls += row["count"]
        difference += row["billed"] * (_growth(changed, row) or 0)
    return calls, quantize(difference)



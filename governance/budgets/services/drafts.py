"""A budget as somebody wants it: checked as a whole before anything is written, the same for making one and for looking ahead."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Required, TypedDict

from django.core.exceptions import ValidationError
from django.utils import timezone

from governance.budgets.calls import MOST_VALUES, filters_checked
from governance.budgets.models import LONGEST_ROLLING_HOURS, Budget
from governance.budgets.quoted import quote
from governance.budgets.rules import Rule, rolling_start
from governance.budgets.services.endings import LARGEST_HOLD
from governance.errors import Forbidden, Invalid
from governance.money import AmountTooLarge, quantize
from governance.periods import Window, window_at
from governance.tenancy.models import ApiKey, Member, Organization, Project, ServiceAccount, Team

HARD = (Budget.Action.FREEZE, Budget.Action.ASK)
# The last day that a window may begin on, by its kind; others begin where they begin.
LAST_ANCHOR = {"week": 7, "month": 28, "quarter": 28, "year": 28}
TEMPLATES = ("session", "task")
CALENDAR = ("day", "week", "month", "quarter", "year")
THRESHOLDS = (50, 80, 100)


class BudgetFacts(TypedDict, total=False):
    """What a budget is made of. `limit_amount` and `rollover_cap` are in the measure: an amount of money, tokens or calls.

    `currency` is what the limit is given in, where that is not the organization's; all other amounts are in the organization's.

    Without an `action` it is freeze where `is_hard`, else notify.
    """

    name: Required[str]
    scope_kind: Required[str]
    team: Team | None
    project: Project | None
    member: Member | None
    service_account: ServiceAccount | None
    api_key: ApiKey | None
    filters: Mapping[str, Iterable[Any]] | None
    period_kind: Required[str]
    rolling_hours: int | None
    anchor_day: int
    measure: str
    limit_amount: Required[Decimal]
    currency: str | None
    is_hard: bool
    action: str | None
    downgrade_models: Iterable[str]
    thresholds: Iterable[int]
    warns_ahead: bool
    fails_open: bool
    rollover_cap: Decimal | None
    unpriced_call_amount: Decimal | None
    counts_notional: bool


STORED: dict[str, Any] = {}


def budget_drafted(organization: Organization, facts: BudgetFacts) -> Budget:
    """The budget, not saved, with all that rules ask of it checked. Raises Invalid, and Forbidden for what belongs to others."""
    wanted: dict[str, Any] = dict(facts)
    for name in ("team", "project", "member", "service_account", "api_key"):
        if (row := wanted.get(name)) is not None and row.organization_id != organization.pk:
            raise Forbidden("This belongs to another organization.")
    is_hard = wanted.pop("is_hard", True)
    action = wanted.pop("action", None) or (Budget.Action.FREEZE if is_hard else Budget.Action.NOTIFY).value
    wanted |= {"currency": wanted.get("currency") or organization.currency, "filters": filters_checked(wanted.get("filters") or {})}
    wanted = {"thresholds": THRESHOLDS, "downgrade_models": ()} | wanted | {"name": wanted["name"].strip()}
    budget = Budget(
        organization=organization, action=action, is_hard=action in HARD, counts_from=timezone.now(), **{name: stored(name, wanted[name]) for name in wanted}
    )
    quote(budget, organization, currency=budget.currency, at=budget.counts_from)
    budget_check(budget)
    pools_check(budget)
    budget.counts_from = first_instant(organization, budget)
    return budget


def stored(name: str, value: Any) -> Any:
    """One fact as the column keeps it. Raises Invalid."""
    return STORED[name](value) if name in STORED else value


def budget_check(budget: Budget) -> None:
    """The model's own rules, as a sentence with the field. Raises Invalid."""
    if budget.unpriced_call_amount is not None and not 0 <= budget.unpriced_call_amount <= LARGEST_HOLD:
        raise Invalid(f"A call without a price is charged from 0 to {LARGEST_HOLD:,}.", field="unpriced_call_amount")
    for field, text in (("name", budget.name), ("downgrade_models", "".join(budget.downgrade_models))):
        if "\0" in text:
            raise Invalid("A NUL character cannot be stored.", field=field)
    _check_window(budget)
    try:
        budget.full_clean()
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        if field == "__all__":
            raise Invalid("The scope, what it names, and the period do not fit together.", field="scope_kind") from error
        raise Invalid(" ".join(problems), field=field) from error
    if budget.action == Budget.Action.DOWNGRADE and not budget.downgrade_models:
        raise Invalid("Name the models that go on at the limit.", field="downgrade_models")
    if budget.measure != Budget.Measure.MONEY and budget.limit_amount != budget.limit_amount.to_integral_value():
        raise Invalid(f"A limit in {budget.measure} is a whole number.", field="limit_amount")
    if budget.rollover_cap is not None and budget.period_kind not in CALENDAR:
        raise Invalid("Only windows of the calendar leave something to the next.", field="rollover_cap")


def _check_window(budget: Budget) -> None:
    """The window's own numbers, each with its field. Raises Invalid."""
    kind, days = budget.period_kind, LAST_ANCHOR.get(budget.period_kind, 1)
    if not 1 <= budget.anchor_day <= days:
        wanted = f"from 1 to {days}" if days > 1 else "1, the usual one: this window has no other"
        raise Invalid(f"The day that a {kind} begins on is {wanted}.", field="anchor_day")
    if kind != Budget.Kind.ROLLING and budget.rolling_hours is not None:
        raise Invalid("Only a rolling window has a length in hours.", field="rolling_hours")
    if kind == Budget.Kind.ROLLING and not 1 <= (budget.rolling_hours or 0) <= LONGEST_ROLLING_HOURS:
        raise Invalid(f"Say how many hours the window is long, from 1 to {LONGEST_ROLLING_HOURS:,}.", field="rolling_hours")
    if (budget.scope_kind in TEMPLATES or kind in TEMPLATES) and budget.scope_kind != kind:
        raise Invalid("A budget for every session or task runs for the whole session or task, and no other does.", field="period_kind")


def pools_check(budget: Budget) -> None:
    """The teams, projects and members that share the budget are the organization's own. Raises Invalid."""
    for name, model in (("team", Team), ("project", Project), ("member", Member)):
        wanted = set(budget.filters.get(name, ()))
        if wanted and model.objects.filter(organization=budget.organization, pk__in=wanted).count() != len(wanted):
            raise Invalid(f"There is no such {name} here.", field="filters")


def _models(names: Iterable[str]) -> list[str]:
    found = sorted({name.strip() for name in names if name.strip()})
    if len(found) > MOST_VALUES:
        raise Invalid(f"At most {MOST_VALUES} models can be named.", field="downgrade_models")
    return found


def _cap(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else _amount(amount, field="rollover_cap")


def _placeholder(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else _amount(amount, field="unpriced_call_amount")


def _amount(wanted: Decimal, field: str = "limit_amount") -> Decimal:
    try:
        amount = quantize(wanted)
    except AmountTooLarge as error:
        raise Invalid("That is more than a budget can hold.", field=field) from error
    if amount < 0:
        raise Invalid("An amount is not negative.", field=field)
    if wanted and not amount:
        raise Invalid("This amount is too small to be kept: at most 15 digits after the point count.", field=field)
    return amount


def _thresholds(percents: Iterable[int]) -> list[int]:
    found = sorted(set(percents))
    if any(not 1 <= percent <= 1000 for percent in found):
        raise Invalid("Thresholds are percentages from 1 to 1000.", field="thresholds")
    return found


STORED |= {"limit_amount": _amount, "thresholds": _thresholds, "downgrade_models": _models, "rollover_cap": _cap, "unpriced_call_amount": _placeholder}


def first_instant(organization: Organization, budget: Budget) -> datetime:
    """From when on a budget that is made now counts: its present window."""
    now = timezone.now()
    if budget.rolling_hours is not None:
        return rolling_start(budget.rolling_hours, now)
    return window_of(organization, budget, now).starts_at


def window_of(organization: Organization, budget: Budget | Rule, instant: datetime) -> Window:
    """The budget's window that holds the instant."""
    kind: Any = budget.period_kind
    return window_at(kind, instant, organization.zone, organization.year_starts_in, anchor_day=budget.anchor_day)

"""What making or changing a budget would freeze and thaw at this moment, before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, DecimalField, F, Q, QuerySet, Value, When

from governance.budgets.ledger import LedgerSum, ledger
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.quoted import Limit, limit_of, quoted_changes, terms_for
from governance.budgets.rules import rule_of
from governance.budgets.services.drafts import BudgetFacts, budget_drafted, stored, window_of
from governance.budgets.tree import present_periods
from governance.money import DIGITS, PLACES
from governance.pricing.terms import exchanged
from governance.tenancy.access import Actor, scoped
from governance.tenancy.directory import Directory, directory_of
from governance.tenancy.models import Organization

RECENT = timedelta(days=1)
SHOWN = 8
MOST = 200
ZERO = Decimal(0)
MONEY: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=DIGITS, decimal_places=PLACES)


@dataclass(frozen=True, slots=True)
class Touched:
    """A period that would change its state: what it is called and what it has spent."""

    name: str
    session_key: str
    task_key: str
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """`spent` is what the present window holds already, in `unit`; for templates the sum over the sessions (tasks) of the last day.

    `refuses`: whether what does not fit is refused at the limit without a freeze, as budgets that ask or downgrade do.
    """

    freezes: Sequence[Touched]
    thaws: Sequence[Touched]
    spent: Decimal
    calls: int
    subjects: int
    limit: Decimal
    unit: str
    scope_kind: str
    refuses: int = 0
    # The limit as it is given in another currency, and the rate of the present window's first day; without a window that of now.
    quoted_limit: Decimal | None = None
    quoted_currency: str = ""
    exchange_rate: Decimal | None = None

    @property
    def is_template(self) -> bool:
        return self.scope_kind in (Budget.ScopeKind.SESSION, Budget.ScopeKind.TASK)

    @property
    def shown_freezes(self) -> Sequence[Touched]:
        return self.freezes[:SHOWN]

    @property
    def shown_thaws(self) -> Sequence[Touched]:
        return self.thaws[:SHOWN]

    @property
    def more_freezes(self) -> int:
        return max(len(self.freezes) - SHOWN, 0)

    @property
    def more_thaws(self) -> int:
        return max(len(self.thaws) - SHOWN, 0)


def creation_preview(actor: Actor, wanted: BudgetFacts, *, now: datetime) -> Preview:
    """What a new budget would begin with: the ledger's sums of its present window, and what of that is at the limit. Raises Invalid."""
    organization = Organization.objects.get(pk=actor.organization.pk)
    budget = budget_drafted(organization, wanted)
    sums = present_sums(directory_of(organization, organization.config_version), budget, organization, now=now)
    alive = [found for found in sums if not budget.is_template or found.last_at > now - RECENT]
    # A budget of nothing is reached before anything is used.
    if not alive and not budget.is_template:
        alive = [LedgerSum("", ZERO, 0, now)]
    limit = _first_limit(organization, budget, now)
    reached = sorted((found for found in alive if found.amount >= limit.amount), key=lambda found: -found.amount)
    freezes = budget.action == Budget.Action.FREEZE
    return Preview(
        freezes=[Touched(_name(budget, found.session_key, found.task_key), found.session_key, found.task_key, found.amount) for found in reached if freezes],
        thaws=(),
        spent=sum((found.amount for found in alive), ZERO),
        calls=sum(found.calls for found in alive),
        subjects=len(alive) if budget.is_template else 0,
        limit=limit.amount,
        unit=budget.unit,
        scope_kind=budget.scope_kind,
        refuses=len(reached) if budget.action in (Budget.Action.ASK, Budget.Action.DOWNGRADE) else 0,
        quoted_limit=budget.quoted_limit,
        quoted_currency=budget.quoted_currency,
        exchange_rate=limit.exchange_rate,
    )


def _first_limit(organization: Organization, budget: Budget, now: datetime) -> Limit:
    """The limit that the budget's present window would begin with."""
    window = window_of(organization, budget, now)
    terms = terms_for(budget, directory_of(organization, organization.config_version))
    return limit_of(budget, terms, starts_at=window.starts_at, ends_at=window.ends_at)


def present_sums(directory: Directory, budget: Budget, organization: Organization, *, now: datetime) -> Sequence[LedgerSum]:
    """What the ledger has for the budget's present window; of a rolling one as one sum."""
    window = window_of(organization, budget, now)
    rule = rule_of(budget)
    sums = ledger().sums(directory, rule, starts_at=rule.slides_from(now) or window.starts_at, ends_at=window.ends_at)
    if rule.rolling_hours is None or not sums:
        return sums
    amount = sum((found.amount for found in sums), ZERO)
    return [LedgerSum("", amount, sum(found.calls for found in sums), max(found.last_at for found in sums))]


def change_preview(actor: Actor, budget: Budget, changes: Mapping[str, Any], *, now: datetime) -> Preview:
    """What changes of the limit, in the currency it was given in, or of the action would do to the periods that run now. Raises Invalid."""
    wanted = quoted_changes(budget, {"limit_amount": stored("limit_amount", changes["limit_amount"])} if "limit_amount" in changes else {})
    limit, quoted = wanted.get("limit_amount", budget.limit_amount), wanted.get("quoted_limit", budget.quoted_limit)
    action = changes.get("action", budget.action)
    rows = scoped(actor, BudgetPeriod.objects.filter(budget=budget)).filter(Q(ends_at=None) | Q(ends_at__gt=now))
    rows = rows.annotate(would_allow=F("topup") + _limits_by_rate(rows, limit, quoted)).order_by("-spent", "id")
    reached = Q(spent__gte=F("would_allow"))
    freezing = reached if action == Budget.Action.FREEZE else Q(pk__in=[])
    present = present_periods(actor, [budget], now=now)[budget.pk]
    refuses = rows.filter(reached).count() if action in (Budget.Action.ASK, Budget.Action.DOWNGRADE) else 0
    return Preview(
        freezes=_touched(budget, rows.filter(freezing, frozen_at=None)[:MOST]),
        thaws=_touched(budget, rows.filter(~freezing, frozen_at__isnull=False)[:MOST]),
        spent=present.spent,
        calls=present.calls,
        subjects=0,
        limit=limit if quoted is None or present.exchange_rate is None else exchanged(quoted, present.exchange_rate),
        unit=budget.unit,
        scope_kind=budget.scope_kind,
        refuses=refuses,
        quoted_limit=quoted,
        quoted_currency=budget.quoted_currency,
        exchange_rate=present.exchange_rate,
    )


def _limits_by_rate(rows: QuerySet[BudgetPeriod], limit: Decimal, quoted: Decimal | None) -> Case | Value:
    """The limit that each period would have: what is given in another currency at the period's own rate."""
    fallback = Value(limit, output_field=MONEY)
    if quoted is None:
        return fallback
    rates = rows.filter(exchange_rate__isnull=False).order_by().values_list("exchange_rate", flat=True).distinct()
    cases = [When(exchange_rate=rate, then=Value(exchanged(quoted, rate), output_field=MONEY)) for rate in rates if rate is not None]
    return Case(*cases, default=fallback, output_field=MONEY) if cases else fallback


def _touched(budget: Budget, rows: Iterable[BudgetPeriod]) -> list[Touched]:
    return [Touched(_name(budget, row.session_key, row.task_key), row.session_key, row.task_key, row.spent) for row in rows]


def _name(budget: Budget, session_key: str, task_key: str) -> str:
    return f"Session {session_key}" if session_key else f"Task {task_key}" if task_key else budget.name

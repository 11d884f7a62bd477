"""Rollover: what a window of the calendar leaves unused goes on to the next, up to the budget's cap, and once."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.budgets.calls import Call
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.rules import PeriodKey, Rules, rules_at
from governance.budgets.services.freezes import period_review
from governance.budgets.services.periods import periods_ensure, periods_locked
from governance.money import LARGEST
from governance.tenancy.access import Actor
from governance.tenancy.directory import Attribution, directory_at
from governance.tenancy.services import organization_lock

ZERO = Decimal(0)
NOBODY = Call(Attribution(None, None, None))


def carried(*, left: Decimal, cap: Decimal | None) -> Decimal:
    """What goes on to the next window of what was left (negative after an excess) under the cap (None: nothing goes on)."""
    return ZERO if cap is None else max(min(left, cap), ZERO)


def periods_close(*, actor: Actor, now: datetime | None = None) -> int:
    """Closes the organization's windows that are over, each budget's oldest first, and carries over what they leave. Returns how many.

    A window that nobody saw while it ran is made on the way, so that what was left goes through all of them.
    """
    now = now or timezone.now()
    due = BudgetPeriod.objects.filter(organization=actor.organization, closed_at=None, ends_at__lte=now)
    count = 0
    for budget_id in list(due.order_by("budget").values_list("budget", flat=True).distinct()):
        while (oldest := due.filter(budget=budget_id).order_by("starts_at", "pk").first()) is not None:
            count += period_close(actor=actor, period=oldest, now=now)
    return count


@transaction.atomic
def period_close(*, actor: Actor, period: BudgetPeriod, now: datetime) -> bool:
    """Closes one window that is over. False when that was done already.

    What is held then counts as used, so that nothing is carried that a running call may still cost. Usage that is reported for the
    window later changes nothing of what was carried.
    """
    organization_lock(actor.organization.pk, exclusive=False)
    budget = Budget.objects.select_related("organization").get(organization=actor.organization, pk=period.budget_id)
    key = _next_key(budget, period, now) if budget.is_active and budget.rollover_cap is not None else None
    following = None if key is None else BudgetPeriod.objects.get(organization=actor.organization, budget=budget, starts_at=key.starts_at)
    locked = periods_locked(organization_id=actor.organization.pk, ids=[period.pk, *([following.pk] if following else [])])
    period = locked[period.pk]
    if period.closed_at is not None:
        return False
    period.closed_at = now
    period.save(update_fields=["closed_at"])
    if following is not None and locked[following.pk].closed_at is None:
        _carry(actor, period, locked[following.pk], cap=budget.rollover_cap, now=now)
    return True


def _next_key(budget: Budget, period: BudgetPeriod, now: datetime) -> PeriodKey | None:
    """The window that follows, as a row that is there."""
    rules: Rules = rules_at(directory_at(budget.organization))
    if period.ends_at is None:
        return None
    key = rules.period(rules.by_id[budget.pk], period.ends_at, NOBODY)
    if key is not None:
        periods_ensure(organization_id=budget.organization_id, rules=rules, keys=[key], now=now)
    return key


def _carry(actor: Actor, period: BudgetPeriod, following: BudgetPeriod, *, cap: Decimal | None, now: datetime) -> None:
    amount = min(carried(left=period.left, cap=cap), LARGEST - 1 - following.allowance)
    if amount <= 0:
        return
    topup = TopUp.objects.create(
        organization=actor.organization, period=following, amount=amount, granted_at=now, kind=TopUp.Kind.CARRY, other_period=period
    )
    old = following.topup
    following.topup = old + amount
    following.save(update_fields=["topup"])
    facts: dict[str, Any] = {"topup": following.topup, "amount": amount, "carried_from": period.pk, "left": period.left, "cap": cap, "row": topup.pk}
    audit_record(actor=actor, action="budget_period.carried_over", target=("budget_period", following.pk), old={"topup": old}, new=facts)
    period_review(actor=actor, period=following, reason="carried over from the window before")

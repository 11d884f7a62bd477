"""Transfers: what one budget has left is moved to another, in one transaction and with both sides on record."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from governance.audit.services import audit_record
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.services.freezes import period_review
from governance.budgets.services.periods import periods_locked
from governance.errors import Conflict, Invalid, NotFound
from governance.money import LARGEST, AmountTooLarge, quantize, written
from governance.tenancy.access import Actor, Right, require

LONGEST_REASON = 300
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The two sides of a transfer: what was taken off and what was added."""

    given: TopUp
    received: TopUp


@transaction.atomic
def budget_transfer(*, actor: Actor, from_period_id: int, to_period_id: int, amount: Decimal, reason: str) -> Transfer:
    """Moves `amount` (in the measure both budgets share) from what one period has left to another; freezes follow.

    Only what would be left if the source's top-ups for a time had ended: what is given does not come back with their end. Raises NotFound,
    Invalid, and Conflict where a period is over, its budget retired, or less is left.
    """
    require(actor, Right.MANAGE_BUDGETS)
    amount, reason = _amount(amount), reason.strip()[:LONGEST_REASON]
    if not reason or "\0" in reason:
        raise Invalid("Say why, so that the record tells it.", field="reason")
    if from_period_id == to_period_id:
        raise Invalid("Choose another budget to move it to.", field="to_period")
    periods = periods_locked(organization_id=actor.organization.pk, ids=[from_period_id, to_period_id])
    if len(periods) < 2:
        raise NotFound("There is no such budget period here.")
    source, target = periods[from_period_id], periods[to_period_id]
    _check(source, target, now=timezone.now())
    if amount > (movable := period_movable(source)):
        raise Conflict(f"Only {written(max(movable, ZERO))} {source.budget.unit} can be moved out of {source.budget.name} now.", movable=movable, field="amount")
    if target.allowance + amount >= LARGEST:
        raise Invalid("That is more than a budget can hold.", field="amount")
    given = _move(actor, source, -amount, other=target, reason=reason)
    received = _move(actor, target, amount, other=source, reason=reason)
    return Transfer(given, received)


def period_movable(period: BudgetPeriod) -> Decimal:
    """What could be moved out of a period now: what is left without its top-ups for a time. Negative after an excess."""
    passing = TopUp.objects.filter(organization=period.organization_id, period=period, ended_at=None, ends_at__isnull=False)
    passing_amount: Decimal = passing.aggregate(amount=Sum("amount"))["amount"] or ZERO
    return period.left - passing_amount


def _amount(amount: Decimal) -> Decimal:
    try:
        amount = quantize(amount)
    except AmountTooLarge as error:
        raise Invalid("That is more than a budget can hold.", field="amount") from error
    if amount <= 0:
        raise Invalid("Move more than zero.", field="amount")
    return amount


def _check(source: BudgetPeriod, target: BudgetPeriod, *, now: datetime) -> None:
    for period in (source, target):
        if period.budget.period_kind == Budget.Kind.ROLLING:
            raise Invalid(f"{period.budget.name} has a rolling window, which has nothing to give or take for good: change its limit.", field="to_period")
        if not period.budget.is_active or (period.ends_at is not None and period.ends_at <= now):
            raise Conflict(f"That period of {period.budget.name} is over.", period=period.pk)
    if source.budget.unit != target.budget.unit:
        raise Invalid(f"{source.budget.name} counts {source.budget.unit}, {target.budget.name} {target.budget.unit}.", field="to_period")


def _move(actor: Actor, period: BudgetPeriod, amount: Decimal, *, other: BudgetPeriod, reason: str) -> TopUp:
    """Adds the amount, which may be negative, to a locked period."""
    topup = TopUp.objects.create(
        organization=actor.organization, period=period, amount=amount, granted_at=timezone.now(), granted_by=actor.member,
        kind=TopUp.Kind.TRANSFER, other_period=other,
    )
    old = period.topup
    period.topup = old + amount
    changed = ["topup"]
    if amount > 0:
        period.refused_at = period.refused_amount = None
        changed += ["refused_at", "refused_amount"]
    period.save(update_fields=changed)
    facts = {"topup": period.topup, "amount": amount, "other_period": other.pk, "other_budget": other.budget.name, "reason": reason}
    audit_record(actor=actor, action="budget_period.moved", target=("budget_period", period.pk), old={"topup": old}, new=facts)
    period_review(actor=actor, period=period, reason=f"moved: {reason}")
    return topup

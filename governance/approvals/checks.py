"""What requests and decisions are held to, each broken rule answered by a sentence."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q

from governance import money
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, Invalid
from governance.ids import hash16
from governance.notices.messages import instant_text

LONGEST_TEXT = 2000


def amount_stored(amount: Decimal) -> Decimal:
    """The amount as it is stored. Raises Invalid unless it is above zero and fits."""
    try:
        stored = money.quantize(amount)
    except money.AmountTooLarge:
        raise Invalid("This amount is too large.", field="amount") from None
    if stored <= 0:
        raise Invalid("The amount must be above zero.", field="amount")
    return stored


def text_stored(value: str, *, field: str, is_required: bool) -> str:
    """The text without outer blanks. Raises Invalid when it is missing, too long, or cannot be stored."""
    text = value.strip()
    if not text and is_required:
        raise Invalid("Say why, so that the other side can follow.", field=field)
    if len(text) > LONGEST_TEXT:
        raise Invalid(f"Keep it to {LONGEST_TEXT:,} characters.", field=field)
    if "\x00" in text:
        raise Invalid("The text holds a character that cannot be stored.", field=field)
    return text


def facts_hash(facts: Mapping[str, Any]) -> UUID:
    """What makes two requests under one idempotency key the same."""
    return hash16(*(f"{name}={value}" for name, value in sorted(facts.items())))


def check_in_force(period: BudgetPeriod, now: datetime) -> None:
    """Raises Conflict when money on this period would change nothing any more; names the period that runs now."""
    ended = why_over(period, now)
    if not ended:
        return
    running = Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
    current = BudgetPeriod.objects.filter(
        running, organization=period.organization_id, budget=period.budget_id, budget__is_active=True, session_key=""
    )
    current_id = current.values_list("pk", flat=True).first()
    offer = " Ask on the period that runs now instead." if current_id is not None else ""
    raise Conflict(f"{ended}{offer}", current_period=current_id)


def why_over(period: BudgetPeriod, now: datetime) -> str:
    """A sentence when the period or its budget is over, else ""."""
    if not period.budget.is_active:
        return f"{period.budget.name} is no longer in force."
    if period.ends_at is not None and period.ends_at <= now:
        return f"This period of {period.budget.name} ended on {instant_text(period.ends_at, period.organization.zone)}."
    return ""


def check_future(ends_at: datetime | None, now: datetime) -> None:
    """Raises Invalid for an end that has passed."""
    if ends_at is not None and ends_at <= now:
        raise Invalid("The end must lie in the future.", field="ends_at")


def key_reused() -> Conflict:
    """The refusal of an idempotency key that came with another request before."""
    return Conflict("This Idempotency-Key was used for another request.", field="Idempotency-Key")

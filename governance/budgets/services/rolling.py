"""Rolling windows: what lies behind the window is taken off the balance, and a freeze ends when that makes room."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.budgets.ledger import ledger
from governance.budgets.models import BudgetPeriod, BudgetSlice
from governance.budgets.rules import Rule, rolling_start, rules_at
from governance.budgets.services.freezes import period_locked, period_review
from governance.budgets.services.periods import SLIDE
from governance.tenancy.access import Actor
from governance.tenancy.directory import Directory, directory_at


def periods_slide(*, actor: Actor, now: datetime | None = None) -> int:
    """Moves the organization's rolling windows on to now. Returns how many moved.

    Until that is done a balance is too high, never too low: nothing is granted that does not fit.
    """
    now = now or timezone.now()
    rows = BudgetPeriod.objects.filter(organization=actor.organization, slides_from__isnull=False, budget__is_active=True)
    count = 0
    for period_id, rolling_hours in list(rows.order_by("pk").values_list("pk", "budget__rolling_hours")):
        count += _slide(actor, period_id, rolling_start(rolling_hours or 0, now))
    return count


@transaction.atomic
def _slide(actor: Actor, period_id: int, slides_from: datetime) -> bool:
    moved = sql.rows(SLIDE, {"organization": actor.organization.pk, "period": period_id, "slides_from": slides_from})
    if moved:
        period_review(actor=actor, period=period_locked(actor, period_id), reason="the window moved on")
    return bool(moved)


def slices_make(*, period: BudgetPeriod) -> None:
    """Makes the quarter hours of a locked rolling period anew from the events. Their sum is what it has spent."""
    directory = directory_at(period.organization)
    slices_of(directory, rules_at(directory).by_id[period.budget_id], period)


def slices_of(directory: Directory, rule: Rule, period: BudgetPeriod) -> None:
    """As `slices_make`, for whoever has the rule at hand."""
    BudgetSlice.objects.filter(organization=period.organization, period=period).delete()
    sums = ledger().sums(directory, rule, starts_at=period.slides_from or period.starts_at, ends_at=None)
    BudgetSlice.objects.bulk_create(
        BudgetSlice(organization=period.organization, period=period, slice_at=found.slice_at, spent=found.amount, calls=found.calls)
        for found in sums
        if found.slice_at is not None
    )

"""How fast sessions spend: cost per minute of the last fifteen minutes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from governance.tenancy.access import Actor, scoped
from ingest.models import UsageEvent

BURN_WINDOW = timedelta(minutes=15)
MINUTES = Decimal(15)


def burn_by_session(actor: Actor, keys: Sequence[str], *, now: datetime) -> dict[str, Decimal]:
    """Billed cost per minute by session key, over the last fifteen minutes; sessions that spent nothing are absent.

    The keys are those of one page of sessions the actor was shown; the window and the index by session keep it cheap.
    """
    if not keys:
        return {}
    rows = (
        scoped(actor, UsageEvent.objects.filter(session__in=keys, occurred_at__gt=now - BURN_WINDOW, occurred_at__lte=now))
        .exclude(billing_mode="subscription")
        .order_by()
        .values_list("session")
        .annotate(cost=Sum("cost"))
    )
    return {key: cost / MINUTES for key, cost in rows if cost}


def burn_of(calls: Sequence[UsageEvent], *, until: datetime) -> Decimal:
    """Billed cost per minute of the calls in the fifteen minutes up to an instant."""
    recent = [call.cost for call in calls if until - BURN_WINDOW < call.occurred_at <= until and is_billed(call)]
    return sum((cost for cost in recent if cost), Decimal(0)) / MINUTES


def is_billed(call: UsageEvent) -> bool:
    """Whether the call's cost is money owed; subscription usage has a list price only."""
    return call.billing_mode != "subscription"

"""How long an amount lasts a session at its pace.

The pace is the burn that pages show, the cost per minute over the last fifteen minutes of activity; the band follows from
the scatter of the single calls. How a budget period goes on is in `governance.forecast`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from governance.forecast import SPREAD, day_kind

CALLS_NEEDED = 3
BURN_WINDOW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long an amount lasts at a session's pace, in minutes, with the band around it."""

    minutes: Decimal
    low: Decimal
    high: Decimal


def lasting(room: Decimal, calls: Sequence[tuple[datetime, Decimal]], *, burn: Decimal) -> Lasting | None:
    """How long the room (what may still be spent) lasts at the burn per minute; the calls (instant, cost) give the band.

    None when there are too few calls in the last fifteen minutes of activity, or nothing burns, or there is no room.
    """
    recent = [cost for at, cost in calls if at > calls[-1][0] - BURN_WINDOW]
    if len(recent) < CALLS_NEEDED or burn <= 0 or room <= 0:
        return None
    call = day_kind(recent)
    if call.mean <= 0:
        return None
    expected_calls = max(room / call.mean, Decimal(1))
    scatter = SPREAD * (call.variance / expected_calls + call.variance / call.days).sqrt() / call.mean
    return Lasting(room / burn, room / (burn * (1 + scatter)), room / (burn * max(1 - scatter, Decimal("0.2"))))

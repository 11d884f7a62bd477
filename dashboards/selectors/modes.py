"""Money by billing mode: what is billed by the call, what seats and own hardware cost beside it, and what nobody bills."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from dashboards.components.ranges import Range
from dashboards.selectors import usage
from governance.billing.proration import Days
from governance.billing.selectors import fees_in, fleets_of
from governance.tenancy.access import Actor
from ingest.own_hardware import SELF_HOSTED, hardware_months

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Modes:
    """Never added up: metered and fees are paid, hardware is paid otherwise, notional is what calls would have cost at list price.

    `seats` None: no seat was held; `hardware` None: there is none, or its cost is not known, or the actor sees some teams only.
    """

    metered: Decimal
    fees: Decimal
    seats: int | None
    hardware: Decimal | None
    has_hardware: bool
    notional_seats: Decimal
    notional_hardware: Decimal

    @property
    def is_only_metered(self) -> bool:
        return not (self.seats or self.has_hardware or self.notional_seats or self.notional_hardware)


def seat_fees(actor: Actor, span: Range) -> tuple[Decimal, int]:
    """What the visible seats cost on the days of the range, and how many there were."""
    found = fees_in(actor, Days.of(span.first, span.last))
    return found.total, len(found.seats)


def modes_of_month(actor: Actor, month: Range, *, now: datetime) -> Modes:
    """The running month up to today."""
    sums = {row.key: row.figures for row in usage.spend_by(actor, "billing-mode", window=month.window, sums=("cost", "notional_cost"))}
    fees, seats = seat_fees(actor, month)
    fleets = list(fleets_of(actor)) if actor.team_ids is None else []
    rows = hardware_months(actor.organization, month.first, now=now, fleets=fleets) if fleets else []
    known = [row.amount for row in rows]
    hardware = sum((amount for amount in known if amount is not None), ZERO) if known and None not in known else None
    notional = {mode: figures.notional_cost for mode, figures in sums.items()}
    metered = sum((figures.cost for figures in sums.values()), ZERO)
    return Modes(metered, fees, seats or None, hardware, bool(rows), notional.get("subscription", ZERO), notional.get(SELF_HOSTED, ZERO))

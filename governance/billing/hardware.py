"""What own hardware comes to in a month, and what that makes of a million tokens. Pure: dates, hours and counts in, exact fractions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from governance.billing.proration import LAST_DAY
from governance.periods import local_midnight

MILLION = 1_000_000
HOUR = timedelta(hours=1)
# A bucket without a price of its own is charged as this one is.
CHARGED_AS = {
    "cache_read_tokens": "input_tokens",
    "cache_write_5m_tokens": "input_tokens",
    "cache_write_1h_tokens": "cache_write_5m_tokens",
}


@dataclass(frozen=True, slots=True)
class Rig:
    """One fleet row in one month. `hours` None: not entered yet; `exchange_rate` None: none is known. `capacity_per_hour` is in tokens, of all its GPUs."""

    id: int
    name: str
    gpus: int
    rate: Decimal
    currency: str
    exchange_rate: Fraction | None
    is_paid_by_work: bool
    hours: Fraction | None
    capacity_per_hour: int | None

    @property
    def gpu_hours(self) -> Fraction | None:
        return None if self.hours is None else self.hours * self.gpus

    @property
    def capacity(self) -> Fraction | None:
        """The tokens it could have served in its hours."""
        return None if self.hours is None or self.capacity_per_hour is None else self.hours * self.capacity_per_hour


@dataclass(frozen=True, slots=True)
class MonthOfModel:
    """All fleets of a model in one month. `amount` is in the organization's currency; None, never zero, where a part of it is not known."""

    gpu_hours: Fraction | None
    amount: Fraction | None
    tokens: int
    capacity: Fraction | None
    amounts: Mapping[int, Fraction | None]

    @property
    def per_mtok(self) -> Fraction | None:
        """None where nothing ran: what stands idle has no price by the token."""
        return None if self.amount is None or not self.tokens else self.amount * MILLION / self.tokens

    @property
    def utilisation(self) -> Fraction | None:
        """Tokens served, of those it could have served."""
        return None if not self.capacity else Fraction(self.tokens) / self.capacity


def hours_there(first: date, until: date | None, *, month: tuple[date, date], zone: ZoneInfo, now: datetime) -> Fraction:
    """The hours of the local month [first, until) that the row holds, up to now: 743 or 745 where the clocks change."""
    starts = local_midnight(max(first, month[0]), zone)
    ends = min(local_midnight(min(until or LAST_DAY, month[1]), zone), now)
    return max(Fraction(0), Fraction((ends - starts) // timedelta(microseconds=1), HOUR // timedelta(microseconds=1)))


def month_of(rigs: Sequence[Rig], tokens: int) -> MonthOfModel:
    """What the fleets of a model come to together. Those paid by work are paid for the tokens that fall to them, by GPU-hours."""
    gpu_hours = _sum([rig.gpu_hours for rig in rigs])
    amounts = {rig.id: _amount(rig, _tokens_of(rig, tokens, gpu_hours, len(rigs))) for rig in rigs}
    return MonthOfModel(gpu_hours, _sum(list(amounts.values())), tokens, _sum([rig.capacity for rig in rigs]), amounts)


def _tokens_of(rig: Rig, tokens: int, gpu_hours: Fraction | None, rigs: int) -> Fraction | None:
    """The tokens that fall to one fleet: all of them where there is one, else by GPU-hours."""
    if rigs == 1:
        return Fraction(tokens)
    if gpu_hours is None or rig.gpu_hours is None:
        return None
    return Fraction(tokens) * rig.gpu_hours / gpu_hours if gpu_hours else Fraction(0)


def _amount(rig: Rig, tokens: Fraction | None) -> Fraction | None:
    hours: Fraction | None = rig.hours
    if rig.is_paid_by_work:
        hours = None if tokens is None or not rig.capacity_per_hour else tokens / rig.capacity_per_hour
    if hours is None or rig.exchange_rate is None:
        return None
    return hours * rig.gpus * Fraction(rig.rate) * rig.exchange_rate


def _sum(parts: Sequence[Fraction | None]) -> Fraction | None:
    """Their sum; None where there are none or one of them is not known."""
    known = [part for part in parts if part is not None]
    return sum(known, Fraction(0)) if known and len(known) == len(parts) else None


def at_ordinary_rates(rates: Mapping[str, Mapping[str, object]], tokens: Mapping[str, int]) -> Fraction | None:
    """What the tokens of each bucket cost at a price row's ordinary amounts, thresholds left aside. None where a bucket has no price."""
    total = Fraction(0)
    for bucket, number in tokens.items():
        if not number:
            continue
        meter: str | None = bucket
        while meter is not None and meter not in rates:
            meter = CHARGED_AS.get(meter)
        rate = rates[meter] if meter is not None else {}
        if "base" not in rate:
            return None
        total += Fraction(str(rate["base"])) / int(str(rate.get("per", MILLION))) * number
    return total

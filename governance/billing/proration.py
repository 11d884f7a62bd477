"""What a fee for a period comes to for some of its days. Pure: local dates in, exact fractions out, so that parts always add up to the whole.

Days are counted by the calendar, so a day that daylight saving makes 23 or 25 hours long is a day.
"""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from governance.money import CONTEXT, quantize

MONTHS_OF = {"month": 1, "year": 12}
LAST_DAY = date(9000, 1, 1)


@dataclass(frozen=True, slots=True)
class Days:
    """Local days [first, until)."""

    first: date
    until: date

    @classmethod
    def of(cls, first: date, last: date) -> "Days":
        """The days first to last, both included."""
        return cls(first, last + timedelta(days=1))

    @property
    def count(self) -> int:
        return max((self.until - self.first).days, 0)

    def within(self, first: date, until: date | None) -> "Days":
        """Those of them that lie in [first, until); none, where none do."""
        first = max(self.first, first)
        return Days(first, max(first, min(self.until, until or LAST_DAY)))


@dataclass(frozen=True, slots=True)
class Part:
    """The days of one billing period that a fee is owed for, and the fee's share."""

    period: Days
    days: int
    amount: Fraction


def day_months_after(anchor: date, months: int) -> date:
    """The same day so many months later; the month's last, where it has no such day."""
    index = anchor.year * 12 + anchor.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(anchor.day, calendar.monthrange(year, month)[1]))


def billing_period(kind: str, anchor: date, day: date) -> Days:
    """The billing period (`month` or `year`) that holds the day; `anchor` is the first day of one of them."""
    step = MONTHS_OF[kind]
    index = ((day.year - anchor.year) * 12 + day.month - anchor.month) // step
    if day_months_after(anchor, index * step) > day:
        index -= 1
    return Days(day_months_after(anchor, index * step), day_months_after(anchor, (index + 1) * step))


def prorated(fee: Decimal, kind: str, anchor: date, days: Days) -> list[Part]:
    """The parts of the fee that the days are owed, one for each billing period they touch, oldest first."""
    found, at = [], days.first
    while at < days.until:
        period = billing_period(kind, anchor, at)
        until = min(period.until, days.until)
        held = (until - at).days
        found.append(Part(period, held, Fraction(fee) * held / period.count))
        at = until
    return found


def amount_of(share: Fraction) -> Decimal:
    """The fraction as a money column stores it, rounded once."""
    return quantize(CONTEXT.divide(Decimal(share.numerator), Decimal(share.denominator)))

"""Exchange rates in memory: what one unit of a currency is worth in another on a day. Pure.

A rate holds from its day until the next one of its pair, for a bounded time: nothing is converted at a rate that nobody
renewed. Where no rate of the pair itself is known, two through the euro make one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

PIVOT = "EUR"
ONE = Decimal(1)
# A rate is used, kept on the event and shown with so many significant digits, so that an amount can be converted again exactly.
RATE = Context(prec=18, rounding=ROUND_HALF_EVEN)
WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
REMEMBERED = 20_000


class Quote(NamedTuple):
    """One unit of `base` is `rate` units of `quote` from the day on."""

    base: str
    quote: str
    day: date
    rate: Decimal
    source: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one unit of a currency is worth in another: the rate, and the quotes that it was made of, oldest first."""

    rate: Decimal
    quotes: tuple[Quote, ...] = ()

    @property
    def day(self) -> date | None:
        """The day of the oldest quote it was made of; None where nothing had to be converted."""
        return self.quotes[0].day if self.quotes else None


SAME = Exchange(ONE)


class ExchangeRates:
    """Dated quotes, the last one of a pair and day counting. Immutable but for what it remembers."""

    def __init__(self, quotes: Iterable[Quote] = ()) -> None:
        by_pair: dict[tuple[str, str], dict[date, Quote]] = {}
        for quote in quotes:
            by_pair.setdefault((quote.base, quote.quote), {})[quote.day] = quote
        self._pairs: dict[tuple[str, str], tuple[list[date], list[Quote]]] = {
            pair: (sorted(found), [found[day] for day in sorted(found)]) for pair, found in by_pair.items()
        }
        self._known: dict[tuple[str, str, date], Exchange | None] = {}

    def __bool__(self) -> bool:
        return bool(self._pairs)

    @property
    def currencies(self) -> Sequence[str]:
        """Every currency that a quote names."""
        return sorted({code for pair in self._pairs for code in pair})

    def find(self, given: str, wanted: str, day: date, *, days_good_for: int | None) -> Exchange | None:
        """What one unit of `given` is in `wanted` on the day, by quotes at most so many days old (None: however old). None: not known."""
        if given == wanted:
            return SAME
        key = (given, wanted, day)
        try:
            found = self._known[key]
        except KeyError:
            found = self._find(given, wanted, day)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = found
        if found is None or (days_good_for is not None and found.day is not None and (day - found.day).days > days_good_for):
            return None
        return found

    def _find(self, given: str, wanted: str, day: date) -> Exchange | None:
        direct = self._leg(given, wanted, day)
        if direct is not None:
            return _exchange([direct], given)
        first, second = self._leg(given, PIVOT, day), self._leg(PIVOT, wanted, day)
        if first is None or second is None:
            return None
        return _exchange([first, second], given)

    def _leg(self, given: str, wanted: str, day: date) -> Quote | None:
        """The latest quote of the pair, whichever way round it is quoted; of two of one day the one as asked for."""
        forward, backward = self._last((given, wanted), day), self._last((wanted, given), day)
        if forward is None or backward is None:
            return forward or backward
        return backward if backward.day > forward.day else forward

    def _last(self, pair: tuple[str, str], day: date) -> Quote | None:
        days, quotes = self._pairs.get(pair, ((), ()))
        place = bisect_right(days, day) - 1
        return quotes[place] if place >= 0 else None


def _exchange(legs: Sequence[Quote], given: str) -> Exchange:
    """The rate along the legs, rounded once."""
    above, below, at = ONE, ONE, given
    for leg in legs:
        if leg.base == at:
            above, at = WIDE.multiply(above, leg.rate), leg.quote
        else:
            below, at = WIDE.multiply(below, leg.rate), leg.base
    return Exchange(RATE.divide(above, below), tuple(sorted(legs, key=lambda leg: leg.day)))

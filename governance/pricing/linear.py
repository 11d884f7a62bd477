"""What all calls of one kind cost where that is a sum of amounts by token: an organization's prices in a form that SQL can reckon with. Pure.

It says what `Terms.rate` says, for calls whose tokens are known, at most MOST_TOKENS in each bucket, and who used nothing but tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from governance.money import PLACES, QUANTUM
from governance.pricing.arithmetic import RateSet
from governance.pricing.book import LARGEST_COST, Book, Names
from governance.pricing.exchange import ONE, SAME
from governance.pricing.terms import EXACT, LARGEST_CONVERTED, OwnTerm, Terms
from governance.pricing.usage import Weighed

MOST_TOKENS = 10_000_000
# What 8 bytes hold.
MOST_WHOLE = 2**63 - 1
Amounts = tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """The amounts for calls whose whole input is `least` to `most` tokens (None: without end), in the order of `RateSet.bands`.

    `charged` are the organization's, in its currency and not rounded; `listed` those of the price book alone, None where it has none.
    """

    least: int
    most: int | None
    charged: Amounts
    listed: Amounts | None


@dataclass(frozen=True, slots=True)
class Linear:
    """A kind of call's rating, but for its amounts as `Rating`. Without bands such calls have no price."""

    names: Names
    currency: str
    price_id: int | None = None
    price_currency: str = ""
    exchange_rate: Decimal | None = None
    term_id: int | None = None
    bands: Sequence[Band] = ()


def in_units(amounts: Amounts) -> tuple[Decimal, tuple[int, ...]] | None:
    """The amounts as whole numbers of a power of ten of at most 15 places, which comes first, so that no call's cost needs rounding.

    None where they have more places, or a call could come to more than a whole number of 8 bytes.
    """
    places = max(0, *(-int(amount.normalize(EXACT).as_tuple().exponent) for amount in amounts))
    if places > PLACES:
        return None
    found = tuple(int(amount.scaleb(places, EXACT)) for amount in amounts)
    most = sum(map(abs, found[:-1])) * MOST_TOKENS + abs(found[-1])
    return None if most > MOST_WHOLE else (Decimal(1).scaleb(-places).quantize(QUANTUM), found)


def linear_of(
    terms: Terms, book: Book, *, provider: str, model: str, at: datetime, context: Mapping[str, str] | None, team_id: int | None, is_metered: bool
) -> Linear | None:
    """The rating of calls of one kind made at an instant; the arguments are those of `Terms.rate`. None where it is no sum of amounts by token."""
    if terms.names.spans:
        provider, model = terms.names.meant(book, provider=provider, model=model, at=at)
    names, list_currency, price_id, list_rates, _ = book.tariff(provider=provider, model=model, at=at, context=context)
    term = None
    if terms.terms and is_metered:
        listed = Weighed(*names, None, list_currency, price_id)
        term = terms.applying(listed, at=at, context=book.call_context(provider, model, context), team_id=team_id)
    currency, rates = list_currency, list_rates
    if term is not None and term.price is not None:
        names, currency, price_id, rates, _ = book.tariff(provider=provider, model=model, at=at, context=context, own=term.price)
    exchange = SAME if currency == terms.currency else terms.exchange(book, currency, at)
    if rates is None or exchange is None:
        return Linear(names, terms.currency)
    bands = _bands(rates, _multiplier(exchange.rate, term), list_rates, _list_multiplier(terms, book, list_currency, at))
    if bands is None:
        return None
    return Linear(names, terms.currency, price_id, currency, None if exchange is SAME else exchange.rate, None if term is None else term.id, bands)


def _multiplier(rate: Decimal, term: OwnTerm | None) -> Decimal:
    return rate if term is None or term.factor is None else EXACT.multiply(rate, term.factor)


def _list_multiplier(terms: Terms, book: Book, currency: str, at: datetime) -> Decimal | None:
    """What turns an amount of the price book into the organization's currency. None: it cannot be told."""
    if currency in ("", terms.currency):
        return ONE
    found = terms.exchange(book, currency, at)
    return None if found is None else found.rate


def _bands(rates: RateSet, multiplier: Decimal, list_rates: RateSet | None, list_multiplier: Decimal | None) -> list[Band] | None:
    charged = rates.bands()
    is_listed = list_rates is not None and list_multiplier is not None
    listed = list_rates.bands() if list_rates is not None and is_listed else []
    if charged is None or listed is None:
        return None
    found = []
    for least, most in _steps([*charged, *listed]):
        own = next(amounts for low, high, amounts in charged if low <= least and (high is None or least <= high))
        book = next((amounts for low, high, amounts in listed if low <= least and (high is None or least <= high)), None)
        if _can_be_too_large(own, multiplier) or (book is not None and _can_be_too_large(book, list_multiplier or ONE)):
            return None
        found.append(Band(least, most, _times(own, multiplier), None if book is None else _times(book, list_multiplier or ONE)))
    return found


def _steps(bands: Sequence[tuple[int, int | None, Amounts]]) -> list[tuple[int, int | None]]:
    begins = sorted({least for least, _, _ in bands})
    return list(zip(begins, [*(begin - 1 for begin in begins[1:]), None], strict=True))


def _can_be_too_large(amounts: Amounts, multiplier: Decimal) -> bool:
    """Whether a call could come to more than any call costs, which makes it one without a price."""
    most = sum((abs(amount) for amount in amounts[:-1]), Decimal(0)) * MOST_TOKENS + amounts[-1]
    return most > LARGEST_COST or most * multiplier > LARGEST_CONVERTED


def _times(amounts: Amounts, multiplier: Decimal) -> Amounts:
    return amounts if multiplier is ONE else tuple(EXACT.multiply(amount, multiplier) for amount in amounts)

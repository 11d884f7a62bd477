"""Money: Decimal amounts with a currency, exact in storage, rounded only to be read."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

DIGITS = 28
PLACES = 15
QUANTUM = Decimal(1).scaleb(-PLACES)
# numeric(28,15) leaves 13 digits before the point.
LARGEST = Decimal(10) ** (DIGITS - PLACES)
CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class AmountTooLarge(ValueError):
    """The amount does not fit numeric(28,15)."""


def quantize(amount: Decimal) -> Decimal:
    """The amount as a money column stores it: 15 decimal places, half to even.

    Raises AmountTooLarge when the column could not hold it.
    """
    if not amount.is_finite() or abs(amount) >= LARGEST:
        raise AmountTooLarge(f"{amount} does not fit numeric({DIGITS},{PLACES})")
    return amount.quantize(QUANTUM, context=CONTEXT)


def digits(amount: Decimal) -> str:
    """The amount as text, every digit of it, without the zeros that storage pads it with and without an exponent."""
    return f"{amount.normalize(CONTEXT):f}"


def written(amount: Decimal, places: int = 2) -> str:
    """The amount as a sentence writes it: so many decimal places, and more where a small amount would read as nothing."""
    if amount != 0 and amount.adjusted() < 1 - places:
        places = min(1 - amount.adjusted(), PLACES)
    return f"{amount.quantize(Decimal(1).scaleb(-places), context=CONTEXT):f}"


def written_apart(*amounts: Decimal) -> list[str]:
    """The amounts with as many places, two at least and all the same, as it takes to tell those apart that differ."""
    for places in (2, 4, 6):
        texts = [written(amount, places) for amount in amounts]
        if len(set(texts)) == len(set(amounts)):
            most = max(len(text.partition(".")[2]) for text in texts)
            return [written(amount, most) for amount in amounts]
    return [written(amount, PLACES) for amount in amounts]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency (ISO 4217 code). Adding two currencies is an error, not a guess."""

    amount: Decimal
    currency: str = "USD"

    def __add__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def _same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")

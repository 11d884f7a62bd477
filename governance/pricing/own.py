"""An organization's own amounts over those of the price book: pure, one rule for rating a call and for explaining it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from governance.money import CONTEXT
from governance.pricing.arithmetic import rates_merged

ZERO = Decimal(0)
Rates = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """Amounts that stand in the place of the book's (`rates`), or are taken off them (`amounts_off`), as PriceRow stores rates.

    `id` tells it from every other of every organization. `is_special`: for calls of one kind, as a price row with a context.
    """

    id: int
    currency: str
    rates: Rates
    amounts_off: Rates
    is_special: bool = False

    def over(self, special: Sequence[Rates], ordinary: Sequence[Rates], *, currency: str) -> dict[str, Any]:
        """The rates of a call, over the book's rows for its kind of call and its ordinary row, which are in `currency`.

        What an own price does not name stays at list price, and so does what the book prices otherwise for the call's kind, unless
        the own price is for that kind. Factors of the book are of own amounts too. In another currency an own price stands alone:
        amounts of two currencies do not add up.
        """
        if self.amounts_off:
            listed = rates_merged([*special, *ordinary])
            return {meter: _less(rate, self.amounts_off[meter]) if meter in self.amounts_off else dict(rate) for meter, rate in listed.items()}
        if currency != self.currency:
            factors = [{meter: rate for meter, rate in rates.items() if "factor" in rate} for rates in special]
            return dict(self.rates) if self.is_special else dict(rates_merged([*factors, self.rates]))
        if self.is_special:
            return {**rates_merged([*special, *ordinary]), **self.rates}
        return dict(rates_merged([*special, self.rates, *ordinary]))


def _less(rate: Rates, off: Rates) -> dict[str, Any]:
    """The rate with an amount taken off each of its steps, down to nothing."""
    amount = CONTEXT.multiply(CONTEXT.divide(Decimal(off["base"]), Decimal(int(off["per"]))), Decimal(int(rate["per"])))
    tiers = [[threshold, _reduced(step, amount)] for threshold, step in rate.get("tiers", ())]
    return {**rate, "base": _reduced(rate["base"], amount)} | ({"tiers": tiers} if tiers else {})


def _reduced(base: str, amount: Decimal) -> str:
    return format(max(CONTEXT.subtract(Decimal(base), amount), ZERO), "f")

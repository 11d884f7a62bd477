"""What the same tokens would have cost at another model's price, bucket by bucket.

The price used is the base one: long-context tiers are left out, since sums no longer know each call's length. For models
whose price rises with context this makes the counterfactual, and so the saving, smaller than it may have been, never larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from dashboards.insights.figures import ZERO, Figures

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was billed for some tokens, and what they would have cost at the reference price."""

    tokens: int
    actual: Decimal
    counterfactual: Decimal

    @property
    def saving(self) -> Decimal:
        """Positive when what was done is cheaper."""
        return self.counterfactual - self.actual

    @property
    def saving_share(self) -> Decimal | None:
        """The saving as part of the counterfactual; None when that is nothing."""
        return self.saving / self.counterfactual if self.counterfactual else None

    @property
    def actual_per_mtok(self) -> Decimal | None:
        return self.actual * 1_000_000 / self.tokens if self.tokens else None

    @property
    def counterfactual_per_mtok(self) -> Decimal | None:
        return self.counterfactual * 1_000_000 / self.tokens if self.tokens else None

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(self.tokens + other.tokens, self.actual + other.actual, self.counterfactual + other.counterfactual)


NOTHING = Comparison(0, ZERO, ZERO)


def cost_at(rates: Mapping[str, Decimal], figures: Figures) -> Decimal | None:
    """What the tokens would cost at the rates (money per single token). None when a bucket in use has no rate."""
    cost = ZERO
    for bucket in BUCKETS:
        quantity = getattr(figures, bucket)
        rate = rates.get(bucket)
        if quantity and rate is None:
            return None
        cost += quantity * (rate or ZERO)
    return cost


def comparison(rates: Mapping[str, Decimal], figures: Figures) -> Comparison | None:
    """The billed cost of metered, priced and measured usage against the same tokens at the rates."""
    at_rates = cost_at(rates, figures)
    return None if at_rates is None else Comparison(figures.tokens, figures.cost, at_rates)

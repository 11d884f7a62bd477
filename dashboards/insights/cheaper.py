"""What calls would have cost on another model, from the price book; nothing is said where anything is unknown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from governance.pricing.usage import Rating, Usage

# (provider, model, instant, usage) -> rating
Rate = Callable[[str, str, datetime, Usage], Rating]


@dataclass(frozen=True, slots=True)
class PricedCall:
    """A call that was billed: `count` such calls when it stands for the average of many."""

    provider: str
    model: str
    at: datetime
    usage: Usage
    cost: Decimal
    currency: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Cheaper:
    """The calls on the other model: what they cost, what they would have cost, on which model."""

    provider: str
    model: str
    calls: int
    cost: Decimal
    cost_there: Decimal
    currency: str

    @property
    def saved(self) -> Decimal:
        return self.cost - self.cost_there


def on_model(calls: Sequence[PricedCall], provider: str, model: str, rate: Rate) -> Cheaper | None:
    """The calls priced on one other model; None when one of them has no price there or a price in another currency."""
    there = Decimal(0)
    for call in calls:
        rating = rate(provider, model, call.at, call.usage)
        if rating.cost is None or rating.currency != call.currency:
            return None
        there += rating.cost * call.count
    cost = sum((call.cost for call in calls), Decimal(0))
    return Cheaper(provider, model, sum(call.count for call in calls), cost, there, calls[0].currency)


def cheapest(calls: Sequence[PricedCall], models: Sequence[tuple[str, str]], rate: Rate, *, worth: Decimal = Decimal("0.5")) -> Cheaper | None:
    """The model that saves most on the calls that do not run on it; None unless it saves the `worth` share of their cost."""
    found = []
    for provider, model in models:
        moved = [call for call in calls if (call.provider, call.model) != (provider, model)]
        answer = on_model(moved, provider, model, rate) if moved else None
        if answer is not None and answer.cost > 0 and answer.saved >= answer.cost * worth:
            found.append(answer)
    return max(found, key=lambda answer: (answer.saved, answer.model), default=None)

"""Sums of usage and what follows from them: averages and shares that are None, not zero, where nothing is known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from governance.money import quantize

ZERO = Decimal(0)
MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Sums over some calls. Money is in `currency`; amounts in other currencies are never added but kept in `foreign`.

    `weighed_*` are the sums over rows whose calls are all metered, priced and measured: the base of averages per call
    and per token, so that an unpriced or subscription call never makes a price look lower than it is.
    """

    currency: str = "USD"
    calls: int = 0
    errors: int = 0
    unpriced_calls: int = 0
    unmeasured_calls: int = 0
    # Of the unpriced those that should have a price: billed by the call and of known size. Subscriptions and own hardware need none.
    lacking_calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    latency_ms_sum: int = 0
    latency_calls: int = 0
    cost: Decimal = ZERO
    notional_cost: Decimal = ZERO
    # The billed calls at list price; what is less than this, the organization's own terms took off.
    list_cost: Decimal = ZERO
    weighed_calls: int = 0
    weighed_tokens: int = 0
    weighed_cost: Decimal = ZERO
    foreign: tuple[tuple[str, Decimal], ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Everything that was sent: uncached, read from a cache, written to a cache."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def tokens(self) -> int:
        """Prompt and output tokens; reasoning is part of output and not counted again."""
        return self.prompt_tokens + self.output_tokens

    @property
    def billed(self) -> Decimal | None:
        """The billed cost; None when not one call has a known price, for unknown is not zero."""
        return None if self.calls and self.unpriced_calls == self.calls and not self.cost else self.cost

    @property
    def discount(self) -> Decimal:
        """What own terms took off the list price of the billed calls; less than zero where they cost more."""
        return self.list_cost - self.cost

    @property
    def discount_share(self) -> Decimal | None:
        """The discount as a part of the list price, 0 to 1."""
        return self.discount / self.list_cost if self.list_cost else None

    @property
    def cost_per_call(self) -> Decimal | None:
        """Billed cost per metered call of known price."""
        return self.weighed_cost / self.weighed_calls if self.weighed_calls else None

    @property
    def blended_per_mtok(self) -> Decimal | None:
        """Billed cost per million tokens of every kind, over metered calls of known price and size."""
        return self.weighed_cost * MILLION / self.weighed_tokens if self.weighed_tokens else None

    @property
    def cache_hit_share(self) -> Decimal | None:
        """Part of the prompt tokens that a cache served, 0 to 1."""
        return Decimal(self.cache_read_tokens) / self.prompt_tokens if self.prompt_tokens else None

    @property
    def error_share(self) -> Decimal | None:
        """Part of the calls that failed, 0 to 1."""
        return Decimal(self.errors) / self.calls if self.calls else None

    def __add__(self, other: "Figures") -> "Figures":
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMMED}
        return Figures(currency=self.currency, foreign=_merged(self.foreign, other.foreign), **sums)

    def part(self, share: Decimal) -> "Figures":
        """The same, share by share: what a part of an hour counts when its calls came evenly. Counts are rounded to whole ones."""
        sums: dict[str, Any] = {}
        for name in SUMMED:
            value = getattr(self, name)
            sums[name] = quantize(value * share) if isinstance(value, Decimal) else round(value * share)
        return Figures(currency=self.currency, foreign=tuple((code, quantize(amount * share)) for code, amount in self.foreign), **sums)


SUMMED = tuple(field.name for field in fields(Figures) if field.name not in ("currency", "foreign"))
# What some of the properties are made of, for reads that need no more.
PROMPT = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
SIZES = (*PROMPT, "output_tokens")
BLENDED = ("weighed_cost", "weighed_tokens")


def _merged(left: tuple[tuple[str, Decimal], ...], right: tuple[tuple[str, Decimal], ...]) -> tuple[tuple[str, Decimal], ...]:
    amounts = dict(left)
    for currency, amount in right:
        amounts[currency] = amounts.get(currency, ZERO) + amount
    return tuple(sorted(amounts.items()))


def figures_sum(rows: Iterable[Figures], currency: str) -> Figures:
    """The sum of the rows; all zero, in the currency given, when there are none."""
    return sum(rows, Figures(currency=currency))


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to look at. `unit` says how to write it: money, count, tokens, share, or rate (money per million tokens).

    `needs` names the sums it is made of; `good` is the way it should move: down, up or neither.
    """

    slug: str
    label: str
    unit: str
    is_additive: bool
    value: Callable[[Figures], Decimal | int | None]
    needs: tuple[str, ...]
    about: str = ""
    good: str = "down"


MEASURES: dict[str, Measure] = {
    measure.slug: measure
    for measure in (
        Measure("cost", "Billed cost", "money", is_additive=True, value=lambda figures: figures.cost, needs=("cost",)),
        Measure("calls", "Calls", "count", is_additive=True, value=lambda figures: figures.calls, needs=("calls",), good="neither"),
        Measure("tokens", "Tokens", "tokens", is_additive=True, value=lambda figures: figures.tokens, needs=SIZES, good="neither"),
        Measure(
            "cost-per-call", "Cost per call", "money", is_additive=False, value=lambda figures: figures.cost_per_call,
            needs=("weighed_cost", "weighed_calls"), about="Over metered calls whose price is known.",
        ),
        Measure(
            "blended", "Blended price", "rate", is_additive=False, value=lambda figures: figures.blended_per_mtok, needs=BLENDED,
            about="Billed cost per million tokens of every kind, over metered calls whose price and tokens are known.",
        ),
        Measure(
            "cache-hits", "Cache hit rate", "share", is_additive=False, value=lambda figures: figures.cache_hit_share, needs=PROMPT,
            about="Part of the prompt tokens that a cache served.", good="up",
        ),
        Measure(
            "errors", "Error share", "share", is_additive=False, value=lambda figures: figures.error_share, needs=("errors", "calls"),
            about="Part of the calls that failed.",
        ),
    )
}  # fmt: skip

"""Usage x rates → cost: exact, pure, and shown line by line.

Rules (those of genai-prices, which is the oracle in the tests):
- What a row has no amount for is charged with what it is part of (cached tokens without a cache amount cost the input
  amount, one-hour cache writes without their own the cache write amount); with nothing to be part of it is not charged.
- A tier applies to all units of its meter when the call's whole input, cached or not, exceeds the tier's threshold. A rate that
  is marginal counts its own units instead, and the tier applies to those beyond the threshold only (not in genai-prices).
- A row for a kind of call replaces amounts of the ordinary row, or multiplies them by a factor, as for a region that costs a
  tenth more. Factors come last: they multiply whatever amounts the call has, those of a batch as well (not in genai-prices).
- A per-request amount is charged once for every call.
- `units` are parts of the buckets where their name says so (`input_audio_tokens` of the input), as reasoning is of output.
  Figures that contradict each other or leave a gap make the call unpriced; nothing is guessed.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from governance.money import CONTEXT
from governance.pricing.meters import BUCKET_METERS, EVERY_METER, METERS, OVERLAPS, PARTS, REQUESTS, contains, in_order, unit_key
from governance.pricing.usage import Line, Usage

# Costs are summed as integers of 10^-24, which holds every published amount per token without rounding.
SCALE = 24
TOKENS_UNKNOWN = "tokens unknown"
# For each disjoint bucket the meters that can price it, the most specific first.
BUCKET_CHAINS = (
    ("input_tokens",),
    ("cache_read_tokens", "input_tokens"),
    ("cache_write_5m_tokens", "cache_write_tokens", "input_tokens"),
    ("cache_write_1h_tokens", "cache_write_tokens", "input_tokens"),
    ("output_tokens",),
    ("output_reasoning_tokens", "output_tokens"),
    (REQUESTS,),
)


class Unpriceable(ValueError):
    """The usage cannot be priced with these rates; the text says why."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The amount for `per` units, the amounts above thresholds, and the least quantity a vendor bills (None: none).

    The thresholds are of the call's whole input; with `is_marginal` of the meter's own units.
    """

    per: int
    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()
    least: Decimal | None = None
    is_marginal: bool = False

    def amount(self, total_input: Decimal) -> Decimal:
        """The amount valid for a call with so many input tokens."""
        found = self.base
        for threshold, amount in self.tiers:
            if total_input > threshold:
                found = amount
        return found

    def bands(self, quantity: Decimal, total_input: Decimal) -> list[tuple[Decimal, Decimal]]:
        """(quantity, amount) of each part of the units that has an amount of its own; one part unless the rate is marginal."""
        if not self.is_marginal:
            return [(quantity, self.amount(total_input))]
        edges = [Decimal(0), *(Decimal(threshold) for threshold, _ in self.tiers)]
        amounts = [self.base, *(amount for _, amount in self.tiers)]
        ends = [*edges[1:], quantity]
        parts = [(CONTEXT.subtract(min(end, quantity), edge), amount) for edge, end, amount in zip(edges, ends, amounts, strict=True)]
        return [(part, amount) for part, amount in parts if part > 0]


def rate_from_json(value: Mapping[str, Any]) -> Rate:
    """A rate as a price row stores it: {"per": 1000000, "base": "3", "tiers": [[200000, "6"]], "marginal": true, "least": "10"}."""
    tiers = tuple(sorted((int(threshold), Decimal(amount)) for threshold, amount in value.get("tiers", ())))
    least = value.get("least")
    return Rate(int(value["per"]), Decimal(value["base"]), tiers, None if least is None else Decimal(least), bool(value.get("marginal")))


def rates_merged(layers: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Mapping[str, Any]]:
    """The rates of a call, as rows store them, from those of its rows: the row that counts first first, the ordinary one last."""
    found: dict[str, Mapping[str, Any]] = {}
    for rates in reversed(layers):
        found |= {meter: rate for meter, rate in rates.items() if "factor" not in rate}
    for rates in layers:
        for meter, rate in rates.items():
            if "factor" in rate:
                wanted = list(found) if meter == EVERY_METER else [meter] if meter in found else []
                found |= {key: multiplied(found[key], Decimal(rate["factor"])) for key in wanted}
    return found


def multiplied(rate: Mapping[str, Any], factor: Decimal) -> dict[str, Any]:
    """The rate with each of its amounts times the factor, exact."""

    def times(amount: Any) -> str:
        return format(CONTEXT.multiply(Decimal(amount), factor), "f")

    found = {**rate, "base": times(rate["base"])}
    if "tiers" in rate:
        found["tiers"] = [[threshold, times(amount)] for threshold, amount in rate["tiers"]]
    return found


def total_input(usage: Usage) -> int | None:
    """All input tokens, cached or not. None when no part of it is known."""
    parts = (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def reported(usage: Usage) -> dict[str, Decimal]:
    """The usage by meter, only what is known. Raises Unpriceable for a unit that repeats a bucket, or is no quantity."""
    writes = [count for count in (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) if count is not None]
    counts: dict[str, int | None] = {
        "input_tokens": total_input(usage),
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": sum(writes) if writes else None,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    found = {key: Decimal(count) for key, count in counts.items() if count is not None}
    for name, quantity in (usage.units or {}).items():
        key = unit_key(name)
        if key in BUCKET_METERS or key in found:
            raise Unpriceable(f"{name} is reported twice")
        found[key] = Decimal(quantity)
    for key, quantity in found.items():
        if not quantity.is_finite() or quantity < 0:
            raise Unpriceable(f"{key} is not a quantity")
    return found


class RateSet:
    """The rates that apply to one call, ready for arithmetic. Immutable; `rates` maps a meter to its rate."""

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self.rates = in_order(rates)
        # The most specific first, so that each is known before what contains it.
        self._metered = sorted((key for key in rates if key != REQUESTS), key=lambda key: (-len(METERS[key].dimensions), key))
        self._within = {key: [part for part in self._metered if part != key and contains(key, part)] for key in self._metered}
        self._is_tiered = any(rate.tiers and not rate.is_marginal for rate in self.rates.values())
        self._prices_output = "output_tokens" in self.rates
        self._prices_reasoning = "output_reasoning_tokens" in self.rates

    def cost(self, usage: Usage) -> Decimal:
        """What the usage costs, exact. Raises Unpriceable."""
        if usage.units or self._token_plan is None:
            return sum((line.cost for line in self.lines(usage)), Decimal(0))
        if usage.input_tokens is None and usage.output_tokens is None and self._metered:
            raise Unpriceable(TOKENS_UNKNOWN)
        uncached, read = usage.input_tokens or 0, usage.cache_read_tokens or 0
        write_5m, write_1h = (usage.cache_write_5m_tokens or 0, usage.cache_write_1h_tokens or 0)
        output, reasoning = usage.output_tokens or 0, usage.reasoning_tokens or 0
        if reasoning:
            self._check_reasoning(usage, reasoning)
        thresholds, vectors = self._token_plan
        band = bisect_left(thresholds, uncached + read + write_5m + write_1h) if thresholds else 0
        p_input, p_read, p_5m, p_1h, p_output, p_reasoning, p_request = vectors[band]
        total = uncached * p_input + read * p_read + write_5m * p_5m + write_1h * p_1h + output * p_output + p_request
        if self._prices_reasoning:
            total += reasoning * (p_reasoning - p_output)
        return Decimal(total).scaleb(-SCALE, CONTEXT)

    def bands(self) -> list[tuple[int, int | None, tuple[Decimal, ...]]] | None:
        """(least, most, amounts) by the call's whole input, most None without end, where the cost of tokens is a sum of amounts of one token each.

        The amounts are of an uncached input token, a cache read, a cache write of 5 minutes and of 1 hour, an output token, of what a
        reasoning token adds to that, and of the request: in the price's currency, exact. None where the cost is no such sum.
        """
        if self._token_plan is None:
            return None
        thresholds, vectors = self._token_plan
        found = []
        for least, most, vector in zip([0, *(threshold + 1 for threshold in thresholds)], [*thresholds, None], vectors, strict=True):
            *buckets, output, reasoning, request = vector
            amounts = (*buckets, output, reasoning - output if self._prices_reasoning else 0, request)
            found.append((least, most, tuple(Decimal(amount).scaleb(-SCALE, CONTEXT) for amount in amounts)))
        return found

    def lines(self, usage: Usage) -> list[Line]:
        """The arithmetic of the call, a line for each meter with a quantity, for each band of a marginal one; their costs add up to the cost. Raises Unpriceable."""
        counts = reported(usage)
        if usage.input_tokens is None and usage.output_tokens is None and self._metered and not self._prices_a_unit(usage):
            raise Unpriceable(TOKENS_UNKNOWN)
        self._raise_to_least(counts)
        quantities = self._quantities(counts)
        if REQUESTS in self.rates:
            quantities[REQUESTS] = Decimal(1)
        whole = self._tier_input(counts)
        found = []
        for key, rate in self.rates.items():
            quantity = quantities[key]
            if quantity:
                for part, amount in rate.bands(quantity, whole):
                    cost = CONTEXT.divide(CONTEXT.multiply(part, amount), Decimal(rate.per))
                    found.append(Line(key, part, amount, rate.per, cost))
        return found

    def _check_reasoning(self, usage: Usage, reasoning: int) -> None:
        if not self._prices_output:
            return
        if usage.output_tokens is None:
            raise Unpriceable("reasoning_tokens is reported without output_tokens")
        if self._prices_reasoning and reasoning > usage.output_tokens:
            raise Unpriceable("output_tokens is less than its parts")

    def _prices_a_unit(self, usage: Usage) -> bool:
        return any(unit_key(name) in self.rates for name in usage.units or ())

    def _raise_to_least(self, counts: dict[str, Decimal]) -> None:
        """Vendors with a least quantity bill it for any shorter call, however the duration is named."""
        metered = {key: rate.least for key, rate in self.rates.items() if rate.least is not None}
        quantity = next((counts[key] for key in metered if counts.get(key)), None)
        if quantity is not None:
            counts.update({key: max(quantity, least) for key, least in metered.items()})

    def _quantities(self, counts: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Each meter's own quantity: what is reported less what its priced parts already carry."""
        own: dict[str, Decimal] = {}
        for key in self._metered:
            own[key] = CONTEXT.subtract(known(key, counts), sum((own[part] for part in self._within[key]), Decimal(0)))
            if own[key] < 0:
                raise Unpriceable(f"{key} is less than its parts")
        return own

    def _tier_input(self, counts: Mapping[str, Decimal]) -> Decimal:
        return known("input_tokens", counts) if self._is_tiered else Decimal(0)

    @cached_property
    def _token_plan(self) -> tuple[list[int], list[tuple[int, ...]]] | None:
        """Thresholds of the input, and for each band between them the integer amounts of the buckets; None when they are no integers.

        Marginal rates have no amount of one token either: they go the long way, line by line.
        """
        relevant = {key for chain in BUCKET_CHAINS for key in chain} & self.rates.keys()
        if any(self.rates[key].is_marginal for key in relevant):
            return None
        thresholds = sorted({threshold for key in relevant for threshold, _ in self.rates[key].tiers})
        vectors = []
        for total in [0, *(threshold + 1 for threshold in thresholds)]:
            vector = [self._scaled(chain, total) for chain in BUCKET_CHAINS]
            if any(amount is None for amount in vector):
                return None
            vectors.append(tuple(amount for amount in vector if amount is not None))
        return thresholds, vectors

    def _scaled(self, chain: tuple[str, ...], total: int) -> int | None:
        rate = next((self.rates[key] for key in chain if key in self.rates), None)
        if rate is None:
            return 0
        scaled = CONTEXT.divide(rate.amount(Decimal(total)).scaleb(SCALE, CONTEXT), Decimal(rate.per))
        return int(scaled) if scaled == scaled.to_integral_value() else None


def known(key: str, counts: Mapping[str, Decimal]) -> Decimal:
    """The reported quantity of a meter, 0 when neither it nor a part of it is reported. Raises Unpriceable when only a part is."""
    if key in counts:
        return counts[key]
    for part in sorted(PARTS[key]):
        if counts.get(part):
            raise Unpriceable(f"{part} is reported without {key}")
    for left, right in OVERLAPS[key]:
        if counts.get(left) and counts.get(right):
            raise Unpriceable(f"{left} and {right} are reported without {key}")
    return Decimal(0)

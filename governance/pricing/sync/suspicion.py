"""Tells prices that are probably mistakes from prices that have changed: pure comparisons of amounts."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Rates = Mapping[str, Mapping[str, Any]]

WORDS = {
    "negative": "an amount is below zero",
    "tenfold": "more than ten times, or less than a tenth of, what it was",
    "unit": "the unit may be mistaken: the amounts differ by a thousand or a million",
    "size": "no token costs as much, or as little",
    "steep": "a step or a kind of call costs more than ten times the ordinary amount, or less than a tenth of it",
    "cache_dearer": "reading from the cache costs more than reading anew",
    "became_free": "what was charged is free",
    "became_priced": "what was free is charged",
    "currency": "another currency",
    "apart": "more than ten times, or less than a tenth of, what another source says",
    "no_rates": "it says nothing of what is charged",
}
FACTOR = Decimal(10)
UNIT_STEPS = (Decimal(1000), Decimal(1_000_000))
UNIT_TOLERANCE = Decimal("0.05")
# USD for a million tokens, well beyond the dearest and the cheapest that are sold.
DEAREST_MTOK = Decimal(5000)
CHEAPEST_MTOK = Decimal("0.0005")
MAIN = ("input_tokens", "output_tokens")


def suspicions(
    new: Rates,
    *,
    old: Rates | None,
    currency: str = "USD",
    old_currency: str = "USD",
    peers: Iterable[Rates] = (),
    ordinary: Rates | None = None,
) -> list[str]:
    """What is odd about the new rates, as keys of WORDS, in their order.

    `old` are the rates in force, `peers` what others say, `ordinary` what calls cost that are not of the kind which the new rates are for.
    """
    new, old, peers = amounts_of(new), None if old is None else amounts_of(old), [amounts_of(peer) for peer in peers]
    found = {"negative"} if any(amount < 0 for rate in new.values() for amount in amounts_in(rate)) else set()
    if is_steep(new, old) or (old is None and ordinary is not None and is_far(new, amounts_of(ordinary))):
        found.add("steep")
    if old is not None and currency != old_currency:
        found.add("currency")
    if currency == "USD" and any(is_odd_size(meter, rate) for meter, rate in new.items() if old is None or old.get(meter) != rate):
        found.add("size")
    if cache_is_dearer(new) and not (old is not None and cache_is_dearer(old)):
        found.add("cache_dearer")
    if old is not None and currency == old_currency:
        found |= _against_old(new, old)
    if old is None and any(is_far(new, peer) for peer in peers):
        found.add("apart")
    return [word for word in WORDS if word in found]


def amounts_of(rates: Rates) -> Rates:
    """The rates that are amounts: one that multiplies others (`factor`) has none of its own."""
    return {meter: rate for meter, rate in rates.items() if "base" in rate}


def amounts_in(rate: Mapping[str, Any]) -> list[Decimal]:
    """Every amount of the rate for its units, the one below all thresholds first."""
    return [Decimal(rate["base"]), *(Decimal(amount) for _, amount in rate.get("tiers", ()))]


def is_steep(new: Rates, old: Rates | None) -> bool:
    """Whether a rate that is not as it was has a step far from its first amount."""
    fresh = (rate for meter, rate in new.items() if old is None or old.get(meter) != rate)
    return any(is_far_amount(step, base) for base, *steps in map(amounts_in, fresh) for step in steps)


def _against_old(new: Rates, old: Rates) -> set[str]:
    found = set()
    if is_free(old) != is_free(new):
        found.add("became_free" if is_free(new) else "became_priced")
    if not new and old:
        found.add("no_rates")
    found |= {"tenfold"} if is_far(new, old) else set()
    if any(is_unit_step(ratio) for ratio in ratios(new, old)):
        found.add("unit")
    return found


def ratios(new: Rates, old: Rates) -> list[Decimal]:
    """New by old, for every amount that both have and neither has at zero, tiers included."""
    found = []
    for meter in new.keys() & old.keys():
        pairs = [(per_unit(new[meter]), per_unit(old[meter]))]
        tiers = dict(old[meter].get("tiers", ()))
        pairs += [
            (Decimal(amount) / new[meter]["per"], Decimal(tiers[start]) / old[meter]["per"])
            for start, amount in new[meter].get("tiers", ())
            if start in tiers
        ]
        found += [abs(after) / abs(before) for after, before in pairs if after and before]
    return found


def is_far(new: Rates, old: Rates) -> bool:
    """Whether an amount is more than ten times the other, or less than a tenth of it."""
    return any(ratio > FACTOR or ratio < 1 / FACTOR for ratio in ratios(new, old))


def is_far_amount(one: Decimal, other: Decimal) -> bool:
    """As `is_far`, for two amounts for the same units; zero is a matter of its own."""
    return bool(one and other) and not 1 / FACTOR <= abs(one) / abs(other) <= FACTOR


def is_unit_step(ratio: Decimal) -> bool:
    """Whether the ratio is about a thousand or a million, either way: per token, per 1k and per million taken for one another."""
    return any(abs(each / step - 1) <= UNIT_TOLERANCE for step in UNIT_STEPS for each in (ratio, 1 / ratio))


def is_odd_size(meter: str, rate: Mapping[str, Any]) -> bool:
    """Whether an amount for tokens lies beyond any that is charged (zero does not)."""
    per_million = [abs(amount) / Decimal(rate["per"]) * 1_000_000 for amount in amounts_in(rate)]
    return meter.endswith("_tokens") and any(amount and not CHEAPEST_MTOK <= amount <= DEAREST_MTOK for amount in per_million)


def cache_is_dearer(rates: Rates) -> bool:
    """Whether reading cached tokens costs more than reading them anew, in a call of whatever length."""
    if "cache_read_tokens" not in rates or "input_tokens" not in rates:
        return False
    read, anew = rates["cache_read_tokens"], rates["input_tokens"]
    lengths = {0, *(int(above) + 1 for rate in (read, anew) for above, _ in rate.get("tiers", ()))}
    return any(per_unit_at(read, length) > per_unit_at(anew, length) for length in lengths)


def is_free(rates: Rates) -> bool:
    """Whether nothing is charged, also above thresholds."""
    return not any(amount for rate in rates.values() for amount in amounts_in(rate))


def per_unit(rate: Mapping[str, Any]) -> Decimal:
    return Decimal(rate["base"]) / Decimal(rate["per"])


def per_unit_at(rate: Mapping[str, Any], length: int) -> Decimal:
    """The amount for one unit in a call of so many input tokens."""
    above = [(int(threshold), Decimal(amount)) for threshold, amount in rate.get("tiers", ()) if length > int(threshold)]
    return (max(above)[1] if above else Decimal(rate["base"])) / Decimal(rate["per"])


def main_change(new: Rates, old: Rates | None) -> Decimal | None:
    """By how much the main amounts changed, as a share: 0.83 for +83 %. Of input and output the one that changed more."""
    if old is None:
        return None
    new, old = amounts_of(new), amounts_of(old)
    meters = [meter for meter in MAIN if meter in new and meter in old] or sorted(new.keys() & old.keys())
    changes = [per_unit(new[meter]) / per_unit(old[meter]) - 1 for meter in meters if per_unit(old[meter])]
    return max(changes, key=abs, default=None)

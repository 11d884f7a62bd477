"""By how much a mix of tokens gets dearer between two prices: pure arithmetic on rates and sums."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from governance.money import CONTEXT
from governance.pricing.arithmetic import RateSet, Unpriceable, rate_from_json
from governance.pricing.meters import REQUESTS
from governance.pricing.usage import Usage

Rates = Mapping[str, Mapping[str, Any]]


def before_and_after(standing: Rates, steps: Sequence[Mapping[str, Any]], *, is_applied: bool) -> tuple[Rates, Rates]:
    """The ordinary amounts before a change and after it, from those in force (after it where it is applied, else before) and its lines."""
    before, after = dict(standing), dict(standing)
    ordinary = [line for line in steps if line["meter"] and not line["context"] and not line.get("hours")]
    if is_applied:
        for line in reversed(ordinary):
            _put(before, line, "old")
    else:
        for line in ordinary:
            _put(after, line, "new")
    return before, after


def _put(rates: dict[str, Any], line: Mapping[str, Any], side: str) -> None:
    if line[side] is None:
        rates.pop(line["meter"], None)
    else:
        rates[line["meter"]] = {"per": line["per"], "base": line[side]}


def mix_cost(rates: Rates, usage: Usage, *, calls: int) -> Decimal | None:
    """What sums of tokens over so many calls cost at the base amounts (prices of long calls and least quantities apart); None where it cannot be said."""
    amounts = {meter: rate_from_json({"per": rate["per"], "base": rate["base"]}) for meter, rate in rates.items() if "base" in rate}
    per_call = amounts.pop(REQUESTS, None)
    try:
        cost = RateSet(amounts).cost(usage)
    except Unpriceable:
        return None
    if per_call is not None:
        cost += CONTEXT.divide(CONTEXT.multiply(Decimal(calls), per_call.base), Decimal(per_call.per))
    return cost


def growth(before: Rates, after: Rates, usage: Usage, *, calls: int) -> Decimal | None:
    """By what share the mix gets dearer: 0.83 for +83 %. None where nothing was charged, or it cannot be said."""
    old, new = (mix_cost(rates, usage, calls=calls) for rates in (before, after))
    if old is None or new is None or not old:
        return None
    return CONTEXT.divide(new, old) - 1

"""The database reckons what a call costs as Python does, to the last digit, whichever of its two ways it takes."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from governance import sql
from governance.money import quantize
from governance.pricing.linear import MOST_TOKENS, Amounts, in_units
from ingest.rerating.statements import BUCKETS, exact_cost, rounded_cost

TOKENS = st.tuples(*[st.one_of(st.none(), st.integers(0, 3), st.integers(0, MOST_TOKENS))] * len(BUCKETS))
# Up to a thousandth a token, what a reasoning token adds may be less than nothing; of 6 to 24 places.
AMOUNTS = st.integers(6, 24).flatmap(
    lambda places: st.tuples(*[st.integers(0, 10 ** (places - 3)).map(lambda number: Decimal(number).scaleb(-places))] * (len(BUCKETS) + 1))
)
HALF = Decimal("0.0000000000000005")


def reckoned(tokens: tuple[int | None, ...], amounts: Amounts, *, unit: Decimal | None, numbers: tuple[int, ...] | Amounts) -> Decimal:
    """What the run's statement makes of one call."""
    is_whole = unit is not None
    kind = "bigint" if is_whole else "numeric"
    calls = ", ".join(f"%({name})s::bigint AS {name}" for name in BUCKETS)
    kinds = ", ".join(f"%(charged_{name})s::{kind} AS charged_{name}" for name in (*BUCKETS, "request"))
    statement = f"""
SELECT {rounded_cost("x.charged", is_whole=is_whole)} AS cost FROM (
    SELECT {exact_cost("charged", is_whole=is_whole)} AS charged FROM (SELECT {calls}) p, (SELECT {kinds}, %(unit)s::numeric AS charged_unit) k OFFSET 0
) x"""
    given = dict(zip(BUCKETS, tokens, strict=True)) | dict(zip((f"charged_{name}" for name in (*BUCKETS, "request")), numbers, strict=True))
    cost: Decimal = sql.rows(statement, {**given, "unit": unit})[0].cost
    return cost


@pytest.mark.django_db
@settings(max_examples=150, deadline=None)
@given(tokens=TOKENS, amounts=AMOUNTS)
@example(tokens=(1, 0, 0, 0, 0, 0), amounts=(HALF, *[Decimal(0)] * 6))
@example(tokens=(3, 0, 0, 0, 0, 0), amounts=(HALF, *[Decimal(0)] * 6))
@example(tokens=(0, 0, 0, 0, 9, 9), amounts=(*[Decimal(0)] * 4, Decimal("2e-6"), Decimal("-1e-6"), Decimal("0.01")))
def test_call_comes_to_the_same_in_either_arithmetic(tokens: tuple[int | None, ...], amounts: Amounts) -> None:
    wanted = quantize(sum((Decimal(count or 0) * amount for count, amount in zip(tokens, amounts[:-1], strict=True)), amounts[-1]))
    assert reckoned(tokens, amounts, unit=None, numbers=amounts) == wanted
    found = in_units(amounts)
    if found is not None:
        unit, numbers = found
        assert reckoned(tokens, amounts, unit=unit, numbers=numbers) == wanted


def test_amounts_with_more_places_than_money_or_larger_than_a_number_holds_are_not_whole() -> None:
    nothing = [Decimal(0)] * 6
    assert in_units((Decimal("0.0000025"), *nothing)) == (Decimal("1e-7"), (25, *[0] * 6))
    assert in_units((Decimal(300), *nothing)) == (Decimal(1), (300, *[0] * 6))
    assert in_units((Decimal("1e-16"), *nothing)) is None
    assert in_units((Decimal("0.001000000000001"), *nothing)) is None

"""The concentration figures hold their bounds whatever the amounts."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.concentration import concentration_of, effective_number, hhi, shares

AMOUNTS = st.lists(st.decimals(min_value=0, max_value=10**9, places=6), min_size=1, max_size=40)
CLOSE = Decimal("1e-15")


def test_one_supplier_is_fully_concentrated() -> None:
    found = concentration_of([("a", "A", Decimal(12))])
    assert (found.hhi, found.effective_number, found.level) == (10_000, 1, "high")


def test_four_equal_suppliers_count_as_four() -> None:
    found = concentration_of([(name, name, Decimal("2.5")) for name in "abcd"])
    assert (found.hhi, found.effective_number) == (2500, 4)


def test_textbook_example() -> None:
    parts = [Decimal(share) / 100 for share in (30, 30, 20, 20)]
    assert hhi(parts) == 2600


@pytest.mark.parametrize("rows", [[], [("a", "A", Decimal(0))]])
def test_nothing_to_share_has_no_index(rows: list[tuple[str, str, Decimal]]) -> None:
    found = concentration_of(rows)
    assert (found.hhi, found.effective_number, found.top, found.level) == (None, None, None, "none")


def test_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        shares([Decimal(1), Decimal(-1)])


@given(AMOUNTS)
def test_index_stays_in_bounds(amounts: list[Decimal]) -> None:
    parts = shares(amounts)
    index, number = hhi(parts), effective_number(parts)
    if not any(amounts):
        assert index is None
        assert number is None
        return
    used = sum(1 for amount in amounts if amount)
    assert index is not None
    assert number is not None
    assert Decimal(10_000) / used - CLOSE <= index <= 10_000 + CLOSE
    assert 1 - CLOSE <= number <= used + CLOSE
    assert abs(index * number - 10_000) < Decimal("1e-9")


@given(AMOUNTS, st.randoms(use_true_random=False))
def test_order_does_not_matter(amounts: list[Decimal], random: Random) -> None:
    rows = [(str(index), "", amount) for index, amount in enumerate(amounts)]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert concentration_of(rows) == concentration_of(shuffled)


@given(AMOUNTS)
def test_points_of_the_parts_add_up_to_the_index(amounts: list[Decimal]) -> None:
    found = concentration_of([(str(index), "", amount) for index, amount in enumerate(amounts)])
    assert abs(sum(part.points for part in found.parts) - (found.hhi or 0)) < Decimal("1e-15")
    assert sum(part.amount for part in found.parts) == found.total


@given(AMOUNTS, st.decimals(min_value=1, max_value=1000, places=2))
def test_merging_two_suppliers_never_lowers_the_index(amounts: list[Decimal], extra: Decimal) -> None:
    apart = hhi(shares([*amounts, extra]))
    together = hhi(shares([amounts[0] + extra, *amounts[1:]]))
    assert apart is not None
    assert together is not None
    assert together >= apart - CLOSE

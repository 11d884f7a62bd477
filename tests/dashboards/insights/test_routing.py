"""Shares by tier add up, and what the catalogue does not know is shown as such."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.figures import Figures
from dashboards.insights.routing import BRAIN, WORKFORCE, ModelFacts, catalogued, tier_slices, token_share, weights_key


def used(tokens: int, cost: str = "0") -> Figures:
    return Figures(calls=1, output_tokens=tokens, cost=Decimal(cost))


def test_tokens_and_spend_are_shared_apart() -> None:
    parts = tier_slices([("economy", used(90, "10")), ("flagship", used(10, "90"))], "USD")
    assert [(row.key, row.token_share, row.spend_share) for row in parts] == [
        ("flagship", Decimal("0.1"), Decimal("0.9")),
        ("economy", Decimal("0.9"), Decimal("0.1")),
    ]


def test_unknown_tier_is_neither_brain_nor_workforce() -> None:
    parts = tier_slices([("", used(50)), ("flagship", used(50))], "USD")
    assert token_share(parts, (BRAIN,)) == Decimal("0.5")
    assert token_share(parts, WORKFORCE) == 0
    assert parts[-1].key == "unknown"


def test_nothing_used_has_no_share() -> None:
    assert token_share([], (BRAIN,)) is None
    (only,) = tier_slices([("flagship", Figures(calls=1, unmeasured_calls=1))], "USD")
    assert (only.token_share, only.spend_share) == (None, None)


def test_what_the_catalogue_does_not_say_comes_last() -> None:
    rows = [(ModelFacts(), used(100)), (ModelFacts(has_open_weights=True), used(1)), (ModelFacts(has_open_weights=False), used(2))]
    assert [row.key for row in catalogued(rows, weights_key, currency="USD")] == ["closed", "open", ""]


@given(st.lists(st.tuples(st.sampled_from(["flagship", "standard", "economy", "", "other"]), st.integers(1, 10**12)), min_size=1))
def test_shares_add_up_to_one(groups: list[tuple[str, int]]) -> None:
    parts = tier_slices([(key, used(tokens)) for key, tokens in groups], "USD")
    assert abs(sum((row.token_share or Decimal(0)) for row in parts) - 1) < Decimal("1e-20")
    assert sum(row.figures.tokens for row in parts) == sum(tokens for _, tokens in groups)

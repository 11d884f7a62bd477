"""Dependence figures classify every amount once and lose none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.dependence import Flow, binding_shares, exposures, folded, links, route_shares, share_of, summed

AMOUNT = st.decimals(min_value=0, max_value=10**9, places=4)
FLOWS = st.lists(
    st.builds(
        Flow,
        st.sampled_from(["1", "2", ""]),
        st.sampled_from(["claude-code", "codex", "openclaw", "own", ""]),
        st.sampled_from(["", "litellm", "home"]),
        st.sampled_from(["anthropic", "openai", "aws"]),
        st.just("m"),
        AMOUNT,
    )
)


def flow(harness: str, amount: str, gateway: str = "", provider: str = "anthropic") -> Flow:
    return Flow("1", harness, gateway, provider, "anthropic", Decimal(amount))


def test_single_vendor_share_counts_only_bound_harnesses() -> None:
    classes = binding_shares([flow("claude-code", "48"), flow("openclaw", "50"), flow("our-agent", "1"), flow("", "1")])
    assert [(row.key, row.share) for row in classes] == [
        ("single-vendor", Decimal("0.48")),
        ("neutral", Decimal("0.5")),
        ("unclassified", Decimal("0.01")),
        ("unreported", Decimal("0.01")),
    ]


def test_gateway_of_unknown_kind_is_not_called_neutral() -> None:
    classes = route_shares([flow("x", "1", "litellm"), flow("x", "1", "home-made"), flow("x", "2")])
    assert [(row.key, row.amount) for row in classes] == [("direct", 2), ("neutral", 1), ("unclassified", 1)]


def test_share_of_nothing_is_not_known_but_of_an_empty_class_is_zero() -> None:
    assert share_of(binding_shares([]), "single-vendor") is None
    assert share_of(binding_shares([flow("openclaw", "1")]), "single-vendor") == 0


def test_price_rise_is_taken_to_a_month() -> None:
    (row,) = exposures([("zhipu", Decimal(70)), ("free", Decimal(0))], days=Decimal(7), rise_percent=Decimal(83))
    assert (row.monthly, row.extra, row.after) == (300, 249, 549)


def test_pace_needs_a_day() -> None:
    with pytest.raises(ValueError, match="one day"):
        exposures([("a", Decimal(1))], days=Decimal(0), rise_percent=Decimal(83))


@given(FLOWS)
def test_no_amount_is_lost_or_counted_twice(flows: list[Flow]) -> None:
    total = sum((row.amount for row in flows), Decimal(0))
    first, second = links(flows)
    drawn = folded(flows, at_most=2, other="other")
    for amounts in (
        [row.amount for row in binding_shares(flows)],
        [row.amount for row in route_shares(flows)],
        [amount for _, amount in summed(flows, lambda row: row.provider)],
        [row.amount for row in first],
        [row.amount for row in second],
        [row.amount for row in drawn],
    ):
        assert sum(amounts, Decimal(0)) == total


@given(FLOWS)
def test_what_enters_a_harness_leaves_it(flows: list[Flow]) -> None:
    first, second = links(flows)
    for harness in {row.target for row in first}:
        assert sum(row.amount for row in first if row.target == harness) == sum(row.amount for row in second if row.source == harness)

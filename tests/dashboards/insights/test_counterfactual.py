"""The all-flagship counterfactual prices the same tokens, bucket by bucket."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.counterfactual import NOTHING, comparison, cost_at
from dashboards.insights.figures import Figures

RATES = {
    "input_tokens": Decimal("0.000005"),
    "cache_read_tokens": Decimal("0.0000005"),
    "cache_write_5m_tokens": Decimal("0.00000625"),
    "cache_write_1h_tokens": Decimal("0.00001"),
    "output_tokens": Decimal("0.000025"),
}
COUNT = st.integers(0, 10**12)


def test_each_bucket_is_priced_at_its_own_rate() -> None:
    figures = Figures(input_tokens=1_000_000, cache_read_tokens=10_000_000, output_tokens=200_000, cost=Decimal(3))
    found = comparison(RATES, figures)
    assert found is not None
    assert found.counterfactual == Decimal(15)
    assert found.saving == Decimal(12)
    assert found.saving_share == Decimal("0.8")


def test_missing_price_gives_no_figure() -> None:
    assert cost_at({}, Figures(output_tokens=1)) is None
    assert comparison({}, Figures(output_tokens=1)) is None


def test_no_tokens_have_no_price() -> None:
    assert NOTHING.actual_per_mtok is None
    assert NOTHING.saving_share is None


@given(COUNT, COUNT, COUNT, COUNT)
def test_pricing_sums_equals_summing_prices(first: int, second: int, third: int, fourth: int) -> None:
    left = Figures(input_tokens=first, cache_read_tokens=second, output_tokens=third)
    right = Figures(input_tokens=fourth, cache_write_5m_tokens=first, cache_write_1h_tokens=second)
    one, other, both = cost_at(RATES, left), cost_at(RATES, right), cost_at(RATES, left + right)
    assert one is not None
    assert other is not None
    assert both == one + other


@pytest.mark.parametrize("price", ["0.000005", "0.0000009"])
def test_usage_priced_at_its_own_rates_saves_nothing(price: str) -> None:
    rates = {"input_tokens": Decimal(price)}
    figures = Figures(input_tokens=777, cost=Decimal(price) * 777)
    found = comparison(rates, figures)
    assert found is not None
    assert found.saving == 0

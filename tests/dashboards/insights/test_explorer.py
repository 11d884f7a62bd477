"""The explorer keeps every row of both periods and never offers a dimension that is already narrowed down."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dashboards.insights.explorer import DRILL, SERIES_NAMED, compared, drill_to, named_keys
from dashboards.insights.figures import MEASURES, Figures


def row(key: str, cost: str) -> tuple[str, str, Figures]:
    return key, key.upper(), Figures(calls=1, cost=Decimal(cost))


def test_value_used_only_before_is_still_listed() -> None:
    lines = compared([row("a", "3")], [row("b", "5")], MEASURES["cost"], "USD")
    assert [(line.key, line.value, line.before and line.before.cost) for line in lines] == [("a", 3, None), ("b", 0, Decimal(5))]


def test_unknown_average_is_last_and_not_zero() -> None:
    known = ("k", "K", Figures(calls=1, weighed_calls=1, weighed_cost=Decimal(1)))
    unknown = ("u", "U", Figures(calls=1, unpriced_calls=1))
    lines = compared([unknown, known], [], MEASURES["cost-per-call"], "USD")
    assert [(line.key, line.value) for line in lines] == [("k", 1), ("u", None)]


def test_averages_have_no_share() -> None:
    (line,) = compared([row("a", "3")], [], MEASURES["blended"], "USD")
    assert line.share is None


def test_chart_names_at_most_eight_series() -> None:
    lines = compared([row(f"k{index}", str(index + 1)) for index in range(20)], [], MEASURES["cost"], "USD")
    assert named_keys(lines) == [f"k{index}" for index in range(19, 12, -1)]
    assert len(named_keys(lines)) == SERIES_NAMED


def test_eight_values_need_no_other() -> None:
    lines = compared([row(f"k{index}", "1") for index in range(8)], [], MEASURES["cost"], "USD")
    assert len(named_keys(lines)) == 8


def test_drilling_skips_what_is_narrowed() -> None:
    assert drill_to("provider", ["provider"]) == "model"
    assert drill_to("provider", ["provider", "model"]) == "team"
    assert all(slug in DRILL for steps in DRILL.values() for slug in steps)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.decimals(0, 10**6, places=6)), unique_by=lambda entry: entry[0], min_size=1))
def test_shares_add_up_to_one(rows: list[tuple[str, Decimal]]) -> None:
    lines = compared([row(key, str(cost)) for key, cost in rows], [], MEASURES["cost"], "USD")
    total = sum(cost for _, cost in rows)
    if total:
        assert abs(sum((line.share or Decimal(0)) for line in lines) - 1) < Decimal("1e-20")
    assert sum(line.figures.cost for line in lines) == total

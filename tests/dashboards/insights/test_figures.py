"""Sums add up, and an average over nothing known is None, not zero."""

from decimal import Decimal

import pytest

import ingest.demo.shapes
from dashboards.insights.figures import MEASURES, Figures, figures_sum
from dashboards.insights.market import DEFAULT_RISE, SIMPLE_LABELS, binding_of, route_of, simple_task_of
from ingest.services.prepare import KNOWN_HARNESSES


def test_nothing_known_has_no_average() -> None:
    empty = figures_sum([], "USD")
    assert [MEASURES[slug].value(empty) for slug in ("cost-per-call", "blended", "cache-hits", "errors")] == [None] * 4


def test_unpriced_calls_do_not_make_the_price_look_lower() -> None:
    figures = Figures(
        calls=3, unpriced_calls=1, output_tokens=3_000_000, cost=Decimal(4), weighed_calls=2, weighed_tokens=2_000_000, weighed_cost=Decimal(4)
    )
    assert figures.cost_per_call == 2
    assert figures.blended_per_mtok == 2


def test_reasoning_is_part_of_output_and_not_counted_again() -> None:
    assert Figures(output_tokens=10, reasoning_tokens=7).tokens == 10


def test_cache_hit_share_is_of_prompt_tokens() -> None:
    assert Figures(input_tokens=10, cache_read_tokens=80, cache_write_5m_tokens=10, output_tokens=500).cache_hit_share == Decimal("0.8")


def test_other_currencies_are_kept_apart() -> None:
    one = Figures(cost=Decimal(1), foreign=(("EUR", Decimal(2)),))
    other = Figures(cost=Decimal(5), foreign=(("CNY", Decimal(1)), ("EUR", Decimal(3))))
    assert (one + other).cost == 6
    assert (one + other).foreign == (("CNY", Decimal(1)), ("EUR", Decimal(5)))
    with pytest.raises(ValueError, match="cannot combine"):
        one + Figures(currency="EUR")


def test_every_harness_that_is_known_is_classified() -> None:
    shapes = {shape.harness for shape in vars(ingest.demo.shapes).values() if isinstance(shape, ingest.demo.shapes.Shape)}
    assert "gemini-cli" in shapes
    assert {harness for harness in KNOWN_HARNESSES | shapes if binding_of(harness) == "unclassified"} == set()


def test_market_facts() -> None:
    assert DEFAULT_RISE.percent == 83
    assert binding_of("claude-code") == "single-vendor"
    assert binding_of("openclaw") == "neutral"
    assert binding_of("our-own-agent") == "unclassified"
    assert binding_of("") == "unreported"
    assert (route_of(""), route_of("litellm"), route_of("home-made")) == ("direct", "neutral", "unclassified")
    assert simple_task_of("proofread") == "inspection and proofreading"
    assert simple_task_of("code") == ""
    assert len(SIMPLE_LABELS) == len(set(SIMPLE_LABELS))

"""A session of one call: its charts show it, and the words are those of one."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboards.charts.base import Series, lines
from dashboards.charts.session import CallBar, context_growth, timeline

ZONE = ZoneInfo("UTC")
CALL = CallBar(datetime(2026, 3, 2, 9, tzinfo=UTC), "gpt-5", "openai", Decimal("112.5"), is_billed=True, context_tokens=9_000)


def test_one_call_is_a_dot_where_many_are_a_line() -> None:
    for count, mode in ((1, "lines+markers"), (2, "lines")):
        calls = [CALL] * count
        assert timeline(calls, allowance=None, zone=ZONE).figure.data[0].mode == mode
        assert context_growth(calls, zone=ZONE).figure.data[0].mode == mode


def test_one_call_is_told_of_as_one() -> None:
    assert timeline([CALL], allowance=None, zone=ZONE).summary == "1 call, cumulative cost $112.50."
    assert timeline([CALL] * 2, allowance=None, zone=ZONE).summary == "2 calls, cumulative cost $225.00."
    assert context_growth([CALL], zone=ZONE).summary == "9.00\u202fk input tokens in one call."


def test_models_of_one_maker_are_told_apart() -> None:
    calls = [CALL, replace(CALL, model="gpt-5-mini"), replace(CALL, model="opus", maker="anthropic")]
    drawn = {bar.name: (bar.marker.color, bar.opacity) for bar in timeline(calls, allowance=None, zone=ZONE).figure.data if bar.type == "bar"}
    assert len(set(drawn.values())) == 3
    assert drawn["gpt-5"][0] == drawn["gpt-5-mini"][0] != drawn["opus"][0]


def test_only_a_value_without_neighbours_has_a_dot() -> None:
    figure = lines(["a", "b", "c", "d"], [Series("x", [1, 2, None, 3])], unit="")
    assert figure.data[0].mode == "lines+markers"
    assert [bool(size) for size in figure.data[0].marker.size] == [False, False, False, True]

"""The range picker: what an address names, on whose clock, and what it is compared with."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from dashboards.components.ranges import LONGEST_DAYS, Range, days_text

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)  # half past midnight of the 22nd in Berlin


def named(query: Mapping[str, str], year_starts_in: int = 1) -> Range:
    return Range.from_query(query, BERLIN, NOW, year_starts_in=year_starts_in)


@pytest.mark.parametrize(
    ("key", "first", "last", "before"),
    [
        ("today", date(2026, 11, 22), date(2026, 11, 22), (date(2026, 11, 21), date(2026, 11, 21))),
        ("7d", date(2026, 11, 16), date(2026, 11, 22), (date(2026, 11, 9), date(2026, 11, 15))),
        ("30d", date(2026, 10, 24), date(2026, 11, 22), (date(2026, 9, 24), date(2026, 10, 23))),
        ("mtd", date(2026, 11, 1), date(2026, 11, 22), (date(2026, 10, 1), date(2026, 10, 22))),
        ("last-month", date(2026, 10, 1), date(2026, 10, 31), (date(2026, 9, 1), date(2026, 9, 30))),
        ("quarter", date(2026, 10, 1), date(2026, 11, 22), (date(2026, 7, 1), date(2026, 8, 22))),
    ],
)
def test_names_mean_days_of_the_organizations_clock(key: str, first: date, last: date, before: tuple[date, date]) -> None:
    span = named({"range": key})
    assert (span.first, span.last, span.problem) == (first, last, "")
    assert (span.previous.first, span.previous.last) == before


def test_today_is_compared_with_the_day_before_up_to_the_same_time() -> None:
    before = named({"range": "today"}).previous
    assert (before.window.starts_at, before.window.ends_at) == (datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    assert before.label == "21 November 2026 until 00:30"
    assert before.whole.window.ends_at == datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert named({"range": "7d"}).previous.until is None
    assert named({"range": "custom", "from": "2026-11-21", "to": "2026-11-21"}).previous.until is None, "a day that is over"


def test_quarter_follows_the_fiscal_year() -> None:
    assert named({"range": "quarter"}, year_starts_in=2).first == date(2026, 11, 1)


def test_window_is_half_open_and_right_across_daylight_saving() -> None:
    window = named({"range": "custom", "from": "2026-10-25", "to": "2026-10-25"}).window
    assert (window.starts_at, window.ends_at) == (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))


def test_month_to_date_on_the_31st_is_compared_with_a_whole_shorter_month() -> None:
    span = Range.from_query({"range": "mtd"}, BERLIN, datetime(2026, 12, 31, 12, tzinfo=UTC))
    assert (span.previous.first, span.previous.last) == (date(2026, 11, 1), date(2026, 11, 30))


@pytest.mark.parametrize(
    "query",
    [{"range": "fortnight"}, {"range": "custom", "from": "x"}, {"range": "custom", "from": "2026-11-05", "to": "2026-11-01"}, {"range": "custom", "from": "9999-99-99"}],
)
def test_nonsense_shows_the_usual_range_and_says_so(query: dict[str, str]) -> None:
    span = named(query)
    assert (span.key, bool(span.problem)) == ("mtd", True)


def test_days_to_come_are_not_shown_and_a_range_has_an_end() -> None:
    assert named({"range": "custom", "from": "2026-11-20", "to": "2027-01-01"}).last == date(2026, 11, 22)
    assert len(named({"range": "custom", "from": "2001-01-01"}).days) == LONGEST_DAYS


def test_address_brings_the_same_days_back() -> None:
    span = named({"range": "custom", "from": "2026-11-03", "to": "2026-11-09"})
    assert span.query == "range=custom&from=2026-11-03&to=2026-11-09"
    assert named(span.params) == span


def test_days_in_words_repeat_nothing() -> None:
    assert days_text(date(2026, 11, 1), date(2026, 11, 21)) == "1\u201321 November 2026"
    assert days_text(date(2026, 10, 23), date(2026, 11, 21)) == "23 October \u2013 21 November 2026"
    assert days_text(date(2025, 12, 30), date(2026, 1, 2)) == "30 December 2025 \u2013 2 January 2026"


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2026-11-20", "2026-11-10", "The first day, 20 November 2026, lies after the last, 10 November 2026."),
        ("2027-01-01", "2027-02-01", "The first day, 1 January 2027, is still to come."),
        ("1999-01-01", "1999-02-01", "The last day, 1 February 1999, lies before there was any usage to count."),
    ],
)
def test_range_that_cannot_be_shown_is_explained(first: str, last: str, words: str) -> None:
    span = named({"range": "custom", "from": first, "to": last})
    assert span.problem == f"{words} The usual range is shown: month to date."

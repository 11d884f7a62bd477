"""Budget windows against an independent calendar: days counted one by one, midnights found by watching the local clock."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from governance import periods
from governance.periods import BEGINNING, PeriodKind, Window, hour_bucket, local_midnight, window_at

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",  # skipped midnight until 2018
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # shifts by half an hour
    "America/New_York",
    "Asia/Beirut",  # falls back from midnight to 23:00
    "America/Havana",  # has midnight twice
    "Atlantic/Azores",  # has midnight twice
    "America/St_Johns",  # fell back from 00:01 to 23:01 until 2011
    "Pacific/Apia",  # had no 30 December 2011
    "Asia/Kathmandu",
    "Pacific/Chatham",
)
CALENDAR: tuple[PeriodKind, ...] = ("day", "week", "month", "quarter", "year")
STEP = timedelta(minutes=1)
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.datetimes(datetime(1975, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by contract
kinds = st.sampled_from(CALENDAR)
months = st.integers(1, 12)


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """The hours of UTC, at most three of them around each, in which the zone's offset changes."""
    instant, last = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year, 1, 1, tzinfo=UTC)
    while instant < last:
        following = instant + timedelta(hours=6)
        if instant.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            yield from (instant + timedelta(minutes=15 * step) for step in range(-8, 36))
        instant = following


def watched_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first minute at which a local calendar shows the day or a later one."""
    early = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=20)
    late = early + timedelta(hours=40)
    instant = early
    while instant.astimezone(zone).date() < day:  # coarse: a quarter hour at a time, then back and by the minute
        instant += timedelta(minutes=15)
    instant = max(early, instant - timedelta(minutes=15))
    while instant.astimezone(zone).date() < day:
        instant += STEP
    assert instant < late
    return instant


def label(kind: PeriodKind, day: date, year_starts_in: int) -> Any:
    """What two days of one calendar period have in common."""
    fiscal_year = day.year if day.month >= year_starts_in else day.year - 1
    months_in = [(year_starts_in - 1 + step) % 12 + 1 for step in range(12)].index(day.month)
    labels = {
        "day": day,
        "week": day.isocalendar()[:2],
        "month": (day.year, day.month),
        "quarter": (fiscal_year, months_in // 3),
        "year": fiscal_year,
    }
    return labels[kind]


def counted_days(kind: PeriodKind, day: date, year_starts_in: int) -> tuple[date, date]:
    """The first day of the day's period and the first one after it, found one day at a time."""
    own = label(kind, day, year_starts_in)
    first = after = day
    while label(kind, first - timedelta(days=1), year_starts_in) == own:
        first -= timedelta(days=1)
    while label(kind, after, year_starts_in) == own:
        after += timedelta(days=1)
    return first, after


@settings(max_examples=600)
@given(kind=kinds, instant=instants, zone=zones, year_starts_in=months)
@example("day", datetime(2018, 11, 4, 3, 0, tzinfo=UTC), ZoneInfo("America/Sao_Paulo"), 1)
@example("day", datetime(2018, 2, 18, 2, 30, tzinfo=UTC), ZoneInfo("America/Sao_Paulo"), 1)
@example("week", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), ZoneInfo("Europe/Berlin"), 1)
@example("month", datetime(2024, 2, 29, 23, 59, tzinfo=UTC), ZoneInfo("Asia/Kolkata"), 4)
@example("year", datetime(2026, 3, 31, 23, 0, tzinfo=UTC), ZoneInfo("America/New_York"), 4)
@example("quarter", datetime(2026, 1, 31, 23, 0, tzinfo=UTC), ZoneInfo("Australia/Lord_Howe"), 2)
def test_window_is_what_a_calendar_on_the_wall_shows(kind: PeriodKind, instant: datetime, zone: ZoneInfo, year_starts_in: int) -> None:
    window = window_at(kind, instant, zone, year_starts_in)

    # The wall calendar of a clock that falls back over midnight shows the old day again; the new one has begun all the same.
    day = instant.astimezone(zone).date()
    if instant >= watched_midnight(day + timedelta(days=1), zone):
        day += timedelta(days=1)
    first, after = counted_days(kind, day, year_starts_in)
    assert window == Window(watched_midnight(first, zone), watched_midnight(after, zone))


@settings(max_examples=600)
@given(kind=kinds, instant=instants, zone=zones, year_starts_in=months)
def test_windows_hold_their_instant_and_follow_without_gap_or_overlap(
    kind: PeriodKind, instant: datetime, zone: ZoneInfo, year_starts_in: int
) -> None:
    window = window_at(kind, instant, zone, year_starts_in)

    assert window.contains(instant)
    assert window.ends_at is not None
    assert window_at(kind, window.starts_at, zone, year_starts_in) == window
    assert window_at(kind, window.ends_at - timedelta(microseconds=1), zone, year_starts_in) == window
    assert window_at(kind, window.ends_at, zone, year_starts_in).starts_at == window.ends_at


@pytest.mark.parametrize("name", ZONES)
def test_around_every_change_of_the_clock(name: str) -> None:
    zone = ZoneInfo(name)
    for instant in changes(zone, 2005, 2030):
        window = window_at("day", instant, zone)
        assert window.contains(instant), instant
        assert window.ends_at is not None
        assert window_at("day", window.ends_at, zone).starts_at == window.ends_at, instant


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(available_timezones())), instant=instants, kind=kinds)
def test_every_zone_there_is(name: str, instant: datetime, kind: PeriodKind) -> None:
    zone = ZoneInfo(name)
    window = window_at(kind, instant, zone)

    assert window.contains(instant)
    assert window.ends_at is not None
    assert window_at(kind, window.ends_at, zone).starts_at == window.ends_at


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Asia/Kolkata", date(2026, 3, 29), 24),
    ],
)
def test_days_are_as_long_as_they_are(name: str, day: date, hours: float) -> None:
    zone = ZoneInfo(name)

    assert local_midnight(day + timedelta(days=1), zone) - local_midnight(day, zone) == timedelta(hours=hours)


def test_skipped_midnight_begins_the_day_at_the_change() -> None:
    zone = ZoneInfo("America/Sao_Paulo")

    begins = local_midnight(date(2018, 11, 4), zone)

    assert begins == datetime(2018, 11, 4, 3, 0, tzinfo=UTC)
    assert begins.astimezone(zone).isoformat() == "2018-11-04T01:00:00-02:00"


def test_day_that_began_twice_is_one_day() -> None:
    zone = ZoneInfo("America/St_Johns")
    # On 1 November 2009 the clock went from 00:01 back to 23:01: the day before was on the wall again for 59 minutes.
    again = datetime(2009, 11, 1, 2, 45, tzinfo=UTC)
    assert again.astimezone(zone).isoformat() == "2009-10-31T23:15:00-03:30"

    window = window_at("day", again, zone)

    assert window.starts_at == datetime(2009, 11, 1, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["session", "lifetime"])
@given(instant=instants, zone=zones)
def test_sessions_and_lifetimes_never_end(kind: PeriodKind, instant: datetime, zone: ZoneInfo) -> None:
    assert window_at(kind, instant, zone) == Window(BEGINNING, None)
    assert window_at(kind, instant, zone).contains(instant)


@pytest.mark.parametrize(
    ("kind", "day", "year_starts_in", "first", "after"),
    [
        ("month", date(2024, 2, 29), 1, date(2024, 2, 1), date(2024, 3, 1)),
        ("month", date(2026, 12, 31), 1, date(2026, 12, 1), date(2027, 1, 1)),
        ("quarter", date(2026, 1, 15), 1, date(2026, 1, 1), date(2026, 4, 1)),
        ("quarter", date(2026, 1, 15), 2, date(2025, 11, 1), date(2026, 2, 1)),
        ("quarter", date(2026, 1, 15), 12, date(2025, 12, 1), date(2026, 3, 1)),
        ("year", date(2026, 3, 31), 4, date(2025, 4, 1), date(2026, 4, 1)),
        ("year", date(2026, 4, 1), 4, date(2026, 4, 1), date(2027, 4, 1)),
        ("week", date(2026, 1, 1), 1, date(2025, 12, 29), date(2026, 1, 5)),
    ],
)
def test_fiscal_calendars(kind: PeriodKind, day: date, year_starts_in: int, first: date, after: date) -> None:
    assert periods.first_day(kind, day, year_starts_in) == first
    assert periods.next_day(kind, first) == after


@settings(max_examples=600)
@given(instant=instants, zone=zones)
def test_hour_buckets_hold_their_instant_and_start_on_the_local_hour(instant: datetime, zone: ZoneInfo) -> None:
    bucket = hour_bucket(instant, zone)

    local = instant.astimezone(zone)
    assert bucket <= instant < bucket + timedelta(hours=1)
    assert instant - bucket == timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


@settings(max_examples=300)
@given(instant=instants, zone=zones, later=st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_hour_buckets_keep_the_order_of_time(instant: datetime, zone: ZoneInfo, later: timedelta) -> None:
    assert hour_bucket(instant, zone) <= hour_bucket(instant + later, zone)


def test_gap_that_straddles_midnight_begins_the_day_at_the_change() -> None:
    zone = ZoneInfo("America/Toronto")
    # On 30 March 1919 the clock went from 23:30 of the 30th to 00:30 of the 31st.
    begins = local_midnight(date(1919, 3, 31), zone)

    assert begins.astimezone(zone).isoformat() == "1919-03-31T00:30:00-04:00"
    assert (begins - timedelta(seconds=1)).astimezone(zone).isoformat() == "1919-03-30T23:29:59-05:00"

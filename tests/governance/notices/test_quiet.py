"""Quiet hours on real clocks: nights end once, whatever daylight-saving does to them."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governance.notices.quiet import next_at, next_monday_at, quiet_end

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia", "Europe/Dublin", "Asia/Beirut"]
clocks = st.times(max_value=time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))
instants = st.integers(0, 9131 * 1440).map(lambda minutes: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))


def is_within(clock: time, start: time, end: time) -> bool:
    return start <= clock < end if start < end else clock >= start or clock < end


@given(at=instants, zone=st.sampled_from(ZONES), start=clocks, end=clocks)
def test_quiet_is_what_the_clock_says_and_ends_at_its_end(at: datetime, zone: str, start: time, end: time) -> None:
    """Against the wall clock alone, on days whose clock is not changed."""
    assume(start != end)
    here = ZoneInfo(zone)
    days = [at + timedelta(days=offset) for offset in (-2, -1, 0, 1, 2)]
    assume(len({day.astimezone(here).utcoffset() for day in days}) == 1)
    ends_at = quiet_end(at, here, start, end)

    assert (ends_at is not None) == is_within(at.astimezone(here).time(), start, end)
    if ends_at is not None:
        assert at < ends_at <= at + timedelta(days=1)
        assert ends_at.astimezone(here).time() == end


def changes_of(zone: ZoneInfo, year: int) -> list[datetime]:
    """The hours of the year in which the zone's offset changes."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(366 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after]


CHANGES = [(zone, change) for zone in ZONES for change in changes_of(ZoneInfo(zone), 2026) + changes_of(ZoneInfo(zone), 2011)]


@given(change=st.sampled_from(CHANGES), minutes=st.integers(-1600, 1600), start=clocks, end=clocks)
def test_around_changes_of_the_clock_every_quiet_time_is_quiet_and_nights_end_once(change: tuple[str, datetime], minutes: int, start: time, end: time) -> None:
    assume(start != end)
    zone, at = ZoneInfo(change[0]), change[1] + timedelta(minutes=minutes)
    ends_at = quiet_end(at, zone, start, end)

    if is_within(at.astimezone(zone).time(), start, end):
        assert ends_at is not None
    if ends_at is None:
        return
    assert at < ends_at <= at + timedelta(hours=27)
    # The rest of the night is quiet as a whole: nobody is woken in between and put to sleep again.
    for part in range(8):
        later = quiet_end(at + (ends_at - at) * part / 8, zone, start, end)
        assert later is not None
        assert later >= ends_at
    # It ends when the clock shows the end, or jumps over it.
    before, after = ((ends_at + timedelta(seconds=step)).astimezone(zone) for step in (-1, 0))
    assert after.time() == end or before.utcoffset() != after.utcoffset()


@pytest.mark.parametrize(
    ("at", "ends_at"),
    [
        # Berlin, the night of the change to summer time: 02:00 becomes 03:00 at 01:00 UTC.
        ("2026-03-28T21:30", "2026-03-29T05:00"),
        ("2026-03-29T00:59", "2026-03-29T05:00"),
        # The night of the change back: 03:00 becomes 02:00 at 01:00 UTC.
        ("2026-10-24T20:30", "2026-10-25T06:00"),
        ("2026-10-25T00:30", "2026-10-25T06:00"),
        ("2026-10-25T01:30", "2026-10-25T06:00"),
        ("2026-10-25T06:00", None),
        ("2026-06-01T10:00", None),
    ],
)
def test_nights_in_berlin(at: str, ends_at: str | None) -> None:
    found = quiet_end(datetime.fromisoformat(at).replace(tzinfo=UTC), ZoneInfo("Europe/Berlin"), time(22), time(7))
    assert found == (datetime.fromisoformat(ends_at).replace(tzinfo=UTC) if ends_at else None)


def test_an_end_that_is_skipped_is_the_change_and_one_that_comes_twice_is_the_last() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert quiet_end(datetime(2026, 3, 28, 23, tzinfo=UTC), berlin, time(22), time(2, 30)) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert quiet_end(datetime(2026, 10, 24, 23, tzinfo=UTC), berlin, time(22), time(2, 30)) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(at=instants, zone=st.sampled_from(ZONES), clock=clocks)
def test_the_daily_mail_comes_once_a_day(at: datetime, zone: str, clock: time) -> None:
    here = ZoneInfo(zone)
    first = next_at(at, here, clock)
    second = next_at(first, here, clock)

    assert at < first <= at + timedelta(hours=50)
    assert timedelta(hours=20) <= second - first <= timedelta(hours=50)


def test_the_weekly_mail_comes_on_monday() -> None:
    found = next_monday_at(datetime(2026, 11, 21, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin"), time(8))
    assert found == datetime(2026, 11, 23, 7, tzinfo=UTC)

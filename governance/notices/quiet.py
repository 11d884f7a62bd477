"""Quiet hours on a person's own clock: when a message that can wait may be sent."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from governance.periods import local_instant


def quiet_end(at: datetime, zone: ZoneInfo, start: time, end: time) -> datetime | None:
    """When the quiet hours that hold the instant are over; None when they do not hold it.

    They begin at `start` on the clock and end at the next `end`, one night at a time. An hour that comes twice belongs to the night
    whole when it is quiet both times: a night begins with the first time its clock shows `start` and ends with the last time it shows
    `end`. A time that is skipped is the instant of the change.
    """
    found = None
    for begins_at, ends_at in _nights(at.astimezone(zone).date(), zone, start, end):
        if begins_at <= at < ends_at:
            found = ends_at if found is None else max(found, ends_at)
    return found


def next_at(at: datetime, zone: ZoneInfo, clock: time) -> datetime:
    """The first instant after `at` at which the clock shows that time, one a day."""
    day = at.astimezone(zone).date()
    return next(found for offset in range(3) if (found := local_instant(day + timedelta(days=offset), clock, zone)) > at)


def next_monday_at(at: datetime, zone: ZoneInfo, clock: time) -> datetime:
    """The first instant after `at` at which a Monday's clock shows that time."""
    found = next_at(at, zone, clock)
    while found.astimezone(zone).weekday() != 0:
        found = next_at(found, zone, clock)
    return found


def _nights(day: date, zone: ZoneInfo, start: time, end: time) -> Iterator[tuple[datetime, datetime]]:
    """The nights that can hold an instant of the local day, as [begin, end)."""
    for offset in (-1, 0):
        first = day + timedelta(days=offset)
        last = first if start < end else first + timedelta(days=1)
        yield local_instant(first, start, zone), local_instant(last, end, zone, is_last=True)

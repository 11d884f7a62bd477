"""Budget windows: half-open UTC instants computed from an organization's time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

PeriodKind = Literal["session", "task", "rolling", "day", "week", "month", "quarter", "year", "lifetime"]
ENDLESS = ("session", "task", "rolling", "lifetime")
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = {"month": 1, "quarter": 3, "year": 12}
# What is kept begins and ends within: it can be read from the tables again, and has a local day with two midnights everywhere.
FIRST_KEPT, LAST_KEPT = BEGINNING, datetime(3000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """[starts_at, ends_at) in UTC; ends_at None means it never ends."""

    starts_at: datetime
    ends_at: datetime | None

    def contains(self, instant: datetime) -> bool:
        return self.starts_at <= instant and (self.ends_at is None or instant < self.ends_at)


def is_kept(instant: datetime) -> bool:
    """Whether the aware instant lies in the years 1970 to 2999, outside which nothing begins or ends."""
    return FIRST_KEPT <= instant < LAST_KEPT


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The UTC instant at which the local day begins.

    Where a daylight-saving change skips midnight, that is the instant of the change; where midnight comes twice, the first.
    """
    return local_instant(day, time.min, zone)


def local_instant(day: date, clock: time, zone: ZoneInfo, *, is_last: bool = False) -> datetime:
    """The UTC instant at which the local clock shows the time on the day: the first or the last one of two, or that of the change which skips it."""
    local = datetime.combine(day, clock, tzinfo=zone)
    first, second = local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if first <= second:
        return second if is_last else first
    return _change_between(second, first, zone)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the zone's offset, not the same at both instants, has become that of the later one."""
    offset = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)


def add_months(day: date, months: int) -> date:
    """The first of the month that lies so many months after the first-of-month given."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def first_day(kind: PeriodKind, day: date, year_starts_in: int = 1, anchor_day: int = 1) -> date:
    """The first local day of the calendar period that holds the day.

    Weeks begin on the weekday `anchor_day` (1 is Monday); months, quarters and years on that day of the month (1 to 28),
    quarters and years in the months that follow the start of the fiscal year.
    """
    if kind == "day":
        return day
    if kind == "week":
        return day - timedelta(days=(day.weekday() - anchor_day + 1) % 7)
    # Counted as if each month began on the anchor.
    day -= timedelta(days=anchor_day - 1)
    months = MONTHS[kind]
    offset = (day.month - year_starts_in) % months if months > 1 else 0
    return add_months(day.replace(day=1), -offset).replace(day=anchor_day)


def next_day(kind: PeriodKind, first: date) -> date:
    """The first local day of the period after the one that starts at `first`."""
    if kind == "day":
        return first + timedelta(days=1)
    if kind == "week":
        return first + timedelta(days=7)
    return add_months(first, MONTHS[kind]).replace(day=first.day)


def window_at(kind: PeriodKind, instant: datetime, zone: ZoneInfo, year_starts_in: int = 1, *, anchor_day: int = 1) -> Window:
    """The window of this kind that holds the instant (aware). Those of sessions, tasks and lifetimes, and rolling ones, never end."""
    if kind in ENDLESS:
        return Window(BEGINNING, None)
    day = instant.astimezone(zone).date()
    # A clock that falls back over midnight shows the old day again, after the new one has begun.
    if instant >= local_midnight(day + timedelta(days=1), zone):
        day += timedelta(days=1)
    first = first_day(kind, day, year_starts_in, anchor_day)
    return Window(local_midnight(first, zone), local_midnight(next_day(kind, first), zone))


def hour_bucket(instant: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant at which the local clock hour holding the instant began (zones at :30 and :45 included)."""
    offset = instant.astimezone(zone).utcoffset() or timedelta()
    shifted = instant.astimezone(UTC) + offset
    floored = shifted.replace(minute=0, second=0, microsecond=0)
    return floored - offset

"""The range picker: a span of local days in the address, as a half-open UTC window, with the span it is compared with."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from governance.periods import Window, add_months, first_day, local_midnight

NAMES = {
    "today": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "mtd": "Month to date",
    "last-month": "Last month",
    "quarter": "Quarter to date",
    "custom": "Custom",
}
LONGEST_DAYS = 800
EARLIEST = date(2020, 1, 1)  # no usage that could be counted is older


@dataclass(frozen=True, slots=True)
class Range:
    """Local days first..last, both included, of one time zone; with `until` the last of them only up to that time of day."""

    key: str
    first: date
    last: date
    zone: ZoneInfo
    today: date
    year_starts_in: int = 1
    problem: str = field(default="", compare=False)
    now: datetime | None = field(default=None, compare=False)
    until: time | None = None

    @classmethod
    def from_query(
        cls, query: Mapping[str, str], zone: ZoneInfo, now: datetime, *, default: str = "mtd", year_starts_in: int = 1
    ) -> "Range":
        """The range that ?range=, &from= and &to= name. What makes no sense falls back to the default, and `problem` says so."""
        today = now.astimezone(zone).date()
        key = query.get("range", "") or ("custom" if query.get("from") else default)
        if key == "custom":
            found = _custom(query, zone=zone, today=today, default=default, year_starts_in=year_starts_in)
        else:
            problem = "" if key in NAMES else "This range is not known; the usual one is shown."
            found = _named(key if key in NAMES else default, zone=zone, today=today, year_starts_in=year_starts_in, problem=problem)
        return replace(found, now=now)

    @property
    def window(self) -> Window:
        """The UTC instants [starts_at, ends_at) of the days."""
        return Window(local_midnight(self.first, self.zone), self.ends_at)

    @property
    def starts_at(self) -> datetime:
        return self.window.starts_at

    @property
    def ends_at(self) -> datetime:
        if self.until is not None:
            return datetime.combine(self.last, self.until, self.zone).astimezone(UTC)
        return local_midnight(self.last + timedelta(days=1), self.zone)

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=index) for index in range((self.last - self.first).days + 1)]

    @property
    def is_running(self) -> bool:
        """Whether the last day is not over yet."""
        return self.last >= self.today

    @property
    def name(self) -> str:
        return NAMES[self.key]

    @property
    def label(self) -> str:
        """The days in words: "1–21 November 2026"."""  # noqa: RUF002
        days = days_text(self.first, self.last)
        return f"{days} until {self.until:%H:%M}" if self.until is not None else days

    @property
    def params(self) -> dict[str, str]:
        """What names this range in an address."""
        if self.key == "custom":
            return {"range": "custom", "from": self.first.isoformat(), "to": self.last.isoformat()}
        return {"range": self.key}

    @property
    def query(self) -> str:
        return urlencode(self.params)

    @property
    def previous(self) -> "Range":
        """The span before it: the same days of the month or quarter before, or as many days as it has.

        Where today is all of the range, the day before it counts up to the same time: a morning is no match for a whole day.
        """
        first, last = _span_before(self)
        is_so_far = self.now is not None and self.first == self.last == self.today
        until = self.now.astimezone(self.zone).time() if is_so_far and self.now is not None else None
        return Range("custom", first, last, self.zone, self.today, self.year_starts_in, until=until)

    @property
    def whole(self) -> "Range":
        """The same days to the end of the last."""
        return replace(self, until=None)


def days_text(first: date, last: date) -> str:
    """A span of days in words, without repeating month or year."""
    if first == last:
        return f"{first.day} {first:%B %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{last.day} {last:%B %Y}"  # noqa: RUF001
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%B}{year} – {last.day} {last:%B %Y}"  # noqa: RUF001


def _named(key: str, *, zone: ZoneInfo, today: date, year_starts_in: int, problem: str = "") -> Range:
    month = today.replace(day=1)
    last = today
    if key == "today":
        first = today
    elif key in ("7d", "30d"):
        first = today - timedelta(days=int(key[:-1]) - 1)
    elif key == "last-month":
        first, last = add_months(month, -1), month - timedelta(days=1)
    elif key == "quarter":
        first = first_day("quarter", today, year_starts_in)
    else:
        key, first = "mtd", month
    return Range(key, first, last, zone, today, year_starts_in, problem)


def _custom(query: Mapping[str, str], *, zone: ZoneInfo, today: date, default: str, year_starts_in: int) -> Range:
    try:
        first = date.fromisoformat(query.get("from", ""))
        last = min(date.fromisoformat(query.get("to") or today.isoformat()), today)
        local_midnight(first - timedelta(days=LONGEST_DAYS), zone).astimezone(UTC)  # what it is compared with has to exist too
    except (ValueError, OverflowError):
        return _named(default, zone=zone, today=today, year_starts_in=year_starts_in, problem="The dates could not be read; the usual range is shown.")
    why = ""
    if first > last:
        why = f"The first day, {_date_text(first)}, lies after the last, {_date_text(last)}" if first <= today else f"The first day, {_date_text(first)}, is still to come"
    elif last < EARLIEST:
        why = f"The last day, {_date_text(last)}, lies before there was any usage to count"
    if why:
        return _named(default, zone=zone, today=today, year_starts_in=year_starts_in, problem=f"{why}. The usual range is shown: {NAMES[default].lower()}.")
    if (last - first).days >= LONGEST_DAYS:
        return Range("custom", last - timedelta(days=LONGEST_DAYS - 1), last, zone, today, year_starts_in, f"At most {LONGEST_DAYS} days are shown.")
    return Range("custom", first, last, zone, today, year_starts_in)


def _date_text(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"


def _span_before(span: Range) -> tuple[date, date]:
    if span.key == "mtd":
        first = add_months(span.first, -1)
        return first, first.replace(day=min(span.last.day, calendar.monthrange(first.year, first.month)[1]))
    if span.key == "last-month":
        return add_months(span.first, -1), span.first - timedelta(days=1)
    if span.key == "quarter":
        first = add_months(span.first, -3)
        return first, min(first + (span.last - span.first), span.first - timedelta(days=1))
    length = (span.last - span.first).days + 1
    return span.first - timedelta(days=length), span.first - timedelta(days=1)

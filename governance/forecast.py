"""How a budget period's spend goes on from here to its end. Pure arithmetic on days and amounts, in whatever measure.

Method. The pace is the mean of a working day and of a weekend day over the last 28 full local days (fewer when there are
fewer), so that a month that ends on a weekend is not overrated. The course adds one day's mean after another to what is
spent. The band holds eight of ten outcomes: it widens with the scatter of single days and with how uncertain the mean
itself is after so few days. With fewer than three full days there is no forecast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from governance.periods import local_midnight

HISTORY_DAYS = 28
DAYS_NEEDED = 3
HORIZON_DAYS = 366
# Standard deviations on either side that hold eight of ten outcomes.
SPREAD = Decimal("1.28")
ZERO = Decimal(0)
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class DayKind:
    """Mean and variance of the spend of one kind of day, over so many days seen."""

    mean: Decimal
    variance: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What a working day and a weekend day cost."""

    workday: DayKind
    weekend: DayKind

    def of(self, day: date) -> DayKind:
        return self.weekend if day.weekday() >= SATURDAY else self.workday

    @property
    def days(self) -> int:
        return self.workday.days + self.weekend.days


@dataclass(frozen=True, slots=True)
class Point:
    """Where the period's spend is expected to stand at an instant, and the band around it."""

    at: datetime
    expected: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """The course to the period's end. `exhausted_at` is when it meets the allowance: None, not within the period.

    `exhausted_early` and `exhausted_late` are the same for the upper and the lower edge of the band.
    """

    points: tuple[Point, ...]
    allowance: Decimal
    exhausted_at: datetime | None
    exhausted_early: datetime | None
    exhausted_late: datetime | None
    pace: Pace

    @property
    def at_end(self) -> Point:
        return self.points[-1]


def day_kind(amounts: Sequence[Decimal]) -> DayKind:
    """Mean and sample variance; one day alone has no scatter to know, so half its mean is taken for the deviation."""
    if not amounts:
        return DayKind(ZERO, ZERO, 0)
    mean = sum(amounts, ZERO) / len(amounts)
    if len(amounts) == 1:
        return DayKind(mean, (mean / 2) ** 2, 1)
    variance = sum(((amount - mean) ** 2 for amount in amounts), ZERO) / (len(amounts) - 1)
    return DayKind(mean, variance, len(amounts))


def pace_of(history: Mapping[date, Decimal], today: date) -> Pace | None:
    """The pace of the last full local days before today. Days between the first spend and today that are missing spent nothing."""
    start = today - timedelta(days=HISTORY_DAYS)
    seen = [day for day in history if start <= day < today]
    if not seen:
        return None
    first = min(seen)
    days = [first + timedelta(days=offset) for offset in range((today - first).days)]
    if len(days) < DAYS_NEEDED:
        return None
    workday = day_kind([history.get(day, ZERO) for day in days if day.weekday() < SATURDAY])
    weekend = day_kind([history.get(day, ZERO) for day in days if day.weekday() >= SATURDAY])
    # A kind of day not seen yet is taken to be like the other: agents do not rest by themselves.
    return Pace(workday if workday.days else weekend, weekend if weekend.days else workday)


def course(*, spent: Decimal, pace: Pace, now: datetime, ends_at: datetime | None, zone: ZoneInfo) -> tuple[Point, ...]:
    """The expected spend at now, at each local midnight to come, and at the period's end (a year on, where it has none)."""
    end = ends_at or now + timedelta(days=HORIZON_DAYS)
    points = [Point(now, spent, spent, spent)]
    expected, scatter = spent, ZERO
    elapsed: dict[DayKind, Decimal] = {}
    at = now
    while at < end and len(points) <= HORIZON_DAYS + 1:
        day = at.astimezone(zone).date()
        midnight, begun = local_midnight(day + timedelta(days=1), zone), local_midnight(day, zone)
        until = min(midnight, end)
        share = seconds(until - at) / seconds(midnight - begun)
        kind = pace.of(day)
        expected += kind.mean * share
        scatter += kind.variance * share
        elapsed[kind] = elapsed.get(kind, ZERO) + share
        # The mean is itself known only within variance / days; its error adds up over all days of the kind.
        drift = sum((length**2 * each.variance / max(each.days, 1) for each, length in elapsed.items()), ZERO)
        half = SPREAD * (scatter + drift).sqrt()
        points.append(Point(until, expected, max(spent, expected - half), expected + half))
        at = until
    return tuple(points)


def seconds(length: timedelta) -> Decimal:
    return Decimal(length.days * 86_400 + length.seconds) + Decimal(length.microseconds) / 1_000_000


def crossing(levels: Sequence[tuple[datetime, Decimal]], allowance: Decimal) -> datetime | None:
    """When the line through the levels first reaches the allowance."""
    if levels[0][1] >= allowance:
        return levels[0][0]
    for (start, before), (end, after) in zip(levels, levels[1:], strict=False):  # noqa: RUF007
        if after >= allowance:
            share = (allowance - before) / (after - before)
            return start + timedelta(seconds=int(seconds(end - start) * share))
    return None


def forecast(
    *, spent: Decimal, allowance: Decimal, history: Mapping[date, Decimal], now: datetime, ends_at: datetime | None, zone: ZoneInfo
) -> Forecast | None:
    """The period's course and when it meets the allowance; None when there is too little history to say anything."""
    pace = pace_of(history, now.astimezone(zone).date())
    if pace is None or (ends_at is not None and ends_at <= now):
        return None
    points = course(spent=spent, pace=pace, now=now.astimezone(UTC), ends_at=ends_at, zone=zone)
    return Forecast(
        points=points,
        allowance=allowance,
        exhausted_at=crossing([(point.at, point.expected) for point in points], allowance),
        exhausted_early=crossing([(point.at, point.high) for point in points], allowance),
        exhausted_late=crossing([(point.at, point.low) for point in points], allowance),
        pace=pace,
    )

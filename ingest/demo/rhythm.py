"""When work happens: the weight of each local hour and weekday, for people and for machines."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from zoneinfo import ZoneInfo

from governance.periods import local_midnight

# Share of an average hour's activity by local hour; people come at eight and thin out after six.
PEOPLE = (0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 1.6, 4.0, 6.5, 7.5, 7.0, 4.8, 5.8, 7.5, 7.6, 7.0, 5.6, 3.6, 2.2, 1.6, 1.2, 0.8, 0.4)
MACHINES = (4.0, 6.0, 7.0, 7.0, 6.0, 5.0, 3.0, 2.4, 2.2, 2.2, 2.4, 2.4, 2.2, 2.2, 2.4, 2.4, 2.2, 2.2, 2.2, 2.4, 2.6, 3.0, 3.0, 3.4)
WEEKDAYS = (1.0, 1.06, 1.08, 1.05, 0.96, 0.40, 0.37)
SLOTS = 4096


@dataclass(frozen=True, slots=True)
class Day:
    """One local day of the window: [starts_at, ends_at) in UTC, its relative weight, and seconds to pick starts from."""

    index: int
    date: date
    starts_at: datetime
    ends_at: datetime
    weight: float
    starts: tuple[tuple[int, ...], tuple[int, ...]]  # seconds from starts_at: people, machines


@lru_cache(maxsize=16)
def day_table(hours: tuple[float, ...], seconds: int) -> tuple[int, ...]:
    """4096 seconds of the day's first `seconds`, as dense as the hours are busy: picking one uniformly picks by weight."""
    edges = [0.0, *accumulate(hours)]
    reached = weight_until(hours, seconds)
    table = []
    hour = 0
    for slot in range(SLOTS):
        at = reached * (slot + 0.5) / SLOTS
        while edges[hour + 1] < at:
            hour += 1
        table.append(min(int(3600 * (hour + (at - edges[hour]) / hours[hour])), seconds - 1))
    return tuple(table)


def weight_until(hours: tuple[float, ...], seconds: int) -> float:
    """The weight of the first `seconds` of a day."""
    hour, rest = divmod(min(seconds, 24 * 3600), 3600)
    return sum(hours[:hour]) + (hours[hour] * rest / 3600 if rest else 0.0)


def days_until(until: datetime, count: int, zone: ZoneInfo) -> list[Day]:
    """The last `count` local days up to the instant, the last of them cut off there."""
    last = until.astimezone(zone).date()
    return [day_of(last - timedelta(days=count - 1 - index), index, until, zone) for index in range(count)]


def day_of(day: date, index: int, until: datetime, zone: ZoneInfo) -> Day:
    starts_at = local_midnight(day, zone)
    ends_at = min(local_midnight(day + timedelta(days=1), zone), until)
    seconds = max(int((ends_at - starts_at).total_seconds()), 1)
    weight = WEEKDAYS[day.weekday()] * weight_until(PEOPLE, seconds) / sum(PEOPLE)
    return Day(index, day, starts_at, ends_at, weight, (day_table(PEOPLE, min(seconds, 86_400)), day_table(MACHINES, min(seconds, 86_400))))


def shares(total: int, weights: list[float]) -> list[int]:
    """The total split by weight into whole numbers that add up to it."""
    edges = [round(total * part / sum(weights)) for part in accumulate(weights)]
    return [edge - before for before, edge in zip([0, *edges], edges, strict=False)]

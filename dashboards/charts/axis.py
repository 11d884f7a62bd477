"""The steps of time a chart is drawn in: hours, days or weeks, and which of them is not over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dashboards.components.ranges import Range
from governance.periods import hour_bucket

HOURS_UP_TO_DAYS = 2
WEEKS_FROM_DAYS = 120
Step = date | datetime


@dataclass(frozen=True, slots=True)
class Axis:
    """The steps of time, in order; `running` is the index of the one that is not over, if any. Hours are drawn in local time."""

    steps: Sequence[Step]
    zone: ZoneInfo
    running: int | None
    name: str  # hour, day or week

    @property
    def drawn(self) -> list[Step]:
        """Where each step stands on the axis."""
        return [step.astimezone(self.zone).replace(tzinfo=None) if isinstance(step, datetime) else step for step in self.steps]

    @property
    def note(self) -> str:
        return f"per {self.name}" + (f", this {self.name} is not over" if self.running is not None else "")

    def text(self, step: Step) -> str:
        """The step as the chart's table names it."""
        if isinstance(step, datetime):
            return f"{step.astimezone(self.zone):%Y-%m-%d %H:%M}"
        return f"week of {step:%Y-%m-%d}" if self.name == "week" else f"{step:%Y-%m-%d}"


def step_of(span: Range) -> str:
    """Hours for a day or two, weeks for what is longer than four months, days otherwise."""
    length = (span.last - span.first).days + 1
    if length <= HOURS_UP_TO_DAYS:
        return "hour"
    return "week" if length > WEEKS_FROM_DAYS else "day"


def axis_of(span: Range, step: str, now: datetime) -> Axis:
    """The steps of the range that have begun."""
    if step == "hour":
        hours = _hours(span, now)
        return Axis(hours, span.zone, len(hours) - 1 if span.is_running and hours else None, step)
    if step == "week":
        weeks = sorted({day - timedelta(days=day.weekday()) for day in span.days})
        return Axis(weeks, span.zone, len(weeks) - 1 if weeks[-1] + timedelta(days=7) > span.today else None, step)
    return Axis(span.days, span.zone, len(span.days) - 1 if span.is_running else None, step)


def _hours(span: Range, now: datetime) -> list[datetime]:
    hours: list[datetime] = []
    hour = hour_bucket(span.starts_at, span.zone)
    while hour < min(span.ends_at, now):
        hours.append(hour)
        hour = hour_bucket(hour + timedelta(hours=1), span.zone)
    return hours

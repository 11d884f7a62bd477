"""The Spend page's chart: one measure by one dimension over time, stacked where it adds up, as lines where it does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboards.charts.base import OTHER, Chart, Series, lines, stacked_bars
from dashboards.components.figures import SYMBOLS, count_text, money_text, percent_text, tokens_text
from dashboards.insights.figures import Figures, Measure

DAYS_ALL_NAMED = 8
# So few bars are drawn narrow: a bar as wide as the page reads as an area.
DAYS_NARROW = 3
# (step of time, key or None for all others) → sums
Cells = Mapping[tuple[date | datetime, str | None], Figures]


@dataclass(frozen=True, slots=True)
class Axis:
    """The steps of time, in order; `running` is the index of the one that is not over, if any. Hours are drawn in local time."""

    steps: Sequence[date | datetime]
    zone: ZoneInfo
    running: int | None
    name: str  # hour, day or week


def value_text(value: Decimal | int | None, measure: Measure, currency: str) -> str:
    """A value of the measure as people read it."""
    if measure.unit in ("money", "rate"):
        return money_text(value, currency)
    if measure.unit == "share":
        return percent_text(None if value is None else Decimal(value))
    return tokens_text(value) if measure.unit == "tokens" else count_text(value)


def spend_chart(
    cells: Cells, axis: Axis, *, named: Sequence[tuple[str, str]], measure: Measure, currency: str, title: str, hrefs: Mapping[str, str], has_others: bool
) -> Chart:
    """The chart with its table. `named` are the (key, name) shown on their own, largest first; `hrefs` where a click on each leads."""
    entries: list[tuple[str | None, str]] = [*named, *([(None, "Other")] if has_others else [])]
    series = [_series(cells, axis, key, name, measure, hrefs) for key, name in entries]
    is_share = measure.unit == "share"
    unit = SYMBOLS.get(currency, currency + "\u00a0") if measure.unit in ("money", "rate") else ""
    x = [_drawn_at(step, axis.zone) for step in axis.steps]
    if measure.is_additive:  # noqa: SIM108
        figure = stacked_bars(x, series, unit=unit, running=axis.running)
    else:
        figure = lines(x, series, unit=unit, share=is_share)
    if axis.name == "day" and len(x) <= DAYS_ALL_NAMED:
        figure.update_xaxes(tickvals=x, ticktext=[f"{day.day} {day:%b}" for day in x])
    if len(x) <= DAYS_NARROW:
        figure.update_layout(bargap=0.7)
    rows = [
        [_step_text(step, axis), *(value_text(entry.values[index], measure, currency) for entry in series)]
        for index, step in enumerate(axis.steps)
    ]
    note = f"per {axis.name}" + (f", this {axis.name} is not over" if axis.running is not None else "")
    summary = f"{title}. Largest: {named[0][1]}." if named else ""
    return Chart("spend-chart", title, figure, [axis.name.capitalize(), *(name for _, name in entries)], rows, note=note, height=330, summary=summary)


def _series(cells: Cells, axis: Axis, key: str | None, name: str, measure: Measure, hrefs: Mapping[str, str]) -> Series:  # noqa: PLR0917
    # A step without calls is zero for what adds up, and unknown for an average.
    empty = 0 if measure.is_additive else None
    values = [measure.value(cells[step, key]) if (step, key) in cells else empty for step in axis.steps]
    if key is None:
        return Series(name, values, key="other", colour=OTHER)
    return Series(name, values, key=key or "unallocated", href=hrefs.get(key, ""))


def _drawn_at(step: date | datetime, zone: ZoneInfo) -> date | datetime:
    return step.astimezone(zone).replace(tzinfo=None) if isinstance(step, datetime) else step


def _step_text(step: date | datetime, axis: Axis) -> str:
    if isinstance(step, datetime):
        return f"{step.astimezone(axis.zone):%Y-%m-%d %H:%M}"
    return f"week of {step:%Y-%m-%d}" if axis.name == "week" else f"{step:%Y-%m-%d}"



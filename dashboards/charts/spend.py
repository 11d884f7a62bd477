"""The chart of Overview and Spend: one measure by one dimension over time, stacked where it adds up, as lines where it does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlencode

import plotly.graph_objects as go

from dashboards.charts.axis import Axis, Step
from dashboards.charts.base import OTHER, Chart, Mark, Series, colour_of, lines, stacked_bars
from dashboards.components.figures import SYMBOLS, count_text, money_text, percent_text, tokens_text
from dashboards.insights.figures import Figures, Measure

DAYS_ALL_NAMED = 8
# So few bars are drawn narrow: a bar as wide as the page reads as an area.
DAYS_NARROW = 3
BRANDED = ("provider", "maker", "tier")
# (step of time, key or None for all others) → sums
Cells = Mapping[tuple[Step, str | None], Figures]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the chart shows and where it leads: `named` are the (key, name) drawn on their own, largest first, all others have key None."""

    measure: Measure
    dimension: str
    currency: str
    named: Sequence[tuple[str, str]]
    hrefs: Mapping[str, str] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    width: int = 1000


def value_text(value: Decimal | float | None, measure: Measure, currency: str) -> str:
    """A value of the measure as people read it."""
    exact = None if value is None else Decimal(value)
    if measure.unit in ("money", "rate"):
        return money_text(exact, currency)
    if measure.unit == "share":
        return percent_text(exact)
    return tokens_text(exact) if measure.unit == "tokens" else count_text(exact)


def spend_chart(cells: Cells, axis: Axis, shown: Shown, *, id: str, title: str, height: int = 330) -> Chart:  # noqa: A002
    """The chart with its table. Values that are zero all along have a column in the table but take no room in the drawing."""
    measure = shown.measure
    entries: list[tuple[str | None, str]] = [*shown.named, *([(None, "Other")] if any(key is None for _, key in cells) else [])]
    series = [_series(cells, axis, key, name=name, shown=shown) for key, name in entries]
    figure = _figure(axis, [entry for entry in series if any(entry.values)] or series[:1], shown)
    if axis.name == "day" and len(axis.steps) <= DAYS_ALL_NAMED:
        figure.update_xaxes(tickvals=axis.drawn, ticktext=[f"{day.day} {day:%b}" for day in axis.steps])
    if len(axis.steps) <= DAYS_NARROW:
        figure.update_layout(bargap=0.7)
    totals = _totals(series) if measure.is_additive and len(series) > 1 else None
    rows = [
        [axis.text(step), *(value_text(value, measure, shown.currency) for value in _column(series, totals, index))]
        for index, step in enumerate(axis.steps)
    ]
    headers = [axis.name.capitalize(), *(name for _, name in entries), *(["Total"] if totals else [])]
    summary = f"{title}, {axis.note}. Largest: {shown.named[0][1]}." if shown.named else ""
    return Chart(id, title, figure, headers, rows, note=axis.note, height=height, marks=shown.marks, summary=summary)


def _figure(axis: Axis, drawn: Sequence[Series], shown: Shown) -> go.Figure:
    measure, marks = shown.measure, () if axis.name == "hour" else shown.marks
    unit = SYMBOLS.get(shown.currency, shown.currency + "\u00a0") if measure.unit in ("money", "rate") else ""
    if measure.is_additive:
        return stacked_bars(axis.drawn, drawn, unit=unit, running=axis.running, marks=marks, width=shown.width)
    return lines(axis.drawn, drawn, unit=unit, share=measure.unit == "share", marks=marks, width=shown.width)


def _series(cells: Cells, axis: Axis, key: str | None, *, name: str, shown: Shown) -> Series:
    # A step without calls is zero for what adds up, and unknown for an average.
    empty = 0 if shown.measure.is_additive else None
    values = [shown.measure.value(cells[step, key]) if (step, key) in cells else empty for step in axis.steps]
    if key is None:
        return Series(name, values, key="other", colour=OTHER)
    colour = colour_of(key) if shown.dimension in BRANDED else ""
    return Series(name, values, key=key or "unallocated", hrefs=_step_hrefs(shown.hrefs.get(key, ""), axis), colour=colour)


def _step_hrefs(href: str, axis: Axis) -> list[str]:
    """The address of each bar: where the series leads, narrowed to the days of the step."""
    if not href:
        return []
    page, _, query = href.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in ("range", "from", "to")]
    found = []
    for step in axis.steps:
        first = step.astimezone(axis.zone).date() if isinstance(step, datetime) else step
        last = first + timedelta(days=6) if axis.name == "week" else first
        found.append(f"{page}?{urlencode([*kept, ('range', 'custom'), ('from', first.isoformat()), ('to', last.isoformat())])}")
    return found


def _totals(series: Sequence[Series]) -> list[Decimal]:
    return [sum((Decimal(value or 0) for value in column), Decimal(0)) for column in zip(*(entry.values for entry in series), strict=True)]


def _column(series: Sequence[Series], totals: Sequence[Decimal] | None, index: int) -> list[Decimal | int | float | None]:
    return [*(entry.values[index] for entry in series), *([totals[index]] if totals else [])]

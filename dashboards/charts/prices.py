"""The chart of one model's prices: each meter a line of steps, one step for each price row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape

import plotly.graph_objects as go

from dashboards.charts.base import INK_3, SERIES, Chart, drawn, label_ends, style
from dashboards.components.figures import SYMBOLS, money_text, plain_decimal

MOST_METERS = 6
# What the drawing shows of the time before the first change that is known.
BEFORE = timedelta(days=120)
AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Step:
    """One price row in the drawing: its amounts by meter's name. `begins` None: since ever, as far as the lists know."""

    begins: datetime | None
    ends: datetime | None
    amounts: dict[str, Decimal]
    label: str = ""


def price_steps(steps: Sequence[Step], *, meters: Sequence[str], now: datetime, currency: str, note: str) -> Chart:
    """The chart with its table. `steps` follow each other in time; `meters` are drawn in this order, the first ones only."""
    shown = meters[:MOST_METERS]
    figure = go.Figure()
    edges = [at for step in steps for at in (step.begins, step.ends) if at is not None]
    first, last = min([now, *edges]) - BEFORE, max([now, *edges])
    ends = []
    for index, meter in enumerate(shown):
        x, y, words = _line(steps, meter, first=first, last=last + (AFTER if last > now else timedelta(0)), currency=currency)
        colour = SERIES[index]
        figure.add_scatter(
            x=x, y=drawn(y), name=meter, mode="lines", line={"color": colour, "width": 2, "shape": "hv"}, connectgaps=False, text=words,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        ends.append((meter, colour, y))
    unit = SYMBOLS.get(currency, currency + " ")
    style(figure, unit=unit)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(type="date", tickformatstops=[], tickformat="%b %Y", nticks=8)
    label_ends(figure, ends, stacked=False)
    if last > now:
        _mark_now(figure, now)
    headers = ["From", "To", *meters]
    rows = [
        [_day(step.begins, "the beginning"), _day(step.ends, "open"), *(_exact(step.amounts.get(meter), currency) for meter in meters)]
        for step in reversed(steps)
    ]
    return Chart(id="history", title="History", figure=figure, headers=headers, rows=rows, note=note, height=300, summary=_summary(steps))


def _line(
    steps: Sequence[Step], meter: str, *, first: datetime, last: datetime, currency: str
) -> tuple[list[datetime], list[Decimal | None], list[str]]:
    x: list[datetime] = []
    y: list[Decimal | None] = []
    words: list[str] = []
    for index, step in enumerate(steps):
        begins = step.begins or first
        amount = step.amounts.get(meter)
        text = f"{escape(meter)}: {money_text(amount, currency)} from {_day(step.begins, 'the beginning')}"
        following = steps[index + 1].begins if index + 1 < len(steps) else None
        ends = step.ends or following or last
        x += [begins, ends]
        y += [amount, amount]
        words += [text, text]
        if step.ends is not None and step.ends != following:
            x.append(step.ends)
            y.append(None)
            words.append("")
    return x, y, words


def _mark_now(figure: go.Figure, now: datetime) -> None:
    figure.add_shape(type="line", x0=now, x1=now, y0=0, y1=1, yref="paper", line={"color": INK_3, "width": 1, "dash": "dot"})
    figure.add_annotation(x=now, y=1, yref="paper", yanchor="bottom", text="now", showarrow=False, font={"color": INK_3, "size": 11.5})


def _summary(steps: Sequence[Step]) -> str:
    changes = len(steps) - 1
    return "No change of this price is known." if changes < 1 else f"{changes} change{'s' if changes > 1 else ''} of this price."


def _day(at: datetime | None, none: str) -> str:
    return none if at is None else f"{at.day} {at:%b %Y}"


def _exact(amount: Decimal | None, currency: str) -> str:
    return "–" if amount is None else f"{currency} {plain_decimal(amount)}"  # noqa: RUF001

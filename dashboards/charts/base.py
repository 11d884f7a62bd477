"""The manner of every chart: colours, axes, hatching, marks, direct labels, and the table that says the same."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from html import escape
from typing import Any
from zlib import crc32

import plotly.graph_objects as go

# Stand-ins for colours that differ by theme; charts.js puts the theme's own in their place.
INK, INK_2, INK_3, LINE, SURFACE = "#010101", "#020202", "#030303", "#040404", "#050505"
ACCENT, OK, WARN, DANGER, ICE, LINE_2 = "#060606", "#070707", "#080808", "#090909", "#0a0a0a", "#0b0b0b"

# A provider or maker keeps its colour on all pages and in both themes: each has 3:1 against either surface.
COLOURS = {
    "anthropic": "#c2683f", "openai": "#2f8b7d", "google": "#4777c9", "deepseek": "#7563d8", "zhipu": "#a8842a",
    "moonshot": "#b0568d", "alibaba": "#4f8f3a", "mistral": "#d1532f", "xai": "#6b7f93", "minimax": "#c4506a",
    "aws": "#b8741a", "azure": "#2f8fb8", "openrouter": "#8a6fb0", "meta": "#5b78e0", "stepfun": "#3d8b9e", "vllm": "#837b4a",
}  # fmt: skip
SAME_AS = {
    "moonshotai": "moonshot", "moonshot-ai": "moonshot", "qwen": "alibaba", "x-ai": "xai", "z-ai": "zhipu", "zai": "zhipu", "zhipuai": "zhipu",
    "mistralai": "mistral", "google-vertex": "google", "vertex": "google", "gemini": "google", "aws-bedrock": "aws", "bedrock": "aws", "azure-openai": "azure",
    "meta-llama": "meta",
}  # fmt: skip
OTHER = "#85827b"
SERIES = ("#4777c9", "#c2683f", "#2f8b7d", "#7563d8", "#a8842a", "#b0568d", "#4f8f3a", "#6b7f93")
TIERS = {"flagship": "#c2683f", "standard": "#4777c9", "economy": "#2f8b7d", "unknown": OTHER}
DOT = 8
MOST_SERIES = 8
MARK_LINES = 3
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
PERCENT = ",.0%"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, drawn on the time axis and linked to its record."""

    at: date | datetime
    label: str
    href: str = ""
    tone: str = INK_3


@dataclass(frozen=True, slots=True)
class Series:
    """A named row of values, one for each point of the axis; None is unknown and leaves a gap. `hrefs` are the addresses of the points."""

    name: str
    values: Sequence[Decimal | int | float | None]
    key: str = ""
    colour: str = ""
    href: str = ""
    hrefs: Sequence[str] = ()

    @property
    def addresses(self) -> list[str] | None:
        """Where each point leads: its own address, or the series'."""
        return list(self.hrefs) or ([self.href] * len(self.values) if self.href else None)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its title, the same data as a table, and marks as links. Shown by `{% chart %}`."""

    id: str
    title: str
    figure: go.Figure
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    height: int = 320
    marks: Sequence[Mark] = field(default=())
    summary: str = ""

    @property
    def json(self) -> str:
        """The figure for charts.js, without a character that HTML would read otherwise."""
        text = json.dumps(self.figure.to_plotly_json(), default=_plain, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def colour_of(key: str, index: int | None = None) -> str:
    """The colour of a provider, maker or tier by its slug. Others take turns by index, or without one keep a colour of their own."""
    slug = SAME_AS.get(key.lower(), key.lower())
    if slug in ("", "other", "unallocated", "unknown"):
        return OTHER
    turn = crc32(slug.encode()) if index is None else index
    return COLOURS.get(slug) or TIERS.get(slug) or SERIES[turn % len(SERIES)]


def top_series(series: Sequence[Series], most: int = MOST_SERIES) -> list[Series]:
    """The largest series by sum, largest first; what is beyond `most` is added up as "Other"."""
    ordered = sorted(series, key=lambda entry: sum(value or 0 for value in entry.values), reverse=True)
    if len(ordered) <= most:
        return ordered
    rest = ordered[most - 1 :]
    sums = [sum((values or 0) for values in column) for column in zip(*(entry.values for entry in rest), strict=True)]
    return [*ordered[: most - 1], Series(f"Other ({len(rest)})", sums, key="other", colour=OTHER)]


def stacked_bars(
    x: Sequence[date | datetime | str], series: Sequence[Series], *, unit: str = "$", running: int | None = None, marks: Sequence[Mark] = (),
    share: bool = False, width: int = 560,
) -> go.Figure:  # fmt: skip
    """Bars from zero, stacked, largest series at the bottom. `running` is the index of the period that is not over: hatched.

    `unit` is the prefix of amounts ("$") or "" for plain counts; `share` draws fractions as percent.
    """
    shown = [replace(entry, colour=entry.colour or colour_of(entry.key or entry.name, index)) for index, entry in enumerate(top_series(series))]
    figure = go.Figure()
    for entry in shown:
        shapes = ["/" if index == running else "" for index in range(len(x))]
        figure.add_bar(
            x=list(x), y=drawn(entry.values), name=entry.name, customdata=entry.addresses,
            marker={"color": entry.colour, "line": {"width": 0}, "pattern": {"shape": shapes, "size": 5, "solidity": 0.45, "fillmode": "replace"}},
            hovertemplate=f"{escape(entry.name)}: %{{y:{number_format(unit, share)}}}<extra></extra>",
        )  # fmt: skip
    style(figure, unit=unit, share=share)
    figure.update_layout(barmode="stack", bargap=0.14, hovermode="x unified")
    label_ends(figure, [(entry.name, entry.colour, entry.values) for entry in shown], stacked=True)
    add_marks(figure, marks, width=width)
    return figure


def lines(
    x: Sequence[date | datetime | str], series: Sequence[Series], *, unit: str = "$", marks: Sequence[Mark] = (), share: bool = False,
    from_zero: bool = True, width: int = 560,
) -> go.Figure:  # fmt: skip
    """Lines with their names at the right end."""
    figure = go.Figure()
    shown = [replace(entry, colour=entry.colour or colour_of(entry.key or entry.name, index)) for index, entry in enumerate(series[:MOST_SERIES])]
    for entry in shown:
        figure.add_scatter(
            x=list(x), y=drawn(entry.values), name=entry.name, line={"color": entry.colour, "width": 2}, connectgaps=False, **line_drawn(entry.values),
            customdata=entry.addresses, hovertemplate=f"{escape(entry.name)}: %{{y:{number_format(unit, share)}}}<extra></extra>",
        )  # fmt: skip
    style(figure, unit=unit, share=share)
    figure.update_layout(hovermode="x unified")
    if from_zero:
        figure.update_yaxes(rangemode="tozero")
    label_ends(figure, [(entry.name, entry.colour, entry.values) for entry in shown], stacked=False)
    add_marks(figure, marks, width=width)
    return figure


def flat_bars(
    names: Sequence[str], values: Sequence[Decimal | int | float | None], *, unit: str = "$", colours: Sequence[str] = (), hrefs: Sequence[str] = (), share: bool = False
) -> go.Figure:
    """Horizontal bars from zero, first name on top, the value written at the end of each."""
    figure = go.Figure()
    figure.add_bar(
        y=list(names), x=drawn(values), orientation="h", customdata=list(hrefs) or None, texttemplate=f"%{{x:{number_format(unit, share)}}}", textposition="outside", cliponaxis=False,
        marker={"color": list(colours) or ACCENT, "line": {"width": 0}}, hovertemplate=f"%{{y}}: %{{x:{number_format(unit, share)}}}<extra></extra>",
    )  # fmt: skip
    style(figure, unit=unit, share=share)
    figure.update_layout(bargap=0.3, margin={"l": 8, "r": 64, "t": 8, "b": 8})
    figure.update_yaxes(autorange="reversed", showgrid=False, tickprefix="", tickformat="", ticksuffix="  ", rangemode="normal")
    figure.update_xaxes(rangemode="tozero", showgrid=False, showticklabels=False, showline=False)
    return figure


def add_forecast(figure: go.Figure, x: Sequence[Any], middle: Sequence[Any], low: Sequence[Any], high: Sequence[Any], *, colour: str = ACCENT, name: str = "Forecast") -> None:  # noqa: PLR0917
    """A dashed line with its band. The band is the lighter area between low and high."""
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(x=list(x), y=drawn(low), **band)
    figure.add_scatter(x=list(x), y=drawn(high), fill="tonexty", fillcolor="rgba(128,140,150,0.22)", **band)
    figure.add_scatter(x=list(x), y=drawn(middle), name=name, mode="lines", line={"color": colour, "width": 2, "dash": "dash"})


def add_limit(figure: go.Figure, amount: Decimal, label: str, *, colour: str = ICE) -> None:
    """A dashed horizontal line at a limit, with its name on it."""
    figure.add_hline(y=float(amount), line={"color": colour, "width": 1.5, "dash": "dash"})
    figure.add_annotation(x=1, xref="paper", xanchor="right", y=float(amount), yanchor="bottom", text=escape(label), showarrow=False, font={"color": colour, "size": 12})


def add_marks(figure: go.Figure, marks: Sequence[Mark], *, width: int = 560) -> None:
    """Dotted verticals, what happened on one day under one label on top; those with an address are links.

    Labels that would run into each other at `width` pixels go one line higher; what finds no room there is named below the chart only.
    """
    places = _places(figure)
    days: dict[str, list[Mark]] = {}
    for mark in sorted(marks, key=lambda entry: str(entry.at)):
        days.setdefault(mark.at.isoformat(), []).append(mark)
    lines: list[float] = []  # how far to the right each line of labels is taken
    for at, found in days.items():
        figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line={"color": found[0].tone, "width": 1, "dash": "dot"})
        text = _short(found[0].label, 34) + (f" +{len(found) - 1}" if len(found) > 1 else "")
        room = 6.6 * len(text) + 30
        left = _place(places, at) * width
        start, anchor = (left, "left") if left + room <= width + 60 else (left - room, "right")
        line = next((index for index, taken in enumerate(lines) if taken <= start), len(lines))
        if line >= MARK_LINES:
            continue
        lines[line : line + 1] = [start + room]
        _label_mark(figure, found[0], at=at, text=text, anchor=anchor, line=line)
    if marks:
        figure.update_layout(margin={"t": 12 + 17 * max(len(lines), 1)})


def _places(figure: go.Figure) -> list[str]:
    """The steps of the axis, in order."""
    return sorted({str(at) for trace in figure.data for at in (() if trace.x is None else trace.x)})


def _place(steps: Sequence[str], at: str) -> float:
    """How far along the steps an instant is, 0 to 1."""
    return (bisect_right(steps, at) - 0.5) / len(steps) if steps else 0.5


def _label_mark(figure: go.Figure, mark: Mark, *, at: str, text: str, anchor: str, line: int) -> None:
    label = escape(text)
    if mark.href:
        label = f'<a href="{escape(mark.href)}" target="_self">{label}</a>'
    dot = f'<span style="color:{mark.tone}">●</span>'
    figure.add_annotation(
        name="mark-label", x=at, y=1, yref="paper", yanchor="bottom", yshift=17 * line, xanchor=anchor, xshift=-5 if anchor == "left" else 5, showarrow=False,
        text=f"{dot} {label}" if anchor == "left" else f"{label} {dot}", font={"color": INK_2, "size": 11.5},
    )  # fmt: skip


def label_ends(figure: go.Figure, entries: Sequence[tuple[str, str, Sequence[Any]]], *, stacked: bool) -> None:
    """Names at the right, each at the height of its last value, pushed apart where they would touch."""
    ends: list[tuple[float, str, str]] = []
    height = 0.0
    tops = [sum(float(value or 0) for value in column) for column in zip(*(values for _, _, values in entries), strict=True)] if stacked else []
    most = max(tops or [float(value or 0) for _, _, values in entries for value in values] or [0.0]) or 1.0
    for name, colour, values in entries:
        last = float(next((value for value in reversed(values) if value is not None), 0) or 0)
        ends.append((height + last / 2 if stacked else last, name, colour))
        height += last
    lowest = -1.0
    for at, name, colour in sorted(ends):
        lowest = max(at, lowest + most * 0.065)
        figure.add_annotation(
            name="series-label", x=1, xref="paper", xanchor="left", xshift=8, y=lowest, yanchor="middle", showarrow=False, align="left",
            text=f'<span style="color:{colour}">■</span> {escape(_short(name))}', font={"color": INK_2, "size": 12},
        )  # fmt: skip
    longest = max((len(_short(name)) for name, _, _ in entries), default=0)
    figure.update_layout(margin={"r": 40 + 7 * longest})


def style(figure: go.Figure, *, unit: str = "$", share: bool = False) -> go.Figure:
    """Paper, ink, grid and margins of the house. Bars begin at zero; there is no legend while names stand beside the lines."""
    axis = {"showgrid": False, "zeroline": False, "linecolor": LINE, "tickfont": {"color": INK_3, "size": 11.5}, "automargin": True, "fixedrange": True}
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", showlegend=False, autosize=True,
        font={"family": FONT, "size": 12, "color": INK_2}, margin={"l": 8, "r": 16, "t": 12, "b": 8}, hoverlabel={"bgcolor": SURFACE, "bordercolor": LINE, "font": {"color": INK, "size": 12}},
        legend={"font": {"color": INK_2}},
    )  # fmt: skip
    figure.update_xaxes(axis | {"showline": True, "tickformatstops": [{"dtickrange": [None, 43200000], "value": "%H:%M"}, {"dtickrange": [43200000, 1209600000], "value": "%-d %b"}, {"dtickrange": [1209600000, None], "value": "%-d %b"}]})  # noqa: E501
    figure.update_yaxes(axis | {"showgrid": True, "gridcolor": LINE_2, "rangemode": "tozero", "tickprefix": "" if share else unit, "tickformat": PERCENT if share else "~s" if not unit else ",~r", "nticks": 5})  # noqa: E501
    return figure


def number_format(unit: str = "$", share: bool = False) -> str:
    """The d3 format of values in hover texts and labels."""
    return ",.1%" if share else f"{unit},.2f" if unit == "$" else ",.2f" if unit else ",.3~s"


def drawn(values: Sequence[Any]) -> list[float | None]:
    """Exact amounts as the floats that drawing needs; nothing else is computed from them."""
    return [None if value is None else float(value) for value in values]


def line_drawn(values: Sequence[Any]) -> dict[str, Any]:
    """The mode and marks of a line: a value without a known neighbour gets a dot, since a line of one point is not seen."""
    around = zip([None, *values], values, [*values[1:], None], strict=False)
    is_alone = [own is not None and before is None and after is None for before, own, after in around]
    if not any(is_alone):
        return {"mode": "lines"}
    return {"mode": "lines+markers", "marker": {"size": [DOT if one else 0 for one in is_alone], "opacity": 1}}


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} in a figure")

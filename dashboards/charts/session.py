"""Charts of one session: its calls by model with what they add up to, and how its context grew."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboards.charts.base import (
    ACCENT,
    DANGER,
    ICE,
    INK,
    INK_3,
    LINE_2,
    OK,
    OTHER,
    WARN,
    Chart,
    colour_of,
    drawn,
    line_drawn,
    number_format,
    style,
)  # fmt: skip
from dashboards.components.figures import SYMBOLS, at_text, count_text, money_text, tokens_text

MOST_MODELS = 7
SHADES = (1.0, 0.6, 0.35, 0.2)
TONES = {"guard": DANGER, "freeze": ICE, "resume": OK, "topup": OK, "request": WARN}
WEIGHT = {"freeze": 3, "topup": 4, "resume": 1, "guard": 2}
WORDS = {"guard": "guard", "freeze": "frozen", "resume": "resumed", "topup": "topped up", "request": "asked for more"}


@dataclass(frozen=True, slots=True)
class CallBar:
    """One call as it is drawn: `cost` None is unpriced or, without `is_measured`, of unknown size; `is_billed` False is usage of a subscription."""

    at: datetime
    model: str
    maker: str
    cost: Decimal | None
    is_billed: bool
    context_tokens: int | None
    href: str = ""
    is_measured: bool = True

    @property
    def cost_text(self) -> str:
        """The cost in a table: every digit, or why there is none."""
        if self.cost is not None:
            return f"{self.owed:f}"
        return "no price" if self.is_measured else "size unknown"

    @property
    def owed(self) -> Decimal:
        return self.cost if self.cost is not None and self.is_billed else Decimal(0)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something on the time axis: `kind` is freeze, resume, topup, request or guard."""

    at: datetime
    kind: str
    label: str = ""


def timeline(
    calls: Sequence[CallBar],
    *,
    happenings: Sequence[Happening] = (),
    allowance: Decimal | None,
    cost_before: Decimal = Decimal(0),
    calls_before: int = 0,
    zone: ZoneInfo,
    currency: str = "USD",
) -> Chart:
    """Above, the cumulative cost against the limit; below, each call's cost as a bar in its model's colour. One place per call."""
    unit = SYMBOLS.get(currency, currency + " ")
    figure = style(go.Figure(), unit=unit)
    levels = cumulative(calls, cost_before)
    places = list(range(len(calls)))
    hovers = [f"{at_text(call.at, zone)} {escape(call.model)}" for call in calls]
    figure.add_scatter(
        x=places, y=drawn(levels), name="cumulative", **line_drawn(levels),
        line={"color": INK, "width": 2, "shape": "hv" if len(calls) < 12 else "linear"},
        customdata=hovers, hovertemplate=f"%{{customdata}}<br>%{{y:{number_format(unit)}}} so far<extra></extra>", showlegend=False,
    )  # fmt: skip
    makers: Counter[str] = Counter()
    for index, (model, maker) in enumerate(model_order(calls)):
        own = [place for place, call in enumerate(calls) if name_of(call, calls) == model]
        figure.add_bar(
            x=own, y=drawn([calls[place].owed for place in own]), name=model, yaxis="y2",
            marker={"color": OTHER if model == "other" else model_colour(maker, index), "line": {"width": 0}}, opacity=shade(makers[maker]),
            text=[hovers[place] for place in own], textposition="none", customdata=[calls[place].href for place in own],
            hovertemplate=f"%{{text}}<br>%{{y:{unit},.4f}}<extra></extra>",
        )  # fmt: skip
        makers[maker] += 1
    layout_panels(figure, unit=unit)
    time_axis(figure, [call.at for call in calls], zone)
    if allowance is not None:
        add_limit_above(figure, allowance, f"limit {money_text(allowance, currency)}")
        figure.update_layout(yaxis={"range": [0, float(max([allowance, *levels]) * Decimal("1.14")) or 1]})
    add_happenings(figure, happenings, calls, zone=zone)
    names = ["Time", "Model", f"Cost ({currency})", f"Cumulative ({currency})"]
    rows = [[at_text(call.at, zone), call.model, call.cost_text, f"{level:f}"] for call, level in zip(calls, levels, strict=True)]
    earlier = f" after {count_text(calls_before)} earlier" if calls_before > 0 else ""
    number = f"{count_text(len(calls))} call{'' if len(calls) == 1 else 's'}"
    note = f"{number}{earlier} · line: cumulative, bars: each call"
    summary = f"{number}, cumulative cost {money_text(levels[-1] if levels else cost_before, currency)}"
    summary += f" of a limit of {money_text(allowance, currency)}." if allowance is not None else "."
    return Chart("session-timeline", "What the session did", figure, names, rows, note=note, height=340, summary=summary)


def cumulative(calls: Sequence[CallBar], start: Decimal) -> list[Decimal]:
    """The cost so far after each call."""
    levels, level = [], start
    for call in calls:
        level += call.owed
        levels.append(level)
    return levels


def model_order(calls: Sequence[CallBar]) -> list[tuple[str, str]]:
    """(model, maker) by cost, dearest first; beyond seven they are together as "other"."""
    found: dict[str, tuple[Decimal, str]] = {}
    for call in calls:
        cost, maker = found.get(call.model, (Decimal(0), call.maker))
        found[call.model] = (cost + call.owed, maker)
    ordered = sorted(found, key=lambda model: (-found[model][0], model))
    shown = [(model, found[model][1]) for model in ordered[:MOST_MODELS]]
    return [*shown, ("other", "")] if len(ordered) > MOST_MODELS else shown


def name_of(call: CallBar, calls: Sequence[CallBar]) -> str:
    return call.model if call.model in {model for model, _ in model_order(calls)} else "other"


def model_colour(maker: str, index: int) -> str:
    return colour_of(maker, index)


def shade(earlier: int) -> float:
    """How opaque a model is drawn of whose maker so many dearer ones are shown already: a maker keeps its colour, its models are told apart."""
    return SHADES[min(earlier, len(SHADES) - 1)]


def layout_panels(figure: go.Figure, *, unit: str) -> None:
    """Two panels over one time axis, each with its own scale: what it adds up to above, single calls below."""
    upper = figure.layout.yaxis.to_plotly_json()
    figure.update_layout(
        yaxis={"domain": [0.36, 1]},
        yaxis2=upper | {"domain": [0, 0.26], "anchor": "x", "nticks": 3, "tickformat": ",~r", "tickprefix": unit, "gridcolor": LINE_2},
        xaxis={"anchor": "y2"},
        barmode="stack", bargap=0.2, showlegend=True, hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.1, "yanchor": "top", "font": {"size": 12},
                "itemclick": False, "itemdoubleclick": False},
        margin={"t": 26, "b": 40, "r": 28},
    )  # fmt: skip


def time_axis(figure: go.Figure, instants: Sequence[datetime], zone: ZoneInfo, most: int = 6) -> None:
    """Clock times under some of the evenly placed calls, the first and the last among them."""
    count = len(instants)
    step = max(1, (count - 1) // (most - 1)) if count > 1 else 1
    places = list(range(0, max(count - step // 2, 1), step)) if count else []
    if count > 1 and places[-1] != count - 1:
        places.append(count - 1)
    is_long = count > 1 and instants[-1].astimezone(zone).date() != instants[0].astimezone(zone).date()
    form = "%-d %b %H:%M" if is_long else "%H:%M"
    labels = [instants[place].astimezone(zone).strftime(form) for place in places]
    figure.update_xaxes(tickmode="array", tickvals=places, ticktext=labels, range=[-0.8, max(count - 0.2, 0.8)], tickformatstops=[])


def add_limit_above(figure: go.Figure, amount: Decimal, label: str) -> None:
    """The limit as a dashed line in the upper panel."""
    figure.add_shape(
        type="line",
        xref="paper",
        x0=0,
        x1=1,
        yref="y",
        y0=float(amount),
        y1=float(amount),
        line={"color": ICE, "width": 1.5, "dash": "dash"},
    )
    figure.add_annotation(
        xref="paper",
        x=0,
        xanchor="left",
        yref="y",
        y=float(amount),
        yanchor="bottom",
        text=escape(label),
        showarrow=False,
        font={"color": ICE, "size": 12},
    )


def add_happenings(figure: go.Figure, happenings: Sequence[Happening], calls: Sequence[CallBar], *, zone: ZoneInfo) -> None:
    """Freezes, resumptions and grants as verticals between the calls they fell between. Of neighbours the weightiest kind is named, with all its times."""
    if not calls:
        return
    placed = [(sum(call.at <= event.at for call in calls) - 0.5, event) for event in happenings]
    near = len(calls) / 6
    # The weightiest is drawn last: of several at one place it is the one seen.
    for place, event in sorted(placed, key=lambda entry: WEIGHT.get(entry[1].kind, 0)):
        colour = TONES.get(event.kind, INK_3)
        figure.add_shape(type="line", x0=place, x1=place, yref="paper", y0=0, y1=1, line={"color": colour, "width": 1.5, "dash": "dot"})
        rivals = [(WEIGHT.get(other.kind, 0), other.at) for at, other in placed if abs(at - place) < near]
        if (WEIGHT.get(event.kind, 0), event.at) != max(rivals):
            continue
        alike = sorted(other.at for at, other in placed if abs(at - place) < near and other.kind == event.kind)
        figure.add_annotation(
            x=place, yref="paper", y=1, yanchor="bottom", xanchor="right" if place > len(calls) / 2 else "left", showarrow=False,
            text=f"{WORDS.get(event.kind, event.kind)} {times_text(alike, zone)}", font={"color": colour, "size": 11.5},
        )  # fmt: skip


def times_text(instants: Sequence[datetime], zone: ZoneInfo) -> str:
    """10:12, or 10:12 and 10:40; beyond two how many times, and the last."""
    times = list(dict.fromkeys(f"{at.astimezone(zone):%H:%M}" for at in instants))
    return " and ".join(times) if len(times) < 3 else f"{len(times)} times, last {times[-1]}"


def context_growth(calls: Sequence[CallBar], *, zone: ZoneInfo) -> Chart:
    """The input of each call, cached or not: how much the session carries along."""
    known = [call for call in calls if call.context_tokens is not None]
    figure = style(go.Figure(), unit="")
    figure.add_scatter(
        x=list(range(len(known))), y=[call.context_tokens for call in known],
        **line_drawn(known), line={"color": ACCENT, "width": 2}, fill="tozeroy",
        fillcolor="rgba(90,140,160,0.14)", customdata=[f"{at_text(call.at, zone)} {escape(call.model)}" for call in known],
        hovertemplate="%{customdata}<br>%{y:,} tokens<extra></extra>",
    )  # fmt: skip
    time_axis(figure, [call.at for call in known], zone)
    rows = [[at_text(call.at, zone), call.model, count_text(call.context_tokens)] for call in known]
    sizes = [call.context_tokens or 0 for call in known]
    note = f"input tokens per call, up to {tokens_text(max(sizes))}" if sizes else "input tokens per call"
    summary = f"From {tokens_text(sizes[0])} to {tokens_text(sizes[-1])} input tokens." if sizes else "No call reported its input."
    summary = f"{tokens_text(sizes[0])} input tokens in one call." if len(sizes) == 1 else summary
    return Chart("session-context", "Context", figure, ["Time", "Model", "Input tokens"], rows, note=note, height=200, summary=summary)

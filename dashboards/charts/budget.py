"""Charts of one budget: its spend in a period against the limit, with the forecast to the end; and its periods side by side."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboards.charts.base import ACCENT, DANGER, ICE, INK_3, WARN, Chart, Mark, add_forecast, add_limit, add_marks, drawn, style
from dashboards.components.figures import COUNTED, SYMBOLS, money_text
from governance.forecast import Forecast

Level = tuple[datetime, Decimal]


def burn_down(  # noqa: PLR0913 - each is a part of the picture
    levels: Sequence[Level],
    *,
    allowance: Decimal,
    limit: Decimal,
    forecast: Forecast | None,
    ends_at: datetime | None,
    marks: Sequence[Mark] = (),
    zone: ZoneInfo,
    currency: str = "USD",
    leaving: Sequence[Level] = (),
) -> Chart:
    """What is spent so far as a filled line that ends on the balance, the forecast dashed with its band, the limit across.

    `currency` may be tokens or calls. `leaving` is how a rolling window lets go of what it holds.
    """
    unit, value, used = prefix_of(currency), value_format(currency), used_word(currency)
    figure = style(go.Figure(), unit=unit)
    figure.add_scatter(
        x=[local(at, zone) for at, _ in levels], y=drawn([level for _, level in levels]), name=used.capitalize(),
        mode="lines", line={"color": ACCENT, "width": 2.2},
        fill="tozeroy", fillcolor="rgba(90,140,160,0.14)", hovertemplate=f"%{{x|%-d %b %H:%M}}: {value} {used}<extra></extra>",
    )  # fmt: skip
    shown = forecast.points if forecast is not None and ends_at is not None else ()
    if shown:
        add_forecast(
            figure,
            [local(point.at, zone) for point in shown],
            [point.expected for point in shown],
            [point.low for point in shown],
            [point.high for point in shown],
        )
    if leaving:
        figure.add_scatter(
            x=[local(at, zone) for at, _ in leaving], y=drawn([level for _, level in leaving]), name="Leaves the window",
            mode="lines", line={"color": ACCENT, "width": 1.6, "dash": "dot"}, hovertemplate=f"%{{x|%-d %b %H:%M}}: {value} still counts<extra></extra>",
        )  # fmt: skip
    label = (
        f"limit {money_text(limit, currency)}"
        if allowance == limit
        else f"limit {money_text(limit, currency)} + top-ups {money_text(allowance - limit, currency)}"
    )
    add_limit(figure, allowance, label)
    spent = levels[-1][1] if levels else Decimal(0)
    top = max([allowance, spent, *(point.high for point in shown)])
    figure.update_yaxes(range=[0, float(top * Decimal("1.1")) or 1])
    add_marks(
        figure, [Mark(local(mark.at, zone), mark.label, mark.href, mark.tone) if isinstance(mark.at, datetime) else mark for mark in marks]
    )
    rows = [[f"{at.astimezone(zone):%Y-%m-%d %H:%M}", f"{level:f}", ""] for at, level in levels]
    rows += [
        [f"{point.at.astimezone(zone):%Y-%m-%d %H:%M}", "", f"{point.expected:.2f} ({point.low:.2f} to {point.high:.2f})"]
        for point in shown[1:]
    ]
    rows += [[f"{at.astimezone(zone):%Y-%m-%d %H:%M}", "", f"{level:f} still counts"] for at, level in leaving[2::2]]
    note = "dashed: forecast, with the band that holds eight of ten outcomes" if shown else ""
    note = "dotted: how it leaves the window if nothing more is used" if leaving else note
    summary = f"{money_text(spent, currency)} {used} of {money_text(allowance, currency)}."
    return Chart(
        "budget-burn", "What the window holds" if leaving else "Burn-down", figure, ["Until", f"{used.capitalize()} ({currency})", "Forecast"], rows,
        note=note, height=320, summary=summary,
    )  # fmt: skip


def period_bars(periods: Sequence[tuple[str, Decimal, Decimal, bool]], *, currency: str = "USD") -> Chart:
    """Periods (label, spent, allowance, whether it runs), oldest first: bars against each one's allowance, the running one hatched."""
    unit, value, used = prefix_of(currency), value_format(currency), used_word(currency)
    figure = style(go.Figure(), unit=unit)
    names = [name for name, *_ in periods]
    colours = [DANGER if spent > allowance else WARN if spent * 10 >= allowance * 8 else ACCENT for _, spent, allowance, _ in periods]
    figure.add_bar(
        x=names, y=drawn([spent for _, spent, _, _ in periods]), name=used.capitalize(),
        marker={
            "color": colours, "line": {"width": 0},
            "pattern": {"shape": ["/" if runs else "" for *_, runs in periods], "size": 5, "solidity": 0.45, "fillmode": "replace"},
        },
        hovertemplate=f"%{{x}}: {value}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=names, y=drawn([allowance for _, _, allowance, _ in periods]), name="Allowed", mode="markers",
        marker={"symbol": "line-ew", "size": 26, "line": {"color": ICE, "width": 2}},
        hovertemplate=f"%{{x}}: {value} allowed<extra></extra>",
    )  # fmt: skip
    figure.update_layout(bargap=0.35)
    figure.update_xaxes(type="category", tickfont={"color": INK_3, "size": 11.5}, tickformatstops=[])
    rows = [[name, f"{spent:f}", f"{allowance:f}"] for name, spent, allowance, _ in periods]
    return Chart(
        "budget-periods",
        "Periods",
        figure,
        ["Period", f"{used.capitalize()} ({currency})", f"Allowed ({currency})"],
        rows,
        note="line: allowed",
        height=240,
    )


def prefix_of(currency: str) -> str:
    """What stands before the numbers of the axis."""
    return "" if currency in COUNTED else SYMBOLS.get(currency, currency + " ")


def value_format(currency: str) -> str:
    """The value in hover texts."""
    return f"%{{y:,.4~s}} {currency}" if currency in COUNTED else f"%{{y:{prefix_of(currency)},.2f}}"


def used_word(currency: str) -> str:
    """Money is spent, tokens and calls are used."""
    return "used" if currency in COUNTED else "spent"


def local(at: datetime, zone: ZoneInfo) -> datetime:
    """The instant as the organization's clock shows it, without zone, which is how the axis takes it."""
    return at.astimezone(zone).replace(tzinfo=None)

"""The Routing page's charts: tiers side by side, the ranks of models by week, the blended price against all-flagship, cache use."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from html import escape

import plotly.graph_objects as go

from dashboards.charts.base import INK, INK_2, INK_3, SURFACE, TIERS, Chart, Series, colour_of, drawn, flat_bars, lines, style
from dashboards.components.figures import SYMBOLS, UNKNOWN, money_text, percent_text, tokens_text
from dashboards.insights.counterfactual import Comparison
from dashboards.insights.figures import Figures
from dashboards.insights.leaderboard import Standing
from dashboards.insights.routing import BRAIN, Slice

TIER_NAMES = {"flagship": "Flagship", "standard": "Standard", "economy": "Economy", "unknown": "Tier not known"}
WRITTEN_FROM = Decimal("0.09")
RANKS_DRAWN = 8
TICKS_AT_MOST = 7


def tier_chart(parts: Sequence[Slice], *, target_percent: Decimal, currency: str, hrefs: Mapping[str, str]) -> Chart:
    """Two bars of 100 %, tokens above spend, with the target for the flagships' part of the tokens marked."""
    figure = go.Figure()
    for part in parts:
        shares = (part.token_share, part.spend_share)
        figure.add_bar(
            y=["Tokens", "Spend"], x=drawn(shares), orientation="h", name=TIER_NAMES[part.key], customdata=[hrefs.get(part.key, "")] * 2,
            marker={"color": TIERS[part.key], "line": {"width": 1, "color": SURFACE}},
            text=[_segment_text(TIER_NAMES[part.key], share) for share in shares], textposition="inside", insidetextanchor="middle",
            textangle=0, constraintext="inside", insidetextfont={"color": "#ffffff", "size": 12},
            hovertemplate=f"{escape(TIER_NAMES[part.key])}: %{{x:,.2%}} of %{{y}}<extra></extra>",
        )  # fmt: skip
    style(figure, share=True)
    target = float(target_percent / 100)
    legend = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top", "traceorder": "normal", "font": {"color": INK_2}}
    figure.update_layout(barmode="stack", bargap=0.35, margin={"l": 8, "r": 28, "t": 30, "b": 8}, showlegend=True, legend=legend, uniformtext={"minsize": 11, "mode": "hide"})
    figure.update_yaxes(autorange="reversed", showgrid=False, tickformat="", tickprefix="", ticksuffix="  ")
    quarters = [Decimal(step) / 4 for step in range(5)]
    figure.update_xaxes(range=[0, 1], showgrid=False, tickvals=drawn(quarters), ticktext=[percent_text(quarter, 0) for quarter in quarters])
    figure.add_shape(type="line", x0=target, x1=target, y0=-0.48, y1=0.48, line={"color": INK, "width": 2})
    figure.add_annotation(
        x=target, y=1, yref="paper", yanchor="bottom", showarrow=False, font={"color": INK_2, "size": 12},
        text=f"flagships at most {percent_text(target_percent / 100)}",
    )  # fmt: skip
    rows = [
        [TIER_NAMES[part.key], tokens_text(part.figures.tokens), percent_text(part.token_share), money_text(part.figures.billed, currency), percent_text(part.spend_share)]
        for part in parts
    ]  # fmt: skip
    return Chart(
        "tier-chart", "Who does the work, and who takes the money", figure, ["Tier", "Tokens", "Of tokens", "Billed", "Of spend"], rows,
        note="tokens and billed cost by tier", height=240, summary=_tier_summary(parts, target_percent),
    )  # fmt: skip


def _segment_text(name: str, share: Decimal | None) -> str:
    if share is None or share < WRITTEN_FROM / 2:
        return ""
    return f"{name} {percent_text(share)}" if share >= WRITTEN_FROM else percent_text(share)


def _tier_summary(parts: Sequence[Slice], target_percent: Decimal) -> str:
    brain = next((part for part in parts if part.key == BRAIN), None)
    if brain is None:
        return "No flagship was used."
    return (
        f"Flagships take {percent_text(brain.token_share)} of the tokens and {percent_text(brain.spend_share)} of the spend; "
        f"the target is at most {percent_text(target_percent / 100)} of the tokens."
    )


def rank_chart(standings: Sequence[Standing], weeks: Sequence[date], *, makers: Mapping[str, str]) -> Chart:
    """The ranks of the models over the weeks: one line each, rank 1 on top, its name at the end."""
    shown = [row for row in standings if row.rank is not None][:RANKS_DRAWN]
    figure = go.Figure()
    drawn_makers: set[str] = set()
    for index, row in enumerate(shown):
        maker = makers.get(row.key, "")
        colour = colour_of(maker, index)
        # Models of one maker share its colour; all but the first are told apart by dashes.
        dash = "solid" if maker not in drawn_makers else "dot"
        drawn_makers.add(maker)
        ranks = [rank if rank is not None and rank <= RANKS_DRAWN + 2 else None for rank in row.ranks]
        figure.add_scatter(
            x=list(weeks), y=ranks, name=row.key, mode="lines+markers", connectgaps=False, line={"color": colour, "width": 2.5, "dash": dash, "shape": "spline", "smoothing": 0.5},
            marker={"size": 8, "color": colour}, customdata=[[tokens_text(count)] for count in row.tokens],
            hovertemplate=f"{escape(row.key)}<br>rank %{{y}}, %{{customdata[0]}} tokens<extra></extra>",
        )  # fmt: skip
        figure.add_annotation(
            name="series-label", x=1, xref="paper", xanchor="left", xshift=10, y=row.rank, showarrow=False, align="left",
            text=f"{row.rank}  {escape(_short(row.key))}", font={"color": INK_2, "size": 12},
        )  # fmt: skip
    style(figure)
    lowest = max((rank for row in shown for rank in row.ranks if rank is not None and rank <= RANKS_DRAWN + 2), default=1)
    figure.update_layout(hovermode="closest", margin={"l": 8, "r": 200, "t": 8, "b": 8})
    figure.update_yaxes(range=[lowest + 0.5, 0.5], dtick=1, tickprefix="", tickformat="d", rangemode="normal", showgrid=False, tickfont={"color": INK_3})
    weekly_axis(figure, weeks)
    rows = [[row.key, *(str(rank) if rank is not None else UNKNOWN for rank in row.ranks)] for row in shown]
    return Chart(
        "rank-chart", "Models by tokens, week by week", figure, ["Model", *(f"{week:%-d %b}" for week in weeks)], rows,
        note="rank in each week, from Monday", height=340, summary=f"First this week: {shown[0].key}." if shown else "",
    )  # fmt: skip


def blended_chart(weeks: Mapping[date, Comparison], *, reference: str, currency: str) -> Chart:
    """The billed price per million tokens of each week, and that of the same tokens all on the reference flagship."""
    x = list(weeks)
    symbol = SYMBOLS.get(currency, currency + "\u00a0")
    series = [
        Series("All flagship", [week.counterfactual_per_mtok for week in weeks.values()], colour=TIERS["flagship"]),
        Series("As routed", [week.actual_per_mtok for week in weeks.values()], colour=TIERS["economy"]),
    ]
    figure = lines(x, series, unit=symbol)
    figure.update_traces(mode="lines+markers")
    weekly_axis(figure, x)
    rows = [
        [f"{week:%Y-%m-%d}", tokens_text(row.tokens), money_text(row.actual_per_mtok, currency), money_text(row.counterfactual_per_mtok, currency), money_text(row.saving, currency)]
        for week, row in weeks.items()
    ]  # fmt: skip
    headers = ["Week from", "Tokens", "As routed / Mtok", f"All {reference} / Mtok", "Saving"]
    return Chart("blended-chart", "Blended price per million tokens", figure, headers, rows, note=f"per week, or all on {reference}", height=300)


def cache_chart(rows: Sequence[tuple[str, str, Figures]], hrefs: Sequence[str]) -> Chart:
    """The part of the prompt tokens that a cache served, by provider, most prompt tokens first."""
    figure = flat_bars(
        [name for _, name, _ in rows], [figures.cache_hit_share for _, _, figures in rows], share=True, colours=[colour_of(key) for key, _, _ in rows], hrefs=hrefs
    )
    figure.update_traces(text=[percent_text(figures.cache_hit_share) for _, _, figures in rows], texttemplate="%{text}")
    figure.update_yaxes(dtick=1)
    figure.update_xaxes(range=[0, 1.14])
    table = [[name, percent_text(figures.cache_hit_share), tokens_text(figures.cache_read_tokens), tokens_text(figures.prompt_tokens)] for _, name, figures in rows]
    return Chart(
        "cache-chart", "Cache hits", figure, ["Provider", "Hit rate", "Read from cache", "Prompt tokens"], table,
        note="of prompt tokens", height=max(140, 34 * len(rows) + 40),
    )  # fmt: skip


def weekly_axis(figure: go.Figure, weeks: Sequence[date]) -> None:
    """Ticks at Mondays, at most seven of them, the latest week among them."""
    named = list(weeks)[:: -max(1, -(-len(weeks) // TICKS_AT_MOST))]
    figure.update_xaxes(tickvals=named, ticktext=[f"{week.day} {week:%b}" for week in named], tickangle=0)


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"

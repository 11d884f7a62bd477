"""The Lock-in page's charts: concentration by week, and the flow from team through harness to provider."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

import plotly.graph_objects as go

from dashboards.charts.base import INK, INK_3, OTHER, Chart, Series, add_limit, colour_of, lines, style
from dashboards.charts.routing import weekly_axis
from dashboards.components.figures import UNKNOWN, money_text, percent_text, tokens_text
from dashboards.insights.concentration import HIGH_FROM, MODERATE_FROM
from dashboards.insights.dependence import Flow, Link, links
from dashboards.insights.market import binding_of

KIND_COLOURS = {"provider": "#4777c9", "maker": "#b0568d", "harness": "#a8842a"}
WIDTHS = (7, 4, 2)  # px, of the three kinds
BOUND, FREE = "rgba(194,104,63,0.50)", "rgba(128,140,150,0.28)"
COLUMNS = ("team", "harness", "provider")


def history_chart(weeks: Sequence[tuple[date, Mapping[str, Decimal | None]]], *, names: Mapping[str, str]) -> Chart:
    """The three indices by week, with the levels from which concentration is called moderate and high."""
    x = [week for week, _ in weeks]
    figure = lines(x, [Series(name, [values[kind] for _, values in weeks], colour=KIND_COLOURS[kind]) for kind, name in names.items()], unit="")
    figure.update_traces(mode="lines+markers", hovertemplate="%{fullData.name}: %{y:,.0f}<extra></extra>")
    # Where every maker is its own provider the lines are one: the ones below show on both sides of those above.
    for trace, width in zip(figure.data, WIDTHS, strict=True):
        trace.update(line={"width": width}, marker={"size": width + 4})
    figure.update_yaxes(tickformat=",d")
    weekly_axis(figure, x)
    add_limit(figure, HIGH_FROM, f"high above {HIGH_FROM:,}", colour=INK_3)
    add_limit(figure, MODERATE_FROM, f"moderate from {MODERATE_FROM:,}", colour=INK_3)
    rows = [[f"{week:%Y-%m-%d}", *(UNKNOWN if values[kind] is None else f"{values[kind]:,.0f}" for kind in names)] for week, values in weeks]
    return Chart(
        "history-chart", "Concentration over time", figure, ["Week from", *names.values()], rows,
        note="index per week, 10,000 is one supplier for everything", height=300,
    )  # fmt: skip


def flow_chart(
    flows: Sequence[Flow], *, name_of: Callable[[str, str], str], href_of: Callable[[str, str], str], measure: str, currency: str
) -> Chart:
    """Team → harness → provider; ribbons through a harness bound to one vendor are coloured, the others grey.

    `name_of` and `href_of` take the column (team, harness or provider) and the value.
    """
    first, second = links(flows)
    nodes = _nodes(first, second)
    index = {node: position for position, node in enumerate(nodes)}
    ribbons = [(index["team", row.source], index["harness", row.target], row, href_of("team", row.source)) for row in first]
    ribbons += [(index["harness", row.source], index["provider", row.target], row, href_of("harness", row.source)) for row in second]
    text = tokens_text if measure == "tokens" else lambda amount: money_text(amount, currency)
    total = sum((row.amount for row in first), Decimal(0))
    figure = go.Figure(
        go.Sankey(
            arrangement="snap", valueformat=",.3s" if measure == "tokens" else ",.2f", valuesuffix=" tokens" if measure == "tokens" else f" {currency}",
            textfont={"color": INK, "size": 12, "shadow": "none"},
            node={
                "label": [name_of(column, key) for column, key in nodes], "pad": 14, "thickness": 12, "line": {"width": 0},
                "color": [_node_colour(column, key) for column, key in nodes],
                "customdata": [href_of(column, key) for column, key in nodes], "hovertemplate": "%{label}: %{value}<extra></extra>",
            },
            link={
                "source": [source for source, _, _, _ in ribbons], "target": [target for _, target, _, _ in ribbons],
                "value": [float(row.amount) for _, _, row, _ in ribbons], "color": [BOUND if row.is_bound else FREE for _, _, row, _ in ribbons],
                "customdata": [href for _, _, _, href in ribbons], "hovertemplate": "%{source.label} → %{target.label}: %{value}<extra></extra>",
            },
        )
    )  # fmt: skip
    style(figure)
    figure.update_layout(margin={"l": 8, "r": 12, "t": 8, "b": 12})
    largest = max((sum(1 for column, _ in nodes if column == wanted) for wanted in COLUMNS), default=1)
    rows = [[name_of(*nodes[source]), name_of(*nodes[target]), text(row.amount), percent_text(row.amount / total if total else None)] for source, target, row, _ in ribbons]
    return Chart(
        "flow-chart", "Team to harness to provider", figure, ["From", "To", "Amount", "Of all"], rows,
        note="coloured: through a harness bound to one vendor", height=max(280, 44 * largest + 40),
    )  # fmt: skip


def _nodes(first: Sequence[Link], second: Sequence[Link]) -> list[tuple[str, str]]:
    found = [("team", row.source) for row in first] + [("harness", row.target) for row in first] + [("provider", row.target) for row in second]
    return list(dict.fromkeys(found))


def _node_colour(column: str, key: str) -> str:
    if column == "provider":
        return colour_of(key)
    if column == "harness":
        return "#c2683f" if binding_of(key) == "single-vendor" else OTHER
    return "#4777c9"

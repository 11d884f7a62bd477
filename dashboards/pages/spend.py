"""Spend: usage by one dimension and measure, chart and table in step, narrowed by clicking, with the sessions behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.charts.axis import axis_of, step_of
from dashboards.charts.base import Chart
from dashboards.charts.spend import BRANDED, Shown, spend_chart
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.insights.explorer import Line, compared, drill_to, named_keys
from dashboards.insights.figures import MEASURES, Figures, Measure, figures_sum
from dashboards.selectors import behind, usage
from dashboards.selectors.dimensions import DIMENSIONS, NOTHING, Dimension, names_of
from dashboards.selectors.marks import marks_in
from dashboards.selectors.modes import seat_fees
from governance.tenancy.access import Actor, Right
from ingest.later import Later, later_in


@dataclass(frozen=True)
class Explorer:
    """What the address asks for."""

    actor: Actor
    query: QueryDict
    now: datetime

    @cached_property
    def by(self) -> Dimension:
        return DIMENSIONS.get(self.query.get("by", ""), DIMENSIONS["provider"])

    @cached_property
    def measure(self) -> Measure:
        return MEASURES.get(self.query.get("measure", ""), MEASURES["cost"])

    @cached_property
    def range(self) -> Range:
        organization = self.actor.organization
        return Range.from_query(self.query, organization.zone, self.now, default="30d", year_starts_in=organization.year_starts_in)

    @cached_property
    def before(self) -> Range:
        """What the range is compared with: today's with the day before up to the same time, where hours know what is asked for."""
        previous = self.range.previous
        return previous if usage.hours_fit(self.filters, self.by.slug) else previous.whole

    @cached_property
    def filters(self) -> dict[str, tuple[str, ...]]:
        """{dimension: values}, "" for what was not reported."""
        found = {slug: tuple(_value_of(text) for text in self.query.getlist(slug) if text and "\x00" not in text) for slug in DIMENSIONS}
        return {slug: values for slug, values in found.items() if values}

    @cached_property
    def currency(self) -> str:
        return usage.currency_used(self.actor, window=self.range.window)

    @cached_property
    def step(self) -> str:
        step = step_of(self.range)
        return "day" if step == "hour" and not usage.hours_fit(self.filters, self.by.slug) else step

    def address(self, **changes: str | Sequence[str] | None) -> str:
        """The page's address with some parameters changed; what belongs to the table's present state is left out."""
        query = self.query.copy()
        for key in ("page", "sort", "q", "format", "table", "sessions-page", "sessions-sort"):
            query.pop(key, None)
        for key, value in changes.items():
            slug = key.replace("_", "-")
            query.setlist(slug, [value] if isinstance(value, str) else list(value or ()))
        return "?" + query.urlencode()

    def narrowed(self, key: str, by: Dimension | None = None) -> str:
        """The address one level deeper: only this value, split by what comes next."""
        dimension = by or self.by
        return self.address(**{dimension.slug: _value_text(key), "by": drill_to(dimension.slug, self.filters)})


@page(Right.VIEW_SPEND)
def spend(request: PageRequest) -> HttpResponse:
    """The explorer; ?format=csv gives its table (or, with &table=sessions, the sessions) as a file."""
    view = Explorer(request.actor, request.GET, timezone.now())
    lines = _lines(view)
    total = figures_sum((line.figures for line in lines), view.currency)
    table = _table(request, view, lines, total)
    sessions = _sessions_table(request, view)
    for asked in (table, sessions):
        if asked.is_asked_as_csv:
            return asked.csv_response(f"{asked.id}-{view.range.first}-{view.range.last}")
    before = figures_sum((line.before for line in lines if line.before), view.currency)
    return render(
        request,
        "spend/spend.html",
        {
            "view": view, "range": view.range, "table": table, "sessions": sessions, "total": total, "before": before,
            "fees": _fees(view), "chart": _chart(view, lines, total) if total.calls else None,
            "dimensions": [(entry, view.address(by=entry.slug)) for entry in DIMENSIONS.values()],
            "measures": [(entry, view.address(measure=entry.slug)) for entry in MEASURES.values()],
            "later": _later(view), "tiles": _tiles(view), "chips": _chips(view), "sessions_narrowing": _unknown_to_sessions(view), "sessions_href": _sessions_href(view),
            "unpriced_href": view.address(by="model", measure="calls"), "unallocated_href": view.narrowed("", DIMENSIONS["team"]),
            "allocated": _allocated(view, total),
        },
    )  # fmt: skip


def _fees(view: Explorer) -> tuple[Decimal, int] | None:
    """What seats cost in the range and how many there were, where the filters leave them in: seats are not split by what calls are."""
    modes = view.filters.get("billing-mode", ("subscription",))
    if set(view.filters) - {"billing-mode"} or "subscription" not in modes:
        return None
    found = seat_fees(view.actor, view.range)
    return found if found[1] else None


def _allocated(view: Explorer, total: Figures) -> Decimal | None:
    """The share of the shown spend that belongs to a team; None when nothing was spent."""
    if not total.cost:
        return None
    rows = usage.spend_by(view.actor, "team", window=view.range.window, filters=view.filters, currency=view.currency, sums=("cost",))
    return sum((row.figures.cost for row in rows if row.key), Decimal(0)) / total.cost


def _later(view: Explorer) -> Later | None:
    """What the range counts for months that were closed; told to who sees all of it, without filters."""
    if view.filters or view.actor.team_ids is not None:
        return None
    return later_in(view.actor.organization, starts_at=view.range.starts_at, ends_at=view.range.ends_at)


def _lines(view: Explorer) -> list[Line]:
    now, before = (
        usage.spend_by(
            view.actor, view.by.slug, window=span.window, filters=view.filters, currency=view.currency, is_to_the_minute=span.until is not None
        )
        for span in (view.range, view.before)
    )
    return compared(
        [(row.key, row.name, row.figures) for row in now], [(row.key, row.name, row.figures) for row in before], view.measure, view.currency
    )


def _chart(view: Explorer, lines: Sequence[Line], total: Figures) -> Chart:
    keys = named_keys(lines)
    step, points = _series(view, keys, total)
    names = {line.key: line.name for line in lines}
    page_address = reverse("spend", args=[view.actor.organization.slug])
    shown = Shown(
        view.measure, view.by.slug, view.currency, [(key, names[key]) for key in keys],
        hrefs={key: page_address + view.narrowed(key) for key in keys}, marks=() if step == "hour" else marks_in(view.actor, view.range, filters=view.filters),
    )  # fmt: skip
    cells = {(point.at, point.key): point.figures for point in points}
    return spend_chart(cells, axis_of(view.range, step, view.now), shown, id="spend-chart", title=f"{view.measure.label} by {view.by.label.lower()}")


def _series(view: Explorer, keys: Sequence[str], total: Figures) -> tuple[str, list[usage.Point]]:
    """The steps and what was used in each. Hours that miss a part of the total (own usage outside the teams seen) give way to days."""

    def read(step: str) -> list[usage.Point]:
        return usage.series_by(
            view.actor, view.by.slug, window=view.range.window, keys=keys, step=step, filters=view.filters, currency=view.currency,
            sums=("calls", *view.measure.needs),
        )  # fmt: skip

    points = read(view.step)
    if view.step == "hour" and sum(point.figures.calls for point in points) != total.calls:
        return "day", read("day")
    return view.step, points


def _table(request: PageRequest, view: Explorer, lines: Sequence[Line], total: Figures) -> Table:
    before = [line.before for line in lines if line.before]
    foot: dict[str, Any] = {
        "name": (None, "Total") if view.by.slug in BRANDED else "Total", "cost": total.billed, "move": _move(view, total, figures_sum(before, view.currency)) if before else None,
        "notional": total.notional_cost or None, "calls": total.calls, "unpriced": total.lacking_calls or None, "tokens": total.tokens,
        "call": total.cost_per_call, "blended": total.blended_per_mtok, "cache": total.cache_hit_share, "errors": total.error_share, "list": total.list_cost or None, "discount": total.discount_share,
    }  # fmt: skip
    return Table.from_request(
        request, id=f"spend-by-{view.by.slug}", columns=_columns(view, total, is_known_before=bool(before)), rows=lines, sort="", search=("name",), page_size=25,
        title=f"By {view.by.label.lower()}", note="click a name to look inside it", foot=foot,
        empty="Nothing was used in this range with these filters. Take a wider range or remove a filter." if view.filters else "Nothing was used in this range. Take a wider one.",
    )  # fmt: skip


def _columns(view: Explorer, total: Figures, *, is_known_before: bool) -> list[Column]:
    money = partial(Column, kind="money", currency=view.currency)
    is_coloured = view.by.slug in BRANDED
    first = Column(
        "name", view.by.label, "swatch" if is_coloured else "strong",
        value=(lambda line: (line.key, line.name)) if is_coloured else None, href=lambda line: view.narrowed(line.key),
    )  # fmt: skip
    return [
        first,
        money("cost", "Billed", value=lambda line: line.figures.billed, title="Billed cost; subscription usage is not in it"),
        *(_discount_columns(money) if total.discount else []),
        Column(
            "move", "Change", "delta", currency=_delta_currency(view), value=lambda line: _move(view, line.figures, line.before) if is_known_before else None,
            title=f"{view.measure.label} against {view.before.label}", good=view.measure.good, show="percent" if view.measure.unit == "share" else "both",
        ),
        *([Column("share", "Share", "percent", title=f"Of all {view.measure.label.lower()}", is_for_wide=True)] if view.measure.is_additive else []),
        Column("calls", "Calls", "count", value=lambda line: line.figures.calls, is_for_wide=True),
        Column(
            "unpriced", "No price", "count", value=lambda line: line.figures.lacking_calls or None, is_for_wide=True,
            title="Calls of known size without a price: in no amount here",
        ),
        Column("tokens", "Tokens", "tokens", value=lambda line: line.figures.tokens, is_for_wide=True),
        money("call", "Per call", value=lambda line: line.figures.cost_per_call, title="Billed cost per metered call of known price", is_for_desk=True),
        money("blended", "Per Mtok", value=lambda line: line.figures.blended_per_mtok, title="Billed cost per million tokens, metered calls of known price", is_for_wide=True),
        Column("cache", "Cached", "percent", value=lambda line: line.figures.cache_hit_share, title="Prompt tokens that a cache served", is_for_desk=True),
        Column("errors", "Errors", "percent", value=lambda line: line.figures.error_share, is_for_desk=True),
        money(
            "notional", "Notional", value=lambda line: line.figures.notional_cost or None, is_for_desk=True,
            title="Usage under subscriptions and on own hardware at list price; not billed, in no total",
        ),
    ]  # fmt: skip


def _discount_columns(money: Callable[..., Column]) -> list[Column]:
    """What own terms took off, where they did; the list price itself is in the file and above the table."""
    return [
        money("list", "At list price", value=lambda line: line.figures.list_cost or None, is_for_file=True),
        Column("discount", "Discount", "percent", value=lambda line: line.figures.discount_share or None, title="What own terms took off the list price", is_for_wide=True),
    ]


def _move(view: Explorer, now: Figures, before: Figures | None) -> tuple[Any, Any] | None:
    past = view.measure.value(before) if before else 0 if view.measure.is_additive else None
    return view.measure.value(now), past


def _delta_currency(view: Explorer) -> str:
    return view.currency if view.measure.unit in ("money", "rate") else ""


def _sessions_table(request: PageRequest, view: Explorer) -> Table:
    slug = view.actor.organization.slug
    rows = behind.sessions_behind(view.actor, window=view.range.window, filters=view.filters)
    return Table.from_request(
        request, id="sessions", prefix="sessions-", rows=rows, page_size=10,
        title="Sessions behind it", note=f"the {behind.SHOWN} most expensive with a call in the range, totals of their whole life",
        empty="No session with a call in this range. Usage that names no session is in the figures above only.",
        columns=[
            Column("key", "Session", "strong", href=lambda row: reverse("session", args=[slug, row.key])),
            Column("member", "Member"), Column("team", "Team", is_for_wide=True), Column("harness", "Harness", is_for_desk=True), Column("model", "Latest model", is_for_wide=True),
            Column("cost", "Billed", "money", currency=view.currency),
            Column("notional_cost", "Notional", "money", currency=view.currency, value=lambda row: row.notional_cost or None, is_for_desk=True),
            Column("calls", "Calls", "count", is_for_wide=True), Column("tokens", "Tokens", "tokens", is_for_desk=True), Column("last_at", "Last call", "at", is_for_wide=True),
        ],
    )  # fmt: skip


def _tiles(view: Explorer) -> dict[str, str]:
    """Where the headline figures lead: the same usage, by what makes the figure up."""
    measures = {name: view.address(measure=name) for name in ("cost", "calls", "tokens", "blended")}
    return {**measures, "cache": view.address(measure="cache-hits"), "subscription": view.address(by="billing-mode")}


def _chips(view: Explorer) -> list[dict[str, str]]:
    """What the page is narrowed to, each with the address that lifts it."""
    chips = []
    for slug, values in view.filters.items():
        names = names_of(view.actor, DIMENSIONS[slug], values)
        for value in values:
            rest = [_value_text(other) for other in values if other != value]
            chips.append({"label": DIMENSIONS[slug].label, "name": names[value], "href": view.address(**{slug: rest})})
    return chips


def _sessions_href(view: Explorer) -> str:
    """The list of sessions with a call that passes the same filters in the same range."""
    pairs = [*view.range.params.items(), *((slug, _value_text(value)) for slug, values in view.filters.items() for value in values)]
    return f"{reverse('sessions', args=[view.actor.organization.slug])}?{urlencode(pairs)}"


def _unknown_to_sessions(view: Explorer) -> list[str]:
    """Filters that sessions cannot be narrowed by: they know only what is the same for all their calls."""
    return [DIMENSIONS[slug].label.lower() for slug in view.filters if slug not in behind.KNOWN]


def spend_address(slug: str, params: Mapping[str, str], by: str, filters: Mapping[str, str | Sequence[str]]) -> str:
    """Where other pages link to: the explorer with these parameters (a range's, a measure), narrowed and split as given; "" is what was not reported."""
    pairs = [*params.items(), ("by", by)]
    for dimension, values in filters.items():
        pairs += [(dimension, _value_text(value)) for value in ([values] if isinstance(values, str) else values)]
    return f"{reverse('spend', args=[slug])}?{urlencode(pairs)}"


def _value_of(text: str) -> str:
    return "" if text == NOTHING else text


def _value_text(value: str) -> str:
    return value or NOTHING


urlpatterns = [path("spend", spend, name="spend")]

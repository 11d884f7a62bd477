"""Lock-in: how concentrated spend is, what binds it to one vendor, and what a price rise would cost, each with its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property, partial
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.charts import lockin as charts
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.insights import market
from dashboards.insights.concentration import Concentration, Part, concentration_of
from dashboards.insights.dependence import Exposure, Flow, binding_shares, exposures, folded, route_shares, share_of, summed
from dashboards.pages.spend import spend_address
from dashboards.selectors import lockin as reads
from dashboards.selectors import usage
from dashboards.selectors.dimensions import DIMENSIONS, names_of
from dashboards.selectors.narrowing import Narrowing
from governance.periods import Window, local_midnight
from governance.tenancy.access import Actor, Right

HISTORY_WEEKS = 13
DRAWN_AT_MOST = 8
OTHER = "all others"
MEASURES = {"cost": "billed cost", "tokens": "tokens"}
KINDS = {"provider": "Provider", "maker": "Maker", "harness": "Harness"}
LEVELS = {"high": ("high", "danger"), "moderate": ("moderate", "warn"), "low": ("low", "ok"), "none": ("not known", "")}
BINDINGS = {
    "single-vendor": ("Bound to one vendor", "danger"), "neutral": ("Neutral", "ok"), "unclassified": ("Not classified", ""), "unreported": ("Not reported", ""),
}  # fmt: skip
ROUTES = {"direct": ("No gateway", "warn"), "neutral": ("Neutral gateway", "ok"), "unclassified": ("Not classified", "")}
LARGEST_RISE = Decimal(10_000)


@dataclass(frozen=True)
class LockIn:
    """One reading of the page's figures; each property is read once."""

    actor: Actor
    range: Range
    now: datetime
    measure: str
    rise: Decimal

    @cached_property
    def currency(self) -> str:
        return usage.currency_used(self.actor, window=self.range.window)

    @cached_property
    def used(self) -> list[usage.Combination]:
        return reads.used_by_flow(self.actor, window=self.range.window, measure=self.measure, currency=self.currency)

    @cached_property
    def flows(self) -> list[Flow]:
        return reads.flows_of(self.used, self.measure)

    @cached_property
    def names(self) -> dict[str, dict[str, str]]:
        """{dimension: {value: name}} of everything that flows."""
        shown = ("team", "harness", "gateway", "provider", "maker")
        return {slug: names_of(self.actor, DIMENSIONS[slug], {str(getattr(flow, slug)) for flow in self.flows}) for slug in shown}

    def name(self, dimension: str, value: str) -> str:
        return self.names[dimension].get(value, value)

    def concentration(self, dimension: str) -> Concentration:
        amounts = summed(self.flows, lambda flow: str(getattr(flow, dimension)))
        return concentration_of((key, self.name(dimension, key), amount) for key, amount in amounts)

    @cached_property
    def days_elapsed(self) -> Decimal:
        """Days from the first usage in the range to its end or now, at least one."""
        first, _ = usage.first_and_last_day(self.actor, window=self.range.window)
        begins = local_midnight(first, self.range.zone) if first else self.range.starts_at
        length = min(self.range.ends_at, self.now) - begins
        return max(Decimal(int(length.total_seconds())) / 86400, Decimal(1))

    @cached_property
    def exposed(self) -> list[Exposure]:
        """By billed cost whatever the page measures concentration in: tokens have no price to rise."""
        spent = summed(reads.flows_of(self.used, "cost"), lambda flow: flow.provider)
        return exposures(spent, days=self.days_elapsed, rise_percent=self.rise)

    @cached_property
    def history_window(self) -> Window:
        last = self.range.last - timedelta(days=self.range.last.weekday())
        return Window(local_midnight(last - timedelta(weeks=HISTORY_WEEKS - 1), self.range.zone), self.range.ends_at)

    def spend_href(self, by: str, **filters: str | Sequence[str]) -> str:
        measure = {"measure": "tokens"} if self.measure == "tokens" else {}
        return spend_address(self.actor.organization.slug, {**self.range.params, **measure}, by, filters)


@page(Right.VIEW_SPEND)
def lockin(request: PageRequest) -> HttpResponse:
    """The page; ?format=csv&table=… gives one of its tables as a file, ?measure=tokens shares tokens instead of money."""
    organization = request.actor.organization
    now = timezone.now()
    span = Range.from_query(request.GET, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
    measure = request.GET.get("measure", "")
    view = LockIn(request.actor, span, now, measure if measure in MEASURES else "cost", rise_asked(request.GET.get("rise", "")))
    found = {kind: view.concentration(kind) for kind in KINDS}
    tables = {kind: _parts_table(request, view, kind, concentration) for kind, concentration in found.items()}
    tables |= {"harnesses": _harness_table(request, view), "routes": _route_table(request, view), "exposure": _exposure_table(request, view)}
    for table in tables.values():
        if table.is_asked_as_csv:
            return table.csv_response(f"lock-in-{table.id}-{span.first}-{span.last}")
    panels = [
        {"kind": kind, "label": KINDS[kind], "found": found[kind], "level": LEVELS[found[kind].level], "table": tables[kind]} for kind in KINDS
    ]
    return render(
        request,
        "lockin/lockin.html",
        {
            "view": view, "range": span, "panels": panels, "tables": tables, "measure_name": MEASURES[view.measure], **_headline(view, found["provider"]),
            **_drawn(view), "rises": market.PRICE_RISES,
        },
    )  # fmt: skip


@page(Right.VIEW_SPEND)
def sessions_spread(request: PageRequest) -> HttpResponse:
    """The part of the page about sessions on several providers, which it asks for once it is shown."""
    organization = request.actor.organization
    span = Range.from_query(request.GET, organization.zone, timezone.now(), default="30d", year_starts_in=organization.year_starts_in)
    found = reads.session_spread(request.actor, wanted=Narrowing({}, span))
    names = names_of(request.actor, DIMENSIONS["provider"], {name for _, *both, _ in found.shown for name in both})
    rows = [(key, names[least], names[greatest], cost) for key, least, greatest, cost in found.shown]
    return render(request, "lockin/spread.html", {"spread": found, "rows": rows, "range": span})


def rise_asked(text: str) -> Decimal:
    """The rise in percent that the address asks for; what makes no sense is the default."""
    try:
        rise = Decimal(text)
    except InvalidOperation:
        return market.DEFAULT_RISE.percent
    return rise if rise.is_finite() and 0 < rise <= LARGEST_RISE else market.DEFAULT_RISE.percent


def _headline(view: LockIn, providers: Concentration) -> dict[str, Any]:
    bindings, routes = binding_shares(view.flows), route_shares(view.flows)
    bound = sorted({flow.harness for flow in view.flows if market.binding_of(flow.harness) == "single-vendor"})
    return {
        "providers": providers,
        "provider_level": LEVELS[providers.level],
        "bound_share": share_of(bindings, "single-vendor"),
        "unclassified_share": share_of(bindings, "unclassified"),
        "bound_href": view.spend_href("team", harness=bound) if bound else "",
        "direct_share": share_of(routes, "direct"),
        "direct_href": view.spend_href("harness", gateway=""),
        "exposure_top": view.exposed[0] if view.exposed else None,
        "exposure_top_name": view.name("provider", view.exposed[0].provider) if view.exposed else "",
    }


def _drawn(view: LockIn) -> dict[str, Any]:
    if not view.flows:
        return {}
    weeks = reads.concentration_by_week(view.actor, window=view.history_window, measure=view.measure, currency=view.currency)
    shown = folded(view.flows, at_most=DRAWN_AT_MOST, other=OTHER)
    return {
        "flow_chart": charts.flow_chart(
            shown,
            name_of=view.name,
            href_of=lambda dimension, value: "" if value == OTHER else view.spend_href("model", **{dimension: value}),
            measure=view.measure,
            currency=view.currency,
        ),
        "history_chart": charts.history_chart([(week.week, week.hhi) for week in weeks], names=KINDS),
    }


def _amount(view: LockIn, key: str = "amount", label: str = "", **more: Any) -> Column:
    if view.measure == "tokens":
        return Column(key, label or "Tokens", "tokens", **more)
    return Column(key, label or "Billed", "money", currency=view.currency, **more)


def _parts_table(request: PageRequest, view: LockIn, kind: str, found: Concentration) -> Table:
    is_coloured = kind != "harness"
    return Table.from_request(
        request, id=f"by-{kind}", prefix=f"{kind}-", rows=found.parts, page_size=6, empty="Nothing to share.",
        columns=[
            Column(
                "name", KINDS[kind], "swatch" if is_coloured else "strong", value=(lambda part: (part.key, part.name)) if is_coloured else None,
                href=lambda part: view.spend_href("team" if kind == "harness" else "model", **{kind: part.key}),
            ),
            _amount(view),
            Column("share", "Share", "percent"),
            Column("points", "Points", "count", value=_points, title="What it adds to the index: the percentage share squared"),
        ],
    )  # fmt: skip


def _points(part: Part) -> int:
    return int(part.points.to_integral_value())


def _harness_table(request: PageRequest, view: LockIn) -> Table:
    whole = sum((flow.amount for flow in view.flows), Decimal(0))
    rows = [
        {"key": key, "name": view.name("harness", key), "amount": amount, "share": amount / whole, "known": market.HARNESSES.get(key.lower()), "binding": market.binding_of(key)}
        for key, amount in summed(view.flows, lambda flow: flow.harness)
    ]  # fmt: skip
    return Table.from_request(
        request, id="harnesses", prefix="harnesses-", rows=rows, page_size=10, title="Harnesses and whom they are bound to", empty="Nothing was used in this range.",
        columns=[
            Column("name", "Harness", "strong", href=lambda row: view.spend_href("team", harness=row["key"])),
            Column("binding", "Binding", "badge", value=lambda row: BINDINGS[row["binding"]]),
            Column("bound_to", "Bound to", value=_bound_to),
            _amount(view),
            Column("share", "Share", "percent"),
            Column("source", "Known from", value=_source, is_sortable=False),
        ],
    )  # fmt: skip


def _bound_to(row: Mapping[str, Any]) -> str | None:
    vendor = row["known"].bound_to if row["known"] else ""
    return market.BRANDS.get(vendor, vendor) or None


def _source(row: Mapping[str, Any]) -> str:
    if row["known"]:
        return str(row["known"].source)
    return "not in the list; counted as neither bound nor neutral" if row["key"] else "these calls name no harness"


def _route_table(request: PageRequest, view: LockIn) -> Table:
    whole = sum((flow.amount for flow in view.flows), Decimal(0))
    rows = [
        {"key": key, "name": view.name("gateway", key), "amount": amount, "share": amount / whole, "route": market.route_of(key)}
        for key, amount in summed(view.flows, lambda flow: flow.gateway)
    ]
    return Table.from_request(
        request, id="routes", prefix="routes-", rows=rows, page_size=10, title="How calls reach the vendor", empty="Nothing was used in this range.",
        columns=[
            Column("name", "Gateway", "strong", href=lambda row: view.spend_href("harness", gateway=row["key"])),
            Column("route", "Kind", "badge", value=lambda row: ROUTES[row["route"]]),
            _amount(view),
            Column("share", "Share", "percent"),
        ],
    )  # fmt: skip


def _exposure_table(request: PageRequest, view: LockIn) -> Table:
    money = partial(Column, kind="money", currency=view.currency)
    return Table.from_request(
        request, id="exposure", prefix="exposure-", rows=view.exposed, page_size=10, title="If one provider raised its prices", empty="Nothing was billed in this range.",
        note=f"by {view.rise.normalize():f} %, per 30 days, at the pace of this range",
        columns=[
            Column("provider", "Provider", "swatch", value=lambda row: (row.provider, view.name("provider", row.provider)), href=lambda row: view.spend_href("team", provider=row.provider)),
            money("spent", "Billed in range"), money("monthly", "Per month now"),
            money("extra", "More per month"), money("after", "Per month then"),
        ],
    )  # fmt: skip


urlpatterns = [path("lock-in", lockin, name="lockin"), path("lock-in/sessions", sessions_spread, name="lockin-sessions")]

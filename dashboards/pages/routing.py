"""Routing: who does the work at what price, against the target, against everything on the flagship, and week by week."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.charts import routing as charts
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.insights.counterfactual import NOTHING, Comparison
from dashboards.insights.figures import Figures, figures_sum
from dashboards.insights.leaderboard import Standing, leaderboard
from dashboards.insights.market import SIMPLE_LABELS, SIMPLE_TASKS, simple_task_of
from dashboards.insights.routing import BRAIN, WORKFORCE, ModelFacts, Slice, catalogued, tier_slices, token_share, weights_key
from dashboards.pages.spend import spend_address
from dashboards.selectors import routing as reads
from dashboards.selectors import usage
from dashboards.selectors.dimensions import DIMENSIONS, names_of
from governance.periods import Window, local_midnight
from governance.tenancy.access import Actor, Right

WEEKS = 8
NOT_KNOWN = "not known"
COUNTRIES = {
    "US": "United States", "CN": "China", "FR": "France", "CA": "Canada", "IL": "Israel", "KR": "South Korea", "GB": "United Kingdom",
    "DE": "Germany", "JP": "Japan", "IN": "India", "AE": "United Arab Emirates", "SG": "Singapore", "CH": "Switzerland", "ES": "Spain",
    "RU": "Russia", "HK": "Hong Kong",
}  # fmt: skip
WEIGHTS = {"open": "Open weights", "closed": "Closed weights", "": "Not known to the catalogue"}


@dataclass(frozen=True)
class Routing:
    """One reading of the page's figures; each property is read once."""

    actor: Actor
    range: Range
    now: datetime

    @cached_property
    def currency(self) -> str:
        return usage.currency_used(self.actor, window=self.range.window)

    @cached_property
    def weeks(self) -> list[date]:
        """The Mondays of the last weeks up to the end of the range."""
        last = self.range.last - timedelta(days=self.range.last.weekday())
        return [last - timedelta(weeks=back) for back in reversed(range(WEEKS))]

    @cached_property
    def weeks_window(self) -> Window:
        return Window(local_midnight(self.weeks[0], self.range.zone), self.range.ends_at)

    @cached_property
    def used(self) -> list[usage.Combination]:
        return reads.models_used(self.actor, window=self.range.window, currency=self.currency)

    @cached_property
    def used_by_week(self) -> list[usage.Combination]:
        return reads.tokens_by_week(self.actor, window=self.weeks_window)

    @cached_property
    def tiers(self) -> list[Slice]:
        return tier_slices(((row.keys[2], row.figures) for row in self.used), self.currency)

    @cached_property
    def total(self) -> Figures:
        return figures_sum((part.figures for part in self.tiers), self.currency)

    @cached_property
    def reference(self) -> reads.Reference | None:
        return reads.reference_flagship(self.used_by_week)

    @cached_property
    def compared_by_day(self) -> dict[date, Comparison]:
        """Every day of the range and of the weeks against the reference's price."""
        if self.reference is None:
            return {}
        first = min(self.range.starts_at, self.weeks_window.starts_at)
        window = Window(first, self.range.ends_at)
        return reads.comparisons_by_day(self.actor, self.reference, window=window, now=self.now, currency=self.currency)

    @cached_property
    def compared(self) -> Comparison:
        return sum((row for day, row in self.compared_by_day.items() if self.range.first <= day <= self.range.last), NOTHING)

    @cached_property
    def compared_by_week(self) -> dict[date, Comparison]:
        found: dict[date, Comparison] = {}
        for day, row in self.compared_by_day.items():
            week = day - timedelta(days=day.weekday())
            if week >= self.weeks[0]:
                found[week] = found.get(week, NOTHING) + row
        return dict(sorted(found.items()))

    def spend_href(self, by: str, **filters: str | Sequence[str]) -> str:
        named = {name.replace("_", "-"): values for name, values in filters.items()}
        return spend_address(self.actor.organization.slug, self.range.params, by, named)

    def week_href(self, week: date, model: str) -> str:
        """The explorer with a model's tokens of one week."""
        days = {"range": "custom", "from": week.isoformat(), "to": (week + timedelta(days=6)).isoformat(), "measure": "tokens"}
        return spend_address(self.actor.organization.slug, days, "team", {"model": "" if model == NOT_KNOWN else model})


@page(Right.VIEW_SPEND)
def routing(request: PageRequest) -> HttpResponse:
    """The page; ?format=csv&table=… gives one of its tables as a file."""
    now = timezone.now()
    organization = request.actor.organization
    span = Range.from_query(request.GET, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
    view = Routing(request.actor, span, now)
    simple_rows = reads.flagship_on_simple_work(view.actor, window=span.window, currency=view.currency)
    standings, makers = _standings(view)
    tables = {
        "leaderboard": _leaderboard_table(request, view, standings, makers),
        "simple": _simple_table(request, view, simple_rows),
        **_catalogue_tables(request, view),
    }
    for table in tables.values():
        if table.is_asked_as_csv:
            return table.csv_response(f"routing-{table.id}-{span.first}-{span.last}")
    simple = figures_sum((row.figures for row in simple_rows), view.currency)
    context = {"view": view, "range": span, "tables": tables, "simple": simple, "simple_tasks": SIMPLE_TASKS, **_headline(view), **_charts(view, standings, makers)}
    context["simple_href"] = view.spend_href("task-class", tier=BRAIN, task_class=SIMPLE_LABELS)
    return render(request, "routing/routing.html", context)


def _headline(view: Routing) -> dict[str, Any]:
    target = view.actor.organization.flagship_token_share_target
    brain = next((part for part in view.tiers if part.key == BRAIN), None)
    share = token_share(view.tiers, (BRAIN,))
    return {
        "target": target / 100,
        "brain": brain,
        "brain_share": share,
        "workforce_share": token_share(view.tiers, WORKFORCE),
        "is_over_target": share is not None and share * 100 > target,
        "brain_href": view.spend_href("model", tier=BRAIN),
        "workforce_href": view.spend_href("model", tier=WORKFORCE),
        "blended_href": spend_address(view.actor.organization.slug, {**view.range.params, "measure": "blended"}, "tier", {}),
    }


def _charts(view: Routing, standings: Sequence[Standing], makers: Mapping[str, str]) -> dict[str, Any]:
    if not view.total.calls:
        return {}
    hrefs = {part.key: view.spend_href("model", tier=part.key) for part in view.tiers}
    cache = reads.cache_by_provider(view.actor, view.used)
    target = view.actor.organization.flagship_token_share_target
    return {
        "tier_chart": charts.tier_chart(view.tiers, target_percent=target, currency=view.currency, hrefs=hrefs),
        "rank_chart": charts.rank_chart(standings, view.weeks, makers=makers) if standings else None,
        "blended_chart": (
            charts.blended_chart(view.compared_by_week, reference=view.reference.model, currency=view.currency)
            if view.reference and view.compared_by_week
            else None
        ),
        "cache_chart": charts.cache_chart(cache, [view.spend_href("model", provider=key) for key, _, _ in cache]) if cache else None,
    }


def _standings(view: Routing) -> tuple[list[Standing], dict[str, str]]:
    """The leaderboard, and the maker of each model on it."""
    rows = view.used_by_week
    found = leaderboard(((row.week, row.keys[1] or NOT_KNOWN, row.figures.tokens) for row in rows if row.week), view.weeks)
    return found, {row.keys[1]: row.keys[3] for row in rows}


def _leaderboard_table(request: PageRequest, view: Routing, standings: Sequence[Standing], makers: Mapping[str, str]) -> Table:
    whole = sum(row.tokens[-1] for row in standings)
    is_running = view.weeks[-1] + timedelta(days=7) > view.range.today
    latest = "This week so far" if is_running else f"Week from {view.weeks[-1]:%-d %b}"
    names = names_of(view.actor, DIMENSIONS["maker"], set(makers.values()) | {""})
    return Table.from_request(
        request, id="leaderboard", prefix="leaderboard-", rows=standings, page_size=12, title="Model leaderboard", note="by tokens, 8 weeks from Monday",
        empty="No tokens in these weeks.",
        columns=[
            Column("rank", "Rank", "count", value=lambda row: row.rank),
            Column("change", "Since last week", "badge", value=_change, is_sortable=False),
            Column("model", "Model", "strong", value=lambda row: row.key, href=lambda row: view.spend_href("team", model="" if row.key == NOT_KNOWN else row.key)),
            Column("maker", "Maker", "swatch", value=lambda row: (makers.get(row.key, ""), names[makers.get(row.key, "")])),
            Column("history", f"{WEEKS} weeks", "spark", value=lambda row: row.tokens),
            Column("before", "Week before", "tokens", value=lambda row: row.tokens[-2], href=lambda row: view.week_href(view.weeks[-2], row.key)),
            Column("tokens", latest, "tokens", value=lambda row: row.tokens[-1], href=lambda row: view.week_href(view.weeks[-1], row.key)),
            Column("share", "Share", "percent", value=lambda row: Decimal(row.tokens[-1]) / whole if whole else None),
        ],
    )  # fmt: skip


def _change(row: Standing) -> tuple[str, str]:
    """The move in words, so that it does not rest on colour or arrows alone."""
    if row.is_gone:
        return "not used", ""
    if row.is_new:
        return "new", "accent"
    if row.change is None:
        return "back", "accent"
    if row.change == 0:
        return "unchanged", ""
    return (f"up {row.change}", "ok") if row.change > 0 else (f"down {-row.change}", "warn")


def _simple_table(request: PageRequest, view: Routing, rows: Sequence[usage.Combination]) -> Table:
    teams = names_of(view.actor, DIMENSIONS["team"], {row.keys[2] for row in rows})
    money = partial(Column, kind="money", currency=view.currency)
    columns = [
        Column(
            "task", "Task class", "strong", value=lambda row: row.keys[0],
            href=lambda row: view.spend_href("member", tier=BRAIN, task_class=row.keys[0], model=row.keys[1], team=row.keys[2]),
        ),
        Column("kind", "Counts as", value=lambda row: simple_task_of(row.keys[0])),
        Column("model", "Flagship", value=lambda row: row.keys[1]),
        Column("team", "Team", value=lambda row: teams[row.keys[2]]),
        Column("calls", "Calls", "count", value=lambda row: row.figures.calls),
        Column("tokens", "Tokens", "tokens", value=lambda row: row.figures.tokens),
        money("cost", "Billed", value=lambda row: row.figures.billed),
        money("notional", "Subscription", value=lambda row: row.figures.notional_cost or None, title="At list price, not billed"),
    ]  # fmt: skip
    return Table.from_request(
        request, id="simple", prefix="simple-", columns=columns, rows=rows, sort="-cost", page_size=10, title="Flagships on simple work",
        note="each row leads to the members and sessions behind it", empty="No flagship call was reported with a simple task class in this range.",
    )  # fmt: skip


@dataclass(frozen=True)
class Catalogued:
    """A table of shares by something the catalogue knows of models. `key` says in which row a model belongs."""

    id: str
    title: str
    label: str
    key: Callable[[ModelFacts], str]
    names: Mapping[str, str]


CATALOGUED = (
    Catalogued("weights", "Open and closed weights", "Weights", weights_key, WEIGHTS),
    Catalogued("countries", "Where the makers are", "Country", lambda facts: facts.country, COUNTRIES | {"": WEIGHTS[""]}),
)


def _catalogue_tables(request: PageRequest, view: Routing) -> dict[str, Table]:
    facts = reads.catalogue_facts({row.keys[1] for row in view.used})
    known = [(facts.get((row.keys[0], row.keys[1]), ModelFacts()), row) for row in view.used]
    return {kind.id: _shares_table(request, view, kind, known) for kind in CATALOGUED}


def _shares_table(request: PageRequest, view: Routing, kind: Catalogued, known: Sequence[tuple[ModelFacts, usage.Combination]]) -> Table:
    rows = catalogued([(facts, row.figures) for facts, row in known], kind.key, currency=view.currency)
    models: dict[str, list[str]] = {}
    for facts, row in known:
        models.setdefault(kind.key(facts), []).append(row.keys[1])
    columns = [
        Column("name", kind.label, "strong", value=lambda row: kind.names.get(row.key, row.key), href=lambda row: view.spend_href("model", model=sorted(set(models[row.key])))),
        Column("token_share", "Of tokens", "percent"),
        Column("spend_share", "Of spend", "percent"),
        Column("tokens", "Tokens", "tokens", value=lambda row: row.figures.tokens),
        Column("cost", "Billed", "money", currency=view.currency, value=lambda row: row.figures.billed),
    ]
    return Table.from_request(request, id=kind.id, prefix=f"{kind.id}-", columns=columns, rows=rows, title=kind.title, empty="Nothing was used in this range.")


urlpatterns = [path("routing", routing, name="routing")]

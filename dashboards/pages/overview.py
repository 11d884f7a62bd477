"""Overview: "Are we all right?" The month against its budget, today, price and dependence, what waits for a person."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.charts.base import Chart
from dashboards.charts.overview import provider_chart
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.forms.connecting import ConnectForm
from dashboards.insights.figures import Figures, figures_sum
from dashboards.pages.settings.connect import shown_snippets
from dashboards.selectors import overview as figures
from dashboards.selectors import usage
from dashboards.selectors.marks import address, marks_in
from governance.tenancy.access import Actor, Right

NAMED_PROVIDERS = 7
LARGE_HHI = 2500
SPARK_LABEL = "spend per day, last 30 days"


@dataclass(frozen=True)
class Overview:
    """The figures of one visit, each read when the template asks for it."""

    actor: Actor
    range: Range
    now: datetime

    @property
    def slug(self) -> str:
        return self.actor.organization.slug

    @property
    def currency(self) -> str:
        return self.actor.organization.currency

    @cached_property
    def month(self) -> Range:
        organization = self.actor.organization
        return Range.from_query({"range": "mtd"}, organization.zone, self.now, year_starts_in=organization.year_starts_in)

    @cached_property
    def lines(self) -> list[Any]:
        return figures.lines_of(self.actor, now=self.now)

    @cached_property
    def line(self) -> Any:
        return figures.headline_line(self.actor, self.lines)

    @cached_property
    def month_figures(self) -> Figures:
        return usage.totals(self.actor, window=self.month.window)

    @cached_property
    def today(self) -> figures.Today:
        return figures.today_so_far(self.actor, now=self.now)

    @cached_property
    def providers(self) -> list[usage.Row]:
        return usage.spend_by(self.actor, "provider", window=self.range.window)

    @cached_property
    def totals(self) -> Figures:
        return figures_sum((row.figures for row in self.providers), self.currency)

    @cached_property
    def before(self) -> Figures:
        return usage.totals(self.actor, window=self.range.previous.window)

    @cached_property
    def blended_days(self) -> list[Any]:
        days = figures.by_day(self.actor, self.range)
        return [days[day].blended_per_mtok if day in days else None for day in self.range.days]

    @cached_property
    def dependence(self) -> figures.Dependence:
        return figures.dependence(self.actor, self.providers, self.range)

    @property
    def is_concentrated(self) -> bool:
        index = self.dependence.providers.hhi
        return index is not None and index >= LARGE_HHI

    @cached_property
    def waiting(self) -> figures.Waiting:
        return figures.waiting(self.actor, self.lines, now=self.now)

    @cached_property
    def movers(self) -> list[figures.Mover]:
        return figures.movers(self.actor, self.range)

    @cached_property
    def allocated(self) -> Any:
        return figures.allocated_share(usage.spend_by(self.actor, "team", window=self.range.window))

    @cached_property
    def chart(self) -> Chart:
        named = [row for row in self.providers if row.figures.cost][:NAMED_PROVIDERS]
        points = usage.series_by(self.actor, "provider", window=self.range.window, keys=[row.key for row in named])
        costs = {(point.at, point.key): point.figures.cost for point in points if isinstance(point.at, date) and point.figures.cost}
        models = [row.key for row in usage.spend_by(self.actor, "model", window=self.range.window)[:40]]
        return provider_chart(
            costs,
            days=self.range.days,
            named=[(row.key, row.name, self.spend_href(provider=row.key)) for row in named],
            today=self.range.today,
            currency=self.currency,
            marks=marks_in(self.actor, self.range, models=models),
            note="per day" + (", today is not over" if self.range.is_running else ""),
        )

    def spend_href(self, **filters: str) -> str:
        """The explorer, for this range, narrowed down."""
        return f"{reverse('spend', args=[self.slug])}?{urlencode({**self.range.params, **filters})}"

    @property
    def spend_models_href(self) -> str:
        return self.spend_href(by="model")

    @property
    def month_href(self) -> str:
        return f"{reverse('spend', args=[self.slug])}?range=mtd"

    @property
    def today_href(self) -> str:
        return f"{reverse('spend', args=[self.slug])}?range=today"

    @property
    def unallocated_href(self) -> str:
        return self.spend_href(by="team")


@page(Right.VIEW_SPEND)
def overview(request: PageRequest) -> HttpResponse:
    """The dashboard; the way to connect while nothing has been counted yet."""
    actor = request.actor
    if not figures.has_usage(actor):
        return render(request, "overview/empty.html", {"form": ConnectForm(actor=actor), "snippets": shown_snippets()})
    organization, now = actor.organization, timezone.now()
    span = Range.from_query(request.GET, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
    shown = Overview(actor, span, now)
    teams = teams_table(request, shown)
    if teams.is_asked_as_csv:
        return teams.csv_response("teams-against-budget")
    return render(request, "overview/overview.html", {"shown": shown, "range": span, "teams": teams})


@page(Right.VIEW_SPEND)
def first_event(request: PageRequest) -> HttpResponse:
    """Asked by the empty overview every few seconds: reloads the page once something has been counted."""
    if figures.has_usage(request.actor):
        return HttpResponse(headers={"HX-Refresh": "true"})
    return HttpResponse(status=204)


def teams_table(request: PageRequest, shown: Overview) -> Table:
    """Teams against their monthly budgets."""
    actor, currency = shown.actor, shown.currency
    columns = [
        Column("name", "Team", href=lambda row: f"{reverse('spend', args=[shown.slug])}?range=mtd&team={row.key}&by=model"),
        Column("spent", "Spent", kind="money", currency=currency),
        Column("limit", "Budget", kind="money", currency=currency, href=lambda row: address("budget", actor, row.line.budget.pk) if row.line else None),
        Column("meter", "Spent and forecast", kind="meter", currency=currency, value=_meter),
        Column("days", "Daily", kind="spark", title=SPARK_LABEL),
        Column("change", f"vs {shown.month.previous.first:%B}", kind="delta", currency=currency, value=lambda row: (row.spent, row.previous), title=shown.month.previous.label),
        Column("state", "State", kind="badge", value=_state, note=_until(shown)),
    ]
    rows = figures.team_rows(actor, shown.lines, month=shown.month, now=shown.now)
    return Table.from_request(
        request, id="teams", prefix="teams-", title="Teams against budget", note="month to date, forecast hatched", columns=columns, rows=rows, sort="-spent",
        empty="No team has used anything this month.",
    )  # fmt: skip


def _meter(row: figures.TeamRow) -> Any:
    if row.limit is None:
        return None
    return (row.spent, row.limit, row.line.period.held if row.line else 0, row.forecast.at_end.expected if row.forecast else None)


def _state(row: figures.TeamRow) -> tuple[str, str]:
    if row.line is None or row.limit is None:
        return "no budget", ""
    if row.line.is_frozen:
        return "frozen", "ice"
    if row.spent >= row.limit:
        return "over the limit", "danger"
    if row.forecast and row.forecast.exhausted_at:
        return "on course to pass", "warn"
    return "within", "ok"


def _until(shown: Overview) -> Any:
    def note(row: figures.TeamRow) -> str:
        if row.forecast is None or row.forecast.exhausted_at is None or row.limit is None or row.spent >= row.limit:
            return ""
        day = row.forecast.exhausted_at.astimezone(shown.range.zone).date()
        return "today" if day == shown.range.today else f"{day.day} {day:%b}"

    return note


urlpatterns = [path("", overview, name="overview"), path("first-event", first_event, name="first-event")]

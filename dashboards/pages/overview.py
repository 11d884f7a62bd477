"""Overview: "Are we all right?" The month against its budget, today, price and dependence, what waits for a person."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.charts.axis import Step, axis_of, step_of
from dashboards.charts.base import Chart
from dashboards.charts.spend import Shown, spend_chart
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.forms.connecting import ConnectForm
from dashboards.insights.concentration import Concentration, concentration_of
from dashboards.insights.figures import BLENDED, MEASURES, SIZES, Figures, figures_sum
from dashboards.pages.settings.connections import first_snippets
from dashboards.selectors import overview as figures
from dashboards.selectors import usage
from dashboards.selectors.dimensions import NOTHING
from dashboards.selectors.marks import address, marks_in
from dashboards.selectors.modes import Modes, modes_of_month
from dashboards.selectors.periods import Line
from governance.periods import add_months
from governance.tenancy.access import Actor, Right

NAMED_PROVIDERS = 7
LARGE_HHI = 2500
SPARK_LABEL = "spend per day, last 30 days"
BEFORE = ("cost", "calls", *SIZES, *BLENDED)
# What renews itself, by the element htmx asks for: the part of the page that holds it.
PARTS = {"tiles": "overview/live.html", "teams": "overview/teams.html", "spend-by-provider-figure": "overview/chart.html"}


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

    @property
    def month_last(self) -> date:
        """The last day of the running month."""
        return add_months(self.month.first, 1) - timedelta(days=1)

    @cached_property
    def lines(self) -> list[Line]:
        return figures.lines_of(self.actor, now=self.now)

    @cached_property
    def line(self) -> Line | None:
        return figures.headline_line(self.actor, self.lines)

    @cached_property
    def month_figures(self) -> Figures:
        return usage.totals(self.actor, window=self.month.window, sums=("cost", "list_cost"))

    @cached_property
    def modes(self) -> Modes:
        return modes_of_month(self.actor, self.month, now=self.now)

    @cached_property
    def today(self) -> figures.Today:
        return figures.today_so_far(self.actor, now=self.now)

    @cached_property
    def points(self) -> list[usage.Point]:
        """Every provider's days of the range: what the chart, the totals and the trend are made of."""
        return usage.by_day(self.actor, "provider", window=self.range.window)

    @cached_property
    def providers(self) -> list[usage.Row]:
        sums: dict[str, Figures] = {}
        for point in self.points:
            key = point.key or ""
            sums[key] = sums[key] + point.figures if key in sums else point.figures
        return usage.ranked(self.actor, "provider", sums)

    @cached_property
    def totals(self) -> Figures:
        return figures_sum((row.figures for row in self.providers), self.currency)

    @cached_property
    def models_before(self) -> list[usage.Row]:
        previous = self.range.previous
        return usage.spend_by(self.actor, "model", window=previous.window, sums=BEFORE, is_to_the_minute=previous.until is not None)

    @cached_property
    def before(self) -> Figures:
        return figures_sum((row.figures for row in self.models_before), self.currency)

    @cached_property
    def blended_days(self) -> list[Decimal | None]:
        days: dict[Step, Figures] = {}
        for point in self.points:
            days[point.at] = days[point.at] + point.figures if point.at in days else point.figures
        return [days[day].blended_per_mtok if day in days else None for day in self.range.days]

    @property
    def has_blended_line(self) -> bool:
        """Whether there are days enough to draw the blended price."""
        return sum(value is not None for value in self.blended_days) > 1

    @cached_property
    def concentration(self) -> Concentration:
        return concentration_of((row.key, row.name, row.figures.cost) for row in self.providers)

    @property
    def is_concentrated(self) -> bool:
        return self.concentration.hhi is not None and self.concentration.hhi >= LARGE_HHI

    @cached_property
    def split(self) -> figures.Split:
        return figures.split_of(self.actor, self.range)

    @cached_property
    def waiting(self) -> figures.Waiting:
        return figures.waiting(self.actor, self.lines, now=self.now)

    @cached_property
    def models(self) -> list[usage.Row]:
        return usage.spend_by(self.actor, "model", window=self.range.window, sums=("cost",))

    @cached_property
    def movers(self) -> list[figures.Mover]:
        return figures.movers(self.models, self.models_before)

    @cached_property
    def chart(self) -> Chart:
        named = [(row.key, row.name) for row in self.providers if row.figures.cost][:NAMED_PROVIDERS]
        hrefs = {key: self.spend_href(by="model", provider=key or NOTHING) for key, _ in named}
        marks = marks_in(self.actor, self.range, models=[row.key for row in self.models if row.figures.cost])
        shown = Shown(MEASURES["cost"], "provider", self.currency, named, hrefs, marks, width=600)
        axis = axis_of(self.range, step_of(self.range), self.now)
        return spend_chart(self._cells(axis.name, [key for key, _ in named]), axis, shown, id="spend-by-provider", title="Spend by provider")

    def _cells(self, step: str, keys: Sequence[str]) -> dict[tuple[Step, str | None], Figures]:
        """The costs by step of the axis and provider, those not named together under None."""
        points = self.points
        if step == "hour":
            points = usage.series_by(self.actor, "provider", window=self.range.window, keys=keys, step="hour", sums=("cost",))
        cells: dict[tuple[Step, str | None], Figures] = {}
        for point in points:
            at = point.at - timedelta(days=point.at.weekday()) if step == "week" else point.at
            cell = (at, point.key if point.key in keys else None)
            if cell[1] is not None or point.figures.cost:
                cells[cell] = cells[cell] + point.figures if cell in cells else point.figures
        return cells

    def spend_href(self, **filters: str) -> str:
        """The explorer, for this range, narrowed down."""
        return f"{reverse('spend', args=[self.slug])}?{urlencode({**self.range.params, **filters})}"

    @property
    def hrefs(self) -> dict[str, str]:
        """Where the page's figures lead."""
        spend_page = reverse("spend", args=[self.slug])
        return {
            "month": f"{spend_page}?range=mtd", "today": f"{spend_page}?range=today", "spend": self.spend_href(), "models": self.spend_href(by="model"),
            "blended": self.spend_href(by="model", measure="blended"), "teams": self.spend_href(by="team"),
            "calls": self.spend_href(by="model", measure="calls"), "tokens": self.spend_href(by="model", measure="tokens"),
            "cache": self.spend_href(by="provider", measure="cache-hits"), "unallocated": self.spend_href(by="harness", team=NOTHING),
        }  # fmt: skip


@page(Right.VIEW_SPEND)
def overview(request: PageRequest) -> HttpResponse:
    """The dashboard; the way to connect while nothing has been counted yet."""
    actor = request.actor
    if not figures.has_usage(actor):
        return render(request, "overview/empty.html", {"form": ConnectForm(actor=actor, now=timezone.now()), "snippets": first_snippets()})
    organization, now = actor.organization, timezone.now()
    span = Range.from_query(request.GET, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
    shown = Overview(actor, span, now)
    part = PARTS.get(request.headers.get("HX-Target", ""), "overview/overview.html")
    teams = teams_table(request, shown) if part in ("overview/overview.html", "overview/teams.html") else None
    if teams is not None and teams.is_asked_as_csv:
        return teams.csv_response("teams-against-budget")
    return render(request, part, {"shown": shown, "range": span, "teams": teams})


@page(Right.VIEW_SPEND)
def first_event(request: PageRequest) -> HttpResponse:
    """Asked by the empty overview every few seconds: reloads the page once something has been counted."""
    if figures.has_usage(request.actor):
        return HttpResponse(headers={"HX-Refresh": "true"})
    return HttpResponse(status=204)


def teams_table(request: PageRequest, shown: Overview) -> Table:
    """Teams against their monthly budgets."""
    actor, currency = shown.actor, shown.currency
    rows = figures.team_rows(actor, shown.lines, month=shown.month, now=shown.now)
    overlaps = any(row.is_with_teams_below for row in rows)
    money = partial(Column, kind="money", currency=currency)
    columns = [
        Column("name", "Team", href=partial(_team_href, shown), note=lambda row: "with sub-teams" if row.is_with_teams_below else ""),
        money("spent", "Spent"),
        *([money("own", "Without sub-teams", title="Each call in one row: these add up to the month", is_for_wide=True)] if overlaps else []),
        money("limit", "Budget", href=lambda row: address("budget", actor, row.line.budget.pk) if row.line else None),
        Column("meter", "Spent and forecast", kind="meter", currency=currency, value=_meter, is_for_wide=True),
        Column("days", "Daily", kind="spark", title=SPARK_LABEL, is_for_wide=True),
        Column(
            "change", f"vs {shown.month.previous.first:%B}", kind="delta", currency=currency, value=lambda row: (row.spent, row.previous), title=shown.month.previous.label,
            is_for_wide=True,
        ),
        Column("state", "State", kind="badge", value=_state, note=_until(shown)),
    ]
    return Table.from_request(
        request, id="teams", prefix="teams-", title="Teams against budget", note="month to date, forecast hatched", columns=columns, rows=rows, sort="-spent",
        empty="No team has used anything this month.", foot=_teams_foot(rows, overlaps=overlaps),
    )  # fmt: skip


def _team_href(shown: Overview, row: figures.TeamRow) -> str:
    """The explorer with the same usage: the team and the teams below it."""
    query = {"range": "mtd", "team": [key or NOTHING for key in row.teams], "by": "team" if row.is_with_teams_below else "model"}
    return f"{reverse('spend', args=[shown.slug])}?{urlencode(query, doseq=True)}"


def _teams_foot(rows: Sequence[figures.TeamRow], *, overlaps: bool) -> dict[str, Any]:
    """What all rows are together, each call counted once."""
    whole = sum((row.own for row in rows), Decimal(0))
    return {"name": "Together, each call once", "own" if overlaps else "spent": whole}


def _meter(row: figures.TeamRow) -> tuple[Decimal, Decimal, Decimal, Decimal | None] | None:
    if row.limit is None:
        return None
    return (row.charged, row.limit, row.line.period.held if row.line else Decimal(0), row.forecast.at_end.expected if row.forecast else None)


def _state(row: figures.TeamRow) -> tuple[str, str] | None:
    if not row.key:
        return None
    if row.line is None or row.limit is None:
        return "no budget", ""
    if row.line.is_frozen:
        return "frozen", "ice"
    if row.charged >= row.limit:
        return "over the limit", "danger"
    if row.forecast and row.forecast.exhausted_at:
        return "on course to pass", "warn"
    return "within", "ok"


def _until(shown: Overview) -> Callable[[figures.TeamRow], str]:
    def note(row: figures.TeamRow) -> str:
        if row.forecast is None or row.forecast.exhausted_at is None or row.limit is None or row.charged >= row.limit:
            return ""
        day = row.forecast.exhausted_at.astimezone(shown.range.zone).date()
        return "today" if day == shown.range.today else f"{day.day} {day:%b}"

    return note


urlpatterns = [path("", overview, name="overview"), path("first-event", first_event, name="first-event")]

"""Prices: re-rating runs, a new one, and one with its preview, its progress and each call's old and new."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.rerating import RunForm
from dashboards.pages.prices import shown
from dashboards.pages.settings.frame import done
from governance.errors import DomainError
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import Team
from ingest.rerating import services
from ingest.rerating.models import ReratingRun
from ingest.rerating.scope import scope_words
from ingest.rerating.selectors import events_of, run_amendments, run_get, runs_visible

TAB = "prices-runs"
State = ReratingRun.State
TONES = {State.RUNNING: "accent", State.PREVIEWING: "accent", State.READY: "warn", State.PAUSED: "warn", State.DONE: "ok", State.FAILED: "danger"}
STEPS = {"start": services.run_start, "pause": services.run_pause, "cancel": services.run_cancel}
SAID = {"start": "The run is on its way. You can leave this page and come back.", "pause": "The run is paused.", "cancel": "The run is cancelled."}
AT_WORK = (State.PREVIEWING, State.RUNNING)
DEFAULT_DAYS = 30


@page(Right.VIEW_AUDIT)
@require_GET
def run_list(request: PageRequest) -> HttpResponse:
    """Every run, newest first."""
    table = _runs_table(request)
    return table.csv_response("runs") if table.is_asked_as_csv else shown(request, "runs", TAB, {"table": table, "can_run": request.actor.can(Right.MANAGE_PRICES)})


def _runs_table(request: PageRequest) -> Table:
    slug, names = request.actor.organization.slug, _team_names(request.actor)
    columns = [
        Column("created_at", "Made", kind="at", href=lambda run: reverse("prices-run", args=[slug, run.pk])),
        Column("reason", "Why", note=lambda run: run.maker_label),
        Column("scope", "Calls", value=lambda run: scope_words(run, names), is_sortable=False, is_for_wide=True),
        Column("state", "State", kind="badge", value=state_badge),
        Column("events_changed", "Changed", kind="count"),
        Column("difference", "Difference", kind="money", value=lambda run: run.cost_after - run.cost_before, is_sortable=False, currency=request.actor.organization.currency),
    ]
    return Table.from_request(
        request, id="runs", title="Runs", columns=columns, rows=runs_visible(request.actor), sort="-created_at", search=("reason", "maker_label"),
        empty="No call has been priced anew yet.",
    )  # fmt: skip


def state_badge(run: ReratingRun) -> tuple[str, str]:
    """The state with its tone."""
    return run.get_state_display().lower(), TONES.get(State(run.state), "")


def _team_names(actor: Actor) -> dict[int, str]:
    return dict(scoped(actor, Team.objects.order_by("pk")).values_list("pk", "name"))


@page(Right.MANAGE_PRICES)
@require_http_methods(["GET", "POST"])
def run_new(request: PageRequest) -> HttpResponse:
    """Asks which calls, and why; what would change is worked out before anything does."""
    actor, today = request.actor, timezone.localdate()
    initial = {
        "first": today - timedelta(days=DEFAULT_DAYS - 1), "last": today, "models": request.GET.get("model", ""), "providers": request.GET.get("provider", ""),
        "reason": request.GET.get("reason", ""), "is_unpriced_only": request.GET.get("unpriced") == "1",
    }  # fmt: skip
    form = RunForm(request.POST or None, actor=actor, initial=initial)
    if request.method == "POST" and form.is_valid() and (run := done(form, lambda: services.run_create(actor=actor, **form.asked))):
        return redirect("prices-run", slug=actor.organization.slug, run_id=run.pk)
    return shown(request, "run_new", TAB, {"form": form}, status=422 if form.is_bound else 200)


@page(Right.VIEW_AUDIT)
@require_http_methods(["GET", "POST"])
def run_page(request: PageRequest, run_id: int) -> HttpResponse:
    """One run: what it would change or how far it is, the steps that may be taken, and what it changed call by call."""
    actor = request.actor
    refusal = ""
    if request.method == "POST":
        require(actor, Right.MANAGE_PRICES)
        run, step = run_get(actor, run_id), request.POST.get("action", "")
        try:
            if step in STEPS:
                STEPS[step](actor=actor, run=run)
                messages.success(request, SAID[step])
            return redirect("prices-run", slug=actor.organization.slug, run_id=run_id)
        except DomainError as error:
            refusal = error.detail
    run = run_get(actor, run_id)
    table = _amendments_table(request, run)
    if table.is_asked_as_csv:
        return table.csv_response(f"run-{run.pk}")
    values = {
        "run": run, "state": state_badge(run), "scope": scope_words(run, _team_names(actor)), "refusal": refusal, "is_at_work": run.state in AT_WORK, "table": table,
        "can_run": actor.can(Right.MANAGE_PRICES), "steps": run_steps(run), "preview": preview_shown(run), "difference": run.cost_after - run.cost_before,
        "percent": Decimal(run.events_seen) / run.events_total if run.events_total else None, "last_day": run.ends_at - timedelta(seconds=1),
    }  # fmt: skip
    return shown(request, "run", TAB, values, status=409 if refusal else 200)


def run_steps(run: ReratingRun) -> list[tuple[str, str, str]]:
    """What may be done now: (action, words, tone)."""
    start = {State.READY: "Apply", State.PAUSED: "Go on"}.get(State(run.state), "")
    found = [("start", start, "primary")] if start else []
    if run.state == State.RUNNING:
        found.append(("pause", "Pause", ""))
    return found if run.is_ended else [*found, ("cancel", "Cancel", "danger")]


def preview_shown(run: ReratingRun) -> Mapping[str, Any] | None:
    """The preview with its amounts as amounts."""
    if run.preview is None:
        return None
    amounts = ("before", "after", "delta")

    def read(line: Mapping[str, Any]) -> dict[str, Any]:
        return {**line, **{name: Decimal(line[name]) for name in amounts if name in line}}

    shown_lines = {name: [read(line) for line in run.preview[name]] for name in ("months", "teams", "budgets")}
    for line in shown_lines["budgets"]:
        line["named"] = [{**one, "starts_at": datetime.fromisoformat(one["starts_at"])} for one in line["named"]]
    return {**read(run.preview), **shown_lines, "posted": read(run.preview["posted"])}


def _amendments_table(request: PageRequest, run: ReratingRun) -> Table:
    """Old and new of each call; on the page with the model and a link to the call."""
    slug, currency, events = request.actor.organization.slug, request.actor.organization.currency, dict[Any, Any]()

    def of(row: Any, name: str) -> Any:
        return getattr(events[row.event_id], name) if row.event_id in events else None

    def page_of(row: Any) -> str | None:
        return reverse("call", args=[slug, row.event_id]) if row.event_id in events else None

    columns = [
        Column("occurred_at", "Call of", kind="at", href=page_of),
        Column("model", "Model", value=lambda row: of(row, "model"), is_sortable=False),
        Column("old_cost", "Before", kind="money", currency=currency),
        Column("new_cost", "After", kind="money", currency=currency),
        Column("difference", "Difference", kind="money", value=lambda row: (row.new_cost or 0) - (row.old_cost or 0), is_sortable=False, currency=currency),
        Column("is_posted", "Counted", value=lambda row: "in the open month" if row.is_posted else "where it was", is_sortable=False, is_for_wide=True),
        Column("old_price_id", "Price row before", kind="text", is_sortable=False, is_for_wide=True),
        Column("new_price_id", "after", kind="text", is_sortable=False, is_for_wide=True),
    ]
    if request.GET.get("format") == "csv":
        columns = [Column("event_id", "Event", is_sortable=False), *(column for column in columns if column.key != "model")]
    table = Table.from_request(
        request, id="changed", title="Calls that changed", columns=columns, rows=run_amendments(run), sort="occurred_at",
        empty="No call has changed yet." if not run.is_ended else "No call changed.",
    )  # fmt: skip
    events.update(events_of(run, table.rows))
    return table


urlpatterns = [
    path("prices/runs", run_list, name="prices-runs"),
    path("prices/runs/new", run_new, name="prices-run-new"),
    path("prices/runs/<int:run_id>", run_page, name="prices-run"),
]

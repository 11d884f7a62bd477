"""Settings: files that were imported, a new one, and one with its mapping, its preview, its progress, what came of it, and undoing it."""

from decimal import Decimal
from itertools import islice
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.importing import FileForm, MeaningForm
from dashboards.pages.settings.frame import done, shown
from governance.errors import DomainError, Invalid
from governance.tenancy.access import Right, scoped
from governance.tenancy.models import Team
from ingest.importing import files, services
from ingest.importing.mapping import Meaning
from ingest.importing.models import ImportRun
from ingest.importing.selectors import import_get, import_preview, imported_before, imports_visible, refusals_of
from ingest.importing.text import ENCODINGS, records

TAB = "settings-imports"
State = ImportRun.State
TONES = {
    State.RUNNING: "accent", State.UNDOING: "accent", State.READY: "warn", State.PAUSED: "warn", State.DONE: "ok",
}  # fmt: skip
STEPS = {"start": services.import_start, "pause": services.import_pause, "cancel": services.import_cancel, "undo": services.import_undo}
SAID = {
    "start": "The import is on its way. You can leave this page and come back.", "pause": "The import is paused.", "cancel": "The import is cancelled.",
    "undo": "The import is being undone. You can leave this page and come back.",
}  # fmt: skip
PIECE = 65_536


@page(Right.MANAGE_ORGANIZATION)
def import_list(request: PageRequest) -> HttpResponse:
    """Every import, newest first, and a form for the next file."""
    actor = request.actor
    form = FileForm(request.POST, request.FILES) if request.method == "POST" else FileForm()
    if form.is_bound and form.is_valid():
        file = form.cleaned_data["file"]
        if run := done(form, lambda: services.import_create(actor=actor, file_name=file.name, sent=file.chunks(PIECE))):
            return redirect("settings-import", slug=actor.organization.slug, import_id=run.pk)
    columns = [
        Column("created_at", "Sent", kind="at", href=lambda run: reverse("settings-import", args=[actor.organization.slug, run.pk])),
        Column("file_name", "File", note=lambda run: run.export or run.maker_label),
        Column("state", "State", kind="badge", value=state_badge),
        Column("rows_accepted", "Counted", kind="count"),
        Column("rows_duplicate", "Known", kind="count", title="Counted before, by whatever door", is_for_wide=True),
        Column("rows_rejected", "Refused", kind="count"),
    ]
    table = Table.from_request(
        request, id="imports", title="Imports", columns=columns, rows=imports_visible(actor), sort="-created_at", search=("file_name", "maker_label"),
        empty="No file has been imported yet.",
    )  # fmt: skip
    if table.is_asked_as_csv:
        return table.csv_response("imports")
    return shown(request, "imports", TAB, {"table": table, "form": form}, status=422 if form.is_bound else 200)


@page(Right.MANAGE_ORGANIZATION)
def import_page(request: PageRequest, import_id: int) -> HttpResponse:
    """One import: before it starts its mapping and first rows, then how far it is and what came of it."""
    actor = request.actor
    run = import_get(actor, import_id)
    refusal = ""
    form = _meaning_form(request, run) if run.state == State.READY or run.is_paused_before_any else None
    if request.method == "POST":
        step = request.POST.get("action", "")
        try:
            if form is not None and step in ("look", "start") and form.is_bound:
                if not form.is_valid():
                    raise Invalid("Something in the mapping is not valid.")
                services.import_map(actor=actor, run=run, **form.asked())
            if step in STEPS:
                STEPS[step](actor=actor, run=run)
                messages.success(request, SAID[step])
            return redirect("settings-import", slug=actor.organization.slug, import_id=import_id)
        except DomainError as error:
            refusal = error.detail
    run = import_get(actor, import_id)
    table = _refusals_table(request, run) if run.state != State.READY else None
    if table is not None and table.is_asked_as_csv:
        return table.csv_response(f"import-{run.pk}-refused")
    values = {
        "run": run, "state": state_badge(run), "refusal": refusal, "table": table, "form": form, "encoding": ENCODINGS.get(run.encoding, run.encoding),
        "is_latin": run.encoding == "cp1252", "steps": _steps(run), "part": _part(run), "before": imported_before(run), "can_undo": _can_undo(run),
        **(_preview(request, run) if form is not None else {}),
    }  # fmt: skip
    return shown(request, "import", TAB, values, status=409 if refusal else 200)


def _meaning_form(request: PageRequest, run: ImportRun) -> MeaningForm:
    try:
        meaning = services.meaning_of(run)
    except Invalid:
        meaning = Meaning()
    samples = [record.values for record in islice(records(files.file_pieces(run), services.layout_of_run(run)), 20) if not record.fault]
    given = request.POST if request.method == "POST" and "encoding" in request.POST else None
    return MeaningForm(given, actor=request.actor, run=run, meaning=meaning, samples=samples)


def _preview(request: PageRequest, run: ImportRun) -> dict[str, Any]:
    preview = import_preview(request.actor, run)
    teams = dict(scoped(request.actor, Team.objects.order_by("pk")).values_list("pk", "name"))
    costs = [row.cost for row in preview.rows if row.cost is not None]
    counts = {status: sum(row.status == status for row in preview.rows) for status in ("accepted", "duplicate", "conflict", "rejected", "empty")}
    return {
        "preview": preview, "teams": teams, "total": sum(costs, Decimal(0)), "counts": counts, "refused": counts["conflict"] + counts["rejected"],
        "unpriced": sum(row.event is not None and row.status == "accepted" and not row.is_priced for row in preview.rows),
    }  # fmt: skip


def _steps(run: ImportRun) -> list[tuple[str, str, str]]:
    """What may be done now: (action, words, tone)."""
    if run.state == State.RUNNING:
        return [("pause", "Pause", ""), ("cancel", "Cancel", "danger")]
    if run.state == State.PAUSED:
        return [("start", "Go on", "primary"), ("cancel", "Cancel", "danger")]
    return [("cancel", "Cancel", "")] if run.state == State.READY else []


def _can_undo(run: ImportRun) -> bool:
    return run.state in (State.PAUSED, State.DONE, State.CANCELLED) and services.has_stored(run)


def _part(run: ImportRun) -> tuple[int, int]:
    """(done, of) for the bar: rows of the file's lines, or events taken back."""
    if run.state in (State.UNDOING, State.UNDONE):
        return run.events_removed + run.events_posted + run.events_kept, max(run.events_accepted, 1)
    return run.rows_seen, max(run.rows_seen, run.lines_total)


def state_badge(run: ImportRun) -> tuple[str, str]:
    """The state with its tone."""
    return run.get_state_display().lower(), TONES.get(State(run.state), "")


def _refusals_table(request: PageRequest, run: ImportRun) -> Table:
    columns = [
        Column("row", "Row", kind="count"),
        Column("line", "Line", kind="count", is_for_wide=True),
        Column("reason", "Why", is_sortable=False),
        Column("field", "Field"),
        Column("value", "Cell", is_sortable=False),
        Column("code", "Code", is_for_wide=True),
    ]
    return Table.from_request(
        request, id="refused", title="Rows that were not counted", columns=columns, rows=refusals_of(run), sort="row", search=("reason", "field", "value"),
        empty="Every row was counted, or was known already.",
    )  # fmt: skip

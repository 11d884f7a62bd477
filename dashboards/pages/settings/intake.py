"""Settings: what came in and was not counted, and names that are not known here."""

import json

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.pages.settings.frame import shown
from dashboards.pages.settings.quarantine import rule_words, shown_kinds
from governance.errors import DomainError
from governance.tenancy.access import Right, scoped
from ingest.models import RejectedInput, ReportedLabel
from ingest.quarantine.selectors import may_send_again, rules_visible
from ingest.rejections import rejected_input_get, rejected_inputs, rejected_replay

TONES = {"rejected": "danger", "conflict": "warn", "envelope": "danger"}
OUTCOMES = {"accepted": "ok", "duplicate": "ok", "conflict": "warn", "rejected": "danger"}


@page(Right.MANAGE_ORGANIZATION)
def rejected_list(request: PageRequest) -> HttpResponse:
    """Inputs that were refused or in conflict, newest first."""
    slug = request.actor.organization.slug
    columns = [
        Column("received_at", "Received", kind="at", href=lambda row: reverse("settings-rejected", args=[slug, row.pk])),
        Column("kind", "What", kind="badge", value=lambda row: (row.get_kind_display().lower(), TONES[row.kind]), is_for_wide=True),
        Column("door", "Door", is_for_wide=True),
        Column("code", "Code", is_for_wide=True),
        Column("reason", "Why", value=lambda row: row.reason[:160].replace("`", "")),
        Column(
            "replay_outcome", "Replayed", kind="badge",
            value=lambda row: (row.replay_outcome, OUTCOMES.get(row.replay_outcome, "")) if row.replay_outcome else None,
        ),
    ]  # fmt: skip
    table = Table.from_request(
        request, id="rejected", title="Not counted", note="kept so that nothing is lost unseen", columns=columns, rows=rejected_inputs(request.actor), sort="-received_at",
        search=("code", "reason", "door"), empty="Everything that came in was counted.",
    )  # fmt: skip
    if table.is_asked_as_csv:
        return table.csv_response("not-counted")
    values = {"table": table, "kinds": shown_kinds(request.actor), "rules": [(rule, rule_words(rule)) for rule in rules_visible(request.actor)]}
    return shown(request, "intake", "settings-intake", values)


@page(Right.MANAGE_ORGANIZATION)
def rejected_page(request: PageRequest, rejected_id: int) -> HttpResponse:
    """One of them as it came, and sending it through again."""
    row = rejected_input_get(request.actor, rejected_id)
    refusal = ""
    if request.method == "POST":
        try:
            outcomes = rejected_replay(actor=request.actor, rejected=row, corrected=request.POST.get("corrected", ""))
        except DomainError as error:
            refusal = error.detail
        else:
            told(request, [outcome.status for outcome in outcomes])
            return redirect("settings-rejected", slug=request.actor.organization.slug, rejected_id=row.pk)
    values = {
        "row": row, "payload": payload_text(row), "refusal": refusal, "corrected": request.POST.get("corrected", ""), "tone": TONES[row.kind],
        "outcome_tone": OUTCOMES.get(row.replay_outcome, ""), "can_send": may_send_again(request.actor, row),
    }  # fmt: skip
    return shown(request, "rejected", "settings-intake", values, status=409 if refusal else 200)


def told(request: PageRequest, statuses: list[str]) -> None:
    """Says how the replay went."""
    counted = sum(status in ("accepted", "duplicate") for status in statuses)
    if counted == len(statuses) and statuses:
        messages.success(request, "It was counted this time." if counted == 1 else f"All {counted} events were counted this time.")
    else:
        messages.error(request, f"{counted} of {len(statuses)} events were counted; the others are still refused.")


def payload_text(row: RejectedInput) -> str:
    """The payload for reading: indented where it is JSON, with a stand-in for bytes that are no text."""
    text = bytes(row.payload).decode("utf-8", "replace").replace("\x00", "\ufffd")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


@page(Right.MANAGE_ORGANIZATION)
def label_list(request: PageRequest) -> HttpResponse:
    """Teams, projects, members, harnesses and models that usage named and nobody here knows."""
    columns = [
        Column("kind", "What"),
        Column("value", "Name in usage", "strong"),
        Column("calls", "Calls", kind="count"),
        Column("first_at", "First seen", kind="at"),
        Column("last_at", "Last seen", kind="ago"),
    ]
    table = Table.from_request(
        request, id="labels", title="Names nobody here knows", columns=columns, rows=scoped(request.actor, ReportedLabel.objects.all()), sort="-calls", search=("kind", "value"),
        empty="Every name that usage reported is known.",
    )  # fmt: skip
    if table.is_asked_as_csv:
        return table.csv_response("unknown-names")
    return shown(request, "labels", "settings-labels", {"table": table})

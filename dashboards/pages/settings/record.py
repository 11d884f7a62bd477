"""Settings: the record of who changed what."""

import json
from typing import Any

from django.http import HttpResponse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.pages.settings.frame import shown
from governance.audit.models import AuditRecord
from governance.tenancy.access import Right, scoped

MOST_CHARACTERS = 240


@page(Right.VIEW_AUDIT)
def record_list(request: PageRequest) -> HttpResponse:
    """Every state change, newest first; the file has all of it."""
    columns = [
        Column("at", "When", kind="at"),
        Column("actor_label", "Who", "strong", note=lambda row: "" if row.actor_kind == "member" else row.actor_kind.replace("_", " ")),
        Column("action", "What"),
        Column("target_id", "On", value=lambda row: f"{row.target_kind.replace('_', ' ')} {row.target_id}"),
        Column("old", "Before", value=lambda row: facts_text(row.old), is_sortable=False),
        Column("new", "After", value=lambda row: facts_text(row.new), is_sortable=False),
        Column("address", "From", is_sortable=False),
    ]
    rows = scoped(request.actor, AuditRecord.objects.all())
    table = Table.from_request(
        request, id="record", title="Record", note="nothing is ever changed or deleted in it", columns=columns, rows=rows, sort="-at", search=("actor_label", "action", "target_id"), page_size=50
    )
    if table.is_asked_as_csv:
        return table.csv_response("record")
    return shown(request, "record", "settings-record", {"table": table})


def facts_text(facts: dict[str, Any] | None) -> str:
    """What was written down, on one line."""
    if not facts:
        return ""
    text = ", ".join(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"

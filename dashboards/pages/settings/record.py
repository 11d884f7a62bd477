"""Settings: the record of who changed what."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import HttpResponse
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.figures import plain_decimal
from dashboards.components.filters import FilterBar
from dashboards.components.tables import Column, Table
from dashboards.pages.settings.frame import shown
from governance.audit.models import AuditRecord
from governance.tenancy.access import Actor, Right, scoped

SHOWN_AT_ONCE = 3
# Where a thing that was changed has a page of its own: (address, right that opens it).
PAGES = {
    "budget": ("budget", None),
    "approval_request": ("request", None),
    "rejected_input": ("settings-rejected", Right.MANAGE_ORGANIZATION),
    "team": ("settings-team", Right.MANAGE_ORGANIZATION),
    "member": ("settings-member", Right.MANAGE_ORGANIZATION),
    "service_account": ("settings-account", Right.MANAGE_ORGANIZATION),
    "channel": ("settings-channel", Right.MANAGE_ORGANIZATION),
    "api_key": ("settings-key", Right.MANAGE_ORGANIZATION),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One fact before and after. Empty: it was not there."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name}: {' → '.join(filter(None, (self.old, self.new)))}"


@dataclass(frozen=True, slots=True)
class Changes:
    """The facts of a record that moved, those shown at once and the rest."""

    every: tuple[Change, ...]

    @property
    def first(self) -> tuple[Change, ...]:
        return self.every[:SHOWN_AT_ONCE]

    @property
    def rest(self) -> tuple[Change, ...]:
        return self.every[SHOWN_AT_ONCE:]

    def __str__(self) -> str:
        return "; ".join(str(change) for change in self.every)


@page(Right.VIEW_AUDIT)
def record_list(request: PageRequest) -> HttpResponse:
    """Every state change, newest first; the file has all of it."""
    actor = request.actor
    every = scoped(actor, AuditRecord.objects.all())
    actions = every.order_by("action").values_list("action", flat=True).distinct()
    bar = FilterBar.from_query(request.GET, [("action", "changes", [(action, words(action)) for action in actions])])
    rows = every.filter(action__in=bar.chosen["action"]) if "action" in bar.chosen else every
    table = Table.from_request(
        request, id="record", title="Record", note="nothing in it is ever changed or deleted", columns=record_columns(actor), rows=rows, sort="-at",
        search=("actor_label", "action", "target_id"), page_size=25, empty="Nothing of this kind was ever done here.",
    )  # fmt: skip
    if table.is_asked_as_csv:
        return table.csv_response("record")
    return shown(request, "record", "settings-record", {"table": table, "bar": bar})


def record_columns(actor: Actor) -> list[Column]:
    return [
        Column("at", "When", kind="at"),
        Column("actor_label", "Who", "strong", note=lambda row: "" if row.actor_kind == "member" else row.actor_kind.replace("_", " ")),
        Column("action", "What", value=lambda row: words(row.action)),
        Column("target_id", "On", value=target_text, href=lambda row: target_href(actor, row)),
        Column("new", "Facts", kind="changes", value=lambda row: changes_of(row.old, row.new), is_sortable=False),
        Column("address", "From", is_sortable=False),
    ]


def target_text(row: AuditRecord) -> str:
    """What was changed, long ids cut."""
    key = row.target_id if len(row.target_id) <= 20 else row.target_id[:8] + "…"
    return f"{words(row.target_kind)} {key}"


def target_href(actor: Actor, row: AuditRecord) -> str | None:
    """The page of what was changed, where the actor may open it."""
    name, right = PAGES.get(row.target_kind, (None, None))
    if name is None or (right is not None and not actor.can(right)):
        return None
    return reverse(name, args=[actor.organization.slug, row.target_id])


def changes_of(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Changes:
    """What moved, fact by fact. Facts that stayed as they were are left out."""
    before, after = old or {}, new or {}
    names = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    return Changes(tuple(Change(words(name), fact_text(before.get(name)), fact_text(after.get(name))) for name in names))


def fact_text(value: Any) -> str:
    """A recorded value for reading: lists by commas, amounts without zeros at the end."""
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(fact_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {fact_text(item)}" for name, item in value.items())
    return amount_text(str(value))


def amount_text(text: str) -> str:
    """ "100.000000000000000" as "100"; other text as it is."""
    if not (text[:1].isdigit() and "." in text):
        return text
    try:
        return plain_decimal(Decimal(text))
    except InvalidOperation:
        return text


def words(name: str) -> str:
    """ "member.added" as "member added"."""
    return name.replace("_", " ").replace(".", " ")

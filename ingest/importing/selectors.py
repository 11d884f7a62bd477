"""Reads of imports: runs, refused rows, and what the first rows of a file would become."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice

from django.db import transaction
from django.db.models import QuerySet

from governance.errors import Invalid
from governance.pricing.book import current_book
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped, system_actor
from ingest.formats.event import Outcome, UsageEvent
from ingest.importing import files
from ingest.importing.counting import Counted, Thresholds, rows_count
from ingest.importing.mapping import Reader, Row, meaning_check
from ingest.importing.models import ImportRefusal, ImportRun
from ingest.importing.services import layout_of_run, meaning_of
from ingest.importing.text import records
from ingest.models import UsageEvent as Stored

LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Look:
    """One row as it would be counted: the event, what would become of it, its cost (None: no price) and whom it belongs to."""

    number: int
    line: int
    event: UsageEvent | None
    status: str
    reason: str
    parts: int
    cost: Decimal | None
    currency: str
    team_id: int | None
    is_priced: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows, or why no row can be read with the mapping."""

    rows: Sequence[Look]
    problem: str = ""
    problem_field: str = ""


def imports_visible(actor: Actor) -> QuerySet[ImportRun]:
    """All imports, newest first. Raises Forbidden."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return scoped(actor, ImportRun.objects.select_related("cause", "organization")).order_by("-created_at", "-id")


def import_get(actor: Actor, run_id: int) -> ImportRun:
    """One import. Raises NotFound and Forbidden."""
    found: ImportRun = get_scoped(actor, imports_visible(actor), pk=run_id)
    return found


def refusals_of(run: ImportRun) -> QuerySet[ImportRefusal]:
    """The rows that were not counted, in the file's order."""
    return ImportRefusal.objects.filter(organization=run.organization_id, run=run).order_by("row")


def imported_before(run: ImportRun) -> ImportRun | None:
    """The latest other import of the same bytes that counted something and was not undone."""
    same = ImportRun.objects.filter(organization=run.organization_id, digest=run.digest, events_accepted__gt=0).exclude(pk=run.pk)
    return same.exclude(state__in=(ImportRun.State.UNDOING, ImportRun.State.UNDONE)).order_by("-created_at").first()


def import_preview(actor: Actor, run: ImportRun, *, number: int = LOOKED_AT) -> Preview:
    """What the first rows would become: they are counted for good in a transaction that is then taken back, so that nothing is told otherwise later."""
    require(actor, Right.MANAGE_ORGANIZATION)
    try:
        meaning = meaning_of(run)
        meaning_check(meaning, run.headers)
    except Invalid as refusal:
        return Preview([], refusal.detail, str(refusal.extra.get("field", "")))
    reader = Reader(meaning)
    rows = [reader.read(record) for record in islice(records(files.file_pieces(run), layout_of_run(run)), number)]
    thresholds = Thresholds(current_book())
    with transaction.atomic():
        counted = rows_count(actor=system_actor(run.organization), rows=rows, thresholds=thresholds, are_totals=meaning.are_totals)
        stored = _stored(run, counted)
        transaction.set_rollback(True)
    return Preview([_look(row, outcome, stored) for row, outcome in zip(rows, counted.outcomes, strict=True)])


def _stored(run: ImportRun, counted: Counted) -> dict[tuple[datetime, str], list[Stored]]:
    """The events just stored, by their row: the parts of one have its id with an ending."""
    found: dict[tuple[datetime, str], list[Stored]] = {}
    rows = Stored.objects.filter(organization=run.organization_id, occurred_at__in=set(counted.instants), id__in=counted.keys)
    for stored in rows.order_by():
        name = (stored.request_id or stored.external_id).partition("-part-")[0]
        found.setdefault((stored.occurred_at, name), []).append(stored)
    return found


def _look(row: Row, outcome: Outcome | None, stored: dict[tuple[datetime, str], list[Stored]]) -> Look:
    status = outcome.status if outcome else "empty"
    reason = outcome.reason if outcome else "Nothing was used in this row's time."
    if row.event is None:
        return Look(
            row.number, row.line, None, status, f"{reason} ({row.value})" if row.value else reason, 0, None, "", None, is_priced=False
        )
    mine = stored.get((row.event.occurred_at, row.event.request_id or row.event.id), [])
    costs = [one.cost for one in mine]
    known = [cost for cost in costs if cost is not None]
    return Look(
        row.number, row.line, row.event, status, reason, len(mine), sum(known, Decimal(0)) if known else None, mine[0].currency if mine else "",
        mine[0].team_id if mine else None, is_priced=len(known) == len(costs),
    )  # fmt: skip

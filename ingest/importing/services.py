"""Writes of imports: a file is taken in, its mapping changed, its import started, paused, cancelled, undone. What it counts is `working`'s."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid
from governance.ids import hash16
from governance.tenancy.access import Actor, Right, get_scoped, require
from governance.tenancy.services import organization_lock
from ingest.amending.models import AmendmentCause
from ingest.importing import files
from ingest.importing.layouts import guess
from ingest.importing.mapping import Meaning, meaning_check, meaning_facts
from ingest.importing.models import ImportMeaning, ImportRun
from ingest.importing.text import DELIMITERS, ENCODINGS, LOOKED_AT, Layout, headers_of, layout_of, records
from ingest.services.amend import Cause, cause_record

State = ImportRun.State
OPEN = (State.READY, State.RUNNING, State.PAUSED)
MOST_REMEMBERED = 200


@transaction.atomic
def import_create(*, actor: Actor, file_name: str, sent: Iterable[bytes]) -> ImportRun:
    """Takes a file in and guesses what its columns mean. Nothing is counted yet. `sent` is the file in pieces; gzip is unpacked.

    Raises Forbidden, Invalid with the `field`, Unreadable, and Conflict when too many files wait already.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    organization_lock(actor.organization.pk, exclusive=False)
    if ImportRun.objects.filter(organization=actor.organization, state__in=OPEN).count() >= files.MOST_OPEN:
        raise Conflict(f"{files.MOST_OPEN} imports wait or run already. Finish or cancel one first.")
    name = " ".join(file_name.replace("\x00", "").split())[:200] or "file"
    run = ImportRun.objects.create(
        organization=actor.organization,
        file_name=name,
        digest="",
        encoding="utf-8",
        made_by=actor.member,
        maker_label=actor.label[:200],
        created_at=timezone.now(),
    )
    seen = files.file_keep(run, sent)
    layout = layout_of(seen.head, seen.encoding)
    run.bytes_sent, run.bytes_total, run.lines_total, run.digest = seen.bytes_sent, seen.bytes_total, seen.lines, seen.digest
    _lay_out(run, layout)
    run.save()
    audit_record(
        actor=actor,
        action="import.uploaded",
        target=("import", run.pk),
        new={"file": name, "bytes": run.bytes_total, "digest": run.digest, "export": run.export},
    )
    return run


def _lay_out(run: ImportRun, layout: Layout) -> None:
    """Reads the headers by the layout and takes the mapping that was used for them last, else the one that they suggest."""
    run.encoding, run.is_lines, run.delimiter = layout.encoding, layout.is_lines, layout.delimiter
    run.headers = headers_of(files.file_pieces(run), layout)
    if not run.headers:
        raise Invalid("No column can be made out in the file.", field="file")
    samples = [record.values for record in islice(records(files.file_pieces(run), layout), LOOKED_AT) if not record.fault]
    found = guess(run.headers, samples, delimiter=run.delimiter)
    remembered = ImportMeaning.objects.filter(organization=run.organization_id, headers_hash=headers_hash(run.headers)).first()
    run.export, run.is_remembered = found.name, remembered is not None
    run.meaning = remembered.meaning if remembered else meaning_facts(found.meaning)


def headers_hash(headers: Iterable[str]) -> Any:
    """What files with the same columns have in common, in whatever order they stand."""
    return hash16("import_headers", *sorted(headers))


def layout_of_run(run: ImportRun) -> Layout:
    return Layout(run.encoding, run.is_lines, run.delimiter)


def meaning_of(run: ImportRun) -> Meaning:
    """The run's mapping. Raises Invalid for one that cannot be read."""
    try:
        return msgspec.convert(run.meaning, Meaning)
    except msgspec.ValidationError as error:
        raise Invalid(f"The mapping cannot be read: {error}.", field="meaning") from None


@transaction.atomic
def import_map(
    *,
    actor: Actor,
    run: ImportRun,
    meaning: Meaning | None = None,
    changes: Mapping[str, Any] | None = None,
    encoding: str = "",
    delimiter: str = "",
) -> ImportRun:
    """Changes how a file is read of which nothing is counted yet, and what its columns mean: `meaning` is all of it, `changes` what of it changes.

    Another encoding or delimiter brings other columns, and a mapping guessed anew, to which `changes` apply.
    Raises Invalid with the `field`, and Conflict once it has started.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    run = _locked(actor, run)
    if run.state != State.READY and not run.is_paused_before_any:
        raise Conflict(f"This import is {run.get_state_display().lower()}; its mapping stands.", state=run.state)
    layout = layout_of_run(run)
    read_before = (run.meaning, layout)
    wanted = Layout(encoding or layout.encoding, layout.is_lines, delimiter or layout.delimiter)
    if wanted.encoding not in ENCODINGS or wanted.delimiter not in DELIMITERS:
        raise Invalid("There is no such encoding or delimiter.", field="encoding" if wanted.encoding not in ENCODINGS else "delimiter")
    if wanted != layout:
        _lay_out(run, wanted)
    elif meaning is not None:
        meaning_check(meaning, run.headers)
        run.meaning = meaning_facts(meaning)
    if changes is not None:
        changed = msgspec.structs.replace(meaning_of(run), **changes)
        meaning_check(changed, run.headers)
        run.meaning = meaning_facts(changed)
    if (run.meaning, layout_of_run(run)) != read_before:
        # What made it pause was the mapping before: with this one it may pause again.
        run.why_paused = ""
    run.save()
    return run


@transaction.atomic
def import_start(*, actor: Actor, run: ImportRun) -> ImportRun:
    """Lets a worker count the file's rows, or go on after a pause; then it goes on however many are refused.

    Raises Invalid for a mapping that no row can be read with, and Conflict.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    run = _locked(actor, run)
    if run.state == State.RUNNING:
        return run
    if run.state not in (State.READY, State.PAUSED):
        raise Conflict(f"This import is {run.get_state_display().lower()}.", state=run.state)
    meaning_check(meaning_of(run), run.headers)
    if run.state == State.READY:
        run.started_at = timezone.now()
    run.is_patient, run.why_paused = run.is_patient or bool(run.why_paused), ""
    run.save(update_fields=["started_at", "is_patient", "why_paused"])
    become(actor, run, State.RUNNING)
    work_soon(run.pk)
    return run


def meaning_remember(run: ImportRun) -> None:
    """Keeps the mapping that a run is counted by for files of the same columns."""
    mine = ImportMeaning.objects.filter(organization=run.organization_id)
    ImportMeaning.objects.update_or_create(
        organization=run.organization, headers_hash=headers_hash(run.headers), defaults={"meaning": run.meaning, "used_at": timezone.now()}
    )
    mine.filter(pk__in=mine.order_by("-used_at").values("pk")[MOST_REMEMBERED:]).delete()


@transaction.atomic
def import_pause(*, actor: Actor, run: ImportRun) -> ImportRun:
    """Stops an import after the rows that it is at. Raises Conflict for one that does not run."""
    require(actor, Right.MANAGE_ORGANIZATION)
    run = _locked(actor, run)
    if run.state == State.PAUSED:
        return run
    if run.state != State.RUNNING:
        raise Conflict(f"This import is {run.get_state_display().lower()}.", state=run.state)
    become(actor, run, State.PAUSED)
    return run


@transaction.atomic
def import_cancel(*, actor: Actor, run: ImportRun) -> ImportRun:
    """Ends an import and forgets its file. What it has counted stays until it is undone. Raises Conflict for one that has ended."""
    require(actor, Right.MANAGE_ORGANIZATION)
    run = _locked(actor, run)
    if run.state == State.CANCELLED:
        return run
    if run.state not in OPEN:
        raise Conflict(f"This import is {run.get_state_display().lower()}.", state=run.state)
    files.file_drop(run)
    become(actor, run, State.CANCELLED)
    return run


@transaction.atomic
def import_undo(*, actor: Actor, run: ImportRun) -> ImportRun:
    """Lets a worker take back exactly the events that the import has stored. Those of closed months stay; their cost is taken back in the open one.

    Raises Conflict while it runs, and when there is nothing to take back.
    """
    require(actor, Right.MANAGE_ORGANIZATION)
    run = _locked(actor, run)
    if run.state in (State.UNDOING, State.UNDONE):
        return run
    if run.state == State.RUNNING:
        raise Conflict("The import still runs. Pause it first.", state=run.state)
    if not has_stored(run):
        raise Conflict("This import has stored nothing that could be taken back.", state=run.state)
    files.file_drop(run)
    run.cause = cause_record(actor=actor, cause=Cause(AmendmentCause.Kind.UNDO, f"Import of {run.file_name} undone", f"import {run.pk}"))
    run.save(update_fields=["cause"])
    become(actor, run, State.UNDOING)
    work_soon(run.pk)
    return run


def has_stored(run: ImportRun) -> bool:
    """Whether there is something of it that could be taken back: events, or reports of calls that others told of."""
    return bool(run.events_accepted) or run.parts.exists()


def become(actor: Actor, run: ImportRun, state: str) -> None:
    """Moves a locked run into a state, within the caller's transaction, and notes it in the record."""
    old, run.state, run.worked_at = run.state, state, None
    if state in (State.DONE, State.CANCELLED, State.UNDONE):
        run.ended_at = timezone.now()
    run.save(update_fields=["state", "ended_at", "worked_at"])
    audit_record(
        actor=actor, action=f"import.{state}", target=("import", run.pk), old={"state": old}, new={"state": state, **run_facts(run)}
    )


def run_facts(run: ImportRun) -> Mapping[str, Any]:
    """What came of a run so far, for the record."""
    return {
        "file": run.file_name,
        "rows": run.rows_seen,
        "accepted": run.rows_accepted,
        "duplicates": run.rows_duplicate,
        "rejected": run.rows_rejected,
        "events": run.events_accepted,
        "removed": run.events_removed,
        "posted": run.events_posted,
        "kept": run.events_kept,
    }


def _locked(actor: Actor, run: ImportRun) -> ImportRun:
    found: ImportRun = get_scoped(
        actor, ImportRun.objects.select_for_update(of=("self",)).select_related("organization", "cause"), pk=run.pk
    )
    return found


def work_soon(run_id: int) -> None:
    """Tells a worker of the run once it is committed. One that is not told finds it within a minute."""
    from ingest.importing.tasks import import_work

    transaction.on_commit(lambda: _tell(import_work, run_id), robust=True)


def _tell(task: Any, run_id: int) -> None:
    task.apply_async(args=[run_id], ignore_result=True, retry=False)

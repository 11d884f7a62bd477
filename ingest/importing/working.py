"""Does the work of imports, chunk by chunk: each chunk is one transaction with the run's own progress, so that a crash loses nothing and counts nothing twice."""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from governance.pricing.book import current_book
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.services import organization_lock
from ingest.formats.event import Outcome
from ingest.formats.secrets import without_secrets
from ingest.importing import files
from ingest.importing.counting import EMPTY, SOURCE, Thresholds, rows_count
from ingest.importing.mapping import Reader, Row
from ingest.importing.models import ImportPart, ImportRefusal, ImportRun
from ingest.importing.services import become, layout_of_run, meaning_of, meaning_remember
from ingest.importing.text import Record, records
from ingest.once.withdrawing import reports_withdraw
from ingest.services.amend import Amendment, events_amend
from ingest.services.counting import settled_afterwards

State = ImportRun.State
CHUNK = 1_000
# Without a sign of life for so long, a run's worker is taken to be gone.
SILENCE = timedelta(seconds=20)
# So long a worker stays with one run before others get their turn.
TURN_S = 20.0
# So many refused rows, and so large a part of all: somebody should look before it goes on.
MANY_REFUSED, PART_REFUSED = 20, 0.1
MOST_REFUSALS = 10_000
KEPT_WAITING = timedelta(days=7)
log = logging.getLogger(__name__)


class _Reading:
    """A file being read: its rows from the one on at which the run is."""

    def __init__(self, run: ImportRun) -> None:
        self.meaning = meaning_of(run)
        self.reader = Reader(self.meaning)
        self.position = run.rows_seen
        self._records: Iterator[Record] = records(files.file_pieces(run), layout_of_run(run))
        for record in islice(self._records, run.rows_seen):
            self.reader.skip(record)

    def rows(self, size: int) -> list[Row]:
        """The next rows."""
        found = [self.reader.read(record) for record in islice(self._records, size)]
        self.position += len(found)
        return found


def import_run_work(run_id: int, *, seconds: float = TURN_S, chunk: int = CHUNK) -> bool:
    """Works on a run until it ends, is stopped, or the time is over. True when there is more to do."""
    until = time.monotonic() + seconds
    thresholds = Thresholds(current_book(refresh=True))
    reading: _Reading | None = None
    organization = ImportRun.objects.select_related("organization").get(pk=run_id).organization
    while True:
        try:
            with settled_afterwards(organization), transaction.atomic():
                reading, is_more = _step(run_id, reading, thresholds, chunk)
        except (OperationalError, InterfaceError):
            # Whatever it was (a server that went away, a deadlock that the server broke), nothing of the chunk was done: it comes again.
            log.warning("Import %d goes on later.", run_id, exc_info=True)
            return False
        except Exception as error:
            # It would fail alike each time it came again, and hold up what waits behind it.
            log.exception("Import %d stopped.", run_id)
            _pause_at_fault(run_id, chunk, error)
            return False
        if not is_more:
            return False
        if time.monotonic() >= until:
            return True


def _pause_at_fault(run_id: int, chunk: int, error: Exception) -> None:
    """Pauses a run whose next rows cannot be counted for a reason that nobody foresaw. An undoing comes again, for it must end."""
    with transaction.atomic():
        run = ImportRun.objects.select_for_update(of=("self",)).select_related("organization").get(pk=run_id)
        if run.state != State.RUNNING:
            return
        run.why_paused = (
            f"Counting rows {run.rows_seen + 1:,} to {run.rows_seen + chunk:,} failed for an unforeseen reason "
            f"({type(error).__name__}); nothing of them was counted. The worker's log says more."
        )[:300]
        run.save(update_fields=["why_paused"])
        become(system_actor(run.organization), run, State.PAUSED)


def runs_stalled(now: datetime) -> list[int]:
    """Runs that should be worked on and whose worker has given no sign of life."""
    quiet = Q(worked_at=None) | Q(worked_at__lt=now - SILENCE)
    return list(ImportRun.objects.filter(quiet, state__in=(State.RUNNING, State.UNDOING)).order_by("id").values_list("pk", flat=True))


def files_forget(now: datetime) -> int:
    """Cancels imports that nobody has started, or gone on with, for a week, so that their files do not stay. Returns how many."""
    waiting = ImportRun.objects.filter(state__in=(State.READY, State.PAUSED), created_at__lt=now - KEPT_WAITING)
    forgotten = 0
    for run_id in list(waiting.order_by("id").values_list("pk", flat=True)):
        with transaction.atomic():
            if run := waiting.select_for_update(of=("self",)).select_related("organization").filter(pk=run_id).first():
                files.file_drop(run)
                become(system_actor(run.organization), run, State.CANCELLED)
                forgotten += 1
    return forgotten


def _step(run_id: int, reading: _Reading | None, thresholds: Thresholds, size: int) -> tuple[_Reading | None, bool]:
    """One chunk of a run, which stays locked meanwhile."""
    run = ImportRun.objects.select_for_update(of=("self",)).select_related("organization", "cause").get(pk=run_id)
    actor = system_actor(run.organization)
    if run.state == State.UNDOING:
        return None, _undo(run, actor)
    if run.state != State.RUNNING:
        return None, False
    if reading is None or reading.position != run.rows_seen:
        # Another worker was at it meanwhile, or this one begins.
        reading = _Reading(run)
    rows = reading.rows(size)
    if _pause_before_any(run, actor, rows):
        return None, False
    if not run.rows_seen:
        meaning_remember(run)
    _count(run, actor, rows, thresholds, are_totals=reading.meaning.are_totals)
    if len(rows) < size:
        files.file_drop(run)
        become(actor, run, State.DONE)
        return reading, False
    return reading, run.state == State.RUNNING


def _count(run: ImportRun, actor: Actor, rows: Sequence[Row], thresholds: Thresholds, *, are_totals: bool) -> None:
    now = timezone.now()
    counted = rows_count(actor=actor, rows=rows, thresholds=thresholds, are_totals=are_totals, now=now)
    if counted.keys or counted.told:
        ImportPart.objects.create(
            organization=run.organization,
            run=run,
            number=run.rows_seen + len(rows),
            keys=counted.keys,
            instants=counted.instants,
            told=counted.told,
        )
    refused = [
        (row, outcome)
        for row, outcome in zip(rows, counted.outcomes, strict=True)
        if outcome is not None and outcome.status in ("rejected", "conflict")
    ]
    room = max(0, MOST_REFUSALS - run.rows_rejected)
    ImportRefusal.objects.bulk_create(_refusal(run, row, outcome) for row, outcome in refused[:room])
    statuses = [outcome.status if outcome else "empty" for outcome in counted.outcomes]
    run.rows_seen += len(rows)
    run.rows_accepted += statuses.count("accepted")
    run.rows_duplicate += statuses.count("duplicate")
    run.rows_empty += statuses.count("empty")
    run.rows_rejected += len(refused)
    run.events_accepted += len(counted.keys)
    run.worked_at = now
    run.save(update_fields=["rows_seen", "rows_accepted", "rows_duplicate", "rows_empty", "rows_rejected", "events_accepted", "worked_at"])
    _pause_where_much_is_refused(run, actor, refused)


def _pause_before_any(run: ImportRun, actor: Actor, rows: Sequence[Row]) -> bool:
    """Stops a run of whose first rows most cannot be read, before anything is counted: its mapping can still be changed."""
    refused = [(row, row.fault) for row in rows if row.fault is not None and row.fault.code != EMPTY]
    if run.is_patient or run.rows_seen or 2 * len(refused) <= len(rows):
        return False
    row, fault = refused[0]
    run.why_paused = f"Nothing is counted yet: {len(refused):,} of the first {len(rows):,} rows cannot be read, row {row.number:,} because: {fault.reason}"[
        :300
    ]
    run.save(update_fields=["why_paused"])
    become(actor, run, State.PAUSED)
    return True


def _pause_where_much_is_refused(run: ImportRun, actor: Actor, refused: Sequence[tuple[Row, Outcome]]) -> None:
    if run.is_patient or not refused or run.rows_rejected < MANY_REFUSED or run.rows_rejected < PART_REFUSED * run.rows_seen:
        return
    row, outcome = refused[0]
    run.why_paused = f"{run.rows_rejected:,} of {run.rows_seen:,} rows were refused, row {row.number:,} because: {outcome.reason}"[:300]
    run.save(update_fields=["why_paused"])
    become(actor, run, State.PAUSED)


def _refusal(run: ImportRun, row: Row, outcome: Outcome) -> ImportRefusal:
    reason = (
        outcome.reason
        if outcome.status != "conflict"
        else "This call was counted before with other content. The first count stands; undo the import that made it to replace it."
    )
    return ImportRefusal(
        organization=run.organization, run=run, row=row.number, line=row.line, code=outcome.code or outcome.status, field=outcome.field[:200],
        reason=without_secrets(reason)[:300], value=without_secrets(row.value.replace("\x00", " "))[:80],
    )  # fmt: skip


def _undo(run: ImportRun, actor: Actor) -> bool:
    """Takes back the latest part that is still there. Its events count anew when they are reported again."""
    part = ImportPart.objects.filter(organization=run.organization, run=run, is_undone=False).order_by("-number").first()
    if part is None or run.cause is None:
        become(actor, run, State.UNDONE)
        return False
    now = timezone.now()
    # Alone, because what is forgotten must not be told of meanwhile.
    organization_lock(run.organization.pk, exclusive=True)
    withdrawn = reports_withdraw(
        organization=run.organization, actor=actor, door=SOURCE, own_keys=part.keys, ids=part.told, cause=run.cause, now=now
    )
    # What nobody told of besides has no reports of its own, or only those of this import.
    gone = {key: at for key, at in zip(part.keys, part.instants, strict=True) if key not in withdrawn.known} | {
        key: at for at, key in withdrawn.alone
    }
    amendments = [Amendment(key, at, is_removed=True, is_forgotten=True) for key, at in gone.items()]
    done = events_amend(organization=run.organization, actor=actor, amendments=amendments, cause=run.cause, now=now)
    part.is_undone = True
    part.save(update_fields=["is_undone"])
    run.events_removed += done.removed
    run.events_posted += done.posted
    run.events_kept += len({key for _, key in withdrawn.kept} & set(part.keys))
    run.cost_undone += sum((one.cost_before - one.cost_after for one in (done, withdrawn.amended)), Decimal(0))
    run.worked_at = now
    run.save(update_fields=["events_removed", "events_posted", "events_kept", "cost_undone", "worked_at"])
    return True

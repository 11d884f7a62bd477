"""Does the work of runs, chunk by chunk: each chunk is one transaction with the run's own progress, so that a crash loses nothing and does nothing twice."""

import logging
import time
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from governance import sql
from governance.pricing.book import current_book
from governance.tenancy.access import system_actor
from governance.tenancy.directory import directory_now
from governance.tenancy.services import organization_lock
from ingest.rerating.models import ReratingRun
from ingest.rerating.preview import run_work_out
from ingest.rerating.revising import reviser_of
from ingest.rerating.scope import COUNT, FIRST, page, scope_parameters
from ingest.rerating.services import run_end
from ingest.services.amend import CHUNK, rows_amend

State = ReratingRun.State
# Without a sign of life for so long, a run's worker is taken to be gone.
SILENCE = timedelta(seconds=20)
# So long a worker stays with one run before others get their turn.
TURN_S = 20.0
log = logging.getLogger(__name__)


def run_work(run_id: int, *, seconds: float = TURN_S, chunk: int = CHUNK) -> bool:
    """Works on a run until it ends, is stopped, or the time is over. True when there is more to do."""
    until = time.monotonic() + seconds
    current_book(refresh=True)
    run = ReratingRun.objects.select_related("organization").get(pk=run_id)
    if run.state == State.PREVIEWING:
        return _preview(run)
    while _chunk(run_id, chunk):
        if time.monotonic() >= until:
            return True
    return False


def runs_stalled(now: datetime) -> list[int]:
    """Runs that should be worked on and whose worker has given no sign of life."""
    quiet = Q(worked_at=None) | Q(worked_at__lt=now - SILENCE)
    rows = ReratingRun.objects.filter(quiet, state__in=(State.PREVIEWING, State.RUNNING)).order_by("id")
    return list(rows.values_list("pk", flat=True))


def _preview(run: ReratingRun) -> bool:
    """Works out what the run would do. Another worker that is at it already is left to it."""
    now = timezone.now()
    quiet = Q(worked_at=None) | Q(worked_at__lt=now - SILENCE)
    if not ReratingRun.objects.filter(quiet, pk=run.pk, state=State.PREVIEWING).update(worked_at=now):
        return False
    total = sql.rows(COUNT, scope_parameters(run))[0].calls
    mine = ReratingRun.objects.filter(pk=run.pk, state=State.PREVIEWING)

    def told(seen: int) -> bool:
        return bool(mine.update(events_seen=seen, events_total=total, worked_at=timezone.now()))

    if not told(0):
        return False
    found = run_work_out(run, now=now, told=told)
    if found is not None:
        mine.update(state=State.READY, preview=found, events_total=found["seen"], worked_at=None)
    return False


def _chunk(run_id: int, size: int) -> bool:
    """Re-rates the next calls of a run. False when nothing is left to do, or somebody has stopped it."""
    try:
        with transaction.atomic():
            return _chunk_amend(run_id, size)
    except DatabaseError:
        # Whatever it was (a server that went away, a deadlock that the server broke), nothing of the chunk was done: it comes again.
        log.warning("Run %d goes on later.", run_id, exc_info=True)
        return False


def _chunk_amend(run_id: int, size: int) -> bool:
    run = ReratingRun.objects.select_for_update(of=("self",)).select_related("organization", "cause").get(pk=run_id)
    if run.state != State.RUNNING or run.cause is None:
        return False
    actor, now = system_actor(run.organization), timezone.now()
    parameters = scope_parameters(run)
    if run.events_total is None:
        run.events_total = sql.rows(COUNT, parameters)[0].calls
    parameters |= {"from": run.position_at or run.starts_at, "after": run.position_id or FIRST, "limit": size}
    organization_lock(run.organization_id, exclusive=False)
    reviser = reviser_of(run, directory_now(run.organization))
    done, rows = rows_amend(
        organization=run.organization, actor=actor, cause=run.cause, statement=page(reviser.also, is_locked=True), parameters=parameters,
        revise=reviser.changes, now=now,
    )  # fmt: skip
    if rows:
        _progress(run, rows[-1].occurred_at, rows[-1].id)
    run.events_seen += len(rows)
    run.events_changed += done.changed
    run.cost_before += done.cost_before
    run.cost_after += done.cost_after
    run.worked_at = now
    run.save(update_fields=[
        "events_total", "events_seen", "events_changed", "cost_before", "cost_after", "worked_at", "position_at", "position_id",
    ])  # fmt: skip
    if len(rows) < size:
        run_end(actor=actor, run=run, state=State.DONE)
        return False
    return True


def _progress(run: ReratingRun, occurred_at: datetime, event_id: UUID) -> None:
    run.position_at, run.position_id = occurred_at, event_id

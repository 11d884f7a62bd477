"""Does the work of runs, chunk by chunk: each chunk is one transaction with the run's own progress, so that a crash loses nothing and does nothing twice."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from governance import sql
from governance.budgets.rules import Rules
from governance.pricing.book import current_book
from governance.tenancy.access import system_actor
from ingest.rerating.models import ReratingRun
from ingest.rerating.preview import run_work_out
from ingest.rerating.rating import Rerater
from ingest.rerating.revising import Reviser, reviser_of
from ingest.rerating.scope import COUNT, FIRST, scope_parameters
from ingest.rerating.services import run_end
from ingest.rerating.together import Moved, Page, looking, page_rate, page_read
from ingest.services.amend import Amended, Chunk

State = ReratingRun.State
# Without a sign of life for so long, a run's worker is taken to be gone.
SILENCE = timedelta(seconds=20)
# So long a worker stays with one run before others get their turn.
TURN_S = 20.0
# A chunk should last so long at most: whoever changes names, budgets or terms meanwhile waits for it, and so does whatever is stored after that.
CHUNK_S = 0.5
# Of which it should hold the sums that other calls are added to for so long.
HELD_S = 0.05
FIRST_CHUNK, LEAST_CHUNK, MOST_CHUNK = 2000, 500, 10_000
# The sums need not stay locked until the disk has written a chunk: where a crash of the server takes one back, it takes the run's place back with
# it, and the chunk is done again. Whoever is told meanwhile that a budget froze is told a second time then.
SOON_ON_DISK = "SET LOCAL synchronous_commit = off"
log = logging.getLogger(__name__)


def run_work(run_id: int, *, seconds: float = TURN_S, chunk: int | None = None) -> bool:
    """Works on a run until it ends, is stopped, or the time is over. True when there is more to do. `chunk`: so many calls at once, else as fits."""
    until = time.monotonic() + seconds
    current_book(refresh=True)
    run = ReratingRun.objects.select_related("organization").get(pk=run_id)
    if run.state == State.PREVIEWING:
        return _preview(run)
    working = _Working(run_id, size=chunk or FIRST_CHUNK, is_fitted=chunk is None)
    while working.chunk():
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


class _Working:
    """A worker's turn with one run: chunk after chunk, each as large as the time allows for which one may last."""

    def __init__(self, run_id: int, *, size: int, is_fitted: bool) -> None:
        self.run_id, self.size, self.is_fitted = run_id, size, is_fitted
        self._held_s = 0.0
        self._looking: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def chunk(self) -> bool:
        """Re-rates the next calls of the run. False when nothing is left to do, or somebody has stopped it."""
        began, self._held_s = time.monotonic(), 0.0
        try:
            found = self._transaction_as_fits()
        except DatabaseError:
            # Whatever it was (a server that went away, a deadlock that the server broke), nothing of the chunk was done: it comes again.
            log.warning("Run %d goes on later.", self.run_id, exc_info=True)
            return False
        if self.is_fitted:
            self.size = fitting(self.size, lasted=time.monotonic() - began, held=self._held_s)
        return found

    def _transaction_as_fits(self) -> bool:
        try:
            return self._transaction()
        except Moved:
            return self._transaction(is_by_one=True)

    def _transaction(self, *, is_by_one: bool = False) -> bool:
        with transaction.atomic():
            found, held_from = self._amend(is_by_one=is_by_one)
        self._held_s = 0.0 if held_from is None else time.monotonic() - held_from
        return found

    def _amend(self, *, is_by_one: bool) -> tuple[bool, float | None]:
        """Whether there is more, and since when sums are held."""
        run = ReratingRun.objects.select_for_update(of=("self",)).select_related("organization", "cause").get(pk=self.run_id)
        if run.state != State.RUNNING or run.cause is None:
            return False, None
        actor, now = system_actor(run.organization), timezone.now()
        chunk = Chunk(run.organization, actor, run.cause, now=now)
        directory = chunk.rules.directory
        parameters = scope_parameters(run, directory)
        if run.events_total is None:
            run.events_total = sql.rows(COUNT, parameters)[0].calls
        parameters |= {"from": run.position_at or run.starts_at, "after": run.position_id or FIRST, "limit": self.size}
        reviser = reviser_of(run, directory)
        page = page_read(reviser, parameters | self._look(reviser, chunk.rules, run), is_by_one=is_by_one)
        done = Amended() if page is None else page_rate(chunk, page, reviser)
        if page is not None:
            _note(run, page, done)
        run.worked_at = now
        run.save(update_fields=[
            "events_total", "events_seen", "events_changed", "cost_before", "cost_after", "worked_at", "position_at", "position_id",
        ])  # fmt: skip
        is_last = page is None or page.seen < self.size
        if is_last:
            run_end(actor=actor, run=run, state=State.DONE)
        # Last, so that the sums that other calls are added to are locked no longer than it takes to move them.
        if done.changed:
            if not is_last:
                sql.execute(SOON_ON_DISK)
            chunk.move(done)
        return not is_last, chunk.held_from

    def _look(self, reviser: Reviser, rules: Rules, run: ReratingRun) -> dict[str, Any]:
        """What tells kinds of calls apart, worked out again when prices, terms or budgets are others."""
        by = (reviser.book, reviser.terms, rules) if isinstance(reviser, Rerater) else (rules,)
        if self._looking is None or list(map(id, self._looking[0])) != list(map(id, by)):
            self._looking = by, looking(reviser, rules, starts_at=run.starts_at, ends_at=run.ends_at)
        return self._looking[1]


def fitting(size: int, *, lasted: float, held: float) -> int:
    """How many calls the next chunk takes, by how many seconds this one lasted and held sums: at most twice as many."""
    longer = min(CHUNK_S / max(lasted, 0.001), HELD_S / max(held, 0.001), 2.0)
    return max(LEAST_CHUNK, min(MOST_CHUNK, int(size * longer)))


def _note(run: ReratingRun, page: Page, done: Amended) -> None:
    run.position_at, run.position_id = page.last_at, page.last_id
    run.events_seen += page.seen
    run.events_changed += done.changed
    run.cost_before += done.cost_before
    run.cost_after += done.cost_after

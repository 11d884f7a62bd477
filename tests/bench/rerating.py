"""A re-rating of many calls beside a bare UPDATE of the same rows, while calls come in: `make bench ARGS="--only rerating --events 1000000"`."""

import argparse
import cProfile
import multiprocessing
import os
import pstats
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID

import psutil

from tests.bench.grounds import grounds

SAMPLE = 20_000
SESSIONS = 2_000
DAYS = 10
APART_S = 7
PACE = 50.0
BASELINE_S = 20.0
WATCH_S = 0.005
# Copies of the sample, each a little later and of other sizes: other calls of the same sessions.
COPIED = {
    "id": "gen_random_uuid()", "received_at": "%(until)s::timestamptz + interval '1 second'", "occurred_at": "e.occurred_at + %(later)s::interval",
    "input_tokens": "e.input_tokens + %(more)s", "output_tokens": "e.output_tokens + %(more)s",
}  # fmt: skip
COPY = """
INSERT INTO usage_event ({names}) SELECT {values} FROM (
    SELECT * FROM usage_event WHERE organization_id = %(organization)s AND received_at <= %(until)s ORDER BY occurred_at LIMIT %(most)s
) e
"""
SPANS = """
UPDATE session s SET first_at = x.first_at, last_at = x.last_at FROM (
    SELECT session, min(occurred_at) AS first_at, max(occurred_at) AS last_at FROM usage_event WHERE organization_id = %(organization)s AND session <> '' GROUP BY 1
) x WHERE s.organization_id = %(organization)s AND s.key = x.session
"""
# What no re-rating can be quicker than: one column of as many rows written again, in as many transactions.
BARE = """
WITH page AS (
    SELECT occurred_at, id FROM usage_event WHERE organization_id = %(organization)s AND (occurred_at, id) > (%(at)s, %(id)s) AND occurred_at >= %(at)s
    ORDER BY occurred_at, id LIMIT %(limit)s FOR NO KEY UPDATE
), written AS (
    UPDATE usage_event e SET price_id = e.price_id FROM page p WHERE e.organization_id = %(organization)s AND e.occurred_at = p.occurred_at AND e.id = p.id
)
SELECT count(*) AS rows, max(occurred_at) AS at, (array_agg(id ORDER BY occurred_at DESC, id DESC))[1] AS id FROM page
"""
BARE_ROWS, BARE_CHUNK = 100_000, 5_000
RATE, USED = "re-rated, events/s (aim 20,000)", "processor time of an event, worker and database, us"
LOG_FILES = "SELECT coalesce(sum(writes), 0)::bigint AS made FROM pg_stat_io WHERE object = 'wal' AND context = 'init'"
WAITS = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8 FROM pg_locks WHERE NOT granted AND pid = %s"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rerating", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print where the worker's own time goes")
    parser.add_argument("--events", type=int, default=1_000_000, help="so many calls are re-rated (1,000,000)")
    parser.add_argument("--apart", type=int, default=APART_S, help=f"calls of a session that are alike are so many seconds apart ({APART_S}); 900 and more: sums are added to by one call each")
    wanted = parser.parse_args(arguments)
    with grounds() as folder:
        from governance.conf import embedded

        measure(embedded.database_url(folder), wanted.events, apart=timedelta(seconds=wanted.apart), is_profiled=wanted.profile)
    return 0


def measure(address: str, events: int, *, apart: timedelta, is_profiled: bool = False) -> None:
    from django.conf import settings
    from django.core.management import call_command

    from governance.pricing.services import prices_load
    from governance.tenancy.models import Organization
    from ingest.verify import organization_verify
    from tests.bench import labels
    from tests.bench.world import world_make

    settings.CELERY_BROKER_URL = "memory://"
    call_command("migrate", verbosity=0)
    prices_load()
    world_make()
    organization = Organization.objects.get(slug=labels.SLUG)
    began = time.monotonic()
    first = datetime.now(UTC) - timedelta(days=DAYS) - apart * (events // SAMPLE)
    calls_make(organization, events, first=first, apart=apart)
    bare, bare_us = bare_update(organization.pk, min(events, BARE_ROWS))
    print(f"{events:,} calls of {SESSIONS:,} sessions over {DAYS} days stored in {time.monotonic() - began:,.0f} s", flush=True)
    with Meanwhile(address, organization.pk) as meanwhile:
        before, log_files = meanwhile.posts(BASELINE_S), log_files_made()
        found = profiled(rerate, organization, first) if is_profiled else rerate(organization, first)
        during, log_files = meanwhile.stop(), log_files_made() - log_files
    found |= {"bare UPDATE of the same table, rows/s": bare, "  processor time of a row, database, us": bare_us}
    found["re-rated to bare UPDATE, by the clock"] = found[RATE] / bare
    found["  by processor time"] = bare_us / found[USED]
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load average {load}")
    for name, figure in found.items():
        print(f"{name:<70}{figure:>14,.{2 if figure < 10 else 1}f}")
    posts = "single posts in process, 50/s asked for"
    compare(posts, [post.ms for post in before], [post.ms for post in during])
    compare(f"{posts}, less waits for a processor", [post.awake_ms for post in before], [post.awake_ms for post in during])
    print(f"{'longest that a post waited for a lock, ms (seen every 5 ms)':<70}{meanwhile.longest_wait_s * 1000:>14,.1f}")
    print(f"{'files that the database made for its log meanwhile':<70}{log_files:>14,}")
    print(f"{'memory of the worker at its peak, MB RSS':<70}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:>14,.0f}")
    print(f"differences that verify finds: {len(organization_verify(organization))}")


def compare(title: str, before: Sequence[float], during: Sequence[float]) -> None:
    print(f"{title}: p50, p99 ms")
    print(f"{'  without a run':<70}{percentile(before, 50):>14,.1f}{percentile(before, 99):>10,.1f}")
    print(f"{'  with a run (aim: p99 not doubled)':<70}{percentile(during, 50):>14,.1f}{percentile(during, 99):>10,.1f}")


def calls_make(organization: Any, events: int, *, first: datetime, apart: timedelta) -> None:
    """Stores a sample as it comes in, copies it in the database, and has verify make the sums."""
    from django.db import connection, transaction
    from django.utils import timezone

    from governance import sql
    from governance.tenancy.access import system_actor
    from ingest.partitions import months_ensure
    from ingest.services import events_store
    from ingest.services.statements import EVENT_COLUMNS
    from ingest.verify import organization_repair
    from tests.bench import labels

    copy = COPY.format(names=", ".join(EVENT_COLUMNS), values=", ".join(COPIED.get(name, f"e.{name}") for name in EVENT_COLUMNS))
    for day in (first.date(), timezone.now().date()):
        months_ensure(today=day)
    actor = system_actor(organization)
    sample = min(SAMPLE, events)
    for start in range(0, sample, 1000):
        events_store(actor=actor, api_key=None, source="rest", events=[call(number, first, labels.TEAMS) for number in range(start, min(start + 1000, sample))])
    until, left, copies = timezone.now(), events - sample, 0
    while left > 0:
        copies += 1
        sql.execute(copy, {"organization": organization.pk, "until": until, "later": apart * copies, "more": copies, "most": min(left, sample)})
        left -= sample
    with transaction.atomic():
        sql.execute(SPANS, {"organization": organization.pk})
    organization_repair(organization)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE usage_event")


def call(number: int, first: datetime, teams: Sequence[str]) -> Any:
    from ingest.formats.event import UsageEvent

    return UsageEvent(
        id=f"call-{number}", occurred_at=first + timedelta(seconds=number * DAYS * 86_000 / SAMPLE), provider="anthropic",
        model=("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5")[number % 3], session=f"s-{number // 80}-{number % 8}", team=teams[number % len(teams)],
        harness="claude-code", role=("worker", "planner")[number % 2], input_tokens=1000 + number % 4000, cache_read_tokens=number % 9000, output_tokens=100 + number % 700,
        latency_ms=900,
    )  # fmt: skip


def profiled(work: Callable[[Any, datetime], dict[str, float]], organization: Any, first: datetime) -> dict[str, float]:
    """What the work returns, having printed where its time went."""
    with cProfile.Profile() as profile:
        found = work(organization, first)
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return found


def rerate(organization: Any, first: datetime) -> dict[str, float]:
    """A run over every call, the first of which this is the time of, with another price for each of its models."""
    from django.utils import timezone

    from governance.pricing.models import Model
    from governance.pricing.services import price_row_add
    from governance.tenancy.access import system_actor
    from ingest.rerating.models import ReratingRun
    from ingest.rerating.services import run_create, run_start
    from ingest.rerating.working import run_work

    until, actor = timezone.now(), system_actor(organization)
    for model in Model.objects.filter(provider__slug="anthropic", slug__in=("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5")):
        rates = {"input_tokens": Decimal("2.5"), "cache_read_tokens": Decimal("0.25"), "output_tokens": Decimal("12.5")}
        price_row_add(actor=None, model=model, valid_from=first - timedelta(days=1), rates=rates)
    run = run_create(actor=actor, reason="bench", starts_at=first - timedelta(minutes=1), ends_at=until - timedelta(minutes=30))
    began = time.monotonic()
    run_work(run.pk)
    worked_out = time.monotonic() - began
    run = run_start(actor=actor, run=ReratingRun.objects.get(pk=run.pk))
    began, used, database = time.monotonic(), time.process_time(), session_seconds()
    while run_work(run.pk):
        pass
    seconds, used, database = time.monotonic() - began, time.process_time() - used, session_seconds() - database
    run.refresh_from_db()
    if run.state != ReratingRun.State.DONE:
        raise RuntimeError(f"the run is {run.state}")
    return {
        "preview, events/s": run.events_total / worked_out if run.events_total else 0.0,
        RATE: run.events_changed / seconds, "re-rated, events": float(run.events_changed), "re-rated in, s": seconds,
        USED: (used + database) * 1e6 / run.events_changed, "  of which the worker, us": used * 1e6 / run.events_changed,
    }


def session_seconds() -> float:
    """The processor time that this process's session of the database has used so far."""
    from django.db import connection

    connection.ensure_connection()
    times = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return float(times.user + times.system)


def log_files_made() -> int:
    """How many files of the write-ahead log were made anew so far, since none that had been used before was left."""
    from governance import sql

    made: int = sql.rows(LOG_FILES)[0].made
    return made


def bare_update(organization_id: int, rows: int) -> tuple[float, float]:
    """Rows a second of the bare UPDATE, and the processor time that the database uses for one, in us."""
    from django.db import connection, transaction

    from governance import sql

    position = {"at": datetime(1970, 1, 1, tzinfo=UTC), "id": UUID(int=0)}
    began, used, left = time.monotonic(), session_seconds(), rows
    while left > 0:
        with transaction.atomic():
            page = sql.rows(BARE, {"organization": organization_id, "limit": BARE_CHUNK, **position})[0]
        if not page.rows:
            raise RuntimeError("there are fewer rows than were made")
        position, left = {"at": page.at, "id": page.id}, left - page.rows
    found = rows / (time.monotonic() - began), (session_seconds() - used) * 1e6 / rows
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE usage_event")
    return found


class Posted(NamedTuple):
    """How long a post took, and that less what its process and session waited for a processor that others had; ms."""

    ms: float
    awake_ms: float


class Meanwhile:
    """Another process that stores single calls of now, and a watch on the locks that it waits for."""

    def __init__(self, address: str, organization_id: int) -> None:
        self.address, self.longest_wait_s, self.is_over = address, 0.0, threading.Event()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=post, args=(theirs, address, organization_id), daemon=True)
        self.process.start()
        self.backend: int = self.pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.process.terminate()
        self.process.join()

    def posts(self, seconds: float) -> "list[Posted]":
        """The posts in so many seconds from now."""
        self.pipe.send("new")
        time.sleep(seconds)
        self.pipe.send("new")
        self.pipe.recv()
        found: list[Posted] = self.pipe.recv()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return found

    def stop(self) -> "list[Posted]":
        """The posts since then."""
        self.pipe.send("new")
        found: list[Posted] = self.pipe.recv()
        self.is_over.set()
        self.watch.join()
        return found

    def _watch(self) -> None:
        import psycopg

        with psycopg.connect(self.address, autocommit=True) as connection:
            while not self.is_over.wait(WATCH_S):
                row = connection.execute(WAITS, [self.backend]).fetchone()
                self.longest_wait_s = max(self.longest_wait_s, row[0] if row else 0.0)


def post(pipe: Connection, address: str, organization_id: int) -> None:
    """Stores one call after the other at the pace. Answers each message with the posts since the last one."""
    os.environ["DATABASE_URL"] = address
    import django

    django.setup()
    from django.db import connection
    from django.utils import timezone

    from governance.tenancy.access import system_actor
    from governance.tenancy.models import Organization
    from ingest.services import events_store
    from tests.bench import labels

    actor, number, posted = system_actor(Organization.objects.get(pk=organization_id)), 10_000_000, list[Posted]()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    pipe.send(backend)
    due = time.monotonic()
    while True:
        if pipe.poll():
            pipe.recv()
            pipe.send(posted)
            posted = []
        number += 1
        due = max(due + 1 / PACE, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
        began, queued = time.monotonic(), queued_ms(os.getpid()) + queued_ms(backend)
        sent = call(number, timezone.now() - timedelta(seconds=number * DAYS * 86_000 / SAMPLE), labels.TEAMS)
        events_store(actor=actor, api_key=None, source="rest", events=[sent])
        took = (time.monotonic() - began) * 1000
        posted.append(Posted(took, took - (queued_ms(os.getpid()) + queued_ms(backend) - queued)))


def queued_ms(pid: int) -> float:
    """How long the process was ready to run and had no processor so far, where Linux tells it."""
    told = Path(f"/proc/{pid}/schedstat")
    return int(told.read_text().split()[1]) / 1e6 if told.exists() else 0.0


def percentile(figures: Sequence[float], percent: int) -> float:
    """The figure that so many percent lie at or below."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

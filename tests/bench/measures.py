"""What is measured, in rounds in which baseline and product take turns, so that other load on the machine meets both."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil
import psycopg
from django.core.management import call_command
from django.db import connection

from governance.conf import embedded
from governance.pricing.services import prices_load
from tests.bench import copying, formats, report, telemetry
from tests.bench.bare.views import TABLES
from tests.bench.clients import Answered, Load, prepared
from tests.bench.crowd import crowd, resume
from tests.bench.prices import prices
from tests.bench.processor import processor
from tests.bench.servers import Web, processor_seconds, web
from tests.bench.sources import sources
from tests.bench.world import world_make

# One measurement of one side in one round.
SECONDS = 2.5
BATCHES_EACH = 25
COPY_BATCHES = 100
SINGLES_EACH = 1500
CLIENTS = (1, 8, 32, 64)
# By all clients together, so that what was made ahead outlasts the measurement.
ROWS_OF_ALL, POSTS_OF_ALL = 12_000, 6_000
PACE = 300.0
PACED_EACH = int(PACE * SECONDS / 8)


@dataclass
class Bench:
    """The running servers and what was found so far: a list of figures, one for each round, by name."""

    product: Web
    bare: Web
    secret: str
    person: str
    approver: str
    database: psycopg.Connection
    found: dict[str, list[float]] = field(default_factory=dict)
    seeds: Iterator[int] = field(default_factory=lambda: count(1))

    def note(self, name: str, figure: float) -> None:
        self.found.setdefault(name, []).append(figure)

    def send(self, *, to: Web, path: str, kind: str, clients: int, each: int, per_second: float | None = None) -> Answered:
        load = Load(to.port, path, self.secret, kind, clients, each, next(self.seeds), SECONDS, per_second)
        answered = prepared(load).go()
        wrong = {status: number for status, number in answered.statuses.items() if status not in (200, 201)}
        if wrong:
            raise RuntimeError(f"{path} answered {wrong}")
        return answered

    def rate(self, *, to: Web, path: str, kind: str, clients: int, each: int) -> float:
        """Requests a second."""
        return self.send(to=to, path=path, kind=kind, clients=clients, each=each).per_second

    def singles(self, *, to: Web, path: str, clients: int, of_all: int) -> tuple[float, float]:
        """Requests a second, and the processor time of one, web server and database together, in ms."""
        before = self.used(to)
        answered = self.send(to=to, path=path, kind="single", clients=clients, each=of_all // clients)
        return answered.per_second, (self.used(to) - before) * 1000 / len(answered.latencies_ms)

    def used(self, to: Web) -> float:
        """The processor time that the web server and the database have used so far, in seconds."""
        return sum(self.used_apart(to))

    def used_apart(self, to: Web) -> tuple[float, float]:
        """As `used`, apart: (web server, database)."""
        server = psutil.Process(self.database.info.backend_pid).parent()
        return processor_seconds(to.process.pid), processor_seconds(server.pid) if server is not None else 0.0


def measure(folder: Path, *, rounds: int, only: Collection[str], is_held: bool) -> None:
    call_command("migrate", verbosity=0)
    prices_load()
    secret, person, approver = world_make()
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
    connection.close()
    with ExitStack() as stack:
        product, bare = stack.enter_context(web(folder)), stack.enter_context(web(folder, is_bare=True))
        database = stack.enter_context(psycopg.connect(embedded.database_url(folder)))
        bench = Bench(product, bare, secret, person, approver, database)
        _warm(bench)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            for name, step in STEPS.items():
                if name in only:
                    step(bench)
        report.show(bench.found, product=product)
        if is_held:
            input(f"product {product.port} (process {product.process.pid}), bare {bare.port}, key {secret}; Enter ends ")


def _warm(bench: Bench) -> None:
    """What a server that has run for a minute has behind it: connections, plans, and a database that knows its tables."""
    bench.send(to=bench.product, path="/api/v1/events", kind="batch", clients=4, each=2)
    for is_known in (False, True):
        bench.send(to=bench.product, path="/api/v1/events", kind="single", clients=64, each=20)
        bench.send(to=bench.product, path="/api/v1/authorizations", kind="authorization", clients=8, each=40)
        bench.send(to=bench.bare, path="/store", kind="single", clients=64, each=20)
        bench.send(to=bench.bare, path="/hold", kind="authorization", clients=8, each=40)
        if not is_known:
            # Plans made before are made anew.
            bench.database.execute("ANALYZE")
            bench.database.commit()


def _batch(bench: Bench) -> None:
    blocks = copying.blocks(copying.sample(bench.database), COPY_BATCHES)
    bench.note("copy rows/s", base := copying.rows_per_second(bench.database, blocks))
    bench.note("batch events/s", ours := 1000 * bench.rate(to=bench.product, path="/api/v1/events", kind="batch", clients=4, each=BATCHES_EACH))
    bench.note("batch ratio", ours / base)


def _single(bench: Bench) -> None:
    for clients in CLIENTS:
        base, base_ms = bench.singles(to=bench.bare, path="/store", clients=clients, of_all=ROWS_OF_ALL)
        ours, ours_ms = bench.singles(to=bench.product, path="/api/v1/events", clients=clients, of_all=POSTS_OF_ALL)
        bench.note(f"bare view, rows/s, {clients}", base)
        bench.note(f"single posts/s, {clients}", ours)
        bench.note(f"single ratio, {clients}", ours / base)
        bench.note(f"bare view, ms, {clients}", base_ms)
        bench.note(f"single ms, {clients}", ours_ms)
        bench.note(f"single cost, {clients}", ours_ms / base_ms)


def _authorize(bench: Bench) -> None:
    for name, to, path in (("bare", bench.bare, "/hold"), ("authorize", bench.product, "/api/v1/authorizations")):
        paced = bench.send(to=to, path=path, kind="authorization", clients=8, each=PACED_EACH, per_second=PACE)
        bench.note(f"{name} p50 ms", paced.percentile(0.5))
        bench.note(f"{name} p99 ms", paced.percentile(0.99))
        bench.note(f"{name} max/s", bench.rate(to=to, path=path, kind="authorization", clients=8, each=SINGLES_EACH))
    for figure in ("p50 ms", "p99 ms", "max/s"):
        bench.note(f"ratio {figure}", bench.found[f"authorize {figure}"][-1] / bench.found[f"bare {figure}"][-1])


STEPS = {
    "batch": _batch, "single": _single, "authorize": _authorize, "processor": processor, "crowd": crowd, "resume": resume,
    "otlp": telemetry.doors, "litellm": formats.litellm, "parse": formats.parsing, "transcript": formats.transcript,
    "sources": lambda bench: sources(bench.note), "prices": prices,
}

"""Many clients on one budget, beside as many that update one row; and how soon a decision lets the first call through."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from tests.bench import labels

if TYPE_CHECKING:
    from tests.bench.measures import Bench

CLIENTS = (8, 64, 200)
# By all clients together; the bare view is quicker.
HOLDS_OF_ALL, ROWS_OF_ALL = 4_000, 12_000
PACE = 200.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
RESUMES = 20


@dataclass
class Waits:
    """How many database sessions waited for a lock, looked at fifty times a second."""

    url: str
    seen: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._ended.wait(0.02):
                row = connection.execute(WAITING).fetchone()
                self.seen.append(row[0] if row is not None else 0)

    def end(self) -> None:
        self._ended.set()

    @property
    def mean(self) -> float:
        return sum(self.seen) / max(len(self.seen), 1)


@contextlib.contextmanager
def waits(bench: "Bench") -> Iterator[Waits]:
    """Looks for waits meanwhile."""
    found = Waits(bench.database.info.dsn)
    watcher = threading.Thread(target=found.watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        found.end()
        watcher.join()


def crowd(bench: "Bench") -> None:
    """Every call holds against the organization's one budget, besides its team's and its session's."""
    for clients in CLIENTS:
        rates = {}
        for name, to, path, of_all in (("row", bench.bare, "/hold-one", ROWS_OF_ALL), ("crowd", bench.product, "/api/v1/authorizations", HOLDS_OF_ALL)):
            before = bench.used(to)
            with waits(bench) as found:
                answered = bench.send(to=to, path=path, kind="authorization", clients=clients, each=of_all // clients)
            rates[name] = answered.per_second
            bench.note(f"{name} /s, {clients}", answered.per_second)
            bench.note(f"{name} p50 ms, {clients}", answered.percentile(0.5))
            bench.note(f"{name} p99 ms, {clients}", answered.percentile(0.99))
            bench.note(f"{name} cpu ms, {clients}", (bench.used(to) - before) * 1000 / len(answered.latencies_ms))
            bench.note(f"{name} waits, {clients}", found.mean)
        bench.note(f"crowd ratio, {clients}", rates["crowd"] / rates["row"])
    paced = bench.send(to=bench.product, path="/api/v1/authorizations", kind="authorization", clients=200, each=4, per_second=PACE)
    bench.note("paced p50 ms, 200", paced.percentile(0.5))
    bench.note("paced p99 ms, 200", paced.percentile(0.99))


def resume(bench: "Bench") -> None:
    """Over HTTP: a session frozen at its limit is refused, its request is granted, and it asks until it may go on."""
    asking, deciding = (http.client.HTTPConnection("127.0.0.1", bench.product.port, timeout=30) for _ in range(2))
    for number in range(RESUMES):
        session = f"stopped-{next(bench.seeds)}-{number}"
        call = {"session": session, "amount": "0.02", "role": "stopped", "member": labels.PERSON}
        _told(_post(asking, bench.secret, "/api/v1/events", {
            "id": session, "occurred_at": datetime.now(UTC).isoformat(), "session": session, "role": "stopped", "member": labels.PERSON, "provider": "anthropic",
            "model": "claude-sonnet-4-5", "input_tokens": 20_000, "output_tokens": 1000,
        }), 201)
        refused = _told(_post(asking, bench.secret, "/api/v1/authorizations", call), 402)
        filed = _told(_post(asking, bench.person, "/api/v1/approvals", {
            "budget_period": refused["budget"]["period"], "session": session, "amount": "5", "reason": "The work is half done.",
        }), 201)
        began = time.perf_counter()
        _told(_post(deciding, bench.approver, f"/api/v1/approvals/{filed['id']}/decision", {"grant": True}), 201)
        while _post(asking, bench.secret, "/api/v1/authorizations", call)[0] != 201:
            pass
        bench.note("resume ms", (time.perf_counter() - began) * 1000)


def _post(connection: http.client.HTTPConnection, secret: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def _told(answer: tuple[int, Any], status: int) -> Any:
    if answer[0] != status:
        raise RuntimeError(f"answered {answer[0]}: {answer[1]}")
    return answer[1]

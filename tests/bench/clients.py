"""HTTP clients that cost little: requests encoded ahead, blocking sockets kept alive, in a process of their own."""

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.bench.events import Calls
from tests.bench.formats import litellm_batch
from tests.bench.telemetry import logs_batch

KINDS: dict[str, Callable[[Calls], bytes]] = {
    "batch": lambda calls: calls.batch(1000),
    "batch of 100": lambda calls: calls.batch(100),
    "batch of 512": lambda calls: calls.batch(512),
    "otlp": logs_batch,
    "litellm": litellm_batch,
    "single": Calls.single,
    "authorization": Calls.authorization,
}
PROTOBUF = ("otlp",)


@dataclass(frozen=True)
class Load:
    """What to send: up to `each` requests by each client within `seconds`.

    `per_second` over all clients paces them; None lets each send as soon as it is answered.
    """

    port: int
    path: str
    secret: str
    kind: str
    clients: int
    each: int
    seed: int
    seconds: float
    per_second: float | None = None


@dataclass(frozen=True)
class Answered:
    """How it went: seconds from the first to the last, the latency of each request in ms (from when it was due), statuses counted."""

    seconds: float
    latencies_ms: list[float]
    statuses: dict[int, int]

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def prepared(load: Load) -> "Running":
    """A process that has encoded its requests and waits for `go`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, load), daemon=True)
    process.start()
    if ours.recv() != "ready":
        raise RuntimeError("the clients' process did not start")
    return Running(process, ours)


@dataclass(frozen=True)
class Running:
    """The clients' process."""

    process: Any
    pipe: Any

    def go(self) -> Answered:
        self.pipe.send("go")
        found: Answered = self.pipe.recv()
        self.process.join()
        return found


def _serve(pipe: "Connection[Any, Any]", load: Load) -> None:
    requests = [_requests(load, client) for client in range(load.clients)]
    sockets = [socket.create_connection(("127.0.0.1", load.port)) for _ in range(load.clients)]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pipe.send("ready")
    pipe.recv()
    pipe.send(_run(load, requests, sockets))


def _requests(load: Load, client: int) -> list[bytes]:
    calls = Calls(load.seed * 1000 + client)
    kind = "application/x-protobuf" if load.kind in PROTOBUF else "application/json"
    head = f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {load.secret}\r\nContent-Type: {kind}\r\n"
    bodies = (KINDS[load.kind](calls) for _ in range(load.each))
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def _run(load: Load, requests: Sequence[list[bytes]], sockets: Sequence[socket.socket]) -> Answered:
    found: list[tuple[int, float]] = []
    broken: list[Exception] = []
    began = time.perf_counter()

    def client(number: int) -> None:
        try:
            post(number)
        except (OSError, ValueError) as error:
            broken.append(error)

    def post(number: int) -> None:
        for index, request in enumerate(requests[number]):
            due = time.perf_counter()
            if due - began > load.seconds:
                return
            if load.per_second is not None:
                due = began + (index * load.clients + number) / load.per_second
                if (early := due - time.perf_counter()) > 0:
                    time.sleep(early)
            status = exchange(sockets[number], request)
            found.append((status, (time.perf_counter() - due) * 1000))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    seconds = time.perf_counter() - began
    statuses: dict[int, int] = {}
    for status, _ in found:
        statuses[status] = statuses.get(status, 0) + 1
    return Answered(seconds, [latency for _, latency in found], statuses)


def exchange(connection: socket.socket, request: bytes) -> int:
    """Sends one request and reads its whole answer. Returns the status; the servers here always name a length."""
    connection.sendall(request)
    answer = connection.recv(65_536)
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += _more(connection)
    length = int(answer[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    missing = end + 4 + length - len(answer)
    while missing > 0:
        missing -= len(_more(connection))
    return int(answer[9:12])


def _more(connection: socket.socket) -> bytes:
    if not (piece := connection.recv(1 << 20)):
        raise ConnectionError("the server closed the connection")
    return piece

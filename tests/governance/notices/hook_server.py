"""A web server on the loopback interface that takes webhooks, and answers as badly as it is told to."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Taken:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


class HookServer(ThreadingHTTPServer):
    """`answers` are (status, headers, body) given in order, the last one for all that follow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.taken: list[Taken] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(204, {}, b"")]
        self.waits = 0.0
        self.drips = 0.0
        self.at_once = self.most_at_once = 0
        self.counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/in"

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that hang up are what is tested."""


class Hook(BaseHTTPRequestHandler):
    """Takes one POST."""

    server: HookServer

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        with server.counting:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            server.taken.append(Taken(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, text = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        time.sleep(server.waits)
        with server.counting:
            server.at_once -= 1
        if server.drips:
            self.drip()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def drip(self) -> None:
        """A header line that never ends, a byte at a time."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(self.server.drips)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silence."""


@contextmanager
def taking() -> Iterator[HookServer]:
    """A server for the length of a test."""
    with HookServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)

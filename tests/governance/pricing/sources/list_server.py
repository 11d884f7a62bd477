"""A web server on the loopback interface that answers for price lists as well or as badly as it is told to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext

Answer = Callable[[BaseHTTPRequestHandler], None]


class ListServer(ThreadingHTTPServer):
    """`answers` are taken one for each request, the last one for all that follow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ListRequest)
        self.answers: list[Answer] = [whole(b"{}")]
        self.asked: list[str] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/list.json"

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that hang up are what is tested."""


class ListRequest(BaseHTTPRequestHandler):
    """Answers one GET."""

    server: ListServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *args: object) -> None:
        """The tests' output is not a server log."""


def whole(body: bytes, *, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **{key.replace("_", "-"): value for key, value in headers.items()}}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def endless(piece: bytes, *, pause: float = 0.0, declared: int | None = None) -> Answer:
    """A body that goes on until the caller hangs up."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if declared is not None:
            request.send_header("Content-Length", str(declared))
        request.end_headers()
        while True:
            request.wfile.write(piece)
            time.sleep(pause)

    return answer


@contextmanager
def list_server(tls: SSLContext | None = None) -> Iterator[ListServer]:
    server = ListServer()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

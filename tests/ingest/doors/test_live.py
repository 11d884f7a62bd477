"""Hostile clients against the real server: sizes that must cost no memory, bodies of no length, connections that end."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psutil
import pytest
import zstandard
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

from ingest.models import UsageEvent
from tests.conftest import KeyInHand
from tests.ingest.doors.test_bad_bodies import MEBIBYTE, bomb_gzip
from tests.ingest.doors.test_events import EVENTS, call

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
JSON = {"Content-Type": "application/json"}
# A worker takes some 130 MB; what a body of the largest allowed size may add to it.
MOST_GROWTH = 160 * MEBIBYTE


class Server:
    """One granian worker on the test's database."""

    def __init__(self, port: int, process: psutil.Process, secret: str) -> None:
        self.port, self.process, self.secret = port, process, secret

    @property
    def memory_bytes(self) -> int:
        return sum(child.memory_info().rss for child in self.process.children(recursive=True))

    def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """The status and document with which a body is answered, which may come before all of it was sent."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.request("POST", EVENTS, body, JSON | {"Authorization": f"Bearer {self.secret}"} | headers)
            response = client.getresponse()
            return response.status, json.loads(response.read())


@pytest.fixture(scope="module")
def process(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, psutil.Process]]:
    """The server's port and process; one for all tests here, because it takes seconds to start."""
    port = free_port()
    with django_db_blocker.unblock():
        connection.ensure_connection()
        where = connection.connection.info
    url = f"postgresql://{where.user}:{where.password}@/{where.dbname}?host={where.host}&port={where.port}"
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(
        [*command, "--blocking-threads", "2", "--log-level", "error", "governance.conf.wsgi:application"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": url, "VAR": str(tmp_path_factory.mktemp("var"))},
    ) as started:
        try:
            wait_for(port, started)
            yield port, psutil.Process(started.pid)
        finally:
            started.terminate()


@pytest.fixture
def server(process: tuple[int, psutil.Process], api_key: KeyInHand) -> Server:
    return Server(*process, api_key.secret)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers. A busy machine takes long to start one."""
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
            client.request("GET", EVENTS)
            client.getresponse().read()
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


def blanks(mebibytes: int) -> Iterator[bytes]:
    for _ in range(mebibytes):
        yield b" " * MEBIBYTE


def test_hostile_bodies_cost_little_and_the_next_event_is_counted(server: Server) -> None:
    assert server.post(json.dumps(call(1)))[0] == 201
    before = server.memory_bytes
    assert refused(server.post(b" " * (100 * MEBIBYTE))) == (413, "body_too_large")
    assert refused(server.post(blanks(100))) == (413, "body_too_large")
    assert refused(server.post(bomb_gzip() * 10, **{"Content-Encoding": "gzip"})) == (413, "decoded_body_too_large")
    bomb = zstandard.compress(b" " * (600 * MEBIBYTE), 3)
    assert refused(server.post(bomb, **{"Content-Encoding": "zstd"})) == (413, "decoded_body_too_large")
    assert refused(server.post(b'{"events": [' + b"{}," * (10 * MEBIBYTE) + b"{}]}")) == (413, "too_many_values")
    assert refused(server.post(b'{"a":' * 100_000)) == (400, "too_deep")
    assert refused(server.post(b'{"events": ["' + b"\\ud800" * (5 * MEBIBYTE) + b'"]}')) == (400, "broken_json")
    assert server.memory_bytes - before < MOST_GROWTH
    assert server.post(json.dumps(call(2)))[0] == 201


def test_a_body_without_a_length_is_read(server: Server) -> None:
    text = json.dumps({"events": [call(1), call(2)]}).encode()
    status, answer = server.post(iter([text[:40], text[40:]]))
    assert (status, answer["accepted"]) == (200, 2)


def test_a_connection_that_ends_early_counts_nothing(server: Server) -> None:
    lines = ("Host: localhost", f"Authorization: Bearer {server.secret}", "Content-Type: application/json", "Content-Length: 9999", "", "")
    head = "\r\n".join((f"POST {EVENTS} HTTP/1.1", *lines))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode() + json.dumps(call(1)).encode())
    assert server.post(json.dumps(call(2)))[0] == 201
    assert list(UsageEvent.objects.values_list("external_id", flat=True)) == ["call-2"]


def refused(answer: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return answer[0], answer[1]["code"]

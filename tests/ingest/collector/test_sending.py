"""What leaves an engineer's machine: counts and labels, to the server's address, until they are stored."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from governance.tenancy.models import Organization
from ingest.collector import sending
from ingest.collector.__main__ import main
from ingest.collector.sending import Away, Post, Refused
from ingest.models import RejectedInput, UsageEvent
from tests.conftest import KeyInHand
from tests.golden.captures import FOLDER
from tests.golden.harness_files import FILES

WORDS = re.compile(r"[A-Za-z]{3,}(?: [A-Za-z]{2,}){2,}")


class Server(ThreadingHTTPServer):
    """Answers each request as the next of `answers` says, then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[int] = []
        self.bodies: list[bytes] = []
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.append(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.paths.append(self.path)
        status = self.server.answers.pop(0) if self.server.answers else 200
        content = json.dumps({"results": []}).encode()
        if b"unreadable" in self.server.bodies[-1]:
            status, content = 400, json.dumps({"status": 400, "code": "wrong_shape"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.01)
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)


def content(record: Any) -> Iterator[str]:
    """What people and models wrote, in a record of any harness: everything under the names that hold text."""
    if isinstance(record, dict):
        for name, value in record.items():
            if name in (
                "content",
                "text",
                "lastPrompt",
                "arguments",
                "output",
                "stdout",
                "toolUseResult",
                "title",
                "last_agent_message",
                "command",
                "input",
                "thoughts",
            ):
                yield from strings(value)
            else:
                yield from content(value)
    for inner in record if isinstance(record, list) else ():
        yield from content(inner)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path.name)
def test_no_text_of_a_file_leaves_the_machine(server: Server, tmp_path: Path, file: Any) -> None:
    arguments = [file.harness, "--path", str(file.path), "--url", server.url, "--key", "wh_test", "--state", str(tmp_path / "s.json")]
    assert main(arguments, {}) == 0
    sent = b"".join(server.bodies).decode() + (tmp_path / "s.json").read_text()
    body = file.path.read_text()
    records = [json.loads(body)] if file.path.suffix == ".json" else [json.loads(line) for line in body.splitlines()]
    wrote = {text for record in records for text in content(record) if len(text) >= 6}
    assert wrote
    assert [text for text in wrote if text in sent] == []
    assert WORDS.findall(sent) == []
    assert "/home/dev" not in sent


def test_the_same_is_sent_again_until_it_is_taken(server: Server) -> None:
    server.answers = [500, 503, 429]
    Post(server.url, "wh_test")("codex", [{"id": "a"}])
    assert [json.loads(body) for body in server.bodies] == [{"events": [{"id": "a"}]}] * 4
    assert set(server.paths) == {"/api/v1/events/codex?results=errors"}


def test_what_is_too_large_is_sent_in_halves(server: Server) -> None:
    server.answers = [413]
    Post(server.url, "wh_test")("codex", [{"id": str(number)} for number in range(5)])
    assert [[event["id"] for event in json.loads(body)["events"]] for body in server.bodies[1:]] == [["0", "1"], ["2", "3", "4"]]


def test_a_call_that_a_batch_is_refused_for_is_told_and_the_others_are_sent(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ids = ["0", "1", "unreadable", "3", "infinite", "5"]
    Post(server.url, "wh_test")("codex", [{"id": name, **({"ttft_ms": float("inf")} if name == "infinite" else {})} for name in ids])
    taken = [event["id"] for body in server.bodies if b"unreadable" not in body for event in json.loads(body)["events"]]
    assert taken == ["0", "1", "3", "5"]
    assert [record.getMessage().split()[1] for record in caplog.records] == ["unreadable", "infinite"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_wrong_address_or_key_is_said_at_once(server: Server, status: int) -> None:
    server.answers = [status]
    with pytest.raises(Refused, match=str(status)):
        Post(server.url, "wh_test")("codex", [{"id": "a"}])
    assert len(server.bodies) == 1


def test_who_watches_waits_out_a_network_that_answers_in_the_servers_place(server: Server) -> None:
    """A hotel's page for signing in; a server behind another that has lost it."""
    server.answers = [403, 511, 404, 530]
    Post(server.url, "wh_test", patience_s=None)("codex", [{"id": "a"}])
    assert len(server.bodies) == 5


def test_a_watch_begun_on_an_empty_machine_reads_the_harness_that_comes_later(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "QWEN_HOME", "XDG_DATA_HOME", "OPENCLAW_STATE_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = next(file for file in FILES if file.harness == "codex")

    def installed(_: float) -> None:
        if server.bodies:
            raise KeyboardInterrupt
        (tmp_path / "CODEX_HOME" / "sessions").mkdir(parents=True)
        shutil.copy(file.path, tmp_path / "CODEX_HOME" / "sessions" / file.path.name)

    monkeypatch.setattr("ingest.collector.__main__.time.sleep", installed)
    assert main(["--watch", "--url", server.url, "--key", "wh_test", "--state", str(tmp_path / "s.json")], {}) == 0
    assert [call["request_id"] for call in json.loads(server.bodies[0])["events"]] == file.ids


def test_a_server_that_is_away_ends_a_single_run_and_nothing_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.01)
    with pytest.raises(Away):
        Post("http://127.0.0.1:9", "wh_test", patience_s=0.05)("codex", [{"id": "a"}])


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["claude-code", "--path", "/nowhere"],
        ["--path", "/"],
        ["claude-code", "--label", "team"],
        ["claude-code", "--path", str(FOLDER)],
        ["claude-code", "--path", str(FOLDER), "--url", "ftp://x", "--key", "k"],
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(arguments: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert main(arguments, {}) == 2
    assert caplog.text.strip().endswith(".")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db")
def test_the_real_door_counts_what_is_collected_and_its_repeats_once(live_server: LiveServer, api_key: KeyInHand, tmp_path: Path) -> None:
    with time_machine.travel("2026-11-21T12:00:00Z", tick=True):
        for state in ("one", "one", "two"):
            for harness in ("claude-code", "codex", "opencode", "openclaw", "gemini-cli"):
                path = next(file.path for file in FILES if file.harness == harness)
                arguments = [
                    harness,
                    "--path",
                    str(path),
                    "--state",
                    str(tmp_path / state),
                    "--label",
                    "team=platform",
                    "--label",
                    "desk=7",
                ]
                assert main(arguments, {"WEIGHHOUSE_URL": live_server.url, "WEIGHHOUSE_KEY": api_key.secret}) == 0
    assert UsageEvent.objects.count() == 2 + 3 + 2 + 2 + 1
    assert {event.team_label for event in UsageEvent.objects.all()} == {"platform"}
    assert {(event.tags or {}).get("desk") for event in UsageEvent.objects.all()} == {"7"}
    assert not RejectedInput.objects.exists()


@pytest.mark.django_db
def test_the_server_collects_its_own_files_and_counts_them_once(organization: Organization, tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path
    file = next(file for file in FILES if file.harness == "codex")
    told = StringIO()
    with time_machine.travel("2026-11-21T12:00:00Z", tick=True):
        for again in ([], [], ["--again"]):
            call_command("collect", "codex", str(file.path), "--organization", organization.slug, *again, stdout=told)
    assert UsageEvent.objects.count() == 3
    assert [line.partition(":")[2].strip() for line in told.getvalue().splitlines()] == [
        "3 accepted, 0 duplicate, 0 conflict, 0 rejected.",
        "0 accepted, 0 duplicate, 0 conflict, 0 rejected.",
        "0 accepted, 3 duplicate, 0 conflict, 0 rejected.",
    ]


@pytest.mark.django_db
def test_what_the_server_cannot_count_of_its_own_files_is_kept_where_an_admin_looks(
    organization: Organization, tmp_path: Path, settings: Any
) -> None:
    settings.VAR_DIR = tmp_path / "var"
    old = next(file for file in FILES if file.harness == "claude-code").path.read_text().replace("2026-11-21T", "2021-11-21T")
    (tmp_path / "old.jsonl").write_text(old)
    call_command(
        "collect", "claude-code", str(tmp_path / "old.jsonl"), "--organization", organization.slug, stdout=StringIO(), stderr=StringIO()
    )
    assert not UsageEvent.objects.exists()
    kept = RejectedInput.objects.all()
    assert {(row.door, row.field, row.harness, row.api_key_id, row.is_whole) for row in kept} == {
        ("claude-code", "occurred_at", "claude-code", None, True)
    }


def test_the_file_that_a_server_gives_runs_with_nothing_but_the_standard_library(client: Client, tmp_path: Path) -> None:
    """As it does on a machine that has none of the server's packages: -I and -S leave out everything that was installed."""
    packed = tmp_path / "collector.pyz"
    packed.write_bytes(client.get("/collector.pyz").content)
    file = next(file for file in FILES if file.harness == "codex")
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(packed), "codex", "--path", str(file.path), "--dry-run"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["request_id"] for line in run.stdout.splitlines()] == file.ids

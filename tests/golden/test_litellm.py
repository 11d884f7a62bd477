"""The LiteLLM callback of the Connect page: the event of every captured record, and how it is sent."""

import importlib.util
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import msgspec
import pytest
import time_machine
from django.conf import settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from ingest.formats.event import UsageEvent as Reported
from ingest.formats.event import fault_in_full
from ingest.models import UsageEvent
from tests.conftest import KeyInHand
from tests.golden.captures import FOLDER
from tests.price_books import KeptBook

OPENAI = {"input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200, "reasoning_tokens": 64}
ANTHROPIC = {
    "input_tokens": 120, "cache_read_tokens": 10240, "cache_write_5m_tokens": 1536, "cache_write_1h_tokens": 512, "output_tokens": 57, "reasoning_tokens": 0,
}  # fmt: skip
SONNET = {"provider": "anthropic", "model": "claude-sonnet-4-5-20250929", "reported_cost": Decimal("0.013119"), **ANTHROPIC}
COMBO = "09cdacfa-cfd4-4d44-8ee3-a838dd393702"
FROM_CLAUDE = {
    "session": COMBO,
    "harness": "claude-code",
    "harness_version": "2.1.329",
    "latency_ms": None,
    "request_id": "",
    "member": "",
    **SONNET,
}
EXPECTED = {
    "litellm/001": [
        {"request_id": "req_mock000125", "session": "sess-ll-1", "member": "alice@example.com", "provider": "openai", "model": "gpt-4o",
         "reported_cost": Decimal("0.00447"), "latency_ms": 795, **OPENAI},
        {"request_id": "req_mock000126", "session": "sess-ll-2", "member": "bob@example.com", "provider": "openai", "model": "gpt-4o",
         "reported_cost": Decimal("0.00447"), "latency_ms": 349, **OPENAI},
    ],
    "litellm/002": [
        {"request_id": "req_mock000127", "session": "trace-ll-3", "member": "", "provider": "openai", "model": "gpt-5",
         "reported_cost": Decimal("0.002723"), **OPENAI},
        {"request_id": "req_011Mock000128", "session": "sess-hdr-4", "member": "carol", "latency_ms": 129, **SONNET},
        {"request_id": "", "session": "123", "member": "", "latency_ms": None, **SONNET},
    ],
    "claude-code-via-litellm/005": [FROM_CLAUDE, FROM_CLAUDE],
}  # fmt: skip
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")


@pytest.fixture(scope="module")
def callback() -> Iterator[ModuleType]:
    """The callback as LiteLLM imports it; of LiteLLM it needs only the class to be told by."""
    stand_in = ModuleType("litellm.integrations.custom_logger")
    stand_in.CustomLogger = type("CustomLogger", (), {})
    names = ("litellm", "litellm.integrations", "litellm.integrations.custom_logger")
    sys.modules |= dict.fromkeys(names, stand_in)
    path = settings.BASE_DIR / "dashboards/static/weighhouse/weighhouse_litellm.py"
    spec = importlib.util.spec_from_file_location("weighhouse_litellm", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.FIRST_WAIT_S = 0.02
    yield module
    for name in names:
        del sys.modules[name]


def records(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["body"]
    return found


def reported(callback: ModuleType, record: dict[str, Any]) -> Reported:
    """The event as the door reads it."""
    event = msgspec.json.decode(json.dumps(callback.event_of(record)), type=Reported)
    assert fault_in_full(event) is None
    return event


@pytest.mark.parametrize("name", EXPECTED)
def test_each_record_is_one_event_with_its_exact_counts(callback: ModuleType, name: str) -> None:
    for record, expected in zip(records(name), EXPECTED[name], strict=True):
        event = reported(callback, record)
        assert {field: getattr(event, field) for field in expected} == expected
        assert {field: getattr(event, field) for field in COUNTS} == {field: expected.get(field) for field in COUNTS}
        assert (event.id, event.gateway, event.status) == (record["litellm_call_id"], "litellm", "ok")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "total"), [("litellm/001", "0.00894"), ("litellm/002", "0.028961"), ("claude-code-via-litellm/005", "0.026238")]
)
def test_what_is_stored_costs_what_litellm_says(callback: ModuleType, api: APIClient, whole_book: KeptBook, name: str, total: str) -> None:
    whole_book.put()
    sent = {"events": [callback.event_of(record) for record in records(name)]}
    with time_machine.travel("2026-11-21T12:00:00Z"):
        for expected in ("accepted", "duplicate"):
            assert api.post("/api/v1/events", sent, format="json").json()[expected] == len(sent["events"])
    assert sum(event.cost or 0 for event in UsageEvent.objects.all()) == Decimal(total)
    assert all(event.cost == event.reported_cost for event in UsageEvent.objects.all())


def test_what_is_not_known_is_absent_and_never_zero(callback: ModuleType) -> None:
    record = records("litellm/001")[0]
    record["metadata"]["usage_object"] = {"prompt_tokens": 50, "completion_tokens": None, "prompt_tokens_details": None}
    record["response_cost"] = None
    event = callback.event_of(record)
    assert event["input_tokens"] == 50
    assert not {*COUNTS[1:], "reported_cost"} & set(event)
    record["metadata"]["usage_object"] = None
    assert not set(COUNTS) & set(callback.event_of(record))


def test_a_failed_attempt_has_no_counts_and_does_not_take_the_retrys_place(callback: ModuleType) -> None:
    record = records("litellm/001")[0]
    failed = {**record, "status": "failure", "response_cost": 0, "hidden_params": {}, "endTime": record["endTime"] - 0.3}
    failed["metadata"] = {**record["metadata"], "usage_object": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    event = callback.event_of(failed)
    assert event["status"] == "error"
    assert event["id"] == event["request_id"] != callback.event_of(record)["id"]
    assert not {*COUNTS, "reported_cost"} & set(event)


def test_an_answer_of_litellms_own_cache_is_no_call(callback: ModuleType) -> None:
    assert callback.event_of({**records("litellm/001")[0], "cache_hit": True}) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"custom_llm_provider": None, "model": "nope"}, {"model": "nope", "provider": ""}),
        ({"custom_llm_provider": "openrouter", "model": "openrouter/z-ai/glm-5"}, {"model": "z-ai/glm-5"}),
        ({"custom_llm_provider": "bedrock", "model": "bedrock/us-west-2/anthropic.claude-x"}, {"model": "anthropic.claude-x"}),
        ({"end_user": '{"device_id":"c0ffee","account_uuid":"7d1-a"}'}, {"member": "7d1-a"}),
        ({"end_user": "{broken"}, {"member": ""}),
        ({"end_user": "user_abc_account_7d1-a_session_123"}, {"member": "7d1-a"}),
        ({"trace_id": "a\nb" + "x" * 300}, {"session": "a b" + "x" * 197}),
        ({"user_agent": "codex_exec/0.169.0 (Debian)"}, {"harness": "codex", "harness_version": "0.169.0"}),
    ],
)
def test_names_are_as_weighhouse_takes_them(callback: ModuleType, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    event = reported(callback, {**records("litellm/001")[0], **changes})
    assert {field: getattr(event, field) for field in expected} == expected


def test_the_keys_owner_stands_for_a_caller_without_a_name(callback: ModuleType) -> None:
    record = {**records("litellm/001")[0], "end_user": None}
    record["metadata"] = {**record["metadata"], "user_api_key_user_id": "u-7", "user_api_key_team_alias": "platform"}
    assert (reported(callback, record).member, reported(callback, record).team) == ("u-7", "platform")
    record["metadata"]["user_api_key_user_email"] = "dora@example.com"
    assert reported(callback, record).member == "dora@example.com"


class Server(ThreadingHTTPServer):
    """Answers each request as the next of `answers` says: a status, or seconds to wait before hanging up. Then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[int | float] = []
        self.bodies: list[Any] = []
        self.at: list[float] = []


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.at.append(time.monotonic())
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if isinstance(answer, float):
            time.sleep(answer)
            return
        content = json.dumps({"results": []} if answer == 200 else {"code": "said"}).encode()
        self.send_response(answer)
        if answer == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("WEIGHHOUSE_URL", f"http://127.0.0.1:{made.server_port}/")
    monkeypatch.setenv("WEIGHHOUSE_KEY", "wh_test")
    yield made
    made.shutdown()
    made.server_close()


def wait_for(found: Callable[[], bool], patience_s: float = 20) -> None:
    until = time.monotonic() + patience_s
    while not found():
        assert time.monotonic() < until
        time.sleep(0.01)


def sent(callback: ModuleType, *events: dict[str, Any], until: int) -> Any:
    """An outbox that was given the events, when so few of them are left."""
    outbox = callback.Outbox()
    for event in events:
        outbox.put(event)
    wait_for(lambda: outbox.waiting.unfinished_tasks <= until)
    return outbox


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 422])
def test_what_can_never_be_taken_is_sent_once(callback: ModuleType, server: Server, status: int, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [status]
    sent(callback, {"id": "a"}, until=0)
    assert server.bodies == [{"events": [{"id": "a"}]}]
    assert f"1 events refused: {status}" in caplog.text


def test_what_can_be_taken_later_is_sent_again_until_it_is(callback: ModuleType, server: Server) -> None:
    server.answers = [500, 520, 429]
    sent(callback, {"id": "a"}, until=0)
    assert server.bodies == [{"events": [{"id": "a"}]}] * 4


def test_the_wait_that_is_asked_for_is_kept(callback: ModuleType, server: Server) -> None:
    server.answers = [503]
    sent(callback, {"id": "a"}, until=0)
    assert server.at[1] - server.at[0] >= 1


def test_a_server_that_does_not_answer_gets_the_same_again(callback: ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "TIMEOUT_S", 0.3)
    server.answers = [0.6, 0.0]
    sent(callback, {"id": "a"}, until=0)
    assert server.bodies == [{"events": [{"id": "a"}]}] * 3


def test_what_comes_while_the_server_is_away_waits_and_goes_together(callback: ModuleType, server: Server) -> None:
    server.answers = [503]
    outbox = sent(callback, *({"id": str(number)} for number in range(150)), until=0)
    assert [event["id"] for body in server.bodies[1:] for event in body["events"]][-1] == "149"
    assert max(len(body["events"]) for body in server.bodies) <= callback.BATCH
    assert outbox.waiting.empty()


def test_what_is_too_much_to_wait_is_lost_and_said_so(
    callback: ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback, "MOST_WAITING", 2)
    server.answers = [503]
    outbox = sent(callback, {"id": "first"}, until=1)
    wait_for(lambda: bool(server.bodies))
    for name in "abc":
        outbox.put({"id": name})
    assert "event c is lost" in caplog.text
    outbox.close(patience_s=0)
    assert "3 events are lost: the process ends" in caplog.text


def test_nothing_of_it_reaches_litellm(callback: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    callback.weighhouse.take({"status": "success"})
    callback.weighhouse.take(None)
    assert "a call could not be read" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db")
def test_the_real_door_counts_them_and_what_it_refuses_is_said(
    callback: ModuleType, live_server: LiveServer, api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEIGHHOUSE_URL", live_server.url)
    monkeypatch.setenv("WEIGHHOUSE_KEY", api_key.secret)
    caplog.set_level(logging.ERROR, logger="weighhouse")
    event = callback.event_of(records("litellm/001")[0])
    event["occurred_at"] = reported(callback, records("litellm/001")[0]).occurred_at.isoformat()
    other, odd = {**event, "output_tokens": 201}, {**event, "id": "odd", "request_id": "req_mock000999", "input_tokens": -1}
    with time_machine.travel("2026-11-21T12:00:00Z", tick=True):
        sent(callback, event, event, other, odd, until=0)
    assert UsageEvent.objects.count() == 1
    assert "(conflict)" in caplog.text
    assert "event odd not counted (rejected)" in caplog.text

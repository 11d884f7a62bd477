"""The OpenTelemetry door's manners: encodings, partial success, errors as google.rpc.Status, and what is kept."""

import gzip
import json
from typing import Any, cast

import msgspec
import pytest
from django.db import OperationalError
from django.utils import timezone
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from rest_framework.test import APIClient

from governance.tenancy.models import Organization, Scope
from ingest import services
from ingest.doors.otlp import Status
from ingest.formats.telemetry import MOST_PARTS
from ingest.models import RejectedInput, UsageEvent
from tests.conftest import client_with, key_of
from tests.ingest.formats.test_wire import within

pytestmark = pytest.mark.django_db
LOGS = "/otlp/v1/logs"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
MINUTE_NS = int(timezone.now().timestamp()) * 1_000_000_000


def call(request_id: str = "req_1", **changes: Any) -> dict[str, Any]:
    attributes = {
        "event.name": "api_request",
        "session.id": "s1",
        "model": "claude-sonnet-4-5",
        "input_tokens": 120,
        "request_id": request_id,
    }
    kinds = {int: "intValue", str: "stringValue", float: "doubleValue"}
    return {
        "timeUnixNano": str(MINUTE_NS),
        "body": {"stringValue": "claude_code.api_request"},
        "attributes": [{"key": key, "value": {kinds[type(value)]: value}} for key, value in (attributes | changes).items()],
    }


def logs(*records: dict[str, Any], scope: str = "com.anthropic.claude_code.events") -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"scope": {"name": scope}, "logRecords": list(records)}]}]}).encode()


def send(api: APIClient, body: bytes, content_type: str = JSON, path: str = LOGS, **headers: Any) -> Any:
    return api.generic("POST", path, cast("str", body), content_type=content_type, **headers)


def test_one_bad_record_is_named_and_kept_and_harms_no_other(api: APIClient) -> None:
    answer = json.loads(send(api, logs(call("req_1"), call("req_2", input_tokens=-5, prompt="secret"), call("req_3"))).content)
    assert answer["partialSuccess"] == {
        "rejectedLogRecords": "1",
        "errorMessage": "1 not counted: A whole number of at least 0 is expected.",
    }
    assert UsageEvent.objects.count() == 2
    kept = RejectedInput.objects.get()
    assert (kept.kind, kept.door, kept.field, kept.is_whole) == ("rejected", "otlp", "input_tokens", True)
    payload = json.loads(bytes(kept.payload))
    assert (payload["request_id"], payload["input_tokens"]) == ("req_2", -5)
    assert "secret" not in json.dumps(payload)


def test_another_report_of_a_call_is_kept_aside_and_no_failure_of_the_senders(api: APIClient) -> None:
    send(api, logs(call()))
    answer = json.loads(send(api, logs(call(input_tokens=7))).content)
    # Nothing is rejected; with none, a message is OTLP's way to warn.
    assert answer == {"partialSuccess": {"errorMessage": "1 kept aside: counted before under the same id, with other input_tokens."}}
    assert json.loads(send(api, logs(call(duration_ms=9))).content) == {}
    assert {row.kind for row in RejectedInput.objects.all()} == {"conflict"}
    assert UsageEvent.objects.get().input_tokens == 120


def test_answers_and_errors_come_in_the_requests_encoding(api: APIClient) -> None:
    empty = ExportLogsServiceRequest().SerializeToString()
    answer = send(api, empty, PROTOBUF)
    assert (answer.status_code, answer["Content-Type"]) == (200, PROTOBUF)
    assert not ExportLogsServiceResponse.FromString(answer.content).HasField("partial_success")
    error = send(api, b"rubbish", PROTOBUF)
    assert (error.status_code, error["Content-Type"]) == (400, PROTOBUF)
    assert Status.FromString(error.content).code == 3
    assert "ExportLogsServiceRequest" in Status.FromString(error.content).message
    error = send(api, b"rubbish")
    assert (error.status_code, error["Content-Type"], json.loads(error.content)["code"]) == (400, JSON, 3)


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "code"),
    [
        (b"{}", "text/plain", {}, 415, 3),
        (b"{}", JSON, {"HTTP_CONTENT_ENCODING": "br"}, 415, 3),
        (gzip.compress(b"{}")[:-4], JSON, {"HTTP_CONTENT_ENCODING": "gzip"}, 400, 3),
        (gzip.compress(b" " * (17 << 20)), JSON, {"HTTP_CONTENT_ENCODING": "gzip"}, 413, 8),
        (b"\x0a\x00" * (MOST_PARTS + 1), PROTOBUF, {}, 413, 8),
    ],
    ids=["type", "compression", "cut", "bomb", "many"],
)
def test_bad_requests_are_refused_and_nothing_of_them_is_kept(
    api: APIClient, body: bytes, content_type: str, headers: dict[str, str], status: int, code: int
) -> None:
    response = send(api, body, content_type, **headers)
    found = Status.FromString(response.content).code if content_type == PROTOBUF else json.loads(response.content)["code"]
    assert (response.status_code, found) == (status, code)
    kept = RejectedInput.objects.get()
    assert (kept.kind, bytes(kept.payload), kept.is_whole) == ("envelope", b"", False)


def protobuf(*records: dict[str, Any]) -> bytes:
    return json_format.Parse(logs(*records), ExportLogsServiceRequest()).SerializeToString()


def test_a_broken_record_of_a_protobuf_is_refused_by_itself_and_outlined(api: APIClient) -> None:
    good, secret = protobuf(call("req_1"), call("req_2")), "the secret plan of the house"
    torn = ExportLogsServiceRequest.FromString(protobuf(call("req_3", prompt=secret))).resource_logs[0].scope_logs[0].log_records[0]
    answer = send(api, good + within(1, 2, 2, content=torn.SerializeToString() + b"\x32\x09\x0a"), PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 1)
    assert "no protobuf of its kind" in partial.error_message
    assert set(UsageEvent.objects.values_list("request_id", flat=True)) == {"req_1", "req_2"}
    kept = RejectedInput.objects.get()
    payload = bytes(kept.payload).decode()
    assert (kept.kind, kept.code, kept.door) == ("rejected", "broken_protobuf", "otlp")
    assert '"input_tokens":120' in payload
    assert secret not in payload


def test_a_body_that_ends_within_its_only_resource_counts_what_is_whole_of_it(api: APIClient) -> None:
    body = protobuf(call("req_1"), call("req_2"), call("req_3", prompt="the secret plan of the house"))
    answer = send(api, body[:-9], PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 1)
    assert set(UsageEvent.objects.values_list("request_id", flat=True)) == {"req_1", "req_2"}
    kept = RejectedInput.objects.get()
    assert (kept.kind, kept.code, kept.is_whole) == ("rejected", "broken_protobuf", False)
    assert '"request_id":"req_3"' in bytes(kept.payload).decode()
    # Sent again as it should have been, the same calls are no others.
    send(api, body, PROTOBUF)
    assert UsageEvent.objects.count() == 3
    # Where it ends before any record is whole, it is refused, which tells an exporter not to send it again, and listed.
    assert send(api, body[:60], PROTOBUF).status_code == 400
    assert RejectedInput.objects.filter(kind="envelope", code="broken_protobuf").count() == 1


@pytest.mark.parametrize("is_json", [True, False])
def test_a_body_of_which_nothing_can_be_read_is_kept_without_its_texts(api: APIClient, is_json: bool) -> None:
    record = call("req_1", prompt="the secret plan of the house")
    body = logs(record)[:-9] if is_json else within(1, 2, 2, content=protobuf(record) + b"\x0f")
    answer = send(api, body, JSON if is_json else PROTOBUF)
    assert answer.status_code == 400
    kept = RejectedInput.objects.get()
    assert (kept.kind, kept.is_whole) == ("envelope", False)
    payload = bytes(kept.payload).decode()
    assert "og" in payload
    assert "secret" not in payload


def test_keys_are_needed_and_their_scope(organization: Organization) -> None:
    refused = send(APIClient(), logs())
    assert (refused.status_code, json.loads(refused.content)["code"]) == (401, 16)
    assert refused["WWW-Authenticate"].startswith("Bearer")
    refused = send(client_with(key_of(organization, Scope.READ)), logs())
    assert (refused.status_code, json.loads(refused.content)["code"]) == (403, 7)


def test_a_database_that_gives_way_is_retryable(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_way(**_: Any) -> None:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(services, "events_store_together", give_way)
    response = send(api, logs(call()))
    assert (response.status_code, response["Retry-After"], json.loads(response.content)["code"]) == (503, "2", 14)


def test_whatever_is_accepted_the_answers_type_follows_the_request(api: APIClient) -> None:
    assert send(api, logs(), HTTP_ACCEPT="application/x-protobuf").status_code == 200


def test_more_records_than_a_batch_holds_are_stored_in_turns(api: APIClient, settings: Any) -> None:
    settings.INGEST_MAX_EVENTS = 2
    records = [call(f"req_{number}") for number in range(5)]
    assert json.loads(send(api, logs(*records, call("req_0", input_tokens=-1))).content)["partialSuccess"]["rejectedLogRecords"] == "1"
    assert UsageEvent.objects.count() == 5


def test_unread_clients_are_counted_in_one_row_an_hour(api: APIClient) -> None:
    unread = call() | {"body": {"stringValue": "somebody.call"}}
    for _ in range(3):
        send(api, logs(unread, unread, scope="somebody.else"))
    note = RejectedInput.objects.get()
    assert (note.code, note.field, msgspec.json.decode(bytes(note.payload))) == ("format_unknown", "somebody.else", {"count": 6})


@pytest.mark.parametrize(("path", "key"), [("/otlp/v1/metrics", "resourceMetrics"), ("/otlp/v1/traces", "resourceSpans")])
def test_the_other_signals_check_what_they_get(api: APIClient, path: str, key: str) -> None:
    assert json.loads(send(api, json.dumps({key: []}).encode(), path=path).content) == {}
    assert send(api, b"{}", path=path).status_code == 200
    assert send(api, b"[]", path=path).status_code == 400
    assert send(api, b"rubbish", PROTOBUF, path=path).status_code == 400

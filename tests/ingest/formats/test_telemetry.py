"""OTLP in both encodings comes out the same, and hostile bodies are refused before they cost much."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ingest.formats import points, scalars
from ingest.formats.batch import BadBody
from ingest.formats.telemetry import log_records, metric_points, spans


def logs(**record: Any) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"scope": {"name": "s"}, "logRecords": [record]}]}]}).encode()


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_integers_come_as_number_and_as_text() -> None:
    body = logs(timeUnixNano="7", attributes=[attribute("a", intValue=1), attribute("b", intValue="2"), attribute("c", doubleValue=3)])
    record = log_records(body, is_json=True)[0]
    assert (record.time_unix_nano, record.attributes) == (7, {"a": 1, "b": 2, "c": 3})


def test_ids_enums_nulls_and_unknown_fields_do_not_matter() -> None:
    body = logs(
        timeUnixNano=7,
        traceId="7e26206f8ca1680fc598375531136a4b",
        severityNumber=9,
        body=None,
        eventName=None,
        laterAddition={"x": [1]},
        attributes=[
            attribute("a"),
            attribute("b", arrayValue={"values": []}),
            {"key": "c", "value": None},
            attribute("d", boolValue=False),
        ],
    )
    assert log_records(body, is_json=True)[0].attributes == {"d": False}


def test_the_event_name_goes_before_the_body() -> None:
    body = logs(body={"stringValue": "text"}, eventName="named")
    assert log_records(body, is_json=True)[0].name == "named"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "broken_json"),
        (b"{", "broken_json"),
        (b"[]", "wrong_shape"),
        (b'{"logs": []}', "wrong_shape"),
        (b'{"resourceLogs": 7}', "wrong_shape"),
        (logs(body={"stringValue": "x"}).replace(b"x", b"\xff"), "broken_utf8"),
        (b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":' + b'{"arrayValue":{"values":[' * 50_000, "too_deep"),
        (b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + b"{}," * 1_000_001 + b"{}]}]}]}", "too_many_values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_json_that_is_no_otlp_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(BadBody) as caught:
        log_records(body, is_json=True)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code"), [(b"not protobuf", "broken_protobuf"), (b"\x0a\x00" * 1_000_001, "too_many_values")], ids=["broken", "many"]
)
def test_protobuf_that_is_none_or_too_much_is_refused(body: bytes, code: str) -> None:
    for read in (log_records, metric_points, spans):
        with pytest.raises(BadBody) as caught:
            read(body, is_json=False)
        assert caught.value.code == code


def test_an_empty_object_is_an_empty_request() -> None:
    assert log_records(b" {}\n", is_json=True) == metric_points(b"{}", is_json=True) == spans(b"{}", is_json=True) == []


@pytest.mark.parametrize(("sent", "read"), [("noon", 0), (None, 0), (1.5e18, 1_500_000_000_000_000_000), ("7", 7)])
def test_a_time_that_is_none_is_not_known(sent: object, read: int) -> None:
    assert log_records(logs(timeUnixNano=sent), is_json=True)[0].time_unix_nano == read


def test_half_a_character_loses_no_record() -> None:
    body = logs(attributes=[attribute("prompt", stringValue="\ud83d"), attribute("model", stringValue="gpt \U0001f642")])
    assert log_records(body, is_json=True)[0].attributes == {"prompt": "\ufffd", "model": "gpt \U0001f642"}


def test_numbers_where_text_is_due_are_taken() -> None:
    body = logs(attributes=[attribute("a", stringValue=5), attribute("b", boolValue="true"), attribute("c", intValue=7.0)])
    assert log_records(body, is_json=True)[0].attributes == {"a": 5, "b": "true", "c": 7.0}


def test_an_empty_protobuf_is_an_empty_request() -> None:
    assert log_records(ExportLogsServiceRequest().SerializeToString(), is_json=False) == []


def traces(**span: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": [span]}]}]}).encode()


@pytest.mark.parametrize(
    "sent",
    ["7e26206f8ca1680fc598375531136a4b", "7E26206F8CA1680FC598375531136A4B", "fiYgb4yhaA/FmDdVMRNqSw=="],
    ids=["hex", "capitals", "base64"],
)
def test_ids_of_traces_come_in_hexadecimal_and_from_general_encoders_in_base64(sent: str) -> None:
    assert spans(traces(traceId=sent), is_json=True)[0].trace_id == "7e26206f8ca1680fc598375531136a4b"


def test_a_span_says_whether_it_failed_and_what_was_raised() -> None:
    raised = [{"name": "exception", "attributes": [attribute("exception.type", stringValue="TimeoutError")]}]
    for code in (2, "STATUS_CODE_ERROR"):
        found = spans(traces(spanId="not an id", status={"code": code}, events=raised), is_json=True)[0]
        assert (found.is_error, found.exception, found.span_id) == (True, "TimeoutError", "not an id")


def test_lists_of_text_are_kept_apart_from_single_values() -> None:
    tags = {"values": [{"stringValue": "a"}, {"intValue": 3}, {"arrayValue": {"values": []}}, {"stringValue": "b"}]}
    found = spans(traces(attributes=[attribute("tag.tags", arrayValue=tags), attribute("n", intValue="4")]), is_json=True)[0]
    assert (found.attributes, found.lists) == ({"n": 4}, {"tag.tags": ("a", "b")})


@pytest.mark.parametrize(
    ("value", "is_counted"), [("12", True), ("1e999999999", False), ("1e1000000", False), ("1e99999999999999999999", False), ("x", False)]
)
def test_a_point_that_no_stream_can_have_counted_is_left_out(value: str, is_counted: bool) -> None:
    kind = {"key": "type", "value": {"stringValue": "input"}}
    metric = {"name": "claude_code.token.usage", "sum": {"dataPoints": [{"timeUnixNano": "1", "asDouble": value, "attributes": [kind]}]}}
    wanted = {"key": points.SIGNAL, "value": {"stringValue": points.METRICS}}
    body = {"resourceMetrics": [{"resource": {"attributes": [wanted]}, "scopeMetrics": [{"metrics": [metric]}]}]}
    assert bool(points.meters(metric_points(json.dumps(body).encode(), is_json=True))) is is_counted


@pytest.mark.parametrize("shift", [-2, 0, 9])
@pytest.mark.parametrize("written", ["1e999999", "1e1000000", "1e999999999", "Infinity", "NaN"])
def test_numbers_beyond_all_arithmetic_are_no_amount_and_no_time(written: str, shift: int) -> None:
    assert scalars.amount(written, shift=shift) == written
    assert scalars.milliseconds(written, shift=shift) is None

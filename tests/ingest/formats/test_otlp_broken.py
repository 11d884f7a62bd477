"""A protobuf that is broken somewhere is taken apart: its other records are read, and of the broken one no more than an outline is left."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.formats import otlp_broken, telemetry
from ingest.formats.batch import TooLarge, Unreadable
from tests.ingest.formats.test_wire import within

READERS: dict[str, tuple[Any, Any, str, str, str]] = {
    "logs": (telemetry.log_records, ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    "traces": (telemetry.spans, ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
    "metrics": (telemetry.metric_points, ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
}
# Field 6 of a record is an attribute of nine bytes; this one has three. Then a tag of no wire type, and a number without an end.
CUT, ODD, ENDLESS = b"\x32\x09\x0a\x07", b"\x0f\x01", b"\x08\xff"


def request(signal: str, number: int = 3, *, name: str = "call") -> Any:
    _, kind, top, middle, leaf = READERS[signal]
    found = kind()
    scoped = getattr(getattr(found, top).add(), middle).add()
    scoped.scope.name = "scope"
    for index in range(number):
        item = getattr(scoped, leaf).add()
        if signal == "logs":
            item.event_name = f"{name}-{index}"
        else:
            item.name = f"{name}-{index}"
        if signal == "metrics":
            item.gauge.data_points.add().as_int = index
    return found


def bodies(signal: str, records: list[bytes]) -> bytes:
    """A request of one resource and one scope with these records, broken or not."""
    return within(1, 2, content=within(1, content=within(1, content=b"scope")) + b"".join(within(2, content=one) for one in records))


def items(signal: str) -> list[bytes]:
    _, _, top, middle, leaf = READERS[signal]
    return [one.SerializeToString() for one in getattr(getattr(getattr(request(signal), top)[0], middle)[0], leaf)]


def names(signal: str, found: Any) -> list[str]:
    return [one.metric if signal == "metrics" else one.name for one in found]


@pytest.mark.parametrize("broken", [CUT, ODD, ENDLESS], ids=["cut", "odd", "endless"])
@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("signal", READERS)
def test_a_broken_record_harms_no_other(signal: str, place: int, broken: bytes) -> None:
    records = items(signal)
    records.insert(place, records[0] + broken)
    found = READERS[signal][0](bodies(signal, records), is_json=False)
    assert names(signal, found) == ["call-0", "call-1", "call-2"]
    assert {one.source.scope for one in found} == {"scope"}
    (outline,) = found.outlines
    assert "call-0" in outline.decode()
    assert "unreadable" in outline.decode()


@pytest.mark.parametrize("signal", READERS)
def test_broken_scopes_and_resources_harm_no_others(signal: str) -> None:
    good = request(signal).SerializeToString()
    for torn in (within(1, content=ODD), within(1, 2, content=ODD), within(1, 2, content=within(2, content=items(signal)[0])[:-1]), within(1, content=within(1, content=ODD))):
        found = READERS[signal][0](torn + good, is_json=False)
        assert names(signal, found)[-3:] == ["call-0", "call-1", "call-2"]
    assert names(signal, READERS[signal][0](good + b"\x0a\x7f", is_json=False)) == ["call-0", "call-1", "call-2"]


@pytest.mark.parametrize("body", [b"rubbish", CUT, ENDLESS, within(1, content=ODD), within(1, 2, 2, content=ODD)])
@pytest.mark.parametrize("signal", READERS)
def test_a_body_of_which_no_record_can_be_read_is_refused_whole(signal: str, body: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        READERS[signal][0](body, is_json=False)
    assert refused.value.code == "broken_protobuf"


@pytest.mark.parametrize("signal", READERS)
def test_a_body_that_is_cut_off_gives_the_records_that_are_whole(signal: str) -> None:
    """Wherever it ends, within its only resource as well: each record before the cut is read, and that there was more is never silent."""
    body, whole = request(signal).SerializeToString(), [f"call-{number}" for number in range(3)]
    counted = set()
    for end in range(1, len(body)):
        try:
            found = READERS[signal][0](body[:end], is_json=False)
        except Unreadable:
            counted.add(0)
            continue
        assert names(signal, found) == whole[: len(found)]
        assert found.outlines
        counted.add(len(found))
    assert counted == {0, 1, 2}


def test_a_text_that_is_cut_within_a_character_costs_no_record() -> None:
    made = request("logs")
    record = made.resource_logs[0].scope_logs[0].log_records[1]
    for key, text in (("prompt", "Grüße"), ("model", "gpt-5")):
        attribute = record.attributes.add(key=key)
        attribute.value.string_value = text
    body = made.SerializeToString().replace("Grüße".encode(), b"Gr\xc3\xff\xfe\xfee")
    found = telemetry.log_records(body, is_json=False)
    assert (len(found), found.outlines) == (3, [])
    assert found[1].attributes["model"] == "gpt-5"
    assert "\ufffd" in str(found[1].attributes["prompt"])


def test_an_outline_names_attributes_and_sizes() -> None:
    made = request("logs", 1)
    record = made.resource_logs[0].scope_logs[0].log_records[0]
    record.attributes.add(key="input_tokens").value.int_value = 120
    record.attributes.add(key="model").value.string_value = "gpt-5"
    record.attributes.add(key="prompt").value.string_value = "long " * 100
    outline = json.loads(otlp_broken.outline(record.SerializeToString() + CUT, record.DESCRIPTOR))
    assert (outline["input_tokens"], outline["model"], outline["prompt"]) == (120, "gpt-5", "text of 500 bytes")
    assert "longer than what holds it" in outline["unreadable"]


def test_a_broken_body_with_too_many_parts_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MOST_PARTS", 20)
    torn = within(1, 2, content=within(2, content=b"\x32\0" * 8) * 3)
    with pytest.raises(TooLarge):
        telemetry.log_records(torn + ODD, is_json=False)


@settings(max_examples=60)
@given(data=some.data())
@pytest.mark.parametrize("signal", READERS)
def test_whatever_bytes_change_there_is_an_answer_and_nothing_made_up(signal: str, data: some.DataObject) -> None:
    body = bytearray(request(signal).SerializeToString())
    for _ in range(data.draw(some.integers(1, 4))):
        body[data.draw(some.integers(0, len(body) - 1))] = data.draw(some.integers(0, 255))
    try:
        found = READERS[signal][0](bytes(body), is_json=False)
    except Unreadable:
        return
    assert len(found) + len(found.outlines) <= 8

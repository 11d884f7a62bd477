"""A protobuf's parts are counted on its bytes, and one with too many is never unpacked."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.formats import telemetry
from ingest.formats.batch import TooLarge, Unreadable
from ingest.formats.wire import parts_over

# What the largest body that is taken may cost beyond itself; undone, one of empty groups took ten times as much.
MOST_MEMORY_MIB = 160


def within(*numbers: int, content: bytes) -> bytes:
    """The content in these fields, the outermost first."""
    for number in reversed(numbers):
        content = bytes([number << 3 | 2]) + length(len(content)) + content
    return content


def length(size: int) -> bytes:
    found = b""
    while size > 127:
        found, size = found + bytes([size & 127 | 128]), size >> 7
    return found + bytes([size])


MANY = 1_000_001
# Empty groups, scopes, records, attributes, values of a list in a record's body; data points; spans and their links.
SHAPES = [
    (telemetry.log_records, within(1, content=b"") * MANY),
    (telemetry.log_records, within(1, content=b"\x12\0" * MANY)),
    (telemetry.log_records, within(1, 2, content=b"\x12\0" * MANY)),
    (telemetry.log_records, within(1, 2, 2, content=b"\x32\0" * MANY)),
    (telemetry.log_records, within(1, 2, 2, 5, 5, content=b"\x0a\0" * MANY)),
    (telemetry.metric_points, within(1, 2, 2, 5, content=b"\x0a\0" * MANY)),
    (telemetry.metric_points, within(1, 2, 2, 10, 1, 8, 2, content=b"\x01" * 8 * MANY)),
    (telemetry.spans, within(1, 2, 2, content=b"\x6a\0" * MANY)),
    (telemetry.spans, within(1, 1, 3, content=b"\x1a\0" * MANY)),
]


@pytest.mark.parametrize(("reader", "body"), SHAPES, ids=range(len(SHAPES)))
def test_what_holds_too_many_parts_at_any_depth_is_refused_undecoded(reader: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the decoder was called")

    kinds = ("ExportLogsServiceRequest", "ExportMetricsServiceRequest", "ExportTraceServiceRequest")
    for kind in kinds:
        original = getattr(telemetry, kind)
        stand_in = type(kind, (), {"DESCRIPTOR": original.DESCRIPTOR, "ParseFromString": never})
        monkeypatch.setattr(telemetry, kind, stand_in)
    with pytest.raises(TooLarge) as refused:
        reader(body, is_json=False)
    assert refused.value.code == "too_many_values"


def test_as_many_parts_as_are_allowed_are_taken() -> None:
    request = ExportLogsServiceRequest()
    scoped = request.resource_logs.add().scope_logs.add()
    for number in range(40):
        record = scoped.log_records.add(time_unix_nano=number)
        record.body.string_value = "word " * 40
        for name in "abc":
            record.attributes.add(key=name).value.int_value = -number
    body = request.SerializeToString()
    parts = 1 + 1 + 40 + 40 * 3
    assert not parts_over(body, ExportLogsServiceRequest, limit=parts)
    assert parts_over(body, ExportLogsServiceRequest, limit=parts - 1)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"\x0a\x05\x0a", id="a field beyond the end"),
        pytest.param(b"\x0a\x80\x80", id="a size that never ends"),
        pytest.param(b"\x08" + b"\xff" * 11, id="a number too long"),
        pytest.param(b"\x0b\x0c\x0c", id="a group"),
        pytest.param(b"\x0a\x01\x08\x01", id="a number beyond its message"),
    ],
)
def test_what_is_no_protobuf_is_said_to_be_none(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parts_over(broken, ExportMetricsServiceRequest, limit=1)


def test_a_large_body_that_is_no_protobuf_is_answered_as_a_small_one() -> None:
    with pytest.raises(Unreadable) as refused:
        telemetry.spans(b"\x0b" * 3_000_000, is_json=False)
    assert refused.value.code == "broken_protobuf"


def test_numbers_of_every_kind_are_passed_over() -> None:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(name="n" * 300, start_time_unix_nano=2**63, flags=7, dropped_links_count=300)
    )
    span.attributes.add(key="k").value.double_value = 0.5
    assert not parts_over(request.SerializeToString(), ExportTraceServiceRequest, limit=4)
    assert parts_over(request.SerializeToString(), ExportTraceServiceRequest, limit=3)


MEASURED = """
import resource
from ingest.formats import telemetry
from ingest.formats.batch import BadBody

body = {body}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {reader}(body, is_json={is_json})
except BadBody as error:
    print(error.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("reader", "body", "is_json", "code"),
    [
        ("telemetry.log_records", r"b'\n\0' * 8_000_000", False, "too_many_values"),
        ("telemetry.spans", "b'{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[' + b'1,' * 8_000_000 + b'1]}]}]}'", True, "wrong_shape"),
    ],
)
def test_a_body_made_to_be_expensive_takes_little_memory(reader: str, body: str, is_json: bool, code: str) -> None:
    script = MEASURED.format(reader=reader, body=body, is_json=is_json)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found, mebibytes = done.stdout.split()
    assert found == code
    assert int(mebibytes) < MOST_MEMORY_MIB

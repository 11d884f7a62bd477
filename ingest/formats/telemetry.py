"""OpenTelemetry log records, metrics and spans, reduced to what formats look at, from protobuf and from OTLP/JSON alike."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.formats.batch import TooLarge, Unreadable, json_reading, without_half_characters
from ingest.formats.scalars import Scalar, whole
from ingest.formats.wire import parts_over

Attributes = Mapping[str, Scalar]
# What a body may hold in all: groups, records, data points, attributes. A protobuf of empty ones takes two bytes for each.
MOST_PARTS = 1_000_000
# What stands for half a character, as text decoders have it: harnesses cut prompts anywhere, and no call is lost for that.
REPLACEMENT = b"\\ufffd"
# In OTLP/JSON an empty request may be an empty object; any other object has to name what it brings.
NOTHING = b'{"resourceLogs":null,"resourceMetrics":null,"resourceSpans":null}'
POINT_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


class Source(msgspec.Struct, frozen=True):
    """What sent a record: the attributes of its resource and the name of its instrumentation scope."""

    resource: Attributes
    scope: str

    @property
    def client(self) -> str:
        """The sender's name for people."""
        return str(self.resource.get("service.name") or self.scope or "a client without service.name")[:80]


class LogRecord(msgspec.Struct, frozen=True):
    """One log record. Attributes that are lists or maps are left out; times are nanoseconds since 1970, 0 when not known."""

    source: Source
    attributes: Attributes
    name: str
    time_unix_nano: int
    observed_time_unix_nano: int


class Tally(msgspec.Struct, frozen=True):
    """How many spans or metric data points one source sent."""

    source: Source
    count: int


class Quota:
    """Counts the parts of a body down, in either encoding. A protobuf with more of them was refused undecoded."""

    def __init__(self) -> None:
        self.left = MOST_PARTS

    def parts(self, found: Sequence[Any] | None) -> Sequence[Any]:
        """The same parts, none for None. Raises TooLarge when the body has too many."""
        found = found or ()
        self.left -= len(found)
        if self.left < 0:
            raise too_many_parts()
        return found


def too_many_parts() -> TooLarge:
    return TooLarge("too_many_values", f"The body holds more than {MOST_PARTS:,} values; send it in several requests.")


class Json(msgspec.Struct, rename="camel", gc=False):
    """OTLP/JSON as the specification maps it: camelCase names, unknown ones ignored, 64-bit integers as text or number."""


class JsonValue(Json):
    """A value by its kind. Exporters of some languages write a number where text is due, and the other way round."""

    string_value: Scalar | None = None
    int_value: Scalar | None = None
    double_value: Scalar | None = None
    bool_value: Scalar | None = None

    @property
    def scalar(self) -> Scalar | None:
        if self.string_value is not None:
            return self.string_value
        if self.int_value is not None:
            return whole(self.int_value) if isinstance(self.int_value, str) else self.int_value
        return self.double_value if self.double_value is not None else self.bool_value


class JsonAttribute(Json):
    key: str = ""
    value: JsonValue | None = None


class JsonPart(Json):
    """An object that only counts. Anything else in its place would cost memory that the braces of a body do not tell."""


class JsonScope(Json):
    name: str | None = ""


class JsonResource(Json):
    attributes: list[JsonAttribute] | None = None


class JsonRecord(Json):
    time_unix_nano: int | float | str | None = 0
    observed_time_unix_nano: int | float | str | None = 0
    body: JsonValue | None = None
    event_name: str | None = ""
    attributes: list[JsonAttribute] | None = None


class JsonScopeLogs(Json):
    scope: JsonScope | None = None
    log_records: list[JsonRecord] | None = None


class JsonResourceLogs(Json):
    resource: JsonResource | None = None
    scope_logs: list[JsonScopeLogs] | None = None


class JsonLogs(Json, kw_only=True):
    resource_logs: list[JsonResourceLogs] | None


class JsonPoints(Json):
    data_points: list[JsonPart] | None = None


class JsonMetric(Json):
    gauge: JsonPoints | None = None
    sum: JsonPoints | None = None
    histogram: JsonPoints | None = None
    exponential_histogram: JsonPoints | None = None
    summary: JsonPoints | None = None


class JsonScopeMetrics(Json):
    scope: JsonScope | None = None
    metrics: list[JsonMetric] | None = None


class JsonResourceMetrics(Json):
    resource: JsonResource | None = None
    scope_metrics: list[JsonScopeMetrics] | None = None


class JsonMetrics(Json, kw_only=True):
    resource_metrics: list[JsonResourceMetrics] | None


class JsonScopeSpans(Json):
    scope: JsonScope | None = None
    spans: list[JsonPart] | None = None


class JsonResourceSpans(Json):
    resource: JsonResource | None = None
    scope_spans: list[JsonScopeSpans] | None = None


class JsonSpans(Json, kw_only=True):
    resource_spans: list[JsonResourceSpans] | None


def log_records(body: bytes, *, is_json: bool) -> list[LogRecord]:
    """The records of an ExportLogsServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if is_json:
        return list(_json_records(_decoded_json(body, JsonLogs), quota))
    return list(_protobuf_records(_decoded(body, ExportLogsServiceRequest()), quota))


def metric_points(body: bytes, *, is_json: bool) -> list[Tally]:
    """Data points by source of an ExportMetricsServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if not is_json:
        request = _decoded(body, ExportMetricsServiceRequest())
        return [
            Tally(
                _source(group.resource.attributes, scoped.scope.name, quota),
                sum(_protobuf_points(one) for one in quota.parts(scoped.metrics)),
            )
            for group in quota.parts(request.resource_metrics)
            for scoped in quota.parts(group.scope_metrics)
        ]
    return [
        Tally(_json_source(group.resource, scoped.scope, quota), sum(_json_points(one) for one in quota.parts(scoped.metrics)))
        for group in quota.parts(_decoded_json(body, JsonMetrics).resource_metrics)
        for scoped in quota.parts(group.scope_metrics)
    ]


def spans(body: bytes, *, is_json: bool) -> list[Tally]:
    """Spans by source of an ExportTraceServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if not is_json:
        request = _decoded(body, ExportTraceServiceRequest())
        return [
            Tally(_source(group.resource.attributes, scoped.scope.name, quota), len(scoped.spans))
            for group in quota.parts(request.resource_spans)
            for scoped in quota.parts(group.scope_spans)
        ]
    return [
        Tally(_json_source(group.resource, scoped.scope, quota), len(scoped.spans or ()))
        for group in quota.parts(_decoded_json(body, JsonSpans).resource_spans)
        for scoped in quota.parts(group.scope_spans)
    ]


def _decoded(body: bytes, request: Any) -> Any:
    try:
        if parts_over(body, request, limit=MOST_PARTS):
            raise too_many_parts()
        request.ParseFromString(body)
    except (DecodeError, ValueError):
        raise Unreadable("broken_protobuf", f"The body is not a protobuf {type(request).__name__}.") from None
    return request


def _decoded_json(body: bytes, shape: type[Any]) -> Any:
    if body.count(b"{") > 2 * MOST_PARTS:
        raise too_many_parts()
    if body.strip() == b"{}":
        body = NOTHING
    with json_reading("The body is not OTLP/JSON: {error}."):
        return msgspec.json.decode(without_half_characters(body, REPLACEMENT), type=shape)


def _protobuf_records(request: ExportLogsServiceRequest, quota: Quota) -> Iterator[LogRecord]:
    for group in quota.parts(request.resource_logs):
        for scoped in quota.parts(group.scope_logs):
            source = _source(group.resource.attributes, scoped.scope.name, quota)
            for record in quota.parts(scoped.log_records):
                yield LogRecord(
                    source,
                    _attributes(record.attributes, quota),
                    record.event_name or record.body.string_value,
                    record.time_unix_nano,
                    record.observed_time_unix_nano,
                )


def _json_records(request: JsonLogs, quota: Quota) -> Iterator[LogRecord]:
    for group in quota.parts(request.resource_logs):
        for scoped in quota.parts(group.scope_logs):
            source = _json_source(group.resource, scoped.scope, quota)
            for record in quota.parts(scoped.log_records):
                yield LogRecord(
                    source,
                    _json_attributes(record.attributes, quota),
                    record.event_name or str((record.body.string_value if record.body else None) or ""),
                    _nanoseconds(record.time_unix_nano),
                    _nanoseconds(record.observed_time_unix_nano),
                )


def _source(attributes: Sequence[Any], scope: str, quota: Quota) -> Source:
    return Source(_attributes(attributes, quota), scope)


def _json_source(resource: JsonResource | None, scope: JsonScope | None, quota: Quota) -> Source:
    return Source(_json_attributes(resource.attributes if resource else None, quota), (scope.name if scope else "") or "")


def _attributes(attributes: Sequence[Any], quota: Quota) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for attribute in quota.parts(attributes):
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[attribute.key] = getattr(attribute.value, kind)
    return found


def _json_attributes(attributes: list[JsonAttribute] | None, quota: Quota) -> dict[str, Scalar]:
    scalars = ((attribute.key, attribute.value.scalar) for attribute in quota.parts(attributes) if attribute.value is not None)
    return {key: scalar for key, scalar in scalars if scalar is not None}


def _nanoseconds(value: float | str | None) -> int:
    """The time; 0, which is how a time that is not known is said, for what is no number."""
    number = whole(value) if isinstance(value, str) else value
    return 0 if number is None or isinstance(number, str) else int(number)


def _protobuf_points(metric: Any) -> int:
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def _json_points(metric: JsonMetric) -> int:
    return sum(len(points.data_points or ()) for kind in POINT_KINDS if (points := getattr(metric, kind)) is not None)

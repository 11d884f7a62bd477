"""OpenTelemetry log records, metrics and spans, reduced to what formats look at, from protobuf and from OTLP/JSON alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ingest.collector.readers.values import Misread
from ingest.collector.readers.values import instant as read_instant
from ingest.formats import otlp_broken
from ingest.formats.batch import TooLarge, Unreadable, json_reading, without_half_characters
from ingest.formats.labels import Attributes
from ingest.formats.otlp_json import (
    JsonAttribute,
    JsonLogs,
    JsonMetrics,
    JsonResource,
    JsonScope,
    JsonSpans,
    hex_id,
    nanoseconds,
    salvaged,
)
from ingest.formats.otlp_names import with_old_groups, with_todays_names
from ingest.formats.scalars import Scalar, instant
from ingest.formats.wire import parts_over

# What a body may hold in all: groups, records, data points, attributes. A protobuf of empty ones takes two bytes for each.
MOST_PARTS = 1_000_000
# What stands for half a character, as text decoders have it: harnesses cut prompts anywhere, and no call is lost for that.
REPLACEMENT = b"\\ufffd"
# In OTLP/JSON an empty request may be an empty object; any other object has to name what it brings.
NOTHING = b'{"resourceLogs":null,"resourceMetrics":null,"resourceSpans":null}'
POINT_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
NUMBERS = ("gauge", "sum")
SUMMING = ("sum", "histogram", "exponential_histogram")
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
Item = TypeVar("Item")
STATUS_ERROR = Status.STATUS_CODE_ERROR


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

    @property
    def at(self) -> datetime | str | int | None:
        """The record's time. Some clients say it only in an attribute. What is no time is left as it is, for the event's own rules to refuse."""
        if not self.time_unix_nano and (stamp := self.attributes.get("event.timestamp")):
            return since_1970(str(stamp))
        return instant(self.time_unix_nano or self.observed_time_unix_nano)

    @property
    def kind(self) -> str:
        """What the record tells of, by its sender's name for it."""
        return str(self.attributes.get("event.name") or self.name)


def since_1970(stamp: str) -> str:
    """A time that is a number of seconds or of their parts, as others write theirs; any other text as it is."""
    try:
        return read_instant(stamp)
    except Misread:
        return stamp


class Span(msgspec.Struct, frozen=True):
    """One span. Ids are hexadecimal; `lists` are the attributes that are lists of text; `exception` is the type of what was raised in it."""

    source: Source
    attributes: Attributes
    lists: Mapping[str, tuple[str, ...]]
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_unix_nano: int
    end_unix_nano: int
    is_error: bool
    exception: str


class Point(msgspec.Struct, frozen=True):
    """One data point of a metric: a number, or a histogram's sum. `value` is None for one that holds neither."""

    source: Source
    metric: str
    attributes: Attributes
    start_unix_nano: int
    time_unix_nano: int
    value: Scalar | None
    is_cumulative: bool


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


class Items(list[Item]):
    """What a request holds; `lost` of it could not be read, being of no record's shape. `outlines` say of broken protobufs what can be made out."""

    def __init__(self, found: Iterable[Item], lost: int = 0, outlines: Sequence[bytes] = ()) -> None:
        super().__init__(found)
        self.lost = lost
        self.outlines = outlines


def log_records(body: bytes, *, is_json: bool) -> list[LogRecord]:
    """The records of an ExportLogsServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if is_json:
        request, lost = _decoded_json(body, JsonLogs)
        return Items(_json_records(request, quota), lost)
    message, outlines = _decoded(body, ExportLogsServiceRequest())
    return Items(_protobuf_records(message, quota), outlines=outlines)


def metric_points(body: bytes, *, is_json: bool) -> list[Point]:
    """The data points of an ExportMetricsServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if is_json:
        request, lost = _decoded_json(body, JsonMetrics)
        return Items(_json_points(request, quota), lost)
    message, outlines = _decoded(body, ExportMetricsServiceRequest())
    return Items(_protobuf_points(message, quota), outlines=outlines)


def spans(body: bytes, *, is_json: bool) -> list[Span]:
    """The spans of an ExportTraceServiceRequest. Raises Unreadable and TooLarge."""
    quota = Quota()
    if is_json:
        request, lost = _decoded_json(body, JsonSpans)
        return Items(_json_spans(request, quota), lost)
    message, outlines = _decoded(body, ExportTraceServiceRequest())
    return Items(_protobuf_spans(message, quota), outlines=outlines)


def _decoded(body: bytes, request: Any) -> tuple[Any, Sequence[bytes]]:
    """The request, and outlines of what of it could not be read."""
    outlines = _read(body, request)
    try:
        with_old_groups(body, request, most_parts=MOST_PARTS)
    except OverflowError:
        raise too_many_parts() from None
    return request, outlines


def _read(body: bytes, request: Any) -> Sequence[bytes]:
    """Fills the request; outlines of what of the body could not be read."""
    try:
        if parts_over(body, request, limit=MOST_PARTS):
            raise too_many_parts()
        request.ParseFromString(body)
    except (DecodeError, ValueError):
        request.Clear()
    else:
        return ()
    try:
        outlines = otlp_broken.salvaged(body, request, most_parts=MOST_PARTS)
    except OverflowError:
        raise too_many_parts() from None
    if outlines is None:
        raise Unreadable("broken_protobuf", f"The body is not a protobuf {type(request).__name__}.")
    return outlines


def _decoded_json(body: bytes, shape: type[Any]) -> tuple[Any, int]:
    """The request, and how many of its records were left out of it because they are of another shape."""
    if body.count(b"{") > 2 * MOST_PARTS:
        raise too_many_parts()
    if body.strip() == b"{}":
        body = NOTHING
    body = with_todays_names(without_half_characters(body, REPLACEMENT))
    with json_reading("The body is not OTLP/JSON: {error}."):
        try:
            return msgspec.json.decode(body, type=shape), 0
        except msgspec.ValidationError:
            if body.count(b",") > MOST_PARTS:
                raise
            found = salvaged(msgspec.json.decode(body), shape)
            if found is None:
                raise
            return found


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
                    nanoseconds(record.time_unix_nano),
                    nanoseconds(record.observed_time_unix_nano),
                )


def _protobuf_spans(request: ExportTraceServiceRequest, quota: Quota) -> Iterator[Span]:
    for group in quota.parts(request.resource_spans):
        for scoped in quota.parts(group.scope_spans):
            source = _source(group.resource.attributes, scoped.scope.name, quota)
            for span in quota.parts(scoped.spans):
                lists: dict[str, tuple[str, ...]] = {}
                yield Span(
                    source,
                    _attributes(span.attributes, quota, lists),
                    lists,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == STATUS_ERROR,
                    _raised(_attributes(event.attributes, quota) for event in quota.parts(span.events)),
                )


def _json_spans(request: JsonSpans, quota: Quota) -> Iterator[Span]:
    for group in quota.parts(request.resource_spans):
        for scoped in quota.parts(group.scope_spans):
            source = _json_source(group.resource, scoped.scope, quota)
            for span in quota.parts(scoped.spans):
                lists: dict[str, tuple[str, ...]] = {}
                yield Span(
                    source,
                    _json_attributes(span.attributes, quota, lists),
                    lists,
                    span.name or "",
                    hex_id(span.trace_id),
                    hex_id(span.span_id),
                    hex_id(span.parent_span_id),
                    nanoseconds(span.start_time_unix_nano),
                    nanoseconds(span.end_time_unix_nano),
                    span.status is not None and span.status.code in (STATUS_ERROR, "STATUS_CODE_ERROR"),
                    _raised(_json_attributes(event.attributes, quota) for event in quota.parts(span.events)),
                )


def _raised(events: Iterable[Attributes]) -> str:
    """The type of the first exception that the events of a span tell of."""
    return next((str(event["exception.type"]) for event in events if event.get("exception.type")), "")


def _protobuf_points(request: ExportMetricsServiceRequest, quota: Quota) -> Iterator[Point]:
    for group in quota.parts(request.resource_metrics):
        for scoped in quota.parts(group.scope_metrics):
            source = _source(group.resource.attributes, scoped.scope.name, quota)
            for metric in quota.parts(scoped.metrics):
                if kind := metric.WhichOneof("data"):
                    data = getattr(metric, kind)
                    is_cumulative = kind in SUMMING and data.aggregation_temporality == CUMULATIVE
                    for point in quota.parts(data.data_points):
                        value = point.sum if kind not in NUMBERS else getattr(point, point.WhichOneof("value") or "", None)
                        attributes, times = _attributes(point.attributes, quota), (point.start_time_unix_nano, point.time_unix_nano)
                        yield Point(source, metric.name, attributes, *times, value, is_cumulative)


def _json_points(request: JsonMetrics, quota: Quota) -> Iterator[Point]:
    for group in quota.parts(request.resource_metrics):
        for scoped in quota.parts(group.scope_metrics):
            source = _json_source(group.resource, scoped.scope, quota)
            for metric in quota.parts(scoped.metrics):
                for kind in POINT_KINDS:
                    if (data := getattr(metric, kind)) is not None:
                        is_cumulative = kind in SUMMING and data.aggregation_temporality in (
                            CUMULATIVE,
                            "AGGREGATION_TEMPORALITY_CUMULATIVE",
                        )
                        for point in quota.parts(data.data_points):
                            attributes, times = (
                                _json_attributes(point.attributes, quota),
                                (point.start_time_unix_nano, point.time_unix_nano),
                            )
                            yield Point(
                                source,
                                metric.name or "",
                                attributes,
                                nanoseconds(times[0]),
                                nanoseconds(times[1]),
                                point.value,
                                is_cumulative,
                            )


def _source(attributes: Sequence[Any], scope: str, quota: Quota) -> Source:
    return Source(_attributes(attributes, quota), scope)


def _json_source(resource: JsonResource | None, scope: JsonScope | None, quota: Quota) -> Source:
    return Source(_json_attributes(resource.attributes if resource else None, quota), (scope.name if scope else "") or "")


def _attributes(attributes: Sequence[Any], quota: Quota, lists: dict[str, tuple[str, ...]] | None = None) -> dict[str, Scalar]:
    """Attributes of one value. Those that are lists of text go into `lists`, where that is wanted."""
    found: dict[str, Scalar] = {}
    for attribute in quota.parts(attributes):
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[attribute.key] = getattr(attribute.value, kind)
        elif kind == "array_value" and lists is not None:
            lists[attribute.key] = tuple(item.string_value for item in quota.parts(attribute.value.array_value.values) if item.string_value)
    return found


def _json_attributes(
    attributes: list[JsonAttribute] | None, quota: Quota, lists: dict[str, tuple[str, ...]] | None = None
) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for attribute in quota.parts(attributes):
        if attribute.value is None:
            continue
        scalar = attribute.value.scalar
        if scalar is not None:
            found[attribute.key] = scalar
        elif lists is not None and attribute.value.array_value is not None:
            items = (item.string_value for item in quota.parts(attribute.value.array_value.values))
            lists[attribute.key] = tuple(item for item in items if isinstance(item, str) and item)
    return found

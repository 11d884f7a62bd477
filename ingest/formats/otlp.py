"""Turns the log records or spans of one OTLP request into usage events, each client's by its own format."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.formats import Client, client_by_event, client_of, conventions
from ingest.formats.batch import Parsed, Refusal
from ingest.formats.event import Fault, UsageEvent
from ingest.formats.fields import event_of
from ingest.formats.labels import Attributes
from ingest.formats.nesting import Call, SpanKey, calls_once
from ingest.formats.points import counts_by_metrics, tells_of_tokens
from ingest.formats.telemetry import LogRecord, Point, Source, Span


class Sighting(msgspec.Struct, frozen=True):
    """Where in the traces an event was seen: its own spans, those around it, which of these came in no request yet, and whether an id names it."""

    spans: Sequence[SpanKey]
    above: Sequence[SpanKey]
    beyond: Sequence[SpanKey]
    is_named: bool


class ParsedTelemetry(msgspec.Struct, frozen=True):
    """The usage in a request, and how many records of which clients tell of usage that no format here can read.

    `sightings` has one for each event of spans, in their order.
    """

    usage: Parsed
    unread: Counter[str]
    sightings: list[Sighting] = []


class Clients:
    """Whose telemetry each source of a request is, looked up once."""

    def __init__(self) -> None:
        self.found: dict[int, Client | None] = {}

    def of(self, source: Source) -> Client | None:
        key = id(source)
        if key not in self.found:
            self.found[key] = client_of(source)
        return self.found[key]


def parse(records: Sequence[LogRecord]) -> ParsedTelemetry:
    """The calls that log records report. Positions and indexes count records."""
    clients = Clients()
    unread: Counter[str] = Counter()
    found: list[tuple[int, dict[str, Any]]] = []
    for index, record in enumerate(records):
        if counts_by_metrics(record.source):
            continue
        client = clients.of(record.source) or client_by_event(record)
        if client is None:
            if tells_of_usage(record.attributes) and not is_repeated(record):
                unread[record.source.client] += 1
        elif (reader := getattr(client, "event_fields", None)) is not None and (fields := reader(record)) is not None:
            found.append((index, fields))
    return ParsedTelemetry(with_lost(validated(found), records), unread)


def parse_spans(spans: Sequence[Span]) -> ParsedTelemetry:
    """The model calls among spans, each once. Positions and indexes count spans."""
    clients = Clients()
    unread: Counter[str] = Counter()
    found: list[Call] = []
    for index, span in enumerate(spans):
        if counts_by_metrics(span.source):
            continue
        client = clients.of(span.source)
        reader = client if client is not None else next((one for one in conventions() if one.speaks(span)), None)
        if reader is None:
            unread[span.source.client] += tells_of_usage(span.attributes)
        elif (read := getattr(reader, "call_fields", None)) is not None and (fields := read(span)) is not None:
            found.append(Call(index, span, fields))
    calls = calls_once(found, spans)
    usage = validated([(call.index, call.fields) for call in calls])
    placed = {call.index: Sighting(call.spans, call.above, call.beyond, call.request_id is not None) for call in calls}
    return ParsedTelemetry(with_lost(usage, spans), +unread, [placed[position] for position in usage.positions or ()])


def misshapen(items: Sequence[Any]) -> list[Refusal]:
    """A refusal for each record of the request that could not be read. Of JSON nothing is kept, for it may hold prompts; of a protobuf its outline."""
    wrong = Fault("wrong_shape", "The record is not of the shape that OTLP/JSON gives it.", "")
    broken = Fault("broken_protobuf", "The record is no protobuf of its kind.", "")
    lost = [Refusal(0, wrong) for _ in range(getattr(items, "lost", 0))]
    return lost + [Refusal(0, broken, payload=outline) for outline in getattr(items, "outlines", ())]


def with_lost(usage: Parsed, items: Sequence[Any]) -> Parsed:
    return msgspec.structs.replace(usage, refused=[*usage.refused, *misshapen(items)])


def unread_points(points: Sequence[Point]) -> Counter[str]:
    """How many points of which clients count tokens under names that no format here knows."""
    clients = Clients()
    return Counter(point.source.client for point in points if tells_of_tokens(point.metric) and clients.of(point.source) is None)


def tells_of_usage(attributes: Attributes) -> bool:
    """Whether something that nobody here understands counts tokens."""
    return any("token" in key.lower() and isinstance(value, int | float) for key, value in attributes.items())


def is_repeated(record: LogRecord) -> bool:
    """Whether the record is one of the GenAI conventions' events, which repeat what the span says that they belong to."""
    return record.kind.startswith("gen_ai.") or any(key.startswith("gen_ai.") for key in record.attributes)


def validated(found: Sequence[tuple[int, dict[str, Any]]]) -> Parsed:
    """The events with these fields, those that break a rule refused one by one."""
    events: list[UsageEvent] = []
    positions: list[int] = []
    refused: list[Refusal] = []
    for index, fields in found:
        event = event_of(fields, index)
        if isinstance(event, Refusal):
            refused.append(event)
        else:
            events.append(event)
            positions.append(index)
    return Parsed(events, refused, positions)

"""Turns the log records of one OTLP request into usage events, each client's by its own format."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.formats import LogFormat, log_format_of
from ingest.formats.batch import Parsed, Refusal, fault_of
from ingest.formats.event import Fault, UsageEvent, fault_in_full
from ingest.formats.telemetry import LogRecord


class ParsedLogs(msgspec.Struct, frozen=True):
    """The usage in a request's log records, and how many records of which clients no format here knows."""

    usage: Parsed
    unread: Counter[str]


def parse(records: Sequence[LogRecord]) -> ParsedLogs:
    """The calls that the records report. Positions and indexes count records."""
    events: list[UsageEvent] = []
    positions: list[int] = []
    refused: list[Refusal] = []
    unread: Counter[str] = Counter()
    formats: dict[int, LogFormat | None] = {}
    for index, record in enumerate(records):
        key = id(record.source)
        if key not in formats:
            formats[key] = log_format_of(record.source)
        reader = formats[key]
        if reader is None:
            unread[record.source.client] += 1
            continue
        fields = reader.event_fields(record)
        if fields is None:
            continue
        found = event_of(fields, index)
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            events.append(found)
            positions.append(index)
    return ParsedLogs(Parsed(events, refused, positions), unread)


def event_of(fields: dict[str, Any], index: int) -> UsageEvent | Refusal:
    """The event with these fields, or why it is refused. What is kept of a refused one is the fields, never the record."""
    try:
        event = msgspec.convert(fields, UsageEvent)
    except msgspec.ValidationError as error:
        return refusal(fields, index, fault_of(error))
    broken = fault_in_full(event)
    return refusal(fields, index, broken) if broken else event


def refusal(fields: dict[str, Any], index: int, broken: Fault) -> Refusal:
    reported = str(fields.get("request_id") or fields.get("id") or "")[:200]
    return Refusal(index, broken, reported, msgspec.json.encode(fields))

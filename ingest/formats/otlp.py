"""Turns the log records of one OTLP request into usage events, each client's by its own format."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.formats import LogFormat, log_format_of
from ingest.formats.batch import Parsed, Refusal, described
from ingest.formats.event import UsageEvent, control_character_field, fault
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
        return refusal(fields, index, *described(str(error)))
    if broken := fault(event):
        return refusal(fields, index, *broken)
    if field := control_character_field(event):
        return refusal(fields, index, "control_character", f"`{field}` holds a control character.", field)
    return event


def refusal(fields: dict[str, Any], index: int, code: str, reason: str, field: str) -> Refusal:  # noqa: PLR0917
    reported = str(fields.get("request_id") or fields.get("id") or "")[:200]
    return Refusal(index, code, reason, field, reported, msgspec.json.encode(fields))

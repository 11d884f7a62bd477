"""Files of telemetry that Gemini CLI and its forks write (GEMINI_TELEMETRY_OUTFILE): JSON objects of the OpenTelemetry SDK, one after the other.

They are the log records that would be exported, among spans and metrics that repeat them, and are read by the client's own format.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, listed, mapping
from ingest.formats import client_by_event, client_of
from ingest.formats.telemetry import LogRecord, Source

NAME = "telemetry-file"


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if "hrTime" not in record or not isinstance(record.get("attributes"), dict):
            return
        source = Source(
            scalars(attributes_of(mapping(record.get("resource")))), str(mapping(record.get("instrumentationScope")).get("name", ""))
        )
        told = LogRecord(
            source, scalars(record["attributes"]), "", nanoseconds(record["hrTime"]), nanoseconds(record.get("hrTimeObserved"))
        )
        reader = getattr(client_of(source) or client_by_event(told), "event_fields", None)
        if reader is not None and (fields := reader(told)) is not None:
            yield fields


def attributes_of(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The resource's attributes, which the SDK keeps as pairs."""
    pairs = [pair for pair in listed(resource.get("_rawAttributes")) if isinstance(pair, list) and len(pair) == 2]
    return {str(name): value for name, value in pairs} or mapping(resource.get("attributes"))


def scalars(attributes: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if isinstance(value, str | int | float | bool)}


def nanoseconds(time: object) -> int:
    """The SDK's [seconds, nanoseconds]; 0 for what is none."""
    parts = listed(time)
    return parts[0] * 1_000_000_000 + parts[1] if len(parts) == 2 and all(isinstance(part, int) for part in parts) else 0

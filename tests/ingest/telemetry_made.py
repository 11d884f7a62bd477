"""Spans and metrics as instrumentations write them, small enough to read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.formats.event import UsageEvent
from ingest.formats.otlp import parse_spans
from ingest.formats.telemetry import Source, Span
from ingest.formats.telemetry import spans as spans_read

NOON = 1_795_262_400_000_000_000
SECOND = 1_000_000_000
KINDS = {bool: "boolValue", int: "intValue", str: "stringValue", float: "doubleValue"}
SERVICE = {"service.name": "checkout-agent"}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values as OTLP/JSON has attributes; a list is one of text."""
    return [
        {"key": key, "value": {"arrayValue": {"values": [{"stringValue": item} for item in value]}} if isinstance(value, list) else {KINDS[type(value)]: value}}
        for key, value in values.items()
    ]


def span(
    values: Mapping[str, Any], *, trace: int = 1, number: int = 1, parent: int = 0, start: float = 0.0, end: float = 1.0, is_error: bool = False, **others: Any
) -> dict[str, Any]:
    """A span that lasts from `start` to `end` seconds after noon."""
    return {
        "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "parentSpanId": f"{parent:016x}" if parent else "",
        "startTimeUnixNano": str(NOON + round(start * SECOND)), "endTimeUnixNano": str(NOON + round(end * SECOND)),
        "attributes": attributes(values), "status": {"code": 2} if is_error else {}, **others,
    }  # fmt: skip


def request(*scopes: tuple[str, Sequence[dict[str, Any]]], resource: Mapping[str, Any] = SERVICE) -> bytes:
    """A request of (scope, spans)."""
    scoped = [{"scope": {"name": scope}, "spans": list(spans)} for scope, spans in scopes]
    return json.dumps({"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": scoped}]}).encode()


def calls(*scopes: tuple[str, Sequence[dict[str, Any]]], resource: Mapping[str, Any] = SERVICE) -> list[UsageEvent]:
    """The events of such a request, none of which may be refused."""
    found = parse_spans(spans_read(request(*scopes, resource=resource), is_json=True))
    assert not found.usage.refused
    return found.usage.events


def call(values: Mapping[str, Any], scope: str = "some.instrumentation", **others: Any) -> UsageEvent:
    """The one event of one span."""
    (found,) = calls((scope, [span(values, **others)]))
    return found


def none_of(values: Mapping[str, Any], scope: str = "some.instrumentation") -> bool:
    """Whether the span counts as nothing."""
    return calls((scope, [span(values)])) == []


def read(values: Mapping[str, Any], scope: str = "some.instrumentation") -> Span:
    return Span(Source(SERVICE, scope), values, {}, "a span", "a" * 32, "b" * 16, "", NOON, NOON + SECOND, False, "")


def points(*series: dict[str, Any], metric: str = "gen_ai.client.token.usage", temporality: int = 2, resource: Mapping[str, Any] | None = None) -> bytes:
    """A metrics request of one histogram; `series` are what `point` gives."""
    labels = SERVICE | {"weighhouse.signal": "metrics"} if resource is None else resource
    made = {"name": metric, "histogram": {"aggregationTemporality": temporality, "dataPoints": list(series)}}
    scoped = [{"scope": {"name": "my.metrics"}, "metrics": [made]}]
    return json.dumps({"resourceMetrics": [{"resource": {"attributes": attributes(labels)}, "scopeMetrics": scoped}]}).encode()


def point(value: float, *, at: float, start: float = 0.0, **labels: Any) -> dict[str, Any]:
    """A point that says `value` at `at` seconds after noon, of a stream that began at `start`."""
    told = {"gen_ai.token.type": "input", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"} | {
        name.replace("__", "."): found for name, found in labels.items()
    }
    return {
        "startTimeUnixNano": str(NOON + round(start * SECOND)), "timeUnixNano": str(NOON + round(at * SECOND)), "sum": value, "count": "1",
        "attributes": attributes(told),
    }  # fmt: skip

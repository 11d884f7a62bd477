"""Captured requests of real clients: how to read one, write it in the other encoding, cut it into several, and post it."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rest_framework.test import APIClient

from ingest.formats import otlp, telemetry
from ingest.formats.otlp import ParsedTelemetry

FOLDER = Path(__file__).parent
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
REQUESTS = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest, "traces": ExportTraceServiceRequest}
ITEMS = {"logs": ("scopeLogs", "logRecords"), "metrics": ("scopeMetrics", "metrics"), "traces": ("scopeSpans", "spans")}
IDS = ("traceId", "spanId", "parentSpanId")


class Capture(msgspec.Struct):
    """One request: the address under /otlp, the content type, and the body's bytes."""

    path: str
    content_type: str
    body: bytes

    @property
    def signal(self) -> str:
        """logs, metrics or traces."""
        return self.path.rpartition("/")[2]

    @property
    def is_json(self) -> bool:
        return self.content_type == JSON

    @property
    def document(self) -> dict[str, Any]:
        """The request as OTLP/JSON has it."""
        if self.is_json:
            return cast("dict[str, Any]", json.loads(self.body))
        document = json_format.MessageToDict(REQUESTS[self.signal].FromString(self.body), use_integers_for_enums=True)
        with_ids(document, lambda value: base64.b64decode(value).hex())
        return document

    def parsed(self) -> ParsedTelemetry:
        """What is made of it, without the door."""
        if self.signal == "logs":
            return otlp.parse(telemetry.log_records(self.body, is_json=self.is_json))
        return otlp.parse_spans(telemetry.spans(self.body, is_json=self.is_json))

    def post(self, api: APIClient, **headers: Any) -> Any:
        return api.generic("POST", f"/otlp{self.path}", cast("str", self.body), content_type=self.content_type, **headers)


def capture(name: str) -> Capture:
    """The capture in a file such as "claude-code/001"."""
    found = json.loads((FOLDER / f"{name}.json").read_text())
    body = base64.b64decode(found["body_b64"]) if "body_b64" in found else json.dumps(found["body"]).encode()
    return Capture(found["path"], found["content_type"], body)


def captures() -> Iterator[tuple[str, Capture]]:
    """Every capture of an OpenTelemetry request, with its name."""
    for path in sorted(FOLDER.glob("*/*.json")):
        found = json.loads(path.read_text())
        if isinstance(found, dict) and str(found.get("path")).startswith("/v1/"):
            name = f"{path.parent.name}/{path.stem}"
            yield name, capture(name)


CAPTURES_OF_OTLP = dict(captures())


def written(document: dict[str, Any], like: Capture) -> Capture:
    """The document as a request to the address of another, in JSON."""
    return Capture(like.path, JSON, json.dumps(document).encode())


def twin(found: Capture) -> Capture:
    """The same request in the other encoding."""
    document = found.document
    if not found.is_json:
        return written(document, found)
    with_ids(document, lambda value: base64.b64encode(bytes.fromhex(value)).decode())
    request = json_format.ParseDict(document, REQUESTS[found.signal](), ignore_unknown_fields=True)
    return Capture(found.path, PROTOBUF, request.SerializeToString())


def singles(found: Capture) -> list[Capture]:
    """A request for each of its records, spans or metrics."""
    scoped_name, items_name = ITEMS[found.signal]
    ((name, groups),) = found.document.items()
    return [
        written({name: [group | {scoped_name: [scoped | {items_name: [item]}]}]}, found)
        for group in groups
        for scoped in group[scoped_name]
        for item in scoped.get(items_name, ())
    ]


def joined(parts: list[Capture]) -> Capture:
    """One request of several to the same address."""
    documents = [part.document for part in parts]
    (name,) = documents[0]
    return written({name: [group for document in documents for group in document[name]]}, parts[0])


def with_ids(node: Any, change: Any) -> None:
    """Rewrites every trace's and span's id in a document."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, dict | list):
            with_ids(value, change)
        elif key in IDS and value:
            node[key] = change(value)

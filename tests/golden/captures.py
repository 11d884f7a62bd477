"""Captured requests of real clients, and how to post one."""

import base64
import json
from pathlib import Path
from typing import Any, cast

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from rest_framework.test import APIClient

FOLDER = Path(__file__).parent
JSON = "application/json"
PROTOBUF = "application/x-protobuf"


class Capture(msgspec.Struct):
    """One request: the address under /otlp, the content type, and the body's bytes."""

    path: str
    content_type: str
    body: bytes

    def post(self, api: APIClient, **headers: Any) -> Any:
        return api.generic("POST", f"/otlp{self.path}", cast("str", self.body), content_type=self.content_type, **headers)


def capture(name: str) -> Capture:
    """The capture in a file such as "claude-code/001"."""
    found = json.loads((FOLDER / f"{name}.json").read_text())
    body = base64.b64decode(found["body_b64"]) if "body_b64" in found else json.dumps(found["body"]).encode()
    return Capture(found["path"], found["content_type"], body)


def protobuf_twin(found: Capture) -> Capture:
    """The same log records in the other encoding."""
    request = ExportLogsServiceRequest()
    for group in json.loads(found.body)["resourceLogs"]:
        into = request.resource_logs.add()
        _add(into.resource.attributes, group["resource"]["attributes"])
        for scoped in group["scopeLogs"]:
            scope = into.scope_logs.add()
            scope.scope.name = scoped["scope"]["name"]
            for record in scoped["logRecords"]:
                made = scope.log_records.add(time_unix_nano=int(record["timeUnixNano"]))
                made.body.string_value = record["body"]["stringValue"]
                _add(made.attributes, record["attributes"])
    return Capture(found.path, PROTOBUF, request.SerializeToString())


def _add(into: Any, attributes: list[dict[str, Any]]) -> None:
    names = {"stringValue": "string_value", "intValue": "int_value", "doubleValue": "double_value", "boolValue": "bool_value"}
    for attribute in attributes:
        kind, value = next(iter(attribute["value"].items()))
        if kind in names:
            made: dict[str, Any] = {names[kind]: int(value) if kind == "intValue" else value}
            into.add(key=attribute["key"], value=AnyValue(**made))

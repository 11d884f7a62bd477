"""The shapes of OTLP/JSON as the specification maps them: camelCase names, unknown ones ignored, 64-bit integers as text or number."""

import base64
import binascii
import re
from typing import Any

import msgspec

from ingest.formats.scalars import Scalar, whole

HEX = re.compile(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{16})")


class Json(msgspec.Struct, rename="camel", gc=False):
    """One object of OTLP/JSON."""


class JsonPlain(Json):
    """A value of one kind. Exporters of some languages write a number where text is due, and the other way round."""

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


class JsonList(Json):
    values: list[JsonPlain] | None = None


class JsonValue(JsonPlain):
    array_value: JsonList | None = None


class JsonAttribute(Json):
    key: str = ""
    value: JsonValue | None = None


class JsonScope(Json):
    name: str | None = ""


class JsonResource(Json):
    attributes: list[JsonAttribute] | None = None


class JsonRecord(Json):
    time_unix_nano: int | float | str | None = 0
    observed_time_unix_nano: int | float | str | None = 0
    body: JsonPlain | None = None
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


class JsonPoint(Json):
    start_time_unix_nano: int | float | str | None = 0
    time_unix_nano: int | float | str | None = 0
    as_int: Scalar | None = None
    as_double: Scalar | None = None
    sum: Scalar | None = None
    attributes: list[JsonAttribute] | None = None

    @property
    def value(self) -> Scalar | None:
        """A number's value, or a histogram's sum."""
        return next((value for value in (self.as_int, self.as_double, self.sum) if value is not None), None)


class JsonPoints(Json):
    data_points: list[JsonPoint] | None = None
    aggregation_temporality: int | str | None = 0


class JsonMetric(Json):
    name: str | None = ""
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


class JsonStatus(Json):
    code: int | str | None = 0


class JsonEvent(Json):
    attributes: list[JsonAttribute] | None = None


class JsonSpan(Json):
    trace_id: str | None = ""
    span_id: str | None = ""
    parent_span_id: str | None = ""
    name: str | None = ""
    start_time_unix_nano: int | float | str | None = 0
    end_time_unix_nano: int | float | str | None = 0
    attributes: list[JsonAttribute] | None = None
    events: list[JsonEvent] | None = None
    status: JsonStatus | None = None


class JsonScopeSpans(Json):
    scope: JsonScope | None = None
    spans: list[JsonSpan] | None = None


class JsonResourceSpans(Json):
    resource: JsonResource | None = None
    scope_spans: list[JsonScopeSpans] | None = None


class JsonSpans(Json, kw_only=True):
    resource_spans: list[JsonResourceSpans] | None


LEVELS: dict[type[Any], tuple[str, str, str, type[Any]]] = {
    JsonLogs: ("resourceLogs", "scopeLogs", "logRecords", JsonRecord),
    JsonMetrics: ("resourceMetrics", "scopeMetrics", "metrics", JsonMetric),
    JsonSpans: ("resourceSpans", "scopeSpans", "spans", JsonSpan),
}


def salvaged(document: Any, shape: type[Any]) -> tuple[Any, int] | None:
    """(the request without its records that are of another shape, how many those are); None where even what holds them is none.

    What is odd about a resource or a scope is left out, and its records are read as if it said nothing of that.
    """
    top, middle, leaf, item_shape = LEVELS[shape]
    groups = document.get(top) if isinstance(document, dict) else None
    if not isinstance(groups, list):
        return None
    lost, kept = 0, []
    for group in groups:
        if not isinstance(group, dict) or not isinstance(scopes := group.get(middle) or [], list):
            lost += 1
            continue
        found = []
        for scoped in scopes:
            items = scoped.get(leaf) or [] if isinstance(scoped, dict) else None
            if not isinstance(items, list):
                lost += 1
                continue
            good = [item for item in items if fits(item, item_shape)]
            lost += len(items) - len(good)
            found.append({"scope": scoped.get("scope") if fits(scoped.get("scope"), JsonScope) else None, leaf: good})
        kept.append({"resource": _resource(group.get("resource")), middle: found})
    return msgspec.convert({top: kept}, shape), lost


def _resource(resource: Any) -> dict[str, Any]:
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    return {"attributes": [one for one in attributes if fits(one, JsonAttribute)] if isinstance(attributes, list) else []}


def fits(value: Any, shape: type[Any]) -> bool:
    """Whether a value is of a shape."""
    try:
        msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def nanoseconds(value: float | str | None) -> int:
    """The time; 0, which is how a time that is not known is said, for what is no number."""
    number = whole(value) if isinstance(value, str) else value
    return 0 if number is None or isinstance(number, str) or number != number else int(number)  # noqa: PLR0124


def hex_id(value: str | None) -> str:
    """A trace's or span's id in hexadecimal, as the specification has it, also where a general protobuf encoder wrote base64."""
    if not value or HEX.fullmatch(value):
        return (value or "").lower()
    try:
        return base64.b64decode(value, validate=True).hex()
    except (binascii.Error, ValueError):
        return value

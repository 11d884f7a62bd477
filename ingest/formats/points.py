"""Token counts in metrics, for clients that report them nowhere better: which points count tokens, of what kind and of which call's model. Pure.

Metrics repeat what log records and spans say, without saying which call it was. So they are read of those clients alone whose owner
asks for it on the resource: `weighhouse.signal=metrics`. Then none of their records and spans counts.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from governance.ids import hash16
from governance.pricing.catalogue import provider_family
from ingest.formats.labels import first, labelled, said, service, tags_of
from ingest.formats.scalars import instant, text
from ingest.formats.telemetry import Point, Source

SIGNAL = "weighhouse.signal"
METRICS = "metrics"
# By metric: the attribute that names the kind of tokens, and the bucket of each kind. Series that overlap (cache within input) are left out:
# a point cannot be made less by another that may come in another request.
METERS: dict[str, tuple[str, dict[str, str]]] = {
    "claude_code.token.usage": (
        "type",
        {"input": "input_tokens", "output": "output_tokens", "cacheRead": "cache_read_tokens", "cacheCreation": "cache_write_5m_tokens"},
    ),
    "gen_ai.client.token.usage": (
        "gen_ai.token.type",
        {"input": "input_tokens", "output": "output_tokens", "completion": "output_tokens", "prompt": "input_tokens"},
    ),
}
MODELS = ("gen_ai.response.model", "gen_ai.request.model", "model")
PROVIDERS = ("gen_ai.provider.name", "gen_ai.system")
SESSIONS = ("session.id", "gen_ai.conversation.id")


# Beyond it a count is none: it would be refused as an event, and digits by the million take for ever to write out.
MOST_TOKENS = 10**18


class Meter(msgspec.Struct, frozen=True):
    """One point that counts tokens. `stream` names its stream since its beginning, `id` the point; `value` is as reported."""

    point: Point
    bucket: str
    stream: str
    value: Decimal

    @property
    def id(self) -> str:
        return f"{self.stream}:{self.point.time_unix_nano}"


def counts_by_metrics(source: Source) -> bool:
    """Whether the source's owner wants its metrics counted, and so nothing else of it."""
    return str(source.resource.get(SIGNAL, "")).strip().lower() == METRICS


def meters(points: Sequence[Point]) -> list[Meter]:
    """The points that are to be counted."""
    return [found for point in points if counts_by_metrics(point.source) and (found := meter(point)) is not None]


def meter(point: Point) -> Meter | None:
    kind, buckets = METERS.get(point.metric, ("", {}))
    bucket = buckets.get(str(point.attributes.get(kind, "")))
    try:
        value = None if point.value is None or isinstance(point.value, bool) else Decimal(str(point.value))
    except InvalidOperation:
        return None
    if bucket is None or value is None or not value.is_finite() or not 0 <= value < MOST_TOKENS:
        return None
    return Meter(point, bucket, stream_of(point), value)


def stream_of(point: Point) -> str:
    """One name for all points of a stream since it began: resource, scope, metric, sorted attributes and start. Never the value."""
    labels = (f"{key}={value}" for attributes in (point.source.resource, point.attributes) for key, value in sorted(attributes.items()))
    return hash16(point.source.scope, point.metric, str(point.start_unix_nano), *labels).hex


def event_fields(found: Meter, tokens: int) -> dict[str, Any]:
    """The event that stands for what a stream counted up to this point. How many calls it was is not known."""
    point = found.point
    attributes, resource = point.attributes, point.source.resource
    named = first(attributes, PROVIDERS, 80)
    return said({
        "occurred_at": instant(point.time_unix_nano or point.start_unix_nano),
        "model": first(attributes, MODELS) or "unknown",
        "provider": (provider_family(named) or None) if named else None,
        "harness": service(resource),
        "harness_version": text(resource.get("service.version"), 80),
        "session": first(attributes, SESSIONS),
        "id": found.id,
        found.bucket: tokens,
        "tags": tags_of({"signal": METRICS}, {key: value for key, value in resource.items() if key != SIGNAL}),
        **labelled({**resource, **attributes}),
    })  # fmt: skip


def tells_of_tokens(metric: str) -> bool:
    """Whether a metric of a client that nobody here knows counts tokens."""
    return "token" in metric.lower() and metric not in METERS and not metric.startswith(("gen_ai.", "llm."))

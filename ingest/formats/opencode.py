"""OpenCode's log records as its telemetry plugin (@devtheops/opencode-plugin-otel) writes them: one event per `api_request` and per `api_error`.

Input excludes cached tokens, output excludes reasoning. Written from the plugin's source. A record has no id: its session, time, model
and counts tell calls apart. The plugin's spans and metrics repeat the same and are not read; OpenCode's own spans (`experimental.openTelemetry`)
are those of the Vercel AI SDK, and count where they have tokens, which 1.18.33's had not.
"""

from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats import vercel_ai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, labelled, picked, said, tags_of
from ingest.formats.scalars import amount, count, milliseconds, raw_text, text
from ingest.formats.telemetry import LogRecord, Source, Span

NAME = "opencode"
COUNTS = ("input_tokens", "output_tokens", "reasoning_tokens", "cache_read_tokens", "cache_creation_tokens")
RECORD_TAGS = ("agent", "agent.name", "agent.type")
# What OpenCode calls its environment is the channel that it was installed from.
CHANNEL = ("environment", "latest")


def reads(source: Source) -> bool:
    return source.resource.get("service.name") == NAME or source.scope.startswith(("com.opencode", NAME))


def event_fields(record: LogRecord) -> dict[str, Any] | None:
    """The fields of the call that a record reports; None for records that report none."""
    attributes = record.attributes
    if record.kind not in ("api_request", "api_error"):
        return None
    named = text(attributes.get("provider"), 80) or ""
    told = "-".join(str(count(attributes.get(name)) if name in attributes else "") for name in COUNTS)
    fields = {
        "occurred_at": record.at,
        "model": text(attributes.get("model"), 200),
        "provider": provider_family(named) or None,
        "harness": NAME,
        "harness_version": text(record.source.resource.get("service.version"), 80),
        "session": raw_text(attributes.get("session.id")),
        "role": "subagent" if attributes.get("agent.type") == "subagent" else None,
        "latency_ms": milliseconds(attributes.get("duration_ms")),
        "id": f"{attributes.get('session.id')}:{record.time_unix_nano or record.observed_time_unix_nano}:{attributes.get('model')}:{told}",
        "tags": tags_of(picked(attributes, RECORD_TAGS), record.source.resource),
        **labelled({**record.source.resource, **attributes}),
        **(usage(attributes) if record.kind == "api_request" else {"status": "error"}),
    }
    return said(fields)


def usage(attributes: Attributes) -> dict[str, Any]:
    """The token buckets, and the cost by the prices that OpenCode's user set."""
    reported = Reported(
        input=attributes.get("input_tokens"),
        output=attributes.get("output_tokens"),
        cache_read=attributes.get("cache_read_tokens"),
        cache_write=attributes.get("cache_creation_tokens"),
        reasoning=attributes.get("reasoning_tokens"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=False) | {"reported_cost": amount(attributes.get("cost_usd"))}


def call_fields(span: Span) -> dict[str, Any] | None:
    fields = vercel_ai.call_fields(span) if vercel_ai.speaks(span) else None
    if not fields or "output_tokens" not in fields:
        return None
    return {name: value for name, value in fields.items() if (name, value) != CHANNEL}

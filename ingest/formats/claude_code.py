"""Claude Code's OpenTelemetry log records: one event per `api_request` and per `api_error`.

Input excludes cached tokens. Metrics, spans and the other log records repeat the same usage and are not read.
Prompt ids become `trace`, because one prompt's calls belong together; labels of OTEL_RESOURCE_ATTRIBUTES become
team, project, member and environment where their names say so, and tags otherwise.
"""

from decimal import Decimal
from typing import Any

from governance.ids import hash16
from governance.pricing.catalogue import provider_family
from ingest.formats.labels import Attributes, labelled, picked, said, tags_of
from ingest.formats.scalars import Scalar, amount, count, raw_text, text
from ingest.formats.telemetry import LogRecord, Source

NAME = "claude-code"
SCOPE = "com.anthropic.claude_code"
EVENTS = PREFIX = "claude_code."
# Of a record only these become tags: anything else in it may be text that somebody wrote. `user.id` hashes a device, not a person.
RECORD_TAGS = ("user.id", "organization.id", "query_source", "agent.name", "skill.name", "plugin.name", "effort", "status_code", "attempt")
MOST_ID = 200


def reads(source: Source) -> bool:
    """Whether Claude Code sent it; `service.name` can be overridden, its scopes cannot."""
    return source.scope.startswith(SCOPE) or source.resource.get("service.name") == NAME


def event_fields(record: LogRecord) -> dict[str, Any] | None:
    """The fields of the call a record reports; None for records that report none."""
    kind = record.kind.removeprefix(PREFIX)
    if kind not in ("api_request", "api_error"):
        return None
    attributes = record.attributes
    labels = {**record.source.resource, **attributes}
    fields = {
        "occurred_at": record.at,
        "model": text(attributes.get("model"), 200),
        "provider": provider(attributes),
        "harness": NAME,
        "harness_version": text(labels.get("service.version") or labels.get("app.version"), 80),
        "session": raw_text(attributes.get("session.id")),
        "trace": raw_text(attributes.get("prompt.id")),
        "role": "subagent" if is_subagent(attributes) else None,
        "latency_ms": count(attributes.get("duration_ms")),
        "ttft_ms": count(attributes.get("ttft_ms")),
        "tags": tags(record),
        **labelled(labels),
        **identity(record),
        **(usage(attributes) if kind == "api_request" else {"status": "error"}),
    }
    return said(fields)


def usage(attributes: Attributes) -> dict[str, Any]:
    """The token buckets and the client's own cost. A cache-write total without a split counts as five-minute writes."""
    five, hour = count(attributes.get("cache_creation_5m_tokens")), count(attributes.get("cache_creation_1h_tokens"))
    if five is None and hour is None:
        five = count(attributes.get("cache_creation_tokens"))
    return {
        "input_tokens": count(attributes.get("input_tokens")),
        "cache_read_tokens": count(attributes.get("cache_read_tokens")),
        "cache_write_5m_tokens": five,
        "cache_write_1h_tokens": hour,
        "output_tokens": count(attributes.get("output_tokens")),
        "reported_cost": cost(attributes),
    }


def identity(record: LogRecord) -> dict[str, str | None]:
    """The vendor's request id, else an id of our own making that is the same however often the record is exported.

    `event.sequence` begins again at 0 with each process of a session, so the time belongs to it. Records that lack one
    of these are told apart by all they say.
    """
    attributes = record.attributes
    if request_id := raw_text(attributes.get("request_id")):
        return {"request_id": request_id}
    when = attributes.get("event.timestamp") or record.time_unix_nano or record.observed_time_unix_nano
    session, sequence = attributes.get("session.id"), attributes.get("event.sequence")
    if session is not None and sequence is not None:
        return {"id": f"{session}:{sequence}:{when}"[:MOST_ID]}
    said = sorted(f"{key}={value}" for key, value in (*record.source.resource.items(), *attributes.items()))
    return {"id": f"{when}:{hash16(*said).hex}"[-MOST_ID:]}


def provider(attributes: Attributes) -> str:
    """Who bills. Claude Code names its own API `firstParty`; versions that say nothing use that one."""
    reported = text(attributes.get("anthropic.provider"), 80) or "firstparty"
    return provider_family(reported) or reported.lower()


def is_subagent(attributes: Attributes) -> bool:
    origin = str(attributes.get("query_source", ""))
    return origin.startswith(("subagent", "agent")) or "agent.name" in attributes


def tags(record: LogRecord) -> dict[str, str] | None:
    """Labels that have no field of their own."""
    own = picked(record.attributes, RECORD_TAGS)
    if record.attributes.get("speed") not in (None, "normal"):
        own["speed"] = record.attributes["speed"]
    if record.attributes.get("anthropic.custom_base_url") in (True, "true"):
        own["anthropic.custom_base_url"] = "true"
    return tags_of(own, record.source.resource)


def cost(attributes: Attributes) -> Decimal | Scalar | None:
    """The client's estimate in USD."""
    value = attributes.get("cost_usd")
    return amount(value) if value is not None else amount(attributes.get("cost_usd_micros"), shift=-6)

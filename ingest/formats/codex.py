"""Codex's OpenTelemetry log records: one event per completed response that has counts, and per request the API refused.

Input includes cached tokens, output includes reasoning. Of two `response.completed` records only the one with counts reports
the call, and no id: a conversation, its time and its counts tell one from another. Spans, of a response and of the turn
around it, and metrics repeat the same usage and are not read; nor are prompts, tools' arguments and outputs.
"""

from typing import Any

from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, labelled, picked, said, tags_of
from ingest.formats.scalars import count, milliseconds, raw_text, text
from ingest.formats.telemetry import LogRecord, Source

NAME = "codex"
EVENTS = "codex."
COMPLETED = ("codex.sse_event", "codex.websocket_event")
REFUSED = ("codex.api_request", "codex.websocket_request")
COUNTS = (
    "input_token_count",
    "output_token_count",
    "cached_token_count",
    "cache_write_token_count",
    "reasoning_token_count",
    "tool_token_count",
)
RECORD_TAGS = ("originator", "attempt", "user.account_id")
STATUS = "http.response.status_code"
LEAST_ERROR = 400


def reads(source: Source) -> bool:
    """Whether Codex sent it: `service.name` is the program of it that runs (codex_exec, codex_cli_rs, codex_vscode…), and so is the scope of its spans.

    A service of somebody's own may begin so as well, with the scope of whatever instruments it.
    """
    service = str(source.resource.get("service.name", ""))
    return source.scope.startswith("codex") or (service.lower().startswith("codex") and source.scope in ("", service))


def event_fields(record: LogRecord) -> dict[str, Any] | None:
    """The fields of the call that a record reports; None for records that report none."""
    attributes = record.attributes
    is_failed = record.kind in REFUSED and refused(attributes)
    if not is_failed and not (record.kind in COMPLETED and "input_token_count" in attributes):
        return None
    fields = {
        "occurred_at": record.at,
        "model": text(attributes.get("model") or attributes.get("slug"), 200),
        "harness": NAME,
        "harness_version": text(attributes.get("app.version") or record.source.resource.get("service.version"), 80),
        "session": raw_text(attributes.get("conversation.id")),
        "id": identity(record),
        "tags": tags_of(own_tags(attributes, is_failed=is_failed), record.source.resource),
        **labelled({**record.source.resource, **attributes}),
        **({"status": "error", "latency_ms": milliseconds(attributes.get("duration_ms"))} if is_failed else usage(attributes)),
    }
    return said(fields)


def refused(attributes: Attributes) -> bool:
    status = count(attributes.get(STATUS))
    return (isinstance(status, int) and status >= LEAST_ERROR) or "error.message" in attributes


def identity(record: LogRecord) -> str:
    """The conversation, the time as Codex wrote it, and the six counts or the attempt: nothing better exists."""
    attributes = record.attributes
    when = attributes.get("event.timestamp") or record.time_unix_nano or record.observed_time_unix_nano
    told = (
        [count(attributes.get(name)) for name in COUNTS]
        if "input_token_count" in attributes
        else [attributes.get("attempt"), attributes.get(STATUS)]
    )
    return f"{attributes.get('conversation.id')}:{when}:{'-'.join('' if value is None else str(value) for value in told)}"


def usage(attributes: Attributes) -> dict[str, Any]:
    """The token buckets. `tool_token_count` is the total."""
    reported = Reported(
        input=attributes.get("input_token_count"),
        output=attributes.get("output_token_count"),
        cache_read=attributes.get("cached_token_count"),
        cache_write=attributes.get("cache_write_token_count"),
        reasoning=attributes.get("reasoning_token_count"),
        total=attributes.get("tool_token_count"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True) | {"ttft_ms": milliseconds(attributes.get("ttft_ms"))}


def own_tags(attributes: Attributes, *, is_failed: bool) -> dict[str, Any]:
    tags: dict[str, Any] = dict(picked(attributes, RECORD_TAGS))
    if is_failed and STATUS in attributes:
        tags["status_code"] = attributes[STATUS]
    return tags

"""Gemini CLI's OpenTelemetry log records: one event per `api_response` and per `api_error`, of which there is one for each retry.

Input includes cached tokens; output does not include thoughts. `api_response` has no id, so a session, its time and its model
tell calls apart: the id on the twin record of the GenAI conventions would be another one whenever the two came in different
requests. Spans, metrics and the twin repeat the call with fewer counts and hold whole prompts: they are not read. Nor are
`service.version`, which is Node's, and `server.address`, which does not follow a changed base URL.
"""

from typing import Any

from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, labelled, picked, said, tags_of
from ingest.formats.scalars import count, milliseconds, raw_text, text
from ingest.formats.telemetry import LogRecord, Source

NAME = "gemini-cli"
EVENTS = PREFIX = "gemini_cli."
PROVIDER = "google"
RECORD_TAGS = ("installation.id", "auth_type", "error_type", "status_code")


def reads(source: Source) -> bool:
    return NAME in (source.resource.get("service.name"), source.scope)


def event_fields(record: LogRecord) -> dict[str, Any] | None:
    """The fields of the call that a record reports; None for records that report none."""
    return None if (kind := called(record, PREFIX)) is None else said({
        **described(record),
        "harness": NAME,
        "provider": PROVIDER,
        "id": f"{record.attributes.get('session.id')}:{when(record)}:{record.attributes.get('model')}",
        **(usage(record.attributes, reasoning_in_output=False) if kind == "api_response" else {"status": "error"}),
    })  # fmt: skip


def called(record: LogRecord, prefix: str) -> str | None:
    """Which of the two kinds of record that report a call it is. Forks of Gemini CLI have them under prefixes of their own."""
    kind = record.kind.removeprefix(prefix)
    return kind if record.kind.startswith(prefix) and kind in ("api_response", "api_error") else None


def described(record: LogRecord) -> dict[str, Any]:
    """What both kinds of record say of the call."""
    attributes, resource = record.attributes, record.source.resource
    role = text(attributes.get("role"), 40)
    tags = picked(attributes, RECORD_TAGS)
    if tags.get("status_code") in (200, "200"):
        del tags["status_code"]
    return {
        "occurred_at": record.at,
        "model": text(attributes.get("model"), 200),
        "session": raw_text(attributes.get("session.id") or resource.get("session.id")),
        "trace": raw_text(attributes.get("prompt_id")),
        "role": "subagent" if attributes.get("subagent_name") else None if role == "main" else role,
        "latency_ms": milliseconds(attributes.get("duration_ms")),
        "ttft_ms": milliseconds(attributes.get("ttft_ms")),
        "tags": tags_of(tags, resource),
        **labelled({**resource, **attributes}),
    }


def when(record: LogRecord) -> Any:
    return record.attributes.get("event.timestamp") or record.time_unix_nano or record.observed_time_unix_nano


def usage(attributes: Attributes, *, reasoning_in_output: bool) -> dict[str, Any]:
    reported = Reported(
        input=prompt(attributes),
        output=attributes.get("output_token_count"),
        cache_read=attributes.get("cached_content_token_count"),
        reasoning=attributes.get("thoughts_token_count"),
        total=attributes.get("total_token_count"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=reasoning_in_output)


def prompt(attributes: Attributes) -> Any:
    """The prompt with what tools' results took of it, which stands beside it, unless the total adds up without."""
    names = ("input_token_count", "tool_token_count", "output_token_count", "thoughts_token_count", "total_token_count")
    sent, tools, output, thoughts, total = (count(attributes.get(name)) for name in names)
    if not (isinstance(sent, int) and isinstance(tools, int) and tools):
        return attributes.get("input_token_count")
    answer, thought = (one if isinstance(one, int) else 0 for one in (output, thoughts))
    return sent if isinstance(total, int) and total - sent in (answer, answer + thought) else sent + tools

"""Qwen Code's OpenTelemetry log records: one event per `api_response` and per `api_error`, by the vendor's id of the answer.

A fork of Gemini CLI with the same names and the opposite meaning: output includes thoughts. Its spans have the same calls by the
same id, its metrics without a session: neither is read. `auth_type` and the span's provider name the protocol that was
spoken (openai), not who bills, so that the model decides.
"""

from typing import Any

from ingest.formats import gemini_cli
from ingest.formats.labels import said
from ingest.formats.scalars import raw_text, text
from ingest.formats.telemetry import LogRecord, Source

NAME = "qwen-code"
EVENTS = PREFIX = "qwen-code."
# Ways to sign in that do say who bills.
PROVIDERS = {"qwen-oauth": "alibaba", "anthropic": "anthropic", "gemini": "google", "gemini-api-key": "google", "vertex-ai": "google"}


def reads(source: Source) -> bool:
    return NAME in (source.resource.get("service.name"), source.scope)


def event_fields(record: LogRecord) -> dict[str, Any] | None:
    """The fields of the call that a record reports; None for records that report none."""
    kind = gemini_cli.called(record, PREFIX)
    if kind is None:
        return None
    attributes = record.attributes
    fields = {
        **gemini_cli.described(record),
        "harness": NAME,
        "harness_version": text(record.source.resource.get("service.version"), 80),
        "provider": PROVIDERS.get(str(attributes.get("auth_type", ""))),
        **(gemini_cli.usage(attributes, reasoning_in_output=True) if kind == "api_response" else {"status": "error"}),
    }
    answer = raw_text(attributes.get("response_id")) if kind == "api_response" else None
    named = (
        {"request_id": answer} if answer else {"id": f"{attributes.get('session.id')}:{gemini_cli.when(record)}:{attributes.get('model')}"}
    )
    return said({**fields, **named})

"""Model calls in the spans of Logfire's own instrumentations of vendors' libraries, in the GenAI conventions' names.

A stream is told of twice: by a span that ends with the answer's headers and says nothing of it, and by a log when it has been read, which is
a span without length and the call. The vendor's usage block stands whole beside the two counts that the conventions have names for.
"""

from typing import Any

from ingest.collector.readers import claude_code
from ingest.formats import genai, vendor_openai
from ingest.formats.labels import Attributes, said
from ingest.formats.scalars import json_of, milliseconds, raw_text
from ingest.formats.telemetry import Span

NAME = "logfire"
RANK = 3
KIND = "logfire.span_type"
BLOCK = "gen_ai.usage.raw"


def speaks(span: Span) -> bool:
    return KIND in span.attributes and span.source.scope.startswith("logfire.")


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    fields = genai.call_fields(span)
    if fields is None or attributes[KIND] == "pending_span":
        return None
    answer = raw_text(attributes.get("gen_ai.response.id") or attributes.get("response_id"))
    counts = usage(attributes)
    if attributes[KIND] == "span" and not answer and not counts and "status" not in fields:
        return None
    named = {"request_id": answer, "id": None} if answer else {}
    return said({**fields, **named, **counts, "latency_ms": milliseconds(attributes.get("duration"), shift=3) or fields.get("latency_ms")})


def usage(attributes: Attributes) -> dict[str, Any]:
    """The counts of the vendor's own block, by its maker's meaning of input; else those of the conventions."""
    block = json_of(attributes.get(BLOCK))
    if "cache_read_input_tokens" in block:
        return claude_code.tokens(block)
    return vendor_openai.tokens(block) if block else genai.usage(attributes)

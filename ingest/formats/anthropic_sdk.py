"""The spans that Anthropic's own SDK emits where an OpenTelemetry SDK is configured: the GenAI conventions, and cache writes by lifetime.

Another instrumentation of the same call tells of it too, in a span around this one or in another trace; the answer's id is the same.
"""

from typing import Any

from ingest.formats import genai
from ingest.formats.telemetry import Source, Span

NAME = "anthropic-sdk"
SCOPE = "com.anthropic.sdk."


def reads(source: Source) -> bool:
    return source.scope.startswith(SCOPE)


def call_fields(span: Span) -> dict[str, Any] | None:
    fields = genai.call_fields(span)
    return fields and {"provider": "anthropic", **fields}

"""GitHub Copilot's spans, from VS Code and from its command line: one event per `chat` span. Written from their documentation.

Agents' spans sum their calls up, and the events `gen_ai.client.inference.operation.details` and the metrics repeat them with
fewer counts, so only the spans are read. Input includes cached tokens, output includes reasoning.
"""

from typing import Any

from ingest.formats import genai
from ingest.formats.telemetry import Source, Span

NAME = "copilot"
SERVICES = ("copilot-chat", "github-copilot", "copilot-cli")
PROVIDER = "github-copilot"


def reads(source: Source) -> bool:
    return source.resource.get("service.name") in SERVICES or source.scope.startswith(("copilot-chat", "github.copilot", "github-copilot"))


def call_fields(span: Span) -> dict[str, Any] | None:
    fields = genai.call_fields(span)
    if fields is None:
        return None
    named = fields.get("provider")
    return fields | {"harness": NAME, "provider": PROVIDER if named in (None, "github", "copilot") else named}

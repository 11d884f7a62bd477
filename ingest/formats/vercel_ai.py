"""Model calls in spans of the Vercel AI SDK, and so of OpenCode with `experimental.openTelemetry`.

An `ai.streamText` span sums up the calls beneath it; only those (`….doStream`, `….doGenerate`, `….doEmbed`) are calls. Version 7
writes the GenAI conventions' names, which are read as such. Input includes what caches read, output includes reasoning, except that before version 6 Anthropic's
models were reported with their own counts, which leave caches out, and Gemini's without thoughts: these stand whole in `ai.response.providerMetadata`.
"""

from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.collector.readers import claude_code
from ingest.collector.readers.values import mapping
from ingest.formats import genai, vendor_gemini
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, first, said
from ingest.formats.scalars import Scalar, json_of, milliseconds, raw_text
from ingest.formats.telemetry import Span

NAME = "vercel-ai"
RANK = 1
OPERATION = "ai.operationId"
CALLS = (".doStream", ".doGenerate", ".doEmbed")
USAGE = {
    "input": ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
    "output": ("ai.usage.outputTokens", "ai.usage.completionTokens"),
    "cache_read": ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
    "cache_write": ("ai.usage.inputTokenDetails.cacheWriteTokens",),
    "reasoning": ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
    "total": ("ai.usage.totalTokens",),
}
METADATA = "ai.response.providerMetadata"
MEMBERS = ("ai.telemetry.metadata.userId", "ai.telemetry.metadata.user_id")
SESSIONS = ("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.session_id")


def speaks(span: Span) -> bool:
    return OPERATION in span.attributes


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if not str(attributes[OPERATION]).endswith(CALLS):
        return None
    fields = genai.described(span)
    fields |= {
        "model": first(attributes, ("ai.response.model", "gen_ai.response.model", "ai.model.id", "gen_ai.request.model")) or "unknown",
        "provider": provider(attributes),
        "session": fields["session"] or first(attributes, SESSIONS),
        "member": fields["member"] or first(attributes, MEMBERS, 254),
        "ttft_ms": fields["ttft_ms"] or milliseconds(attributes.get("ai.response.msToFirstChunk")),
    }
    answer = str(fields.get("request_id") or raw_text(attributes.get("ai.response.id")) or "")
    # An id that begins so is the SDK's own, made where the vendor gave none.
    own = genai.span_identity(span) | {"request_id": None} if answer.startswith("aitxt-") else {}
    return said({**fields, **({"request_id": answer, "id": None} if answer else {}), **own, **usage(attributes)})


def usage(attributes: Attributes) -> dict[str, Any]:
    metadata = json_of(attributes.get(METADATA))
    anthropic, google = mapping(metadata.get("anthropic")), mapping(mapping(metadata.get("google")).get("usageMetadata"))
    if google.get("promptTokenCount") is not None:
        return vendor_gemini.tokens(google)
    if isinstance(block := anthropic.get("usage"), dict) and block.get("input_tokens") is not None:
        return claude_code.tokens(block)
    own = {name: next((attributes[key] for key in keys if key in attributes), None) for name, keys in USAGE.items()}
    standard = genai.token_counts(attributes)
    merged: dict[str, Scalar | None] = {
        name: own.get(name) if own.get(name) is not None else getattr(standard, name) for name in Reported._fields
    }
    if anthropic.get("cacheCreationInputTokens") is not None or anthropic.get("cacheReadInputTokens") is not None:
        # Version 4 has what caches did in the metadata alone.
        merged |= {
            "cache_read": merged["cache_read"] or anthropic.get("cacheReadInputTokens"),
            "cache_write": anthropic.get("cacheCreationInputTokens"),
        }
    return disjoint(Reported(**merged), cache_in_input="ai.usage.inputTokens" in attributes or not anthropic, reasoning_in_output=True)


def provider(attributes: Attributes) -> str | None:
    """Of names such as `openai.chat` and `amazon-bedrock` what comes before the API."""
    named = first(attributes, ("ai.model.provider", *genai.PROVIDERS), 80) or ""
    return provider_family(named.partition(".")[0] if not named.startswith(("gcp.", "aws.", "azure.ai", "az.ai")) else named) or None

"""The usage in an answer that a gateway logged, told by its own names which vendor's way of counting it is. Pure."""

from collections.abc import Mapping
from typing import Any

from ingest.collector.readers import claude_code
from ingest.collector.readers.values import Fields, mapping
from ingest.formats import vendor_bedrock, vendor_gemini, vendor_openai

CACHES = ("cache_read_input_tokens", "cache_creation_input_tokens")


def tokens(answer: Mapping[str, Any]) -> Fields:
    """The disjoint buckets of an answer's usage block; none where it has none."""
    if isinstance(answer.get("usageMetadata"), dict):
        return vendor_gemini.tokens(answer["usageMetadata"])
    usage = mapping(answer.get("usage"))
    if "inputTokens" in usage:
        return vendor_bedrock.tokens(usage)
    if "input_tokens" in usage and "total_tokens" not in usage and any(name in usage for name in CACHES):
        return claude_code.tokens(usage)
    return vendor_openai.tokens(usage) if usage else {}

"""Bedrock's converse answers and the `metadata` event that ends its streams. Input excludes cached tokens.

The answer names no model: say it as a label. Its id is the request's, which SDKs put under `ResponseMetadata`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ingest.collector.readers.values import Fields, count, identifier, listed, mapping, text
from ingest.formats.answers import AnswerReader, unusual
from ingest.formats.buckets import Reported, disjoint

NAME = "bedrock"
METERED = "amazon-bedrock-invocationMetrics"


class Reader(AnswerReader):
    def joined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        answer: dict[str, Any] = {}
        for part in parts:
            answer |= {**part, **mapping(part.get("metadata"))}
        return answer

    def lacks_id(self, answer: Mapping[str, Any]) -> bool:
        """The id is in a header, which the body alone does not have."""
        return True

    def call(self, answer: Mapping[str, Any]) -> Fields:
        sent = mapping(answer.get("ResponseMetadata")) or mapping(answer.get("$metadata"))
        return {
            "request_id": identifier(sent.get("RequestId") or sent.get("requestId")),
            "provider": "aws",
            "model": text(answer.get("modelId")),
            **tokens(mapping(answer.get("usage")) or metered(answer)),
            "latency_ms": count(mapping(answer.get("metrics")).get("latencyMs") or mapping(answer.get(METERED)).get("invocationLatency")),
            "tags": unusual(
                service_tier=mapping(answer.get("serviceTier")).get("type"), latency=mapping(answer.get("performanceConfig")).get("latency")
            ),
        }


def metered(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The counts at the end of an InvokeModel stream under the names that converse has."""
    return {name.replace("TokenCount", "Tokens"): value for name, value in mapping(answer.get(METERED)).items()}


def tokens(usage: Mapping[str, Any]) -> Fields:
    written = {mapping(part).get("ttl"): mapping(part).get("inputTokens") for part in listed(usage.get("cacheDetails"))}
    reported = Reported(
        input=usage.get("inputTokens"),
        output=usage.get("outputTokens"),
        cache_read=usage.get("cacheReadInputTokens"),
        cache_write=usage.get("cacheWriteInputTokens"),
        cache_write_5m=written.get("5m"),
        cache_write_1h=written.get("1h"),
        total=usage.get("totalTokens"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=True)

"""OpenRouter's answers with their cost (`usage.cost`, in USD), and records of its generation lookup, whose native counts are what is billed.

Its broadcast traces are OTLP and go to /otlp/v1/traces.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ingest.collector.readers.values import Fields, amount, identifier, instant, mapping, tags, text
from ingest.formats import any_vendor, vendor_openai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds

NAME = "openrouter"


class Reader(vendor_openai.Reader):
    provider = "openrouter"
    gateway = "openrouter"

    def call(self, answer: Mapping[str, Any]) -> Fields:
        found = mapping(answer.get("data")) or answer
        if "total_cost" in found or "native_tokens_prompt" in found or "tokens_prompt" in found:
            return self.generation(found)
        fields = super().call(answer)
        usage = mapping(answer.get("usage"))
        served = tags(upstream=answer.get("provider"), is_byok="true" if usage.get("is_byok") is True else "")
        return {
            **fields,
            **any_vendor.tokens(answer),
            "gateway": self.gateway,
            "reported_cost": paid(usage),
            "tags": {**fields["tags"], **served},
        }

    def generation(self, found: Mapping[str, Any]) -> Fields:
        """A record of GET …/generation: counts of the model's own tokenizer where there are some, else the normalised ones."""
        reported = Reported(
            input=vendor_openai.first(found, "native_tokens_prompt", "tokens_prompt"),
            output=vendor_openai.first(found, "native_tokens_completion", "tokens_completion"),
            cache_read=found.get("native_tokens_cached"),
            cache_write=found.get("native_tokens_cache_creation"),
            reasoning=found.get("native_tokens_reasoning"),
        )
        return {
            "request_id": identifier(found.get("id")),
            "occurred_at": instant(found.get("created_at")),
            "provider": self.provider,
            "gateway": self.gateway,
            "model": text(found.get("model")),
            "member": text(found.get("external_user"), 254),
            **disjoint(reported, cache_in_input=True, reasoning_in_output=True),
            "session": identifier(found.get("session_id")),
            "latency_ms": milliseconds(found.get("generation_time") or found.get("latency")),
            "status": "error" if found.get("finish_reason") == "error" else "ok",
            "reported_cost": amount(found.get("total_cost")),
            "tags": tags(upstream=found.get("provider_name"), is_byok="true" if found.get("is_byok") is True else ""),
        }


def paid(usage: Mapping[str, Any]) -> str | None:
    """What the call cost in all: with a key of one's own OpenRouter's fee, and beside it what the upstream vendor bills."""
    own, upstream = amount(usage.get("cost")), amount(mapping(usage.get("cost_details")).get("upstream_inference_cost"))
    if usage.get("is_byok") is not True or upstream is None:
        return own
    return f"{Decimal(own or 0) + Decimal(upstream):f}"

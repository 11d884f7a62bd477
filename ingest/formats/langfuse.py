"""Model calls in spans of Langfuse's SDKs: observations of the types generation and embedding, with their counts in a JSON object.

In Langfuse's own words (`input`, `output`) each count leaves out the parts that stand beside it (`input_cached_tokens`,
`output_reasoning_tokens`); a total that says otherwise is believed. Under a vendor's words they count as that vendor counts. Spans of
agents, chains, tools and other types are no calls. Written from the source of langfuse-python (`_client/attributes.py`) and its documentation.
"""

from collections.abc import Mapping
from typing import Any

from ingest.formats import any_vendor, genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import first, said
from ingest.formats.scalars import amount, json_of
from ingest.formats.telemetry import Span

NAME = "langfuse"
RANK = 3
TYPE = "langfuse.observation.type"
TYPES = ("generation", "embedding")
MODELS = ("langfuse.observation.model.name", "langfuse.observation.model")
USAGE, COST = "langfuse.observation.usage_details", "langfuse.observation.cost_details"
LEVEL = "langfuse.observation.level"
SESSIONS, MEMBERS = ("langfuse.session.id",), ("langfuse.user.id",)
TAGS = "langfuse.trace.tags"
CACHE_READ = ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached")
CACHE_WRITE = ("input_cache_creation", "cache_creation_input_tokens", "input_cache_write")
REASONING = ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens")
VENDORS_WORDS = ("prompt_tokens", "input_tokens", "inputTokens")


def speaks(span: Span) -> bool:
    return TYPE in span.attributes


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if str(attributes[TYPE]).lower() not in TYPES:
        return None
    fields = genai.described(span)
    cost = json_of(attributes.get(COST)).get("total")
    tags = {**(fields["tags"] or {})}
    if labels := span.lists.get(TAGS):
        tags["langfuse.tags"] = ",".join(labels)
    return said({
        **fields,
        "model": first(attributes, MODELS) or fields["model"],
        "session": fields["session"] or first(attributes, SESSIONS),
        "member": fields["member"] or first(attributes, MEMBERS, 254),
        "environment": fields["environment"] or first(attributes, ("langfuse.environment",), 80),
        "status": "error" if str(attributes.get(LEVEL)).upper() == "ERROR" else fields["status"],
        "reported_cost": amount(cost) if isinstance(cost, int | float) else fields["reported_cost"],
        "tags": tags or None,
        **(usage(told) if (told := json_of(attributes.get(USAGE))) else genai.usage(attributes)),
    })  # fmt: skip


def usage(told: Mapping[str, Any]) -> dict[str, Any]:
    if any(name in told for name in VENDORS_WORDS):
        return any_vendor.tokens({"usage": told})
    reported = Reported(
        input=with_parts(told, "input", CACHE_READ + CACHE_WRITE),
        output=with_parts(told, "output", REASONING),
        cache_read=one_of(told, CACHE_READ),
        cache_write=one_of(told, CACHE_WRITE),
        reasoning=one_of(told, REASONING),
        total=told.get("total"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=False)


def one_of(told: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((told[name] for name in names if told.get(name) is not None), None)


def with_parts(told: Mapping[str, Any], name: str, others: tuple[str, ...]) -> Any:
    """The count with further parts that stand beside it, such as those of sound, which are no bucket of their own."""
    parts = [value for key, value in told.items() if key.startswith(f"{name}_") and key not in others and type(value) is int]
    whole = told.get(name)
    return whole + sum(parts) if type(whole) is int else whole

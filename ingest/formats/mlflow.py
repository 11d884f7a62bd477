"""Model calls in spans that MLflow Tracing exports: of the types CHAT_MODEL, LLM and EMBEDDING, with their counts in a JSON object.

Every attribute is written as JSON, text too. MLflow passes on what a vendor's library says: input includes what caches read and wrote but
for Anthropic and Bedrock, and its total is input and output in either case. The vendor's id stands in the answer alone, of which nothing
else is read. Spans of agents, chains, tools and other types are no calls. Written from MLflow's source (`tracing/constant.py`,
`anthropic/autolog.py`) and documentation.
"""

from typing import Any

import msgspec

from governance.pricing.catalogue import provider_family
from ingest.formats import genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import said
from ingest.formats.openinference import response_id
from ingest.formats.scalars import Scalar, amount, json_of, text
from ingest.formats.telemetry import Span

NAME = "mlflow"
RANK = 4
TYPE = "mlflow.spanType"
TYPES = ("CHAT_MODEL", "LLM", "EMBEDDING")
USAGE, COST, FORMAT = "mlflow.chat.tokenUsage", "mlflow.llm.cost", "mlflow.message.format"
MODEL, PROVIDER = "mlflow.llm.model", "mlflow.llm.provider"
INPUTS, OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"
# Whose libraries report what caches read and wrote beside the input.
APART = ("anthropic", "bedrock")
LONGEST = 1_000_000


class Named(msgspec.Struct):
    """The part of a question or an answer that names the model."""

    model: Any = None


def speaks(span: Span) -> bool:
    return TYPE in span.attributes


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if unquoted(attributes[TYPE]).upper() not in TYPES:
        return None
    fields = genai.described(span)
    cost = json_of(attributes.get(COST)).get("total_cost")
    if "gen_ai.response.id" not in attributes and (answer := response_id(str(attributes.get(OUTPUTS) or ""))):
        fields |= {"request_id": answer, "id": None}
    named = unquoted(attributes.get(MODEL)) or model_in(attributes.get(OUTPUTS)) or model_in(attributes.get(INPUTS))
    return said({
        **fields,
        "model": named or fields["model"],
        "provider": provider_family(unquoted(attributes.get(PROVIDER))) or fields["provider"],
        "reported_cost": amount(cost) if isinstance(cost, int | float) else fields["reported_cost"],
        **usage(span),
    })  # fmt: skip


def usage(span: Span) -> dict[str, Any]:
    told = json_of(span.attributes.get(USAGE))
    if not told:
        return genai.usage(span.attributes)
    reported = Reported(
        input=told.get("input_tokens"),
        output=told.get("output_tokens"),
        cache_read=told.get("cache_read_input_tokens"),
        cache_write=told.get("cache_creation_input_tokens"),
    )
    is_apart = unquoted(span.attributes.get(FORMAT)).lower() in APART
    return disjoint(reported, cache_in_input=not is_apart, reasoning_in_output=True)


def unquoted(value: Scalar | None) -> str:
    """The text in a JSON string, or one that stands as it is."""
    found = str(value or "")
    return (found[1:-1] if len(found) > 1 and found[0] == found[-1] == '"' else found)[:200]


def model_in(value: Scalar | None) -> str | None:
    if not isinstance(value, str) or '"model"' not in value or len(value) > LONGEST:
        return None
    try:
        return text(msgspec.json.decode(value.encode("utf-8", "replace"), type=Named).model, 200)
    except (msgspec.DecodeError, RecursionError):
        return None

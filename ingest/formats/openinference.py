"""Model calls in OpenInference spans: `llm.token_count.*`, whatever library or framework they instrument.

Only spans of kind LLM and EMBEDDING are calls; agents, chains, tools and retrievers are not. Input includes what caches read
and wrote, output includes reasoning. The vendor's id has no attribute: it is looked up in the answer's JSON, of which
nothing else is read. LangChain's own spans are the same calls as those of the vendor's library beneath, which that id tells.
"""

import re
from typing import Any

import msgspec

from governance.pricing.catalogue import provider_family
from ingest.formats import genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, first, said
from ingest.formats.scalars import Scalar, text
from ingest.formats.telemetry import Span

NAME = "openinference"
RANK = 2
KIND = "openinference.span.kind"
KINDS = ("LLM", "EMBEDDING")
COUNT = "llm.token_count."
# A vendor's id in JSON, which text that a model wrote cannot look like: there its quotes are escaped.
VENDOR_ID = re.compile(r'"(?:id|response_id)"\s*:\s*"((?:chatcmpl|cmpl|resp|msg|gen|msg_bdrk|msg_vrtx)[_-][A-Za-z0-9_.-]{6,100})"')
# LlamaIndex marks as a call what only makes a request ready: OpenAI._prepare_chat_with_tools.
PREPARING = "._prepare_"
LONGEST_METADATA = 16_384
# What frameworks write into a call's metadata about themselves.
FRAMEWORK = ("ls_", "lc_", "langgraph_", "checkpoint_", "thread_", "__", "run_id", "versions")
LONGEST_LABEL = 120
MOST_LABELS = 16


class Answer(msgspec.Struct):
    """The part of an answer that names the call."""

    id: Any = None


def speaks(span: Span) -> bool:
    return KIND in span.attributes


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if str(attributes[KIND]).upper() not in KINDS or PREPARING in span.name:
        return None
    metadata = metadata_of(attributes)
    fields = genai.described(span) | {
        "model": first(attributes, ("llm.model_name", "embedding.model_name"))
        or genai.model(attributes)
        or asked_for(attributes)
        or "unknown",
        "provider": provider(attributes),
        **identity(span),
    }
    for field in ("team", "project", "environment"):
        fields[field] = fields[field] or text(metadata.pop(field, None), 80)
    own = {key: value for key, value in metadata.items() if key not in ("team", "project", "environment")}
    if labels := span.lists.get("tag.tags"):
        own["tag.tags"] = ",".join(labels)
    fields["tags"] = {**own, **(fields["tags"] or {})} or None
    return said({**fields, **usage(attributes)})


def usage(attributes: Attributes) -> dict[str, Any]:
    count = {key.removeprefix(COUNT): value for key, value in attributes.items() if key.startswith(COUNT)}
    reported = Reported(
        input=count.get("prompt"),
        output=count.get("completion"),
        cache_read=count.get("prompt_details.cache_read", count.get("prompt_details.cache_input")),
        cache_write=count.get("prompt_details.cache_write"),
        reasoning=count.get("completion_details.reasoning"),
        total=count.get("total"),
    )
    if reported == Reported():
        return genai.usage(attributes)
    if (reported.input, reported.total) == (0, reported.output) and reported.output:
        # LangChain's way of saying that the stream did not tell it.
        reported = reported._replace(input=None, total=None)
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def identity(span: Span) -> dict[str, str | None]:
    """The vendor's id, which only the answer holds; else the span's own."""
    if "gen_ai.response.id" in span.attributes:
        return genai.identity(span)
    found = response_id(str(span.attributes.get("output.value") or ""))
    return {"request_id": found, "id": None} if found else genai.span_identity(span)


def response_id(answer: str) -> str | None:
    """The id in an answer's JSON: its own where it is a vendor's answer, else the one that a framework passed on within its own record."""
    if '"id"' not in answer and '"response_id"' not in answer:
        return None
    try:
        own = msgspec.json.decode(answer.encode("utf-8", "replace"), type=Answer).id
    except (msgspec.DecodeError, RecursionError):
        own = None
    if isinstance(own, str) and own and not own.startswith(("run-", "lc_run-")):
        return own
    found: list[str] = VENDOR_ID.findall(answer)
    # An answer of the Responses API has ids of the messages in it too, which come first in what LangChain writes.
    return next((one for one in found if one.startswith("resp")), found[0] if found else None)


def provider(attributes: Attributes) -> str | None:
    told = {key: str(attributes.get(key, "")) for key in ("llm.provider", "llm.system")}
    named = {key: provider_family(name) for key, name in told.items() if name.lower() not in genai.NO_PROVIDERS}
    return first(named, named, 80) or genai.provider(attributes)


def asked_for(attributes: Attributes) -> str | None:
    """The model in the parameters of a call that had no answer to name it."""
    parameters = json_object(attributes.get("llm.invocation_parameters")) | json_object(attributes.get("embedding.invocation_parameters"))
    return text(parameters.get("model") or parameters.get("model_name"), 200)


def metadata_of(attributes: Attributes) -> dict[str, Scalar]:
    """Labels that the application gave the call: short ones on one line, since longer text may be what somebody wrote."""
    labels = {
        key: value
        for key, value in json_object(attributes.get("metadata")).items()
        if not key.startswith(FRAMEWORK) and len(key) <= LONGEST_LABEL and len(str(value)) <= LONGEST_LABEL and "\n" not in str(value)
    }
    return dict(list(labels.items())[:MOST_LABELS])


def json_object(value: Scalar | None) -> dict[str, Scalar]:
    """The text, numbers and booleans of a JSON object; nothing for what is none."""
    if not isinstance(value, str) or len(value) > LONGEST_METADATA:
        return {}
    try:
        found = msgspec.json.decode(value.encode("utf-8", "replace"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}
    return {key: item for key, item in found.items() if isinstance(item, str | int | float | bool)}

"""LiteLLM's `otel` callback in its three shapes: one event per span of a call; the spans around and beneath it repeat it.

The shape of 2026 has cached and reasoning tokens only in `metadata.usage_object`, and what the caller said only in
`metadata.requester_metadata`: Python dicts written as text. The one before it is the same without `litellm.call_id`, so that the
vendor's id names a call. The second version (LITELLM_OTEL_V2) says all in attributes of the GenAI conventions and of `litellm.`,
and puts the call's id on the spans of tools too. Input always includes what caches read and wrote. The callback for Arize writes
OpenInference. Log records repeat prompts and answers: none is read.
"""

import ast
import re
from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats import gateway_litellm, genai, openinference
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, first, said, tags_of
from ingest.formats.scalars import Scalar, amount, raw_text, text
from ingest.formats.telemetry import Source, Span

NAME = "litellm"
RANK = 1
CALL_ID = "litellm.call_id"
CACHE_HITS = ("cache_hit", "litellm.cache_hit", "metadata.cache_hit")
# Only an answer out of LiteLLM's own cache has the key that it was found by.
CACHE_KEY = re.compile(r'"cache_key": "')
COSTS = ("gen_ai.cost.total_cost", "litellm.cost.total", "litellm.response.cost", "llm.cost.total", "llm.response.cost")
USAGE = "metadata.usage_object"
COUNTED = re.compile(r"'([a-z0-9_]+)': ([0-9]{1,12})(?=[,}])")
VENDOR_ID = re.compile(r'"llm_provider-(?:x-)?request-id": "([^"]{1,200})"')
SESSION = re.compile(r"""['"](?:x-claude-code-session-id|x-litellm-session-id|litellm_session_id|session_id)['"]: ['"]([^'"]{1,200})['"]""")
LONGEST_LITERAL = 16_384


def reads(source: Source) -> bool:
    return source.scope == NAME or source.scope.startswith("litellm.")


def speaks(span: Span) -> bool:
    """Whether the call stands on a span of another maker: LiteLLM writes onto the one that is open, such as a FastAPI that traces itself has."""
    return CALL_ID in span.attributes or USAGE in span.attributes


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if not is_call(attributes) or is_cached(attributes):
        return None
    metadata = metadata_of(attributes)
    requester = literal(metadata.get("requester_metadata"))
    end_user = metadata.get("user_api_key_end_user_id") or attributes.get("litellm.end_user.id") or attributes.get("llm.user")
    record = {"end_user": end_user or attributes.get("user.id"), "request_tags": requester.get("tags")}
    told, tags = gateway_litellm.said(record, {**metadata, "requester_metadata": requester})
    fields = genai.described(span)
    fields |= {
        **told,
        **named(attributes),
        **identity(span, is_failed=fields["status"] is not None),
        "harness": None,
        "harness_version": None,
        **gateway_litellm.harness(text(metadata.get("user_agent"), 200) or ""),
        "gateway": NAME,
        **{field: owner for field, owner in gateway_litellm.owners(metadata).items() if owner},
        "member": gateway_litellm.member(record, metadata) or None,
        "session": session(metadata) or fields["session"],
        "reported_cost": amount(next((attributes[name] for name in COSTS if name in attributes), None)),
        "tags": tags_of({**genai.own_tags(span), **tags, "vendor.request_id": vendor_id(attributes)}, own_labels(span.source)),
    }
    if attributes.get("llm.request.type") == "anthropic_messages" and str(attributes.get("llm.is_streaming")).lower() == "true":
        # There LiteLLM starts its clock when the stream has nearly ended.
        fields["latency_ms"] = None
    return said({**fields, **usage(attributes)})


def is_call(attributes: Attributes) -> bool:
    """Whether a model was called, or refused the call: tools, guardrails and databases have spans with the same ids."""
    operation = str(attributes.get("gen_ai.operation.name") or "").lower()
    if operation in genai.NO_CALLS or "litellm.service.name" in attributes or "litellm.guardrail.name" in attributes:
        return False
    if openinference.KIND in attributes:
        return str(attributes[openinference.KIND]).upper() in openinference.KINDS
    named = operation in genai.CALLS or bool(attributes.get("llm.request.type")) or bool(attributes.get("gen_ai.response.id"))
    return (named or CALL_ID in attributes or any(genai.token_counts(attributes))) and modelled(attributes) is not None


def is_cached(attributes: Attributes) -> bool:
    """Whether LiteLLM answered out of its own cache, so that nobody was called."""
    said_so = any(str(attributes.get(name)).lower() == "true" for name in CACHE_HITS)
    return said_so or CACHE_KEY.search(str(attributes.get("hidden_params") or "")) is not None


def modelled(attributes: Attributes) -> str | None:
    """The model that the span names; none stands on spans of LiteLLM's own work."""
    return genai.model(attributes) or first(attributes, ("litellm.provider.model", "llm.model_name"))


def metadata_of(attributes: Attributes) -> dict[str, Scalar]:
    """What is said of the key, the caller and the request, under the names that LiteLLM's other outputs have for it."""
    found = {
        key.removeprefix(prefix): value
        for prefix in ("litellm.metadata.", "metadata.")
        for key, value in attributes.items()
        if key.startswith(prefix)
    }
    for name, key in (("user_api_key_team_alias", "litellm.team.alias"), ("user_api_key_team_id", "litellm.team.id")):
        found[name] = found.get(name) or attributes.get(key) or ""
    return found


def named(attributes: Attributes) -> dict[str, str | None]:
    """Who bills and the model: `provider/model` as LiteLLM called it, since `gen_ai.response.model` may be the gateway's alias."""
    provider, slash, model = str(attributes.get("litellm.provider.model") or "").partition("/")
    if not slash:
        return {"model": modelled(attributes) or "unknown", "provider": genai.provider(attributes) or openinference.provider(attributes)}
    return {
        "model": text(model.rpartition("/")[2] if provider.startswith("bedrock") else model, 200),
        "provider": provider_family(provider) or provider,
    }


def identity(span: Span, *, is_failed: bool) -> dict[str, str | None]:
    """LiteLLM's id of the call, where there is none the vendor's. The retry of a failed attempt has the same one, so the attempt gets its own."""
    call_id = raw_text(span.attributes.get(CALL_ID))
    if is_failed and call_id:
        attempt = f"{call_id}-failed-{span.end_unix_nano / 1_000_000:.0f}"
        return {"id": attempt, "request_id": attempt}
    if is_failed:
        return genai.span_identity(span)
    if call_id:
        return {"id": call_id, "request_id": call_id}
    answer = raw_text(span.attributes.get("gen_ai.response.id") or span.attributes.get("llm.response.id"))
    found = vendor_id(span.attributes) or answer
    return {"request_id": found, "id": answer} if found else genai.span_identity(span)


def vendor_id(attributes: Attributes) -> str | None:
    found = VENDOR_ID.search(str(attributes.get("hidden_params") or ""))
    return found[1] if found else None


def session(metadata: Attributes) -> str | None:
    """The caller's session, as it stands in what Claude Code says of its user or in headers and metadata."""
    for key in ("user_api_key_end_user_id", "requester_custom_headers", "requester_metadata"):
        if found := SESSION.search(str(metadata.get(key) or "")):
            return found[1]
    return None


def literal(value: Scalar | None) -> dict[str, Any]:
    """A Python dict written as text; nothing for what is none or too long to be read."""
    if not isinstance(value, str) or len(value) > LONGEST_LITERAL:
        return {}
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    return found if isinstance(found, dict) else {}


def own_labels(source: Source) -> Attributes:
    return {key: value for key, value in source.resource.items() if key != "model_id"}


def usage(attributes: Attributes) -> dict[str, Any]:
    inner: dict[str, int] = {}
    for name, number in COUNTED.findall(str(attributes.get(USAGE) or "")):
        inner.setdefault(name, int(number))
    if openinference.KIND in attributes:
        return openinference.usage(attributes)
    standard = genai.token_counts(attributes)
    if not any(value for value in standard):
        # A failed call is reported with zeros that nobody counted.
        return {}
    reported = standard._replace(
        input=standard.input or first_of(inner, "prompt_tokens", "input_tokens"),
        output=standard.output or first_of(inner, "completion_tokens", "output_tokens"),
        cache_read=first_of(inner, "cache_read_input_tokens", "cached_tokens", otherwise=standard.cache_read),
        cache_write=first_of(
            inner, "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens", otherwise=standard.cache_write
        ),
        cache_write_5m=inner.get("ephemeral_5m_input_tokens", standard.cache_write_5m),
        cache_write_1h=inner.get("ephemeral_1h_input_tokens", standard.cache_write_1h),
        reasoning=inner.get("reasoning_tokens", standard.reasoning),
    )
    return disjoint(Reported(*reported), cache_in_input=True, reasoning_in_output=True)


def first_of(counts: dict[str, int], *names: str, otherwise: Scalar | None = None) -> Scalar | None:
    return next((counts[name] for name in names if name in counts), otherwise)

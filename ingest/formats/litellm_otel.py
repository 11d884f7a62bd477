"""LiteLLM's `otel` callback: one event per span with usage, and per failed one; the spans around and beneath it repeat it.

Input includes what caches read and wrote. Cached and reasoning tokens stand only in `metadata.usage_object`, and what the caller
said only in `metadata.requester_metadata`: Python dicts written as text. Log records repeat prompts and answers: none is read.
A call has the id that all outputs of LiteLLM share.
"""

import ast
import re
from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats import gateway_litellm, genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, said, tags_of
from ingest.formats.scalars import Scalar, raw_text, text
from ingest.formats.telemetry import Source, Span

NAME = "litellm"
CALL_ID = "litellm.call_id"
USAGE = "metadata.usage_object"
COUNTED = re.compile(r"'([a-z0-9_]+)': ([0-9]{1,12})(?=[,}])")
VENDOR_ID = re.compile(r'"llm_provider-(?:x-)?request-id": "([^"]{1,200})"')
SESSION = re.compile(r"""['"](?:x-claude-code-session-id|x-litellm-session-id|litellm_session_id|session_id)['"]: ['"]([^'"]{1,200})['"]""")
LONGEST_LITERAL = 16_384


def reads(source: Source) -> bool:
    return source.scope == NAME or source.scope.startswith("litellm.")


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if CALL_ID not in attributes or str(attributes.get("cache_hit", attributes.get("litellm.cache_hit"))).lower() == "true":
        return None
    metadata = {key.removeprefix("metadata."): value for key, value in attributes.items() if key.startswith("metadata.")}
    requester = literal(metadata.get("requester_metadata"))
    record = {"end_user": metadata.get("user_api_key_end_user_id") or attributes.get("llm.user"), "request_tags": requester.get("tags")}
    told, tags = gateway_litellm.said(record, {"requester_metadata": requester})
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
        "session": session(metadata),
        "tags": tags_of({**genai.own_tags(span), **tags, "vendor.request_id": vendor_id(attributes)}, own_labels(span.source)),
    }
    if attributes.get("llm.request.type") == "anthropic_messages" and str(attributes.get("llm.is_streaming")).lower() == "true":
        # There LiteLLM starts its clock when the stream has nearly ended.
        fields["latency_ms"] = None
    return said({**fields, **usage(attributes)})


def named(attributes: Attributes) -> dict[str, str | None]:
    """Who bills and the model: `provider/model` as LiteLLM called it, since `gen_ai.response.model` may be the gateway's alias."""
    provider, slash, model = str(attributes.get("litellm.provider.model") or "").partition("/")
    if not slash:
        return {"model": genai.model(attributes) or "unknown", "provider": genai.provider(attributes)}
    return {
        "model": text(model.rpartition("/")[2] if provider.startswith("bedrock") else model, 200),
        "provider": provider_family(provider) or provider,
    }


def identity(span: Span, *, is_failed: bool) -> dict[str, str | None]:
    """LiteLLM's id of the call. The retry that follows a failed attempt has the same one, so the attempt gets its own."""
    call_id = raw_text(span.attributes.get(CALL_ID))
    if is_failed:
        return {"id": f"{call_id}-failed-{span.end_unix_nano // 1_000_000}", "request_id": None}
    return {"id": call_id, "request_id": call_id}


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
    standard = genai.token_counts(attributes)
    if not any(value for value in standard):
        # A failed call is reported with zeros that nobody counted.
        return {}
    reported = standard._replace(
        cache_read=first_of(inner, "cache_read_input_tokens", "cached_tokens"),
        cache_write=first_of(inner, "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens"),
        cache_write_5m=inner.get("ephemeral_5m_input_tokens"),
        cache_write_1h=inner.get("ephemeral_1h_input_tokens"),
        reasoning=inner.get("reasoning_tokens"),
    )
    return disjoint(Reported(*reported), cache_in_input=True, reasoning_in_output=True)


def first_of(counts: dict[str, int], *names: str) -> int | None:
    return next((counts[name] for name in names if name in counts), None)

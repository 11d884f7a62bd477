"""LiteLLM's `otel` callback: one event per span with usage, and per failed one; the spans around and beneath it repeat it.

Input includes what caches read and wrote. Cached and reasoning tokens stand only in `metadata.usage_object`, a Python dict
written as text, of which known counts are read and nothing else. Log records repeat prompts and answers: none is read.
"""

import re
from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats import genai
from ingest.formats.agents import harness_of
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, first, said, tags_of
from ingest.formats.people import person
from ingest.formats.scalars import raw_text, text
from ingest.formats.telemetry import Source, Span

NAME = "litellm"
CALL_ID = "litellm.call_id"
USAGE = "metadata.usage_object"
COUNTED = re.compile(r"'([a-z0-9_]+)': ([0-9]{1,12})(?=[,}])")
VENDOR_ID = re.compile(r'"llm_provider-(?:x-)?request-id": "([^"]{1,200})"')
SESSION = re.compile(r"'(?:x-claude-code-session-id|x-litellm-session-id|litellm_session_id|session_id)': '([^']{1,200})'")
LISTED = re.compile(r"'tags': \[([^\]]{1,2000})\]")
QUOTED = re.compile(r"'([^']{1,120})'")


def reads(source: Source) -> bool:
    return source.scope == NAME or source.scope.startswith("litellm.")


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if CALL_ID not in attributes or str(attributes.get("cache_hit", attributes.get("litellm.cache_hit"))).lower() == "true":
        return None
    end_user = str(attributes.get("metadata.user_api_key_end_user_id") or attributes.get("llm.user") or "")
    fields = genai.described(span)
    fields |= {
        **named(attributes),
        **identity(span, is_failed=fields["status"] is not None),
        **harness_of(attributes.get("metadata.user_agent")),
        "gateway": NAME,
        "team": first(attributes, ("metadata.user_api_key_team_alias",)) or fields["team"],
        "project": first(attributes, ("metadata.user_api_key_project_alias",)) or fields["project"],
        "member": person(
            end_user, email=attributes.get("metadata.user_api_key_user_email"), user=attributes.get("metadata.user_api_key_user_id")
        ),
        "session": session(attributes, end_user),
        "tags": tags(span),
    }
    if attributes.get("llm.request.type") == "anthropic_messages" and attributes.get("llm.is_streaming") in (True, "True", "true"):
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
    """The vendor's id of the request, where LiteLLM passes it on, else LiteLLM's of the call. The retry of a failed attempt has the same call id."""
    call_id = raw_text(span.attributes.get(CALL_ID))
    if is_failed:
        return {"id": f"{call_id}-failed-{span.end_unix_nano // 1_000_000}", "request_id": None}
    vendor = VENDOR_ID.search(str(span.attributes.get("hidden_params") or ""))
    return {"id": call_id, "request_id": vendor[1] if vendor else call_id}


def session(attributes: Attributes, end_user: str) -> str | None:
    """The caller's session, as it stands in what Claude Code says of its user or in headers and metadata."""
    if found := re.search(r'"session_id"\s*:\s*"([^"]{1,200})"', end_user):
        return found[1]
    for key in ("metadata.requester_custom_headers", "metadata.requester_metadata"):
        if found := SESSION.search(str(attributes.get(key) or "")):
            return found[1]
    return None


def tags(span: Span) -> dict[str, str] | None:
    """The caller's spend tags, and labels of the proxy itself."""
    own = genai.own_tags(span)
    listed = LISTED.search(str(span.attributes.get("metadata.requester_metadata") or ""))
    if listed and (names := QUOTED.findall(listed[1])):
        own["request_tags"] = ",".join(names)
    return tags_of(own, {key: value for key, value in span.source.resource.items() if key != "model_id"})


def usage(attributes: Attributes) -> dict[str, Any]:
    inner: dict[str, int] = {}
    for name, number in COUNTED.findall(str(attributes.get(USAGE) or "")):
        inner.setdefault(name, int(number))
    standard = genai.token_counts(attributes)
    if not any(value for value in standard):
        # A failed call is reported with zeros that nobody counted.
        return {}
    reported = standard._replace(
        cache_read=inner.get("cache_read_input_tokens", inner.get("cached_tokens")),
        cache_write=inner.get("cache_creation_input_tokens", inner.get("cache_creation_tokens")),
        cache_write_1h=inner.get("ephemeral_1h_input_tokens"),
        reasoning=inner.get("reasoning_tokens"),
    )
    return disjoint(Reported(*reported), cache_in_input=True, reasoning_in_output=True)

"""Model calls in spans named by OpenTelemetry's GenAI conventions, in all spellings that instrumentations have used for them.

Instrumentations of OpenAI, Anthropic and other libraries, OpenLLMetry (and through it LangChain, LlamaIndex and others),
PydanticAI, AutoGen, Semantic Kernel, Copilot, and gateways that export such spans. Input includes what caches read and wrote,
output includes reasoning. Spans of agents, chains, tools and workflows are no calls: what they sum up is in the calls.
"""

from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.hosts import provider_at
from ingest.formats.labels import Attributes, first, labelled, picked, said, service, tags_of
from ingest.formats.scalars import Scalar, amount, instant, milliseconds, raw_text, text
from ingest.formats.telemetry import Span

NAME = "genai"
RANK = 9
PREFIXES = ("gen_ai.", "llm.", "traceloop.")
CALLS = frozenset((
    "chat", "chat.completions", "text.completions", "completion", "completions", "text_completion", "generate_content", "embeddings", "embedding", "embed",
    "messages", "message", "responses", "response", "image_generation", "generate", "generate_text", "inference", "fim_completion", "stream_generate_content",
    "acompletion", "aembedding", "aresponses", "atext_completion", "anthropic_messages", "chat.streaming_completions", "text.streaming_completions",
))  # fmt: skip
# Of a name that is in neither list the attributes decide.
NO_CALLS = frozenset((
    "invoke_agent", "create_agent", "execute_tool", "execute_hook", "invoke_workflow", "workflow", "task", "agent", "tool", "chain", "plan", "retrieval",
    "create_memory", "search_memory", "update_memory", "rerank", "orchestrate_tools", "content_event", "invoke_swarm", "invoke_graph", "execute_event_loop_cycle", "llm_call", "hook",
))  # fmt: skip
OPERATIONS = ("gen_ai.operation.name", "llm.request.type")
USAGE = {
    "input": (
        "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.response.prompt_tokens", "llm.usage.prompt_tokens", "llm.usage.input_tokens",
    ),
    "output": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "gen_ai.response.completion_tokens", "llm.usage.completion_tokens",
        "llm.usage.output_tokens",
    ),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens", "gen_ai.usage.details.cached_tokens", "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.cached_input_tokens", "gen_ai.usage.input_tokens.cached", "gen_ai.usage.cached_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens", "gen_ai.usage.input_token_details.cached",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens", "gen_ai.usage.details.cache_write_tokens", "gen_ai.usage.details.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_tokens", "gen_ai.usage.cache_creation_tokens", "gen_ai.usage.prompt_tokens_details.cache_write_tokens",
        "gen_ai.usage.input_tokens.cache_write", "gen_ai.usage.input_tokens.cache_creation",
    ),
    "cache_write_5m": (
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens", "gen_ai.usage.details.ephemeral_5m_input_tokens",
        "gen_ai.usage.cache_creation.ephemeral_5m_input_tokens",
    ),
    "cache_write_1h": (
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens", "gen_ai.usage.details.ephemeral_1h_input_tokens",
        "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.details.reasoning_tokens", "gen_ai.usage.details.thoughts_tokens",
        "gen_ai.usage.reasoning_output_tokens", "gen_ai.usage.output_tokens.reasoning", "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        "codex.usage.reasoning_output_tokens", "thoughts_token_count", "gen_ai.usage.experimental.reasoning_tokens",
    ),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "codex.usage.total_tokens"),
}  # fmt: skip
PROVIDERS = ("gen_ai.provider.name", "gen_ai.system", "gen_ai.model.provider", "llm.vendor")
# Frameworks that name themselves where who bills should stand; then the model decides.
NO_PROVIDERS = frozenset((
    "langchain", "langgraph", "llamaindex", "llama_index", "llama-index", "crewai", "autogen", "strands-agents", "strands", "haystack", "dspy", "smolagents",
    "semantic_kernel", "semantic-kernel", "agno", "pydantic-ai", "litellm", "openclaw", "unknown", "_other", "custom", "none",
))  # fmt: skip
ADDRESSES = ("server.address", "gen_ai.openai.api_base", "gen_ai.request.base_url", "llm.base_url")
SESSIONS = (
    "session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id", "copilot_chat.chat_session_id", "copilot_chat.session_id",
)  # fmt: skip
MEMBERS = ("user.id", "gen_ai.user", "gen_ai.request.user", "traceloop.association.properties.user_id", "llm.user")
TIERS = ("gen_ai.openai.response.service_tier", "openai.response.service_tier", "anthropic.response.service_tier")
ORDINARY = ("default", "standard", "auto")
COSTS = ("operation.cost", "gen_ai.usage.cost", "gen_ai.cost.total_cost", "gen_ai.usage.total_cost", "llm.cost.total")
# Only these become tags: anything else may be text that somebody wrote.
TAGS = (
    "gen_ai.agent.name",
    "error.type",
    "gen_ai.prompt.name",
    "github.copilot.git.repository",
)
STATUS = "http.response.status_code"
# Google's Agent Development Kit before it took the conventions' name: there output leaves reasoning out.
APART = "gen_ai.usage.experimental.reasoning_tokens"


def speaks(span: Span) -> bool:
    return any(key.startswith(PREFIXES) for key in span.attributes)


def call_fields(span: Span) -> dict[str, Any] | None:
    """The call that a span is."""
    if not is_call(span.attributes):
        return None
    return said({**described(span), **usage(span.attributes)})


def is_call(attributes: Attributes) -> bool:
    """Whether a model was called in the span itself."""
    if "traceloop.span.kind" in attributes:
        return False
    operation = first(attributes, OPERATIONS)
    if operation is None:
        return model(attributes) is not None and (token_counts(attributes) != Reported() or "gen_ai.response.id" in attributes)
    if operation.lower() in NO_CALLS:
        return False
    return operation.lower() in CALLS or token_counts(attributes) != Reported()


def described(span: Span) -> dict[str, Any]:
    """Everything of the event but its tokens."""
    attributes = span.attributes
    labels = {**span.source.resource, **attributes}
    is_failed = span.is_error or "error.type" in attributes
    return {
        "occurred_at": instant(span.end_unix_nano or span.start_unix_nano),
        "model": model(attributes) or "unknown",
        "provider": provider(attributes),
        "harness": service(span.source.resource),
        "harness_version": text(span.source.resource.get("service.version"), 80),
        "session": session(labels),
        "trace": span.trace_id or None,
        "parent": span.parent_id or None,
        "latency_ms": latency(span),
        "ttft_ms": first_chunk(attributes),
        "status": "error" if is_failed else None,
        "reported_cost": amount(next((attributes[key] for key in COSTS if key in attributes), None)),
        "tags": tags_of(own_tags(span), span.source.resource),
        **labelled(labels, members=MEMBERS),
        **identity(span),
    }


def session(labels: Attributes) -> str | None:
    """The conversation. Microsoft's Agent Framework names it by the answer before, so by another one each time: that is no session."""
    found = first(labels, SESSIONS)
    return None if found is not None and found.startswith("resp_") else found


def identity(span: Span) -> dict[str, str | None]:
    """The vendor's id of the answer, or of the request where there was no answer; else the span's own."""
    for key in ("gen_ai.response.id", "anthropic.request.id"):
        if found := raw_text(span.attributes.get(key)):
            return {"request_id": found, "id": None}
    return span_identity(span)


def span_identity(span: Span) -> dict[str, str | None]:
    return {"id": f"{span.trace_id}:{span.span_id}" if span.span_id else None}


def model(attributes: Attributes) -> str | None:
    """The model that answered, else the one asked for."""
    return first(attributes, ("gen_ai.response.model", "llm.response.model", "gen_ai.request.model", "llm.request.model"))


def provider(attributes: Attributes) -> str | None:
    """Who bills: the server that was called where it is known, since one vendor's library calls many vendors; else who is named."""
    at = next((found for key in ADDRESSES if (found := provider_at(str(attributes.get(key, ""))))), "")
    named = {key: name for key in PROVIDERS if (name := str(attributes.get(key, ""))).lower() not in NO_PROVIDERS}
    return at or first({key: provider_family(name) for key, name in named.items()}, PROVIDERS, 80)


def token_counts(attributes: Attributes) -> Reported:
    """The counts under whatever names they have."""
    return Reported(**{name: next((attributes[key] for key in keys if key in attributes), None) for name, keys in USAGE.items()})


def usage(attributes: Attributes) -> dict[str, Any]:
    return disjoint(token_counts(attributes), cache_in_input=True, reasoning_in_output=APART not in attributes)


def latency(span: Span) -> Scalar | None:
    return milliseconds(span.end_unix_nano - span.start_unix_nano, shift=-6) if span.start_unix_nano and span.end_unix_nano else None


def first_chunk(attributes: Attributes) -> Scalar | None:
    """Until the first token. The conventions say it in seconds, Copilot in milliseconds."""
    for key in ("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk", "gen_ai.server.time_to_first_token"):
        if key in attributes:
            return milliseconds(attributes[key], shift=3)
    return milliseconds(attributes.get("copilot_chat.time_to_first_token"))


def own_tags(span: Span) -> dict[str, Scalar | None]:
    tags: dict[str, Scalar | None] = {**picked(span.attributes, TAGS)}
    if span.exception and "error.type" not in tags:
        tags["error.type"] = span.exception
    tags["vendor.request_id"] = span.attributes.get("anthropic.request.id")
    if span.is_error and STATUS in span.attributes:
        tags["status_code"] = span.attributes[STATUS]
    if (tier := first(span.attributes, TIERS)) and tier not in ORDINARY:
        tags["service_tier"] = tier
    return tags

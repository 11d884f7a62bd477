"""Shapes of other versions of the captured clients, and of clients that were not captured, from their public source or documentation: each says whose."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ingest.formats import records, streams
from ingest.formats.event import UsageEvent as Reported
from tests.golden.answers import CHAT, CHAT_USAGE, GENERATED, MESSAGE, OLLAMA
from tests.golden.harness_files import COUNTS
from tests.golden.test_otlp import CAPTURES
from tests.ingest.telemetry_made import call, calls, none_of, span

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPENAI = (476, 1024, None, None, 200, 64)
ANTHROPIC = (120, 10240, 2048, None, 57, None)


def read(name: str, *rows: Any, **labels: Any) -> list[Reported]:
    parsed = records.parse(json.dumps(rows).encode(), name=name, labels=labels, received_at=NOW)
    assert parsed.refused == []
    return parsed.events


def buckets(event: Reported) -> tuple[int | None, ...]:
    return tuple(getattr(event, name) for name in COUNTS)


# github.com/BerriAI/litellm, litellm/integrations/opentelemetry.py before `litellm.call_id`: the same attributes without it. A count that
# the answer does not have is written as an empty text.
BEFORE_CALL_IDS = {
    "metadata.user_api_key_team_alias": "platform", "metadata.requester_metadata": "{'cost_center': 'eng-123'}",
    "metadata.usage_object": "{'completion_tokens': 200, 'prompt_tokens': 1500, 'total_tokens': 1700, 'completion_tokens_details': {'reasoning_tokens': 64}, "
    "'prompt_tokens_details': {'cached_tokens': 1024}}",
    "gen_ai.request.model": "gpt-5", "llm.request.type": "acompletion", "gen_ai.system": "openai", "llm.is_streaming": "False", "gen_ai.response.id": "chatcmpl-Mock00000125",
    "gen_ai.response.model": "gpt-5-2025-08-07", "gen_ai.usage.total_tokens": 1700, "gen_ai.usage.output_tokens": 200, "gen_ai.usage.input_tokens": 1500, "gen_ai.cost.total_cost": 0.002723,
}  # fmt: skip
# github.com/BerriAI/litellm, litellm/integrations/otel/mappers/genai.py (LITELLM_OTEL_V2).
SECOND_VERSION = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.conversation.id": "sess-1", "gen_ai.request.model": "claude-sonnet",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929", "gen_ai.response.id": "chatcmpl-0f1e", "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57,
    "gen_ai.usage.cache_creation.input_tokens": 2048, "gen_ai.usage.cache_read.input_tokens": 10240, "litellm.call_id": "5f6f0a52-0000-4000-8000-000000000001",
    "litellm.call_type": "acompletion", "litellm.provider.model": "anthropic/claude-sonnet-4-5-20250929", "litellm.cost.total": 0.013119, "litellm.team.alias": "payments",
    "litellm.end_user.id": "carol", "litellm.metadata.user_api_key_alias": "ci",
}  # fmt: skip


def test_litellm_before_it_named_calls() -> None:
    event = call(BEFORE_CALL_IDS, "litellm")
    assert buckets(event) == OPENAI
    assert (event.request_id, event.model, event.provider, event.team, event.reported_cost, event.gateway) == (
        "chatcmpl-Mock00000125", "gpt-5-2025-08-07", "openai", "platform", Decimal("0.002723"), "litellm",
    )  # fmt: skip
    assert (event.tags or {})["cost_center"] == "eng-123"


def test_litellms_proxy_span_with_the_attributes_of_its_call_counts_once_with_it() -> None:
    outer, inner = span(BEFORE_CALL_IDS, number=1), span(BEFORE_CALL_IDS, number=2, parent=1)
    raw = span({"llm.openai.id": "chatcmpl-Mock00000125", "llm.openai.usage": "{'total_tokens': 1700}"}, number=3, parent=2)
    (event,) = calls(("litellm", [outer, inner, raw]))
    assert buckets(event) == OPENAI


def test_a_count_that_litellm_writes_as_an_empty_text_is_unknown() -> None:
    """So it writes answers of the responses API, whose usage has other names; the counts stand in its usage object."""
    empty = dict.fromkeys(("gen_ai.usage.output_tokens", "gen_ai.usage.input_tokens"), "")
    usage = "{'input_tokens': 1500, 'input_tokens_details': {'cached_tokens': 1024}, 'output_tokens': 200, 'output_tokens_details': {'reasoning_tokens': 64}, 'total_tokens': 1700}"
    assert (
        buckets(call({**BEFORE_CALL_IDS, **empty, "llm.request.type": "aresponses", "metadata.usage_object": usage}, "litellm")) == OPENAI
    )
    assert call({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", **empty}).output_tokens is None


def test_the_second_version_of_litellms_spans() -> None:
    event = call(SECOND_VERSION, "litellm")
    assert buckets(event) == ANTHROPIC
    assert (event.request_id, event.model, event.provider, event.session, event.team, event.member, event.reported_cost) == (
        "5f6f0a52-0000-4000-8000-000000000001", "claude-sonnet-4-5-20250929", "anthropic", "sess-1", "payments", "carol", Decimal("0.013119"),
    )  # fmt: skip
    assert (event.tags or {})["key_alias"] == "ci"


@pytest.mark.parametrize(
    "other",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "mcp.method.name": "tools/call"},
        {"mcp.method.name": "tools/list"},
        {"litellm.service.name": "redis", "gen_ai.request.model": "claude-sonnet", "db.system.name": "redis"},
        {"litellm.guardrail.name": "pii", "gen_ai.request.model": "claude-sonnet", "litellm.cost.guardrail": 0.001},
    ],
)
def test_what_litellm_does_beside_model_calls_is_no_call(other: dict[str, Any]) -> None:
    """Tools bear the call's id, and baggage puts the model on every span."""
    assert none_of({"litellm.call_id": "5f6f0a52-0000-4000-8000-000000000002", **other}, "litellm")


def test_litellms_callback_for_arize_writes_openinference() -> None:
    """github.com/BerriAI/litellm, tests of otel_v2: the keys of the legacy `arize` callback."""
    told = {
        "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.provider": "openai", "llm.request.type": "completion", "llm.response.id": "chatcmpl-Mock00000125",
        "llm.response.model": "gpt-4o-2024-08-06", "llm.token_count.prompt": 1500, "llm.token_count.completion": 200, "llm.token_count.total": 1700, "llm.cost.total": 0.00447,
        "user.id": "alice@example.com", "litellm.trace_id": "trace-1", "metadata": '{"feature": "x"}',
    }  # fmt: skip
    event = call(told, "litellm")
    assert (buckets(event)[0], buckets(event)[4]) == (1500, 200)
    assert (event.request_id, event.model, event.provider, event.member, event.reported_cost) == (
        "chatcmpl-Mock00000125", "gpt-4o-2024-08-06", "openai", "alice@example.com", Decimal("0.00447"),
    )  # fmt: skip


def litellm_record(**changes: Any) -> dict[str, Any]:
    """A record as older and newer versions give it: github.com/BerriAI/litellm, litellm/types/utils.py, StandardLoggingPayload."""
    return {
        "id": "resp-1", "litellm_call_id": "5f6f0a52-0000-4000-8000-000000000003", "call_type": "acompletion", "cache_hit": False, "startTime": 1795255927.0,
        "endTime": 1795255928.5314, "model": "gpt-5", "custom_llm_provider": "openai", "metadata": {}, "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700,
        "response_cost": 0.0027, **changes,
    }  # fmt: skip


def test_litellm_before_it_said_a_status_or_a_usage_object() -> None:
    answered, failed = read("litellm", litellm_record(), litellm_record(litellm_call_id="x", error_str="429"))
    assert (answered.status, answered.input_tokens, answered.output_tokens) == ("ok", 1500, 200)
    assert (failed.status, failed.input_tokens) == ("error", None)


def test_litellms_usage_object_of_the_responses_api() -> None:
    usage = {
        "input_tokens": 1500, "input_tokens_details": {"cached_tokens": 1024}, "output_tokens": 200, "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 1700,
    }  # fmt: skip
    (event,) = read("litellm", litellm_record(status="success", metadata={"usage_object": usage}))
    assert buckets(event) == OPENAI


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"type": "duration", "seconds": 12.5}, {"audio_seconds": Decimal("12.5")}),
        ({"billed_units": {"search_units": 3}}, {"search_units": Decimal(3)}),
        ({"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100, "prompt_tokens_details": {"audio_tokens": 80}}, {"input_audio_tokens": Decimal(80)}),
    ],
)  # fmt: skip
def test_what_litellm_bills_by_other_than_text(usage: dict[str, Any], units: dict[str, Decimal]) -> None:
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    (event,) = read("litellm", litellm_record(status="success", metadata={"usage_object": usage}, **zeros))
    assert event.units == units


def test_a_failed_attempt_has_one_id_in_all_of_litellms_outputs() -> None:
    (told,) = read("litellm", litellm_record(status="failure"))
    told_again = call(
        {**SECOND_VERSION, "litellm.call_id": litellm_record()["litellm_call_id"], "error.type": "RateLimitError"}, "litellm", end=0.5314
    )
    assert told.request_id.rpartition("-")[0] == told_again.request_id.rpartition("-")[0]
    assert told.request_id.endswith("928531")
    assert told_again.request_id.endswith("531")
    assert told.request_id == told.id


# github.com/openclaw/openclaw, extensions/diagnostics-otel/src: service-recorders-usage.ts, and service.ts of the versions before.
RUN = {
    "openclaw.channel": "telegram", "openclaw.provider": "anthropic", "openclaw.model": "claude-sonnet-4-5", "openclaw.tokens.input": 120, "openclaw.tokens.output": 57,
    "openclaw.tokens.cache_read": 10240, "openclaw.tokens.cache_write": 2048, "openclaw.tokens.total": 12465,
}  # fmt: skip
RUN_OF_LATER = {
    **RUN, "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 12408,
    "gen_ai.usage.output_tokens": 57, "gen_ai.usage.cache_read.input_tokens": 10240, "gen_ai.usage.cache_creation.input_tokens": 2048,
}  # fmt: skip
REQUEST = {
    "openclaw.provider": "anthropic", "openclaw.model": "claude-sonnet-4-5", "gen_ai.operation.name": "chat", "gen_ai.system": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5",
}  # fmt: skip


@pytest.mark.parametrize("usage", [RUN, {**RUN, "openclaw.sessionId": "s-1"}, RUN_OF_LATER])
@pytest.mark.parametrize("request_told", [REQUEST, {**REQUEST, "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57}])
def test_openclaws_run_counts_and_its_requests_do_not_again(usage: dict[str, Any], request_told: dict[str, Any]) -> None:
    root = span({"openclaw.outcome": "completed"}, number=1, name="openclaw.run")
    requests = [span(request_told, number=number, parent=1, name="openclaw.model.call") for number in (2, 3)]
    (event,) = calls(("openclaw", [root, *requests, span(usage, number=4, parent=1, name="openclaw.model.usage")]))
    assert buckets(event) == ANTHROPIC
    assert (event.harness, event.provider, event.model, event.session) == (
        "openclaw",
        "anthropic",
        "claude-sonnet-4-5",
        usage.get("openclaw.sessionId", ""),
    )


def test_an_openclaw_request_that_failed_is_a_failed_call_and_zeros_are_no_counts() -> None:
    (event,) = calls(("openclaw", [span({**REQUEST, "error.type": "rate_limit"}, name="openclaw.model.call", is_error=True)]))
    assert (event.status, buckets(event)) == ("error", (None,) * 6)
    renamed = {**REQUEST, "openclaw.model_call.observation_unit": "request", "error.type": "rate_limit"}
    (event,) = calls(("openclaw", [span(renamed, name="chat claude-sonnet-4-5", is_error=True)]))
    assert event.status == "error"
    assert calls(("openclaw", [span({**renamed, "gen_ai.usage.input_tokens": 9}, name="chat claude-sonnet-4-5")])) == []
    nothing = {name: 0 if name.startswith("openclaw.tokens") else value for name, value in RUN.items()}
    assert calls(("openclaw", [span(nothing, name="openclaw.model.usage")])) == []


# Captured by others: github.com, burnbar's SPEC.md (attributes of five models) and toolpath's re-encoding table.
GENERATION = {
    "gen_ai.operation.name": "chat", "gen_ai.system": "anthropic", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "anthropic/claude-sonnet-4.5",
    "gen_ai.response.model": "anthropic/claude-sonnet-4.5", "gen_ai.response.id": "gen-1795255928-Ab3dE5fG7hI9jK1lM2n", "gen_ai.usage.input_tokens": 12408,
    "gen_ai.usage.output_tokens": 57, "gen_ai.usage.total_tokens": 12465, "gen_ai.usage.input_tokens.cached": 10240, "gen_ai.usage.input_tokens.cache_write": 2048,
    "gen_ai.usage.output_tokens.reasoning": 5, "gen_ai.usage.total_cost": 0.013119, "gen_ai.prompt": "SECRET", "trace.input": "SECRET", "session.id": "sess-1",
    "user.id": "alice@example.com", "trace.metadata.openrouter.source": "openrouter", "trace.metadata.openrouter.provider_name": "Amazon Bedrock",
    "trace.metadata.openrouter.provider_slug": "amazon-bedrock/global", "trace.metadata.openrouter.api_key_name": "prod-key", "trace.metadata.environment": "staging",
    "trace.metadata.feature": "search",
}  # fmt: skip


def test_an_openrouter_broadcast_is_its_root_and_openrouter_bills() -> None:
    beneath = [
        span({"gen_ai.request.model": "anthropic/claude-sonnet-4.5", "trace.metadata.openrouter.provider_name": "Azure"}, number=2, parent=1, name="provider attempt 0: Azure", is_error=True),
        span({"gen_ai.request.model": "anthropic/claude-sonnet-4.5"}, number=3, parent=1, name="provider attempt 1: Amazon Bedrock"),
        span({"gen_ai.response.id": GENERATION["gen_ai.response.id"], "gen_ai.request.model": "anthropic/claude-sonnet-4.5"}, number=4, parent=1, name="generation"),
    ]  # fmt: skip
    (event,) = calls(("", [span(GENERATION, name="LLM Generation"), *beneath]))
    assert buckets(event) == (120, 10240, 2048, None, 57, 5)
    assert (event.provider, event.gateway, event.request_id, event.session, event.member, event.environment, event.reported_cost) == (
        "openrouter", "openrouter", GENERATION["gen_ai.response.id"], "sess-1", "alice@example.com", "staging", Decimal("0.013119"),
    )  # fmt: skip
    told = {"upstream": "Amazon Bedrock", "upstream.slug": "amazon-bedrock/global", "key_alias": "prod-key", "feature": "search"}
    assert told.items() <= (event.tags or {}).items()
    assert "SECRET" not in str(event)


def test_cloudflares_spans_name_the_provider_in_their_own_way() -> None:
    """developers.cloudflare.com/ai-gateway/observability/otel-integration: no operation, metadata as plain attributes."""
    event = call({
        "gen_ai.request.model": "gpt-4o", "gen_ai.model.provider": "openai", "gen_ai.usage.input_tokens": 1500, "gen_ai.usage.output_tokens": 200, "gen_ai.usage.cost": 0.00447,
        "gen_ai.prompt_json": "SECRET", "team": "platform",
    })  # fmt: skip
    assert (event.provider, event.input_tokens, event.output_tokens, event.reported_cost, event.team) == (
        "openai",
        1500,
        200,
        Decimal("0.00447"),
        "platform",
    )
    assert "SECRET" not in str(event)


@pytest.mark.parametrize(
    ("name", "output"), [("gen_ai.usage.experimental.reasoning_tokens", 90), ("gen_ai.usage.reasoning.output_tokens", 130)]
)
def test_googles_agent_development_kit_left_thoughts_out_before_it_took_the_conventions_name(name: str, output: int) -> None:
    """Its tests pop 16 output beside 76 thoughts under the old name, 92 beside 76 under the new one."""
    told = {
        "gen_ai.system": "gcp.vertex.agent",
        "gen_ai.request.model": "gemini-2.5-pro",
        "gen_ai.usage.input_tokens": 1300,
        "gen_ai.usage.output_tokens": output,
        name: 40,
    }
    assert (call(told).output_tokens, call(told).reasoning_tokens) == (130, 40)


@pytest.mark.parametrize("name", ["Langchain", "strands-agents", "LlamaIndex", "_OTHER"])
def test_a_framework_that_names_itself_is_not_who_bills(name: str) -> None:
    """OpenLLMetry's LangChain instrumentation sets gen_ai.system "Langchain", Strands Agents its own name: the model decides then."""
    told = {"gen_ai.operation.name": "chat", "gen_ai.system": name, "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 9}
    assert call(told).provider == ""
    assert call({**told, "gen_ai.provider.name": "openai"}).provider == "openai"
    assert (
        call({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.system": name, "llm.token_count.prompt": 9}).provider == ""
    )


def test_microsofts_loop_over_tools_is_no_call() -> None:
    """github.com/dotnet/extensions, FunctionInvokingChatClient: a span `orchestrate_tools` around the chats, with their sums in some versions."""
    assert none_of({"gen_ai.operation.name": "orchestrate_tools", "gen_ai.usage.input_tokens": 3000, "gen_ai.usage.output_tokens": 400})


# github.com/vercel/ai: spans `ai.generateText.doGenerate`; @ai-sdk/anthropic puts the vendor's own block into the metadata.
BLOCK = {"input_tokens": 5000, "cache_creation_input_tokens": 2048, "cache_read_input_tokens": 1000, "output_tokens": 57}
SDK = {
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.model.id": "claude-sonnet-4-5",
    "ai.model.provider": "anthropic.messages",
    "ai.response.id": "msg_01Mock00000001",
}


@pytest.mark.parametrize(
    ("told", "metadata"),
    [
        ({"ai.usage.promptTokens": 5000, "ai.usage.completionTokens": 57}, {"cacheCreationInputTokens": 2048, "cacheReadInputTokens": 1000}),
        ({"ai.usage.inputTokens": 5000, "ai.usage.outputTokens": 57, "ai.usage.totalTokens": 5057, "ai.usage.cachedInputTokens": 1000}, {"usage": BLOCK, "cacheCreationInputTokens": 2048}),
        ({"ai.usage.inputTokens": 8048, "ai.usage.outputTokens": 57, "ai.usage.totalTokens": 8105, "ai.usage.inputTokenDetails.cacheReadTokens": 1000}, {"usage": BLOCK}),
        ({"ai.usage.inputTokens": 8048, "ai.usage.outputTokens": 57, "ai.usage.inputTokenDetails.cacheReadTokens": 1000, "ai.usage.inputTokenDetails.cacheWriteTokens": 2048}, None),
    ],
    ids=["4", "5", "6", "6 without metadata"],
)  # fmt: skip
def test_anthropics_counts_in_all_versions_of_vercels_sdk(told: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    with_metadata = {} if metadata is None else {"ai.response.providerMetadata": json.dumps({"anthropic": metadata})}
    assert buckets(call({**SDK, **told, **with_metadata}, "ai")) == (5000, 1000, 2048, None, 57, None)


def test_an_answer_before_is_no_conversation() -> None:
    """agent-framework 1.23 on the Responses API has the id of the answer before as `gen_ai.conversation.id`."""
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", "gen_ai.response.id": "resp_0002"}
    assert call({**chat, "gen_ai.conversation.id": "resp_0001"}, "agent_framework").session == ""


def compacted(**more: Any) -> dict[str, Any]:
    """platform.claude.com, "Compaction": what the top level leaves out. github.com/vercel/ai on the advisor's: other model, in no total."""
    steps = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500, "cache_read_input_tokens": 0},
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
        {"type": "advisor_message", "model": "claude-opus-4-6", "input_tokens": 900, "output_tokens": 300},
    ]
    return {**MESSAGE, "usage": {"input_tokens": 23_000, "output_tokens": 1000, "iterations": steps, **more}}


@pytest.mark.parametrize("name", ["anthropic", "claude-code"])
def test_compactions_and_advisors_within_a_request_are_counted(name: str) -> None:
    line = {
        "type": "assistant",
        "requestId": "req_011Mock000001",
        "uuid": "u",
        "sessionId": "s",
        "timestamp": "2026-11-21T10:00:00Z",
        "message": compacted(),
    }
    own, advisor = read(name, compacted() if name == "anthropic" else line)
    assert (own.input_tokens, own.output_tokens) == (203_000, 4500)
    assert (advisor.model, advisor.input_tokens, advisor.output_tokens, advisor.request_id) == ("claude-opus-4-6", 900, 300, "")
    assert advisor.id.startswith(own.request_id)


def test_a_codex_rollout_that_names_no_model_still_counts() -> None:
    """Rollouts of Codex before September 2025 have `token_count` lines and no `turn_context`."""
    usage = {"input_tokens": 1500, "cached_input_tokens": 1024, "output_tokens": 200, "reasoning_output_tokens": 64, "total_tokens": 1700}
    at = "2025-08-21T10:00:00Z"
    meta = {"timestamp": at, "type": "session_meta", "payload": {"id": "0198", "cli_version": "0.30.0", "cwd": "/p"}}
    unknown = {"timestamp": at, "type": "event_msg", "payload": {"type": "token_count", "info": None}}
    counted = {
        "timestamp": at,
        "type": "event_msg",
        "payload": {"type": "token_count", "info": {"total_token_usage": usage, "last_token_usage": usage}},
    }
    (event,) = read("codex", meta, unknown, counted)
    assert (event.model, buckets(event)) == ("unknown", OPENAI)


@pytest.mark.parametrize(("provider", "usage", "expected"), [
    ("openai", {"input": 476, "output": 200, "reasoning": 64, "cache": {"read": 1024, "write": 0}}, (476, 1024, 0, None, 200, 64)),
    ("openai", {"total": 1700, "input": 476, "output": 200, "reasoning": 64, "cache": {"read": 1024, "write": 0}}, (476, 1024, 0, None, 200, 64)),
    ("google", {"input": 300, "output": 90, "reasoning": 40, "cache": {"read": 1000, "write": 0}}, (300, 1000, 0, None, 130, 40)),
])  # fmt: skip
def test_opencode_before_it_took_reasoning_out_of_output(provider: str, usage: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    """Session.getUsage of its versions on the AI SDK 5: without a total, or with that of the SDK."""
    message = {
        "id": "msg_1", "sessionID": "ses_1", "role": "assistant", "modelID": "m", "providerID": provider, "mode": "build", "tokens": usage, "cost": 0.01,
        "time": {"created": 1795255927000, "completed": 1795255928000},
    }  # fmt: skip
    (event,) = read("opencode", message)
    assert buckets(event) == expected


@pytest.mark.parametrize(("total", "expected"), [(1450, 320), (1430, 300), (None, 320)])
def test_what_tools_took_of_geminis_prompt_is_input_unless_the_total_has_it_already(total: int | None, expected: int) -> None:
    """github.com/google-gemini/gemini-cli: `tool_token_count` is the API's toolUsePromptTokenCount, which stands beside promptTokenCount."""
    document = CAPTURES["gemini-cli/002"].document
    for record in (record for group in document["resourceLogs"] for scoped in group["scopeLogs"] for record in scoped["logRecords"]):
        kept = [one for one in record["attributes"] if one["key"] not in ("tool_token_count", "total_token_count")]
        told = {"tool_token_count": 20} | ({} if total is None else {"total_token_count": total})
        record["attributes"] = kept + [{"key": key, "value": {"intValue": value}} for key, value in told.items()]
    from tests.golden.captures import written

    (event,) = written(document, CAPTURES["gemini-cli/002"]).parsed().usage.events
    assert (event.input_tokens, event.output_tokens) == (expected, 130)


def test_a_list_of_a_streams_parts_is_one_call() -> None:
    """Gemini's streamGenerateContent without server-sent events answers with a list; a log of chunks is the same for OpenAI's."""
    began = {**GENERATED, "usageMetadata": {"promptTokenCount": 1300, "totalTokenCount": 1300}}
    ended = {**GENERATED, "candidates": [{"finishReason": "STOP"}]}
    other = {**ended, "responseId": "mock-another0001"}
    first, second = read("gemini", began, began, ended, other)
    assert (buckets(first), first.request_id, second.request_id) == (
        (300, 1000, None, None, 130, 40),
        GENERATED["responseId"],
        "mock-another0001",
    )
    chunk = {
        **{name: CHAT[name] for name in ("id", "created", "model")},
        "object": "chat.completion.chunk",
        "choices": [{"delta": {"content": "SECRET"}}],
    }
    (event,) = read("openai", chunk, {**chunk, "usage": None}, {**chunk, "choices": [], "usage": CHAT_USAGE})
    assert buckets(event) == OPENAI
    (unfinished,) = read("openai", chunk, chunk)
    assert buckets(unfinished) == (None,) * 6


def test_ollamas_lines_before_the_last_are_no_calls() -> None:
    part = {"model": "llama3.2", "created_at": "2026-11-21T10:12:07Z", "message": {"role": "assistant", "content": "SECRET"}, "done": False}
    (event,) = read("ollama", part, part, OLLAMA)
    assert (event.input_tokens, event.output_tokens) == (26, 282)


def test_answers_out_of_vendors_batches() -> None:
    """platform.openai.com, Batch API, output file; platform.claude.com, Message Batches, results."""
    line = {"id": "batch_req_1", "custom_id": "r-1", "response": {"status_code": 200, "request_id": "q", "body": CHAT}, "error": None}
    (event,) = read("openai", line)
    assert (buckets(event), event.request_id, (event.tags or {})["processing"]) == (OPENAI, CHAT["id"], "batch")
    (message,) = read("anthropic", {"custom_id": "r-2", "result": {"type": "succeeded", "message": MESSAGE}})
    assert (message.request_id, message.output_tokens, (message.tags or {})["processing"]) == (MESSAGE["id"], 57, "batch")


def test_a_label_says_who_answered_in_the_shape_of_another() -> None:
    (by_label,) = read("openai", CHAT, provider="azure")
    (by_envelope,) = read("response", {"format": "openai", "labels": {"provider": "groq"}, "response": CHAT})
    assert (by_label.provider, by_envelope.provider) == ("azure", "groq")


def test_the_end_of_a_bedrock_stream_that_was_not_conversed() -> None:
    """docs.aws.amazon.com: the last chunk of InvokeModelWithResponseStream."""
    metrics = {
        "inputTokenCount": 120,
        "outputTokenCount": 57,
        "invocationLatency": 900,
        "firstByteLatency": 300,
        "cacheReadInputTokenCount": 10240,
        "cacheWriteInputTokenCount": 2048,
    }
    (event,) = read("bedrock", {"amazon-bedrock-invocationMetrics": metrics}, model="anthropic.claude-sonnet-4-5", id="b-1")
    assert (buckets(event), event.latency_ms) == (ANTHROPIC, 900)


def test_openrouters_cost_with_ones_own_key_has_the_vendors_in_it() -> None:
    """openrouter.ai/docs, usage accounting: `cost` is what OpenRouter charges, `cost_details.upstream_inference_cost` what the vendor does."""
    usage = {**CHAT_USAGE, "cost": 0.0002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.004}}
    own, ordinary = read("openrouter", {**CHAT, "usage": usage}, {**CHAT, "usage": {**usage, "is_byok": False}})
    assert (own.reported_cost, ordinary.reported_cost) == (Decimal("0.0042"), Decimal("0.0002"))
    assert (own.tags or {})["is_byok"] == "true"


@pytest.mark.parametrize(("answer", "expected"), [
    ({"usage": {"input_tokens": 5000, "cache_creation_input_tokens": 2048, "cache_read_input_tokens": 1000, "output_tokens": 57}}, (5000, 1000, 2048, None, 57, None)),
    ({"usageMetadata": GENERATED["usageMetadata"]}, (300, 1000, None, None, 130, 40)),
    ({"usage": CHAT_USAGE}, OPENAI),
    ({"usage": {"inputTokens": 120, "outputTokens": 57, "cacheReadInputTokens": 10240, "cacheWriteInputTokens": 2048, "totalTokens": 12465}}, ANTHROPIC),
])  # fmt: skip
def test_gateways_bring_answers_of_every_vendor(answer: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    """docs.helicone.ai, webhooks: `response_body` is the vendor's answer; so are Portkey's `response` and OpenRouter's messages API."""
    at = "2026-11-21T10:12:08Z"
    (helicone,) = read("helicone", {"request_id": "r-1", "model": "m", "response_created_at": at, "response_body": answer})
    (as_text,) = read("helicone", {"request_id": "r-1", "model": "m", "response_created_at": at, "response_body": json.dumps(answer)})
    (portkey,) = read("portkey", {"id": "p-1", "ai_model": "m", "created_at": at, "response": answer})
    (openrouter,) = read("openrouter", {"id": "gen-1", "model": "m", **answer})
    assert [buckets(event) for event in (helicone, as_text, portkey, openrouter)] == [expected] * 4


def test_perplexitys_cost_is_an_object() -> None:
    """docs.perplexity.ai: usage.cost.total_cost."""
    (event,) = read(
        "openai",
        {**CHAT, "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": {"total_cost": 0.006}}},
        provider="perplexity",
    )
    assert (event.reported_cost, event.provider) == (Decimal("0.006"), "perplexity")


def test_a_stream_of_the_responses_api_that_failed_has_its_id_and_no_counts() -> None:
    answer = {
        "id": "resp_Mock00000199",
        "object": "response",
        "created_at": 1795255928,
        "status": "failed",
        "model": "gpt-5",
        "usage": None,
        "error": {"code": "server_error"},
    }
    sent = f"event: response.failed\ndata: {json.dumps({'type': 'response.failed', 'response': answer})}\n\n"
    (event,) = records.parse(streams.collected(sent.encode()), name="openai", labels={}, received_at=NOW).events
    assert (event.status, event.request_id, buckets(event)) == ("error", "resp_Mock00000199", (None,) * 6)

"""Model calls in spans, in the names that instrumentations of all makers and years give things."""

import json
from decimal import Decimal
from typing import Any

import pytest

from ingest.formats.event import UsageEvent
from tests.ingest.telemetry_made import SERVICE, call, calls, none_of, span

CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-Abcdef123456",
}
USED = {"gen_ai.usage.input_tokens": 1500, "gen_ai.usage.output_tokens": 200}


def buckets(event: UsageEvent) -> tuple[int | None, ...]:
    """Fresh input, read, written for 5 minutes and an hour, output, reasoning."""
    return (
        event.input_tokens, event.cache_read_tokens, event.cache_write_5m_tokens, event.cache_write_1h_tokens, event.output_tokens, event.reasoning_tokens,
    )  # fmt: skip


def test_current_names() -> None:
    event = call(CHAT | USED | {"gen_ai.usage.cache_read.input_tokens": 1024, "gen_ai.usage.reasoning.output_tokens": 64})
    assert buckets(event) == (476, 1024, None, None, 200, 64)
    assert (event.request_id, event.id, event.model, event.provider) == ("chatcmpl-Abcdef123456", "", "gpt-4o-2024-08-06", "openai")
    assert (event.harness, event.latency_ms, event.status, event.trace) == ("checkout-agent", 1000, "ok", f"{1:032x}")


def test_names_of_years_ago() -> None:
    event = call({
        "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 1500,
        "gen_ai.usage.completion_tokens": 200, "llm.usage.total_tokens": 1700, "gen_ai.usage.cache_read_input_tokens": 1024,
    })  # fmt: skip
    assert (buckets(event), event.provider, event.model) == ((476, 1024, None, None, 200, None), "openai", "gpt-4o")
    assert event.id == f"{1:032x}:{1:016x}"


def test_semantic_kernel() -> None:
    event = call({
        "gen_ai.operation.name": "chat.completions", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.id": "chatcmpl-Abcdef123456",
        "gen_ai.response.prompt_tokens": 12, "gen_ai.response.completion_tokens": 3,
    }, "Microsoft.SemanticKernel.Diagnostics")  # fmt: skip
    assert (event.input_tokens, event.output_tokens) == (12, 3)


@pytest.mark.parametrize(
    "values",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", **USED},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
        {"gen_ai.operation.name": "create_agent", "gen_ai.request.model": "gpt-4o"},
        {"traceloop.span.kind": "workflow", "traceloop.entity.name": "chain", "gen_ai.request.model": "gpt-4o", **USED},
        {"gen_ai.aggregated_usage.input_tokens": 3000, "gen_ai.operation.name": "invoke_agent"},
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 3000},
        {"openinference.span.kind": "CHAIN", "llm.token_count.total": 3000},
        {"openinference.span.kind": "TOOL"},
        {"ai.operationId": "ai.streamText", "ai.usage.promptTokens": 3000, "ai.model.id": "gpt-4o"},
        {"gen_ai.system": "openai"},
        {"http.request.method": "POST"},
    ],
)
def test_spans_around_calls_are_none(values: dict[str, Any]) -> None:
    assert none_of(values)


def test_openinference_has_the_id_inside_the_answer() -> None:
    event = call({
        "openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5", "llm.provider": "anthropic", "llm.token_count.prompt": 12408,
        "llm.token_count.completion": 57, "llm.token_count.prompt_details.cache_read": 10240, "llm.token_count.prompt_details.cache_write": 2048,
        "output.value": json.dumps({"id": "msg_01Abcdef12345", "content": [{"text": '"id": "msg_01Other1234567"'}]}), "session.id": "s1", "user.id": "ann@example.com",
        "metadata": json.dumps({"team": "payments", "cost_center": "eng", "question": "what is\nthis", "langgraph_step": 1}), "tag.tags": ["a", "b"],
    }, "openinference.instrumentation.anthropic")  # fmt: skip
    assert (event.request_id, buckets(event)) == ("msg_01Abcdef12345", (120, 10240, 2048, None, 57, None))
    assert (event.session, event.member, event.team) == ("s1", "ann@example.com", "payments")
    assert event.tags == {"cost_center": "eng", "tag.tags": "a,b"}


def test_langchains_record_of_an_answer_passes_the_vendors_id_on() -> None:
    answer = {
        "generations": [
            [
                {
                    "message": {
                        "id": ["langchain", "AIMessage"],
                        "kwargs": {"id": "lc_run--1", "response_metadata": {"id": "chatcmpl-Abcdef123456"}},
                    }
                }
            ]
        ]
    }
    event = call({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "output.value": json.dumps(answer)})
    assert event.request_id == "chatcmpl-Abcdef123456"
    cut = json.dumps({"generations": [{"id": "chatcmpl-Abcdef123456", "text": "x" * 50}]})[:70]
    assert call({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "output.value": cut}).request_id == "chatcmpl-Abcdef123456"


def test_a_stream_that_langchain_was_told_no_input_of_has_an_unknown_one() -> None:
    counts = {"llm.token_count.prompt": 0, "llm.token_count.completion": 57, "llm.token_count.total": 57}
    event = call({"openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5", **counts})
    assert buckets(event) == (None, None, None, None, 57, None)


def test_pydantic_ais_thoughts_of_gemini_are_reasoning() -> None:
    counts = {"gen_ai.usage.input_tokens": 1300, "gen_ai.usage.output_tokens": 130, "gen_ai.usage.details.thoughts_tokens": 40}
    event = call({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gemini-2.5-flash", **counts}, "pydantic-ai")
    assert (event.output_tokens, event.reasoning_tokens) == (130, 40)


def test_an_id_in_text_that_a_model_wrote_is_none() -> None:
    answer = json.dumps({"generations": [{"text": '{"id": "chatcmpl-Abcdef123456"}'}]})
    assert call({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "output.value": answer}).request_id == ""


def test_the_vercel_ai_sdk_and_opencode() -> None:
    event = call({
        "ai.operationId": "ai.streamText.doStream", "ai.model.provider": "openai.responses", "ai.model.id": "gpt-5", "ai.response.id": "resp_Abcdef12345",
        "ai.usage.inputTokens": 1500, "ai.usage.outputTokens": 200, "ai.usage.cachedInputTokens": 1024, "ai.usage.reasoningTokens": 64, "ai.usage.totalTokens": 1700,
        "ai.response.msToFirstChunk": 412.7, "ai.telemetry.metadata.sessionId": "ses_1",
    }, "ai")  # fmt: skip
    assert (buckets(event), event.provider, event.model) == ((476, 1024, None, None, 200, 64), "openai", "gpt-5")
    assert (event.request_id, event.ttft_ms, event.session) == ("resp_Abcdef12345", 413, "ses_1")
    title = {"ai.operationId": "ai.streamText.doStream", "ai.model.id": "gpt-5", "ai.usage.outputTokens": 9}
    channel = SERVICE | {"service.name": "opencode", "deployment.environment.name": "latest"}
    assert calls(("opencode", [span(title)]), resource=channel)[0].environment == ""


def test_copilot_counts_chat_spans_and_not_the_agents() -> None:
    scope, resource = "copilot-chat", {"service.name": "copilot-chat"}
    chat = CHAT | USED | {"gen_ai.provider.name": "github", "copilot_chat.time_to_first_token": 450, "copilot_chat.chat_session_id": "c1"}
    agent = USED | {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o"}
    (event,) = calls((scope, [span(chat, number=2, parent=1), span(agent, number=1)]), resource=resource)
    assert (event.harness, event.provider, event.session, event.ttft_ms) == ("copilot", "github-copilot", "c1", 450)


def test_omnigent_counts_by_its_agents_span_unless_a_call_lies_beneath() -> None:
    used = {
        "openinference.span.kind": "AGENT", "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "greeter", "gen_ai.request.model": "greeter",
        "gen_ai.usage.input_tokens": 476, "gen_ai.usage.output_tokens": 200, "gen_ai.usage.cache_read_input_tokens": 1024, "gen_ai.usage.total_tokens": 1700,
    }  # fmt: skip
    event = call(used, "omnigent")
    assert (event.model, event.harness, buckets(event)) == ("unknown", "omnigent", (476, 1024, None, None, 200, None))
    (event,) = calls(("omnigent", [span(used, number=1)]), ("some.instrumentation", [span(CHAT | USED, number=2, parent=1)]))
    assert event.request_id == "chatcmpl-Abcdef123456"


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("api.openai.com", "openai"),
        ("my-resource.openai.azure.com", "azure"),
        ("https://openrouter.ai/api/v1/", "openrouter"),
        ("api.groq.com", "groq"),
        ("127.0.0.1", "openai"),
        ("gateway.example.com", "openai"),
    ],
)
def test_who_bills_is_told_by_the_server_that_was_called(address: str, provider: str) -> None:
    assert call(CHAT | USED | {"server.address": address}).provider == provider


def test_failures_are_calls_without_counts() -> None:
    event = call(
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-fail", "error.type": "openai.RateLimitError"}, is_error=True
    )
    assert (event.status, event.model, buckets(event)) == ("error", "gpt-fail", (None,) * 6)
    assert event.tags == {"error.type": "openai.RateLimitError"}


def test_costs_and_tiers_are_kept() -> None:
    event = call(CHAT | USED | {"operation.cost": 0.0027230000000000003, "openai.response.service_tier": "flex"})
    assert (event.reported_cost, event.tags) == (Decimal("0.002723"), {"service_tier": "flex"})


def test_litellm_says_cached_tokens_in_a_dict_written_as_text() -> None:
    details = {"cached_tokens": 10240, "cache_creation_tokens": 2048, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 512}}
    usage = str({"completion_tokens": 57, "prompt_tokens": 12408, "prompt_tokens_details": details})
    values = {
        "litellm.call_id": "2c3bd870-bb5a-45fd-a8b3-9a24380f8f6a", "gen_ai.operation.name": "anthropic_messages", "llm.request.type": "anthropic_messages",
        "llm.is_streaming": True, "gen_ai.system": "", "gen_ai.response.model": "my-alias", "litellm.provider.model": "anthropic/claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57, "metadata.usage_object": usage, "gen_ai.cost.total_cost": 0.013119,
        "metadata.user_agent": "claude-cli/2.1.329 (external, sdk-cli)", "metadata.user_api_key_team_alias": "payments",
        "metadata.requester_metadata": "{'tags': ['project:alpha', 'nightly'], 'headers': {'cookie': 'x'}, 'session_id': 's9'}",
    }  # fmt: skip
    event = call(values, "litellm")
    assert (event.model, event.provider, event.gateway, event.harness) == ("claude-sonnet-4-5", "anthropic", "litellm", "claude-code")
    assert buckets(event) == (120, 10240, 1536, 512, 57, None)
    assert (event.team, event.project, event.session, event.latency_ms) == ("payments", "alpha", "s9", None)
    assert (event.request_id, event.tags) == ("2c3bd870-bb5a-45fd-a8b3-9a24380f8f6a", {"nightly": "true"})
    failed = call(
        values | {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0, "metadata.usage_object": "{}"}, "litellm", is_error=True
    )
    assert (failed.status, failed.request_id, buckets(failed)) == ("error", failed.id, (None,) * 6)
    assert none_of({"gen_ai.request.model": "gpt-4o", "llm.openai.usage": "{'prompt_tokens': 1500}"}, "litellm")


@pytest.mark.parametrize("hostile", ["(" * 9_000, "{'a': " * 3_000, "{1: 2", "[]", "{'tags': 7}", "x" * 20_000, "{'tags': [[]]}"])
def test_whatever_litellms_dict_holds_the_call_is_counted(hostile: str) -> None:
    values = {
        "litellm.call_id": "c1",
        "gen_ai.request.model": "gpt-4o",
        "metadata.requester_metadata": hostile,
        "metadata.usage_object": hostile,
        **USED,
    }
    assert call(values, "litellm").input_tokens == 1500

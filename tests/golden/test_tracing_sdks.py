"""Spans of Langfuse's SDKs and of MLflow Tracing, by their public source and documentation: no real client was captured."""

import json
from decimal import Decimal
from typing import Any

import pytest

from ingest.formats.event import UsageEvent
from tests.golden.harness_files import COUNTS
from tests.ingest.telemetry_made import call, calls, none_of, span

OPENAI = (476, 1024, None, None, 200, 64)
ANTHROPIC = (120, 10240, 2048, None, 57, None)


def buckets(event: UsageEvent) -> tuple[int | None, ...]:
    return tuple(getattr(event, name) for name in COUNTS)


# github.com/langfuse/langfuse-python, langfuse/_client/attributes.py.
GENERATION = {
    "langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-5-2025-08-07", "langfuse.observation.input": "SECRET", "langfuse.observation.output": "SECRET",
    "langfuse.environment": "production", "langfuse.trace.tags": ["checkout", "beta"], "session.id": "s-1", "user.id": "anna@acme.example",
    "langfuse.observation.cost_details": json.dumps({"input": 0.001, "total": 0.0027}),
}  # fmt: skip
IN_ITS_WORDS = {"input": 476, "input_cached_tokens": 1024, "output": 136, "output_reasoning_tokens": 64, "total": 1700}
IN_OPENAIS = {
    "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "prompt_tokens_details": {"cached_tokens": 1024},
    "completion_tokens_details": {"reasoning_tokens": 64},
}  # fmt: skip


@pytest.mark.parametrize(
    "usage",
    [
        IN_ITS_WORDS,
        IN_OPENAIS,
        {"input": 1500, "input_cache_read": 1024, "output": 200, "output_reasoning": 64, "total": 1700},
        {"input": 400, "input_audio": 76, "input_cache_read": 1024, "output": 136, "output_reasoning": 64, "total": 1700},
    ],
    ids=["its own words", "OpenAI's", "parts within, as the total says", "sound apart"],
)
def test_langfuses_generation_is_a_call(usage: dict[str, Any]) -> None:
    event = call({**GENERATION, "langfuse.observation.usage_details": json.dumps(usage)}, "langfuse-sdk")
    assert buckets(event) == OPENAI
    assert (event.model, event.session, event.member, event.environment, event.reported_cost) == (
        "gpt-5-2025-08-07", "s-1", "anna@acme.example", "production", Decimal("0.0027"),
    )  # fmt: skip
    assert (event.tags or {})["langfuse.tags"] == "checkout,beta"
    assert "SECRET" not in str(event)


@pytest.mark.parametrize(
    "usage",
    [
        {"input": 120, "output": 57, "cache_read_input_tokens": 10240, "cache_creation_input_tokens": 2048},
        {"input_tokens": 120, "output_tokens": 57, "cache_read_input_tokens": 10240, "cache_creation_input_tokens": 2048},
    ],
)
def test_anthropics_counts_in_langfuses_span_leave_caches_out(usage: dict[str, Any]) -> None:
    told = {**GENERATION, "langfuse.observation.model.name": "claude-sonnet-4-5", "langfuse.observation.usage_details": json.dumps(usage)}
    assert buckets(call(told))[:5] == ANTHROPIC[:5]


def test_a_generation_without_counts_is_a_call_of_unknown_ones_and_an_error_one_that_failed() -> None:
    event = call({**GENERATION, "langfuse.observation.level": "ERROR"})
    assert (buckets(event), event.status) == ((None,) * 6, "error")


@pytest.mark.parametrize("kind", ["span", "agent", "tool", "chain", "retriever", "evaluator", "guardrail", "event"])
def test_other_observations_never_add_their_totals(kind: str) -> None:
    told = {
        **GENERATION,
        "langfuse.observation.type": kind,
        "langfuse.observation.usage_details": json.dumps(IN_ITS_WORDS),
        "gen_ai.usage.input_tokens": 9,
    }
    assert none_of(told, "langfuse-sdk")


def test_an_embedding_of_langfuse_counts() -> None:
    told = {**GENERATION, "langfuse.observation.type": "embedding", "langfuse.observation.usage_details": '{"input": 9, "total": 9}'}
    assert buckets(call(told)) == (9, None, None, None, None, None)


# github.com/mlflow/mlflow, mlflow/tracing/constant.py and mlflow/anthropic/autolog.py: every attribute is written as JSON.
CHAT_MODEL = {
    "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-5-2025-08-07"', "mlflow.llm.provider": '"openai"', "mlflow.traceRequestId": '"tr-1"',
    "mlflow.spanOutputs": json.dumps({"id": "chatcmpl-Mock00000125", "model": "gpt-5-2025-08-07", "choices": [{"message": {"content": "SECRET"}}]}),
    "mlflow.chat.tokenUsage": json.dumps({"input_tokens": 1500, "output_tokens": 200, "total_tokens": 1700, "cache_read_input_tokens": 1024}),
    "mlflow.llm.cost": json.dumps({"input_cost": 0.001, "output_cost": 0.0017, "total_cost": 0.0027}), "session.id": "s-1", "mlflow.message.format": '"openai"',
}  # fmt: skip


@pytest.mark.parametrize("is_quoted", [True, False], ids=["as JSON", "as text"])
def test_mlflows_chat_model_span_is_a_call(is_quoted: bool) -> None:
    event = call({name: value if is_quoted else value.strip('"') for name, value in CHAT_MODEL.items()}, "mlflow")
    assert buckets(event) == (476, 1024, None, None, 200, None)
    assert (event.request_id, event.model, event.provider, event.session, event.reported_cost) == (
        "chatcmpl-Mock00000125", "gpt-5-2025-08-07", "openai", "s-1", Decimal("0.0027"),
    )  # fmt: skip
    assert "SECRET" not in str(event)


def test_mlflows_counts_of_anthropic_leave_caches_out() -> None:
    usage = {
        "input_tokens": 120,
        "output_tokens": 57,
        "total_tokens": 177,
        "cache_read_input_tokens": 10240,
        "cache_creation_input_tokens": 2048,
    }
    told = {**CHAT_MODEL, "mlflow.message.format": '"anthropic"', "mlflow.chat.tokenUsage": json.dumps(usage)}
    assert buckets(call(told)) == ANTHROPIC


def test_mlflow_before_it_named_models_has_them_in_question_and_answer() -> None:
    told = {name: value for name, value in CHAT_MODEL.items() if not name.startswith("mlflow.llm.")}
    assert call(told).model == "gpt-5-2025-08-07"
    assert call({**told, "mlflow.spanOutputs": "null", "mlflow.spanInputs": '{"model": "gpt-5", "messages": ["SECRET"]}'}).model == "gpt-5"


@pytest.mark.parametrize("kind", ["AGENT", "CHAIN", "TOOL", "RETRIEVER", "RERANKER", "PARSER", "MEMORY", "UNKNOWN"])
def test_other_spans_of_mlflow_never_add_their_totals(kind: str) -> None:
    assert none_of({**CHAT_MODEL, "mlflow.spanType": json.dumps(kind), "gen_ai.usage.input_tokens": 9}, "mlflow")


def test_a_frameworks_span_around_a_librarys_is_one_call() -> None:
    """LangChain's and OpenAI's autologging on the same call: the outer span has the sum of what is in it, and no id."""
    outer = {**CHAT_MODEL, "mlflow.spanOutputs": '{"generations": []}', "mlflow.message.format": '"langchain"'}
    (event,) = calls(("mlflow", [span(outer, number=1, end=2.0), span(CHAT_MODEL, number=2, parent=1)]))
    assert event.request_id == "chatcmpl-Mock00000125"

"""One call that several instrumentations tell of counts once, whichever way their spans lie to each other."""

from itertools import permutations
from typing import Any

import pytest

from tests.ingest.telemetry_made import calls, span

CHAT: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}
USED = {"gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57, "gen_ai.usage.cache_read.input_tokens": 10240}
NATIVE = CHAT | USED | {
    "gen_ai.response.id": "msg_01Abcdef12345", "gen_ai.usage.cache_write.input_tokens": 2048,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 512, "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 1536,
}  # fmt: skip
OTHER = CHAT | {
    "gen_ai.response.id": "msg_01Abcdef12345",
    "gen_ai.usage.input_tokens": 12408,
    "gen_ai.usage.output_tokens": 58,
    "session.id": "s1",
}
SDK, LIBRARY = "com.anthropic.sdk.python", "opentelemetry.instrumentation.anthropic"
NAMELESS: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.token_count.prompt": 1500,
    "llm.token_count.completion": 200,
}
NAMED = NAMELESS | {"output.value": '{"id": "chatcmpl-Abcdef123456"}'}
CHAIN, OPENAI = "openinference.instrumentation.langchain", "openinference.instrumentation.openai"


def test_of_two_sightings_the_fuller_one_counts_with_the_others_labels() -> None:
    for scopes in permutations([(SDK, [span(NATIVE, trace=1)]), (LIBRARY, [span(OTHER, trace=2)])]):
        (event,) = calls(*scopes)
        assert (event.output_tokens, event.cache_write_1h_tokens, event.session, event.trace) == (57, 512, "s1", f"{1:032x}")


def test_a_wrapper_and_its_call_in_one_trace_are_one() -> None:
    for scopes in permutations([(SDK, [span(NATIVE, number=2, parent=1)]), (LIBRARY, [span(OTHER, number=1)])]):
        (event,) = calls(*scopes)
        assert (event.request_id, event.output_tokens) == ("msg_01Abcdef12345", 57)


def test_a_wrapper_without_an_id_is_its_call() -> None:
    (event,) = calls(
        (CHAIN, [span(NAMELESS, number=1)]), (OPENAI, [span(NAMED, number=3, parent=2)]), ("chain", [span({}, number=2, parent=1)])
    )
    assert event.request_id == "chatcmpl-Abcdef123456"


def test_a_wrapper_of_several_calls_sums_them_up() -> None:
    first, second = (
        span(NAMED, number=2, parent=1),
        span(NAMELESS | {"output.value": '{"id": "chatcmpl-Zyxwvu987654"}'}, number=3, parent=1),
    )
    doubled = NAMELESS | {"llm.token_count.prompt": 3000, "llm.token_count.completion": 400}
    assert [event.input_tokens for event in calls((CHAIN, [span(doubled, number=1)]), (OPENAI, [first, second]))] == [1500, 1500]


def test_a_chain_of_wrappers_ends_in_one_call() -> None:
    spans = [span(NAMELESS, number=1), span(NAMELESS, number=2, parent=1), span(NAMED, number=3, parent=2)]
    for order in permutations(spans):
        assert [event.request_id for event in calls((OPENAI, order))] == ["chatcmpl-Abcdef123456"]


def test_calls_of_different_ids_are_two_even_within_each_other() -> None:
    other = NAMELESS | {"output.value": '{"id": "chatcmpl-Zyxwvu987654"}'}
    assert len(calls((OPENAI, [span(NAMED, number=1), span(other, number=2, parent=1)]))) == 2


def test_a_failed_attempt_within_a_call_that_succeeded_is_a_call_of_its_own() -> None:
    failed = CHAT | {"error.type": "RateLimitError"}
    spans = [span(OTHER, number=1), span(failed, number=2, parent=1, is_error=True), span(NATIVE, number=3, parent=1)]
    assert sorted(event.status for event in calls((SDK, spans))) == ["error", "ok"]
    (event,) = calls((LIBRARY, [span(failed, number=1, is_error=True)]), (SDK, [span(failed, number=2, parent=1, is_error=True)]))
    assert event.status == "error"


def test_a_frameworks_span_without_an_id_is_the_librarys_call_within_its_time() -> None:
    framework = (CHAIN, [span(NAMELESS, trace=1, start=0, end=2)])
    (event,) = calls(framework, (OPENAI, [span(NAMED, trace=2, start=0.5, end=1.5)]))
    assert event.request_id == "chatcmpl-Abcdef123456"


def test_so_is_one_that_tells_less_of_cache_writes_and_of_the_models_date() -> None:
    framework = {
        "openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5-20250929", "llm.token_count.prompt": 12408, "llm.token_count.completion": 57,
        "llm.token_count.prompt_details.cache_read": 10240, "llm.token_count.prompt_details.cache_write": 2048, "session.id": "s1",
    }  # fmt: skip
    (event,) = calls((CHAIN, [span(framework, trace=1, start=0, end=2)]), (SDK, [span(NATIVE, trace=2, start=0.5, end=1.5)]))
    assert (event.request_id, event.cache_write_1h_tokens, event.session) == ("msg_01Abcdef12345", 512, "s1")


# What LangChain 1.4.7 tells of a stream of ChatAnthropic, of a stream without `include_usage`, and of a refusal.
UNTOLD: dict[str, Any] = {"openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5-20250929"}


@pytest.mark.parametrize(
    ("told", "within"),
    [
        (UNTOLD | {"llm.token_count.prompt": 0, "llm.token_count.completion": 57, "llm.token_count.total": 57}, NATIVE),
        (UNTOLD, NATIVE),
        (
            UNTOLD | {"error.type": "RateLimitError"},
            CHAT | {"error.type": "rate_limit_error", "anthropic.request.id": "req_011Abcdef12345"},
        ),
    ],
    ids=["without input", "without counts", "refused"],
)
def test_so_is_one_that_learnt_less_than_the_library(told: dict[str, Any], within: dict[str, Any]) -> None:
    outer, inner = (CHAIN, [span(told, trace=1, end=2)]), (SDK, [span(within, trace=2, start=0.5, end=1.5)])
    assert [len(calls(one)) for one in (outer, inner)] == [1, 1]
    (event,) = calls(outer, inner)
    assert event.request_id


@pytest.mark.parametrize(
    "other",
    [
        span(NAMED, trace=2, start=0.5, end=2.5),
        span(NAMED | {"llm.token_count.completion": 201}, trace=2, start=0.5, end=1.5),
        span(NAMED | {"llm.model_name": "gpt-5"}, trace=2, start=0.5, end=1.5),
    ],
    ids=["another time", "other counts", "another model"],
)
def test_calls_that_only_look_alike_are_two(other: dict[str, Any]) -> None:
    assert len(calls((CHAIN, [span(NAMELESS, trace=1, start=0, end=2)]), (OPENAI, [other]))) == 2


def test_logfires_log_of_a_stream_is_the_call_and_the_one_that_the_vendors_library_tells_of() -> None:
    """logfire 5.2.0 with Anthropic's SDK 2.12.0: a span until the headers, the SDK's span in it, and a log in a trace of its own."""
    shared = CHAT | {"gen_ai.request.model": "claude-sonnet-4-5-20250929"}
    headers = span(shared | {"logfire.span_type": "span"}, trace=1, end=0.5)
    block = '{"input_tokens": 120, "cache_read_input_tokens": 10240, "cache_creation_input_tokens": 2048, "output_tokens": 57}'
    log = span(shared | {"logfire.span_type": "log", "duration": 0.5, "gen_ai.usage.raw": block}, trace=2, start=1, end=1)
    (alone,) = calls(("logfire.anthropic", [headers, log]))
    assert (alone.input_tokens, alone.cache_read_tokens, alone.output_tokens, alone.latency_ms) == (120, 10240, 57, 500)
    within = (SDK, [span(NATIVE, trace=1, number=2, parent=1, start=0.1, end=0.99)])
    (event,) = calls(("logfire.anthropic", [headers, log]), within)
    assert (event.request_id, event.cache_write_1h_tokens) == ("msg_01Abcdef12345", 512)


def test_a_failed_attempt_is_not_the_answer_around_it() -> None:
    failed = UNTOLD | {"error.type": "OverloadedError"}
    assert len(calls((CHAIN, [span(UNTOLD, trace=1, end=2)]), (OPENAI, [span(failed, trace=2, start=0.5, end=1.5)]))) == 2


def test_parallel_calls_pair_one_to_one() -> None:
    outer = [span(NAMELESS, trace=number, number=number, start=0, end=2) for number in (1, 2)]
    ids = ("chatcmpl-Abcdef123456", "chatcmpl-Zyxwvu987654")
    inner = [
        span(NAMELESS | {"output.value": f'{{"id": "{name}"}}'}, trace=9 + at, number=9 + at, start=0.5, end=1.5)
        for at, name in enumerate(ids)
    ]
    assert sorted(event.request_id for event in calls((CHAIN, outer), (OPENAI, inner))) == sorted(ids)


def test_spans_that_are_each_others_parents_do_no_harm() -> None:
    assert len(calls((OPENAI, [span(NAMED, number=1, parent=2), span(NAMED, number=2, parent=1)]))) == 1

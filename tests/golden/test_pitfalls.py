"""What clients do that would make figures wrong, each by the number it has in what was found out about them, as far as a door meets it. More on files: test_harness_files."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.formats import records
from ingest.formats.event import UsageEvent as Reported
from ingest.formats.otlp import parse, parse_spans
from ingest.formats.telemetry import Source, log_records, metric_points
from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import CAPTURES_OF_OTLP, FOLDER, Capture, capture
from tests.ingest.telemetry_made import call, calls, none_of, span

ANTHROPIC = (120, 10240, 1536, 512, 57)
OPENAI = (476, 1024, None, None, 200)
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 1500, "gen_ai.usage.output_tokens": 200}
# Text that the stand-ins were asked and answered, and what the clients say of themselves to the model.
WRITTEN = ("Hello from the mock", "USE_TOOL", "You are a non-interactive", "echo hi", "function_args", "Say hello", "get_weather")


def events(name: str) -> list[Reported]:
    return capture(name).parsed().usage.events


def filed(name: str, *rows: Any) -> list[Reported]:
    """The calls in what a harness wrote to disk or printed."""
    parsed = records.parse("\n".join(map(json.dumps, rows)).encode(), name=name, labels={}, received_at=datetime(2026, 11, 21, 12, tzinfo=UTC))
    assert parsed.refused == []
    return parsed.events


def buckets(event: Reported) -> tuple[int | None, ...]:
    return event.input_tokens, event.cache_read_tokens, event.cache_write_5m_tokens, event.cache_write_1h_tokens, event.output_tokens


@pytest.mark.parametrize("name", ["claude-code/001", "claude-code-via-litellm/007", "anthropic-sdk-native/001", "pydantic-ai/002"])
def test_01_input_means_the_same_whoever_reports_it(name: str) -> None:
    """120 or 12,408 on the wire, by whether it includes what caches read and wrote."""
    assert {buckets(event) for event in events(name)} == {ANTHROPIC}


def test_01_the_total_tells_what_input_is_under_one_name() -> None:
    (omnigent,), (genai,) = events("omnigent/001"), events("otel-genai-openai/001")
    assert buckets(omnigent) == buckets(genai) == OPENAI


def test_02_output_includes_reasoning_whoever_reports_it() -> None:
    (gemini,), qwen = events("gemini-cli/002"), events("qwen-code/001")
    assert (gemini.output_tokens, gemini.reasoning_tokens) == (130, 40)
    assert {(event.output_tokens, event.reasoning_tokens) for event in qwen} == {(200, 64)}


def test_03_geminis_two_inputs_come_to_the_same() -> None:
    """With what caches read in its chats, without it in what it prints."""
    (path,) = (FOLDER / "gemini-cli/chats").glob("*.jsonl")
    (chat,) = filed("gemini-cli", *map(json.loads, path.read_text().splitlines()))
    (printed,) = filed("run-sums", json.loads((FOLDER / "gemini-cli/stdout-output-format-json.json").read_text()))
    assert (chat.input_tokens, chat.cache_read_tokens) == (300, 1000)
    calls_of_run = int((printed.tags or {})["calls"])
    assert (printed.input_tokens, printed.cache_read_tokens) == (300 * calls_of_run, 1000 * calls_of_run)


@pytest.mark.parametrize("name", ["gemini-cli/003", "codex-cli/003", "otel-genai-openai/007", "claude-code/002", "claude-code/011"])
def test_03_and_04_series_of_metrics_that_overlap_or_repeat_are_not_summed(name: str) -> None:
    sent = capture(name)
    assert metric_points(sent.body, is_json=sent.is_json)
    assert otlp_door_counts(sent) == 0


def otlp_door_counts(sent: Capture) -> int:
    from ingest.formats.points import meters

    return len(meters(metric_points(sent.body, is_json=sent.is_json)))


@pytest.mark.parametrize("names", [("claude-code/009", "claude-code/010"), ("qwen-code/003", "qwen-code/001"), ("codex-cli/001", "codex-cli/004")])
def test_04_one_signal_of_a_client_counts(names: tuple[str, str]) -> None:
    spans, logs = names
    assert events(spans) == []
    assert len(events(logs)) == 2


def test_04_of_two_records_of_a_call_one_counts() -> None:
    assert len(events("gemini-cli/002")) == 1
    assert events("litellm-proxy/005") == events("otel-openai-v2/002") == []


@pytest.mark.parametrize(("name", "expected"), [("codex-cli/002", 0), ("pydantic-ai/001", 2), ("openinference-langchain/001", 2), ("omnigent/001", 1)])
def test_05_spans_around_calls_do_not_count_again(name: str, expected: int) -> None:
    assert len(events(name)) == expected


def test_05_an_agent_that_repeats_the_sum_in_the_names_of_a_call_does_not_count() -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 3000, "gen_ai.usage.output_tokens": 400, "gen_ai.request.model": "gpt-5"}
    assert none_of(agent, "pydantic-ai")


def test_06_two_instrumentations_of_one_call_are_one() -> None:
    (event,) = events("pydantic-ai/002")
    assert (event.request_id, event.session) == ("msg_01Mock00000187", "01a1fd9c-2f64-74db-9e74-74100d2bd770")


def test_06_the_id_of_a_vendors_answer_is_found_inside_it() -> None:
    assert [event.request_id for name in ("001", "002", "004") for event in events(f"openinference-openai/{name}")] == [
        "chatcmpl-Mock00000144", "chatcmpl-Mock00000145", "resp_Mock00000147",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["otel-genai-openai/002", "otel-openai-v2/003", "openllmetry-openai/002", "openinference-openai/002"])
def test_07_a_stream_without_usage_is_unknown_and_not_nothing(name: str) -> None:
    (event,) = events(name)
    assert (buckets(event), event.status) == ((None,) * 5, "ok")


def test_07_the_fuller_sighting_settles_what_a_stream_was_miscounted_as() -> None:
    own = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.response.id": "msg_01Abcdef12345"}
    other = own | {"gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 58, "gen_ai.usage.cache_read.input_tokens": 10240}
    native = other | {"gen_ai.usage.output_tokens": 57, "gen_ai.usage.cache_write.input_tokens": 2048}
    (event,) = calls(("opentelemetry.instrumentation.anthropic", [span(other)]), ("com.anthropic.sdk.python", [span(native, trace=2)]))
    assert event.output_tokens == 57


def test_08_every_line_of_a_transcript_has_the_usage_of_its_whole_request() -> None:
    lines = [json.loads(line) for line in (FOLDER / "claude-code-via-litellm/transcript-09cdacfa.jsonl").read_text().splitlines()]
    answered = [line for line in lines if line["type"] == "assistant"]
    found = filed("claude-code", *lines)
    assert len(answered) > len(found) == len({line["requestId"] for line in answered})
    assert {buckets(event) for event in found} == {ANTHROPIC}


def test_08_a_made_up_answer_and_the_sum_of_a_session_are_no_calls() -> None:
    """`<synthetic>` with a random id and zeros; `cost-state` goes on over the runs of a session."""
    message = {"id": "5a9f", "role": "assistant", "model": "<synthetic>", "usage": {"input_tokens": 0, "output_tokens": 0}, "content": []}
    failed = {"type": "assistant", "uuid": "u-1", "sessionId": "s-1", "timestamp": "2026-11-21T10:00:00Z", "isApiErrorMessage": True, "message": message}
    total = {"type": "cost-state", "sessionId": "s-1", "timestamp": "2026-11-21T10:00:01Z", "totalCostUSD": 0.0309, "modelUsage": {"claude-sonnet-4-5": {"inputTokens": 360}}}
    assert filed("claude-code", failed, total) == []


def test_09_what_codex_prints_of_a_resumed_thread_is_its_total_and_the_record_is_the_calls() -> None:
    (path,) = (FOLDER / "codex-cli/sessions").glob("rollout-2026-11-21T10-04-01-*.jsonl")
    found = filed("codex", *map(json.loads, path.read_text().splitlines()))
    assert len(found) == len({event.request_id for event in found}) == 3
    assert {buckets(event) for event in found} == {(476, 1024, 0, None, 200)}


def test_09_numbers_that_cumulate_are_not_taken_for_single_ones() -> None:
    assert events("codex-cli/002") == []
    assert [event.reported_cost for event in events("claude-code/010")] == [Decimal("0.007722")] * 2


def test_10_codex() -> None:
    found = events("codex-cli/004")
    assert [buckets(event) for event in found] == [(476, 1024, 0, None, 200)] * 2
    assert [event.occurred_at.isoformat() for event in found] == ["2026-11-21T10:04:01.628000+00:00", "2026-11-21T10:04:01.868000+00:00"]


@pytest.mark.parametrize("sent", [{"intValue": 1500}, {"intValue": "1500"}, {"stringValue": "1500"}, {"doubleValue": 1500.0}, {"stringValue": 1500}])
def test_11_numbers_are_taken_in_every_type(sent: dict[str, Any]) -> None:
    attributes = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, {"key": "gen_ai.usage.input_tokens", "value": sent}]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "a" * 16, "endTimeUnixNano": 1_795_262_400_000_000_000, "attributes": attributes}]}]}]}
    from ingest.formats.telemetry import spans

    (event,) = parse_spans(spans(json.dumps(body).encode(), is_json=True)).usage.events
    assert event.input_tokens == 1500


@pytest.mark.parametrize("read", ["cache_read.input_tokens", "cache_read_input_tokens", "details.cache_read_tokens"])
@pytest.mark.parametrize("written", ["cache_creation.input_tokens", "cache_write.input_tokens", "cache_creation_input_tokens", "details.cache_write_tokens"])
@pytest.mark.parametrize("reasoning", ["reasoning.output_tokens", "reasoning_tokens", "details.reasoning_tokens"])
def test_12_every_spelling_of_an_attribute_is_read(read: str, written: str, reasoning: str) -> None:
    event = call(CHAT | {f"gen_ai.usage.{read}": 1000, f"gen_ai.usage.{written}": 24, f"gen_ai.usage.{reasoning}": 64})
    assert (buckets(event), event.reasoning_tokens) == ((476, 1000, 24, None, 200), 64)


@pytest.mark.parametrize("reasoning", ["codex.usage.reasoning_output_tokens", "thoughts_token_count"])
def test_12_and_those_without_the_conventions_prefix(reasoning: str) -> None:
    assert call(CHAT | {reasoning: 64}).reasoning_tokens == 64


def test_13_the_model_is_the_one_that_answered_and_no_alias() -> None:
    assert [event.model for event in events("otel-genai-openai/001")] == ["gpt-4o-2024-08-06"]
    assert [event.model for event in events("claude-code-via-litellm/007")] == ["claude-sonnet-4-5-20250929"] * 2
    assert [event.model for event in events("omnigent/001")] == ["unknown"]


def test_14_what_a_client_never_counts_is_not_made_up() -> None:
    """openai-v2 says nothing of cached and reasoning tokens."""
    (event,) = events("otel-openai-v2/001")
    assert (buckets(event), event.reasoning_tokens) == ((1500, None, None, None, 200), None)


@pytest.mark.parametrize("name", [name for name, sent in CAPTURES_OF_OTLP.items() if sent.signal != "metrics" and sent.parsed().usage.events])
def test_15_labels_are_read_from_the_resource(name: str) -> None:
    for event in events(name):
        assert (event.team, (event.tags or {})["cost_center"]) == ("platform", "eng-123")


def test_16_litellm() -> None:
    first, second = events("claude-code-via-litellm/007")
    assert first.request_id != second.request_id
    assert {(event.session, event.latency_ms, event.gateway, event.harness) for event in (first, second)} == {
        ("09cdacfa-cfd4-4d44-8ee3-a838dd393702", None, "litellm", "claude-code")
    }


@pytest.mark.django_db
def test_17_nothing_that_people_wrote_is_kept_anywhere(api: APIClient) -> None:
    with time_machine.travel("2026-11-21T12:00:00Z"):
        for sent in CAPTURES_OF_OTLP.values():
            sent.post(api)
            broken = Capture(sent.path, sent.content_type, sent.body[: len(sent.body) // 2])
            broken.post(api)
    stored = "".join(str(row) for row in UsageEvent.objects.values())
    kept = "".join(f"{row} {bytes(row['payload'])!r}" for row in RejectedInput.objects.values())
    assert stored
    for text in WRITTEN:
        assert text not in stored
        assert text not in kept


def test_18_geminis_server_address_is_not_believed() -> None:
    (event,) = events("gemini-cli/002")
    assert "generativelanguage" not in str(event)


def test_19_a_clients_cost_stands_beside_and_is_unknown_where_it_says_none() -> None:
    assert {event.reported_cost for event in events("claude-code/001")} == {Decimal("0.013119")}
    assert {event.reported_cost for name in ("omnigent/001", "codex-cli/004") for event in events(name)} == {None}


def test_ordinary_logs_of_an_application_are_nobodys_business() -> None:
    body = {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "app"}, "logRecords": [{"body": {"stringValue": "started"}}]}]}]}
    found = parse(log_records(json.dumps(body).encode(), is_json=True))
    assert (found.usage.events, found.unread) == ([], {})
    assert Source({}, "").client == "a client without service.name"

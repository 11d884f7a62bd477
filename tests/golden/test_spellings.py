"""The captured shapes with times and numbers as other exporters and libraries write them: the same call comes out."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.formats import records
from ingest.formats.event import UsageEvent
from ingest.formats.otlp import parse
from ingest.formats.telemetry import log_records
from tests.golden.answers import CHAT, CONVERSED
from tests.golden.harness_files import COUNTS
from tests.ingest.telemetry_made import attributes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
# The same instant in the units in which a time is written as a number.
AT = datetime(2026, 11, 21, 10, 12, 8, 123000, tzinfo=UTC)
STAMPS = [
    1795255928.123,
    1795255928123,
    1795255928123000,
    1795255928123000000,
    "1795255928.123",
    "1795255928123",
    "2026-11-21T10:12:08.123Z",
    "2026-11-21 10:12:08.123Z",
]
LINE = {
    "type": "assistant", "sessionId": "s-1", "requestId": "req_011Mock000505",
    "message": {"id": "msg_01Mock", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 120, "output_tokens": 57}},
}  # fmt: skip
RECORD = {
    "event.name": "api_request", "session.id": "s-1", "model": "claude-sonnet-4-5", "input_tokens": 120, "output_tokens": 57, "duration_ms": 146,
    "request_id": "req_011Mock000505",
}  # fmt: skip


def read(name: str, row: Any, **labels: Any) -> UsageEvent:
    parsed = records.parse(json.dumps(row).encode(), name=name, labels=labels, received_at=NOW)
    assert parsed.refused == []
    return parsed.events[0]


def logged(values: dict[str, Any], *, time: int) -> UsageEvent:
    record = {"timeUnixNano": str(time), "body": {"stringValue": "claude_code.api_request"}, "attributes": attributes(values)}
    scope = {"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": [record]}
    body = {"resourceLogs": [{"resource": {"attributes": attributes({"service.name": "claude-code"})}, "scopeLogs": [scope]}]}
    found = parse(log_records(json.dumps(body).encode(), is_json=True)).usage
    assert found.refused == []
    return found.events[0]


@pytest.mark.parametrize("stamp", STAMPS, ids=str)
def test_a_time_is_read_in_any_unit(stamp: str | float) -> None:
    assert read("claude-code", {**LINE, "timestamp": stamp}).occurred_at == AT
    assert read("openai", {**CHAT, "created": stamp}).occurred_at == AT
    if isinstance(stamp, str):
        assert logged({**RECORD, "event.timestamp": stamp}, time=0).occurred_at == AT


@pytest.mark.parametrize("value", [146.4, "146", 146.0], ids=str)
def test_a_part_of_a_millisecond_costs_no_call(value: str | float) -> None:
    assert logged({**RECORD, "duration_ms": value}, time=1795255928123000000).latency_ms == 146


def test_bedrocks_latency_may_have_a_part_of_a_millisecond() -> None:
    assert read("bedrock", {**CONVERSED, "metrics": {"latencyMs": 551.5}}, model="m").latency_ms == 552


def test_litellms_times_in_milliseconds_are_no_longer_calls() -> None:
    times = {"startTime": 1795255926373, "endTime": 1795255928123}
    row = {
        "id": "c-1",
        "litellm_call_id": "5f6f0a52-0000-4000-8000-000000000001",
        "model": "gpt-5",
        "status": "success",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        **times,
    }
    event = read("litellm", row)
    assert (event.occurred_at, event.latency_ms) == (AT, 1750)
    assert read("litellm", {**row, **{name: value / 1000 for name, value in times.items()}}).latency_ms == 1750


def test_litellms_times_without_a_zone_are_refused_with_the_setting_that_makes_them() -> None:
    # As LiteLLM 1.106.2 writes it with `generic_api_use_v1`.
    row = {"id": "chatcmpl-1", "model": "gpt-4o", "usage": "Usage(completion_tokens=5, prompt_tokens=10)", "endTime": "2026-11-22 11:23:06.932384"}
    (refused,) = records.parse(json.dumps(row).encode(), name="litellm", labels={}, received_at=NOW).refused
    assert "generic_api_use_v1" in refused.fault.reason


# What `response.model_dump()` of google-genai gives (googleapis/python-genai, types.py).
WRITTEN_OUT = {
    "response_id": "mock-Zx81aB7cD2eF9gH4iJ6k", "model_version": "gemini-2.5-pro", "create_time": None,
    "candidates": [{"finish_reason": "STOP", "content": {"parts": [{"text": "SECRET"}]}}],
    "usage_metadata": {
        "prompt_token_count": 1300, "cached_content_token_count": 1000, "candidates_token_count": 90, "thoughts_token_count": 40, "total_token_count": 1430,
        "tool_use_prompt_token_count": None, "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 300}],
    },
}  # fmt: skip


@pytest.mark.parametrize("row", [WRITTEN_OUT, {"response": WRITTEN_OUT}, {"stream": [WRITTEN_OUT]}], ids=["answer", "envelope", "stream"])
def test_gemini_as_googles_python_library_writes_it_out(row: dict[str, Any]) -> None:
    event = read("gemini", row)
    assert {name: getattr(event, name) for name in COUNTS} == {
        "input_tokens": 300, "cache_read_tokens": 1000, "cache_write_5m_tokens": None, "cache_write_1h_tokens": None, "output_tokens": 130, "reasoning_tokens": 40,
    }  # fmt: skip
    assert (event.request_id, event.model, event.units) == ("mock-Zx81aB7cD2eF9gH4iJ6k", "gemini-2.5-pro", {"input_audio_tokens": 300})
    assert "SECRET" not in str(event)

"""Log records of Codex, Gemini CLI, Qwen Code and OpenCode: what is a call, whose, and what makes it the same when it comes again."""

from typing import Any

import pytest

from ingest.formats.event import UsageEvent
from ingest.formats.otlp import parse
from ingest.formats.telemetry import LogRecord, Source

NOON = 1_795_262_400_000_000_000
CODEX = Source({"service.name": "codex_exec", "service.version": "0.169.0", "team.id": "platform", "env": "ci"}, "codex_otel.log_only")
GEMINI = Source(
    {"service.name": "gemini-cli", "service.version": "v26.10.0", "session.id": "g1", "process.command": "gemini -p secret"}, "gemini-cli"
)
QWEN = Source({"service.name": "qwen-code", "service.version": "0.24.4"}, "qwen-code")
OPENCODE = Source({"service.name": "opencode", "service.version": "1.18.33"}, "com.opencode")
DONE: dict[str, Any] = {
    "event.name": "codex.sse_event", "event.kind": "response.completed", "conversation.id": "c1", "event.timestamp": "2026-11-21T12:00:00.123Z", "model": "gpt-5",
    "input_token_count": "1500", "output_token_count": "200", "cached_token_count": 1024, "cache_write_token_count": 0, "reasoning_token_count": 64,
    "tool_token_count": "1700", "app.version": "0.169.0", "originator": "codex_exec",
}  # fmt: skip
ANSWERED: dict[str, Any] = {
    "event.timestamp": "2026-11-21T12:00:00.123Z", "session.id": "s1", "prompt_id": "s1########0", "duration_ms": 329, "status_code": 200,
    "input_token_count": 1300, "output_token_count": 90, "cached_content_token_count": 1000, "thoughts_token_count": 40, "total_token_count": 1430,
}  # fmt: skip


def events(*records: LogRecord) -> list[UsageEvent]:
    usage = parse(records).usage
    assert not usage.refused
    return usage.events


def event(source: Source, values: dict[str, Any], nano: int = NOON) -> UsageEvent:
    (found,) = events(LogRecord(source, values, "", nano, NOON + 1))
    return found


def buckets(found: UsageEvent) -> tuple[int | None, ...]:
    return found.input_tokens, found.cache_read_tokens, found.cache_write_5m_tokens, found.output_tokens, found.reasoning_tokens


def test_codex_counts_the_completed_response_that_has_counts() -> None:
    found = event(CODEX, DONE, nano=0)
    assert buckets(found) == (476, 1024, 0, 200, 64)
    assert found.occurred_at.isoformat() == "2026-11-21T12:00:00.123000+00:00"
    assert (found.harness, found.harness_version, found.session, found.team, found.environment) == (
        "codex",
        "0.169.0",
        "c1",
        "platform",
        "ci",
    )
    bare = {name: value for name, value in DONE.items() if not name.endswith("_count")}
    assert events(LogRecord(CODEX, bare, "", 0, NOON), LogRecord(CODEX, DONE | {"event.name": "codex.tool_result"}, "", 0, NOON)) == []


def test_codexs_calls_are_told_apart_by_conversation_time_and_counts() -> None:
    first = event(CODEX, DONE).id
    assert event(CODEX, DONE | {"ttft_ms": 5}).id == first
    changes: list[dict[str, Any]] = [
        {"conversation.id": "c2"},
        {"event.timestamp": "2026-11-21T12:00:00.124Z"},
        {"output_token_count": "201"},
    ]
    for change in changes:
        assert event(CODEX, DONE | change).id != first


@pytest.mark.parametrize("told", [{"http.response.status_code": 429}, {"http.response.status_code": "503"}, {"error.message": "timed out"}])
def test_a_request_that_codexs_api_refused_is_a_failed_call(told: dict[str, Any]) -> None:
    request = {"event.name": "codex.api_request", "conversation.id": "c1", "model": "gpt-5", "attempt": 1, "duration_ms": "137", **told}
    found = event(CODEX, request)
    assert (found.status, found.latency_ms, buckets(found)) == ("error", 137, (None,) * 5)
    assert "timed out" not in str(found)


def test_a_request_that_succeeded_is_no_call_of_its_own() -> None:
    assert (
        events(LogRecord(CODEX, {"event.name": "codex.api_request", "http.response.status_code": 200, "model": "gpt-5"}, "", NOON, NOON))
        == []
    )


def test_geminis_output_leaves_thoughts_out_and_qwens_has_them() -> None:
    gemini = event(GEMINI, ANSWERED | {"event.name": "gemini_cli.api_response", "model": "gemini-2.5-pro"})
    assert (buckets(gemini), gemini.provider) == ((300, 1000, None, 130, 40), "google")
    counts = {
        "input_token_count": 1500,
        "output_token_count": 200,
        "cached_content_token_count": 1024,
        "thoughts_token_count": 64,
        "total_token_count": 1700,
    }
    qwen = event(
        QWEN,
        ANSWERED | counts | {"event.name": "qwen-code.api_response", "model": "qwen3-coder-plus", "response_id": "chatcmpl-Abcdef123456"},
    )
    assert (buckets(qwen), qwen.request_id, qwen.harness_version) == ((476, 1024, None, 200, 64), "chatcmpl-Abcdef123456", "0.24.4")


def test_without_a_total_each_keeps_its_meaning() -> None:
    bare = {name: value for name, value in ANSWERED.items() if name != "total_token_count"}
    assert event(GEMINI, bare | {"event.name": "gemini_cli.api_response", "model": "gemini-2.5-pro"}).output_tokens == 130
    assert event(QWEN, bare | {"event.name": "qwen-code.api_response", "model": "qwen3-coder-plus"}).output_tokens == 90


def test_geminis_version_is_nodes_and_not_told() -> None:
    found = event(GEMINI, ANSWERED | {"event.name": "gemini_cli.api_response", "model": "gemini-2.5-pro", "role": "main"})
    assert (found.harness, found.harness_version, found.role) == ("gemini-cli", "", "")
    assert "secret" not in str(found)


@pytest.mark.parametrize(("source", "name"), [(GEMINI, "gemini_cli.api_error"), (QWEN, "qwen-code.api_error")])
def test_each_retry_that_failed_is_a_call(source: Source, name: str) -> None:
    failed: dict[str, Any] = {
        "event.name": name,
        "session.id": "s1",
        "model": "m",
        "error": "what the user wrote",
        "error_type": "RateLimit",
        "status_code": 429,
        "duration_ms": 5,
    }
    found = events(*(LogRecord(source, failed | {"event.timestamp": f"2026-11-21T12:00:0{at}.000Z"}, "", NOON, NOON) for at in range(3)))
    assert len({one.id for one in found}) == 3
    assert {one.status for one in found} == {"error"}
    assert found[0].tags == {"error_type": "RateLimit", "status_code": "429"}


def test_the_twins_of_geminis_records_are_not_counted() -> None:
    twin: dict[str, Any] = {
        "event.name": "gen_ai.client.inference.operation.details",
        "gen_ai.usage.input_tokens": 1300,
        "gen_ai.response.id": "x",
        "session.id": "s1",
    }
    assert events(LogRecord(GEMINI, twin, "", NOON, NOON)) == []


def test_opencodes_plugin_counts_reasoning_apart() -> None:
    call = {
        "event.name": "api_request", "session.id": "ses_1", "model": "gpt-5", "provider": "openai", "cost_usd": 0.002723, "duration_ms": 1123, "input_tokens": 476,
        "output_tokens": 136, "reasoning_tokens": 64, "cache_read_tokens": 1024, "cache_creation_tokens": 0, "agent.type": "subagent",
    }  # fmt: skip
    found = event(OPENCODE, call)
    assert (buckets(found), found.harness, found.provider, found.role) == ((476, 1024, 0, 200, 64), "opencode", "openai", "subagent")
    assert event(OPENCODE, call).id == found.id != event(OPENCODE, call | {"output_tokens": 137}).id
    assert event(OPENCODE, {"event.name": "api_error", "session.id": "ses_1", "model": "gpt-5", "error": "x"}).status == "error"

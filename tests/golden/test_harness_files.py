"""What harnesses wrote to disk, through the door and into the tables: every token, each call once."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.collector.readers import readers
from ingest.formats import records
from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import FOLDER, capture
from tests.golden.harness_files import CLAUDE, COUNTS, FILES, OPENAI, Written, qwen_chat
from tests.price_books import KeptBook

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def day_of_the_captures() -> Any:
    with time_machine.travel(NOW):
        yield


def post(api: APIClient, harness: str, body: bytes, **headers: Any) -> dict[str, Any]:
    response = api.generic("POST", f"/api/v1/events/{harness}", cast("str", body), content_type="application/json", **headers)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = json.loads(response.content)
    return answer


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path.name)
def test_each_call_of_a_file_is_one_event_with_its_exact_counts(file: Written) -> None:
    parsed = records.parse(file.path.read_bytes(), name=file.harness, labels={}, received_at=NOW)
    assert parsed.refused == []
    assert sorted(event.request_id or event.id for event in parsed.events) == sorted(file.ids)
    for event in parsed.events:
        assert {name: getattr(event, name) for name in COUNTS if getattr(event, name) is not None} == file.counts
        assert event.harness == file.harness
        assert event.session
        assert event.occurred_at.date() == NOW.date()


@pytest.mark.django_db
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path.name)
def test_a_file_sent_twice_counts_once(api: APIClient, file: Written) -> None:
    assert post(api, file.harness, file.path.read_bytes())["accepted"] == len(file.ids)
    assert post(api, file.harness, file.path.read_bytes())["duplicate"] == len(file.ids)
    assert UsageEvent.objects.count() == len(file.ids)
    assert {event.source for event in UsageEvent.objects.all()} == {file.harness}
    assert not RejectedInput.objects.exists()


@pytest.mark.django_db
def test_an_export_and_the_database_of_opencode_are_the_same_calls(api: APIClient) -> None:
    rows, export = (file for file in FILES if file.harness == "opencode")
    post(api, "opencode", rows.path.read_bytes())
    assert post(api, "opencode", export.path.read_bytes())["duplicate"] == 2
    assert sum(event.reported_cost or 0 for event in UsageEvent.objects.all()) == Decimal("0.005446")


@pytest.mark.django_db
def test_the_transcript_and_the_telemetry_of_a_call_count_once(api: APIClient) -> None:
    capture("claude-code-via-litellm/003").post(api)
    assert UsageEvent.objects.count() == 2
    transcript = next(file for file in FILES if file.path.name == "transcript-09cdacfa.jsonl")
    answer = post(api, "claude-code", transcript.path.read_bytes())
    assert (answer["accepted"], answer["duplicate"], answer["conflict"]) == (0, 2, 0)
    assert UsageEvent.objects.count() == 2
    assert not RejectedInput.objects.exists()


@pytest.mark.django_db
def test_what_a_transcript_costs_is_what_claude_code_says_of_the_session(api: APIClient, whole_book: KeptBook) -> None:
    whole_book.put()
    file = next(file for file in FILES if file.path.name.startswith("959ca271"))
    states = [json.loads(line) for line in file.path.read_text().splitlines() if '"cost-state"' in line]
    post(api, "claude-code", file.path.read_bytes())
    assert sum(event.cost or 0 for event in UsageEvent.objects.all()) == Decimal(str(states[-1]["totalCostUSD"])).quantize(Decimal("1e-9"))


def read(harness: str, rows: list[dict[str, Any]]) -> list[Any]:
    parsed = records.parse(lines(rows), name=harness, labels={}, received_at=NOW, is_lines=True)
    assert parsed.refused == []
    return parsed.events


def rows_of(part: str) -> list[dict[str, Any]]:
    path = next(file.path for file in FILES if part in file.path.name)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_streaming_line_that_is_not_yet_whole_is_not_added_to_the_one_that_is() -> None:
    rows = rows_of("959ca271")
    first = next(row for row in rows if row["type"] == "assistant")
    begun = json.loads(json.dumps(first))
    begun["message"]["usage"]["output_tokens"] = 1
    events = read("claude-code", [begun, *rows])
    assert [event.output_tokens for event in events] == [57, 57]


def test_a_fork_of_a_session_repeats_its_calls_and_adds_none() -> None:
    rows = rows_of("959ca271")
    fork = [{**row, "sessionId": "5f6f0a52-0000-4000-8000-000000000001"} for row in rows]
    events = read("claude-code", rows) + read("claude-code", fork)
    assert len({event.request_id for event in events}) == 2


def test_what_a_fork_repeats_stays_in_the_session_that_made_it() -> None:
    """Claude Code 2.1.330 writes `requestSessionId` on what `--fork-session` copied."""
    fork = [{**row, "sessionId": "the-fork", "requestSessionId": row["sessionId"]} for row in rows_of("959ca271")]
    assert {event.session for event in read("claude-code", fork)} == {event.session for event in read("claude-code", rows_of("959ca271"))}


def test_a_sub_agents_calls_stand_in_a_file_of_their_own() -> None:
    rows = [{**row, "isSidechain": True, "agentId": "a17"} for row in rows_of("959ca271")]
    events = read("claude-code", rows)
    assert [(event.role, event.tags["agent.id"]) for event in events] == [("subagent", "a17")] * 2


def test_a_call_that_was_refused_has_a_status_and_no_counts() -> None:
    rows = rows_of("959ca271")
    sent = next(row for row in rows if row["type"] == "api-request")
    failed = {
        "type": "assistant", "isApiErrorMessage": True, "uuid": "3c1c2f3e-0000-4000-8000-000000000001", "sessionId": "s-1", "timestamp": "2026-11-21T10:03:00.000Z",
        "requestRef": sent["id"], "message": {"id": "b52f", "model": "<synthetic>", "role": "assistant", "usage": {"input_tokens": 0, "output_tokens": 0}},
    }  # fmt: skip
    made_up = {**failed, "isApiErrorMessage": False}
    (event,) = read("claude-code", [sent, made_up, failed])
    assert (event.status, event.model, event.input_tokens, event.output_tokens) == ("error", "claude-sonnet-4-5", None, None)


def test_a_rollout_without_records_is_read_by_what_its_total_grows() -> None:
    rows = [row for row in rows_of("rollout-2026-11-21T10-04-01") if row["type"] != "token_usage_record"]
    twice = [row for row in rows for _ in range(2 if row["payload"].get("type") == "token_count" else 1)]
    events = read("codex", twice)
    assert [{name: getattr(event, name) for name in OPENAI} for event in events] == [OPENAI] * 3
    assert len({event.id for event in events}) == 3


def test_a_turn_that_failed_is_no_call() -> None:
    rows = [
        row
        for row in rows_of("rollout-2026-11-21T10-04-01")
        if row["type"] != "token_usage_record" and row["payload"].get("type") != "token_count"
    ]
    assert read("codex", rows) == []


def test_a_qwen_answer_is_counted_by_its_note_and_not_again_by_its_line() -> None:
    events = read("qwen-code", qwen_chat())
    assert [event.request_id for event in events] == ["chatcmpl-Mock00000201", "chatcmpl-Mock00000202"]
    expected = {name: count for name, count in OPENAI.items() if name != "cache_write_5m_tokens"}
    assert [{name: getattr(event, name) for name in expected} for event in events] == [expected] * 2


def test_a_qwen_version_that_notes_nothing_is_read_by_its_answers() -> None:
    bare = [row for row in qwen_chat() if row.get("subtype") != "ui_telemetry"]
    assert [(event.id, event.input_tokens, event.output_tokens) for event in read("qwen-code", bare)] == [
        ("a-1", 476, 200),
        ("a-2", 476, 200),
    ]


@pytest.mark.django_db
def test_a_qwen_sub_agents_file_repeats_what_the_chat_notes() -> None:
    """Qwen Code 0.24.4, `subagents/<session>/agent-….jsonl`."""
    line = {"type": "assistant", "uuid": "u", "sessionId": "s", "agentId": "general-purpose-call_1", "isSidechain": True, "agentRound": 1}
    counts = {"promptTokenCount": 1500, "candidatesTokenCount": 200, "thoughtsTokenCount": 64, "cachedContentTokenCount": 1024}
    assert read("qwen-code", [{**line, "timestamp": "2026-11-21T11:03:16.151Z", "usageMetadata": counts}]) == []


def test_what_opencode_prints_counts_once_beside_its_database(api: APIClient) -> None:
    rows = rows_of("opencode.db.rows")
    accepted = post(api, "opencode", lines(rows))["accepted"]
    printed = [
        {
            "type": "step_finish",
            "timestamp": row["time_updated"],
            "sessionID": row["session_id"],
            "part": {**row["data"], "messageID": row["message_id"]},
        }
        for row in rows
        if row["table"] == "part" and row["data"]["type"] == "step-finish"
    ]
    answer = post(api, "opencode", lines(printed), HTTP_X_WEIGHHOUSE_MODEL="gpt-5", HTTP_X_WEIGHHOUSE_PROVIDER="mock")
    assert (answer["accepted"], answer["duplicate"]) == (0, accepted)
    assert UsageEvent.objects.count() == accepted == 2


def test_opencodes_rows_are_read_as_the_database_has_them() -> None:
    """SQLite keeps JSON as text."""
    rows = rows_of("opencode.db.rows")
    as_text = [{**row, "data": json.dumps(row["data"])} if "data" in row else row for row in rows]
    assert read("opencode", as_text) == read("opencode", rows) != []
    assert (
        read("opencode", [{"table": "message", "id": "msg_1", "session_id": "ses_1", "data": text} for text in ("{", "[" * 100_000, "[1]")])
        == []
    )


def test_what_opencode_prints_is_the_call_of_its_message_where_its_sender_names_the_model() -> None:
    """As `opencode run --format json` writes a step's end, after its source."""
    (stored, *_) = read("opencode", rows_of("opencode.db.rows"))
    (part,) = [
        row for row in rows_of("opencode.db.rows") if row["table"] == "part" and row["data"].get("cost") and row["message_id"] == stored.id
    ]
    inner = {**part["data"], "id": part["id"], "messageID": part["message_id"], "sessionID": part["session_id"]}
    printed = {"type": "step_finish", "timestamp": part["time_updated"], "sessionID": part["session_id"], "part": inner}
    body = lines([{"type": "text", "part": {"text": "Hello"}}, printed])
    parsed = records.parse(body, name="opencode", labels={"model": "gpt-5", "provider": "mock"}, received_at=NOW, is_lines=True)
    (event,) = parsed.events
    alike = ("id", "session", "provider", "model", "reported_cost", *COUNTS)
    assert [getattr(event, name) for name in alike] == [getattr(stored, name) for name in alike]
    (refusal,) = records.parse(body, name="opencode", labels={}, received_at=NOW, is_lines=True).refused
    assert refusal.fault.field == "model"


def test_sums_that_repeat_calls_are_not_read() -> None:
    total = {
        "table": "trajectory_runtime_events",
        "event_json": {"type": "model.completed", "message": {"role": "assistant", "usage": {"input": 952, "output": 400}}},
    }
    assert read("openclaw", [total]) == []
    part = {"table": "part", "id": "prt_1", "data": {"type": "step-finish", "tokens": {"input": 476, "output": 136}, "cost": 0.002723}}
    assert read("opencode", [part]) == []
    state = {"type": "cost-state", "sessionId": "s", "totalCostUSD": 0.03, "modelUsage": {"claude-sonnet-4-5": {"inputTokens": 120}}}
    assert read("claude-code", [state]) == []


def test_no_harness_is_without_a_file_here() -> None:
    assert {file.harness for file in FILES} | {"qwen-code"} == set(readers())


def test_claude_counts_are_those_of_the_capture() -> None:
    assert sum(CLAUDE.values()) == 120 + 10240 + 1536 + 512 + 57
    assert all(isinstance(file.path, Path) and file.path.exists() for file in FILES)


def test_sums_of_a_run_are_read_where_they_are_of_one_run_only() -> None:
    stdout = (FOLDER / "gemini-cli/stdout-output-format-json.json").read_bytes()
    (gemini,) = records.parse(stdout, name="run-sums", labels={}, received_at=NOW).events
    assert [getattr(gemini, name) for name in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")] == [
        600,
        2000,
        260,
        80,
    ]
    assert gemini.tags == {"calls": "2"}
    sums = {"requests": 2, "inputTokens": 3000, "outputTokens": 400, "cachedTokens": 2048, "thoughtsTokens": 128, "totalTokens": 3400}
    row = {
        "version": 1,
        "sessionId": "8dd3f850",
        "timestamp": 1795255928531,
        "startTime": 1795255900000,
        "project": "/home/dev/project",
        "models": {"gpt-5": sums},
    }
    (qwen,) = read("run-sums", [row])
    assert [getattr(qwen, name) for name in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")] == [
        952,
        2048,
        400,
        128,
    ]


@pytest.mark.parametrize("name", ["claude-code/stdout-output-format-json.json", "codex-cli/stdout-exec-json-turn1.jsonl"])
def test_sums_that_go_on_over_sessions_are_refused(name: str) -> None:
    parsed = records.parse((FOLDER / name).read_bytes(), name="run-sums", labels={}, received_at=NOW)
    assert (parsed.events, len(parsed.refused)) == ([], 1)
    assert "resumed" in parsed.refused[0].fault.reason


@pytest.mark.parametrize("written", [2048, 1536])
def test_openclaw_s_writes_for_an_hour_are_told_from_the_others_by_the_total(written: int) -> None:
    row = rows_of("transcript_events")[5]
    usage = {"input": 120, "output": 57, "cacheRead": 10240, "cacheWrite": written, "cacheWrite1h": 512, "totalTokens": 12465}
    row["event_json"]["message"] |= {
        "usage": usage,
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "responseModel": None,
        "responseId": "msg_01Mock00000480",
    }
    (event,) = read("openclaw", [row])
    assert {name: getattr(event, name) for name in CLAUDE if name != "reasoning_tokens"} == {
        name: CLAUDE[name] for name in CLAUDE if name != "reasoning_tokens"
    }

"""Claude Code's log records in all the shapes that versions and collectors give them."""

from decimal import Decimal
from typing import Any

import pytest

from ingest.formats import client_of, clients
from ingest.formats.event import UsageEvent
from ingest.formats.otlp import parse
from ingest.formats.telemetry import LogRecord, Source

SOURCE = Source({"service.name": "claude-code", "service.version": "2.1.329"}, "com.anthropic.claude_code.events")
NOON = 1_795_262_400_000_000_000
CALL: dict[str, Any] = {
    "event.name": "api_request",
    "session.id": "s1",
    "event.sequence": 5,
    "event.timestamp": "2026-11-21T12:00:00.000Z",
    "model": "claude-sonnet-4-5",
    "input_tokens": 120,
    "output_tokens": 57,
    "request_id": "req_1",
}


def record(
    changes: dict[str, Any] | None = None, *, source: Source = SOURCE, name: str = "claude_code.api_request", nano: int = NOON
) -> LogRecord:
    attributes = {key: value for key, value in (CALL | (changes or {})).items() if value is not None}
    return LogRecord(source, attributes, name, nano, NOON + 1)


def event_of(sent: LogRecord) -> UsageEvent:
    usage = parse([sent]).usage
    assert not usage.refused
    return usage.events[0]


def test_the_format_is_found_by_its_name() -> None:
    assert "claude-code" in [module.NAME for module in clients()]


@pytest.mark.parametrize(
    ("source", "is_read"),
    [
        (SOURCE, True),
        (Source({"service.name": "my-agents"}, "com.anthropic.claude_code.events"), True),
        (Source({"service.name": "claude-code"}, ""), True),
        (Source({"service.name": "codex_exec"}, "codex_otel.log_only"), False),
        (Source({}, ""), False),
    ],
)
def test_a_source_is_known_by_scope_or_service(source: Source, is_read: bool) -> None:
    assert (getattr(client_of(source), "NAME", "") == "claude-code") is is_read


def test_numbers_are_taken_in_every_spelling() -> None:
    event = event_of(
        record({"input_tokens": "120", "output_tokens": 57.0, "cache_read_tokens": "10240.0", "duration_ms": "146", "cost_usd": "0.0131"})
    )
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens, event.latency_ms) == (120, 57, 10240, 146)
    assert event.reported_cost == Decimal("0.0131")


def test_floating_noise_in_the_cost_is_undone() -> None:
    assert event_of(record({"cost_usd": 0.013118999999999999})).reported_cost == Decimal("0.013119")


def test_micros_stand_in_for_a_missing_cost() -> None:
    assert event_of(record({"cost_usd_micros": 13119})).reported_cost == Decimal("0.013119")


def test_a_write_total_without_split_counts_as_five_minutes() -> None:
    event = event_of(record({"cache_creation_tokens": 2048}))
    assert (event.cache_write_5m_tokens, event.cache_write_1h_tokens) == (2048, None)


def test_counts_that_were_not_sent_stay_unknown() -> None:
    event = event_of(record())
    assert (event.cache_read_tokens, event.cache_write_5m_tokens, event.reported_cost, event.ttft_ms) == (None, None, None, None)


def test_an_error_is_a_call_without_counts() -> None:
    changes = {
        "event.name": "api_error",
        "input_tokens": None,
        "output_tokens": None,
        "status_code": 429,
        "attempt": 2,
        "error": "what was asked",
    }
    event = event_of(record(changes, name="claude_code.api_error"))
    assert (event.status, event.input_tokens, event.output_tokens, event.request_id) == ("error", None, None, "req_1")
    assert event.tags == {"status_code": "429", "attempt": "2"}


def test_records_that_report_no_call_are_passed_over() -> None:
    parsed = parse([record({"event.name": name}) for name in ("user_prompt", "tool_result", "assistant_response", "api_retries_exhausted")])
    assert (parsed.usage.events, parsed.usage.refused, parsed.unread.total()) == ([], [], 0)


def test_without_a_request_id_session_sequence_and_time_make_the_id() -> None:
    first = event_of(record({"request_id": None}))
    assert (first.request_id, first.id) == ("", "s1:5:2026-11-21T12:00:00.000Z")
    resumed = event_of(record({"request_id": None, "event.timestamp": "2026-11-21T13:00:00.000Z"}))
    assert resumed.id != first.id


@pytest.mark.parametrize("lacking", [{"session.id": None}, {"event.sequence": None}, {"session.id": None, "event.sequence": None}])
def test_calls_that_name_no_session_or_sequence_are_told_apart_by_what_they_say(lacking: dict[str, Any]) -> None:
    bare = {"request_id": None, **lacking}
    ids = {event_of(record({**bare, **more})).id for more in ({}, {}, {"input_tokens": 7}, {"user.id": "another"})}
    assert len(ids) == 3


def test_time_falls_back_to_the_events_own_stamp_then_to_the_observers() -> None:
    assert event_of(record(nano=0)).occurred_at.isoformat() == "2026-11-21T12:00:00+00:00"
    assert event_of(record({"event.timestamp": None}, nano=0)).occurred_at.isoformat() == "2026-11-21T12:00:00+00:00"


@pytest.mark.parametrize(
    ("said", "provider"), [("firstParty", "anthropic"), ("bedrock", "aws"), ("vertex", "google"), (None, "anthropic"), ("Acme", "acme")]
)
def test_the_biller_is_named_as_the_price_book_does(said: str | None, provider: str) -> None:
    assert event_of(record({"anthropic.provider": said})).provider == provider


def test_labels_become_fields_where_their_names_say_so() -> None:
    resource = {
        "service.name": "claude-code",
        "service.namespace": "acme",
        "team": "payments",
        "project": "payouts",
        "deployment.environment.name": "ci",
        "cost_center": "c1",
        "host.arch": "amd64",
    }
    event = event_of(record({"user.email": "ann@acme.example", "user.id": "c0ffee"}, source=Source(resource, SOURCE.scope)))
    assert (event.team, event.project, event.environment, event.member) == ("payments", "payouts", "ci", "ann@acme.example")
    assert event.tags == {"user.id": "c0ffee", "service.namespace": "acme", "cost_center": "c1"}


def test_a_device_is_not_a_person() -> None:
    assert event_of(record({"user.id": "c0ffee"})).member == ""


def test_a_subagents_call_says_so() -> None:
    event = event_of(record({"query_source": "subagent", "agent.name": "Explore"}))
    assert event.role == "subagent"
    assert event.tags == {"query_source": "subagent", "agent.name": "Explore"}


def test_prompts_are_never_kept() -> None:
    event = event_of(record({"prompt": "secret", "prompt_text": "secret", "response": "secret", "error": "secret", "tool_input": "secret"}))
    assert "secret" not in repr(event)


def test_long_and_odd_labels_lose_no_call() -> None:
    resource = {"service.name": "claude-code", "team.id": "x\n\x00" + "y" * 500, "note": "z" * 5000, **{f"tag{n}": "v" for n in range(100)}}
    event = event_of(record(source=Source(resource, SOURCE.scope)))
    assert event.team == ("x " + "y" * 500)[:200]
    assert event.tags is not None
    assert len(event.tags) == 32


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input_tokens": -5}, "input_tokens"),
        ({"input_tokens": "many"}, "input_tokens"),
        ({"output_tokens": 1.5}, "output_tokens"),
        ({"input_tokens": 10**15}, "input_tokens"),
        ({"cost_usd": float("nan")}, "reported_cost"),
        ({"cost_usd": -1.0}, "reported_cost"),
        ({"cost_usd": "1e40"}, "reported_cost"),
        ({"model": None}, "model"),
        ({"request_id": "r" * 201}, "request_id"),
        ({"request_id": "a\x00b"}, "request_id"),
        ({"event.timestamp": "noon"}, "occurred_at"),
    ],
)
def test_nonsense_is_refused_with_the_field(changes: dict[str, Any], field: str) -> None:
    usage = parse([record(changes, nano=0), record()]).usage
    assert [(one.index, one.fault.field) for one in usage.refused] == [(0, field)]
    assert len(usage.events) == 1


@pytest.mark.parametrize("nano", [2**64 - 1, 10**30])
def test_an_absurd_time_is_refused_or_left_to_the_range_check(nano: int) -> None:
    usage = parse([record(nano=nano)]).usage
    assert len(usage.events) + len(usage.refused) == 1

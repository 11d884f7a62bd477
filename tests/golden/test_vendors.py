"""Vendors' answers as their APIs give them, whole and streamed: body in, event out. The usage is the one that all captures here have."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.formats import records, streams
from ingest.formats.event import UsageEvent as Reported
from ingest.models import RejectedInput, UsageEvent
from tests.golden.answers import CHAT, CHAT_USAGE, CONVERSED, GENERATED, MESSAGE, OLLAMA, RESPONSE
from tests.golden.harness_files import CLAUDE, COUNTS, GEMINI, OPENAI

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EMBEDDING = {
    "object": "list",
    "data": [{"embedding": [0.1]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 9, "total_tokens": 9},
}
VLLM = {
    **CHAT,
    "id": "chatcmpl-Mock00000777",
    "model": "Qwen/Qwen3-32B",
    "usage": {"prompt_tokens": 1500, "total_tokens": 1700, "completion_tokens": 200, "prompt_tokens_details": None},
}
WITHOUT_WRITES = {name: count for name, count in OPENAI.items() if not name.startswith("cache_write")}


def read(name: str, *rows: Any, **labels: Any) -> list[Reported]:
    parsed = records.parse(json.dumps(rows[0] if len(rows) == 1 else rows).encode(), name=name, labels=labels, received_at=NOW)
    assert parsed.refused == []
    return parsed.events


def counts(event: Reported) -> dict[str, int]:
    return {name: getattr(event, name) for name in COUNTS if getattr(event, name) is not None}


ANSWERS = [
    ("openai", CHAT, WITHOUT_WRITES, "chatcmpl-Mock00000125", "openai", "gpt-5-2025-08-07"),
    ("openai", RESPONSE, WITHOUT_WRITES, "resp_Mock00000103", "openai", "gpt-5-2025-08-07"),
    ("anthropic", MESSAGE, CLAUDE, "msg_01Mock00000001", "anthropic", "claude-sonnet-4-5"),
    ("gemini", GENERATED, GEMINI, "mock-Zx81aB7cD2eF9gH4iJ6k", "google", "gemini-2.5-pro"),
    ("vllm", VLLM, {"input_tokens": 1500, "output_tokens": 200}, "chatcmpl-Mock00000777", "vllm", "Qwen/Qwen3-32B"),
]


@pytest.mark.parametrize(("name", "answer", "expected", "request_id", "provider", "model"), ANSWERS)
def test_an_answer_is_one_event(name: str, answer: Any, expected: dict[str, int], request_id: str, provider: str, model: str) -> None:
    (event,) = read(name, answer)
    assert counts(event) == expected
    assert (event.request_id, event.provider, event.model, event.status) == (request_id, provider, model, "ok")
    assert "SECRET" not in str(event)
    (again,) = read("response", {"format": name, "labels": {"session": "s-1", "tags": {"feature": "search"}}, "response": answer})
    assert (counts(again), again.request_id, again.session) == (expected, request_id, "s-1")
    assert (again.tags or {})["feature"] == "search"


def test_bedrock_names_no_model_so_a_label_does() -> None:
    (event,) = read("bedrock", CONVERSED, model="anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert counts(event) == {name: count for name, count in CLAUDE.items() if name != "reasoning_tokens"}
    assert (event.request_id, event.provider, event.model, event.latency_ms) == (
        "4f1a2b3c-5d6e-4f70-8a9b-0c1d2e3f4a5b", "aws", "anthropic.claude-sonnet-4-5-20250929-v1:0", 551,
    )  # fmt: skip
    parsed = records.parse(json.dumps(CONVERSED).encode(), name="bedrock", labels={}, received_at=NOW)
    assert [one.fault.field for one in parsed.refused] == ["model"]


def test_ollamas_answers_are_told_apart_by_their_time() -> None:
    (event,) = read("ollama", OLLAMA)
    assert counts(event) == {"input_tokens": 26, "output_tokens": 282}
    assert (event.billing_mode, event.latency_ms, event.occurred_at.microsecond) == ("self-hosted", 4884, 499127)
    (other,) = read("ollama", {**OLLAMA, "created_at": "2026-11-21T10:12:08.499127735Z"})
    assert event.id != other.id


# From the API's documentation.
EMBEDDED = {"model": "all-minilm", "embeddings": [[0.01]], "total_duration": 14143917, "load_duration": 1019500, "prompt_eval_count": 8}


def ids(name: str, *rows: Any, client: str = "1", at: datetime = NOW, **labels: Any) -> list[str]:
    body = json.dumps(rows[0] if len(rows) == 1 else rows).encode()
    parsed = records.parse(body, name=name, labels=labels, received_at=at, client=client)
    assert parsed.refused == []
    return [event.id for event in parsed.events]


def test_embeddings_have_no_id_of_their_own_so_a_label_gives_it() -> None:
    (event,) = read("openai", EMBEDDING, id="e-1")
    assert (counts(event), event.id) == ({"input_tokens": 9}, "e-1")
    assert ids("ollama", EMBEDDED, id="e-2") == ["e-2"]
    (enveloped,) = read("response", {"format": "openai", "labels": {"id": "e-3"}, "response": EMBEDDING})
    assert enveloped.id == "e-3"


def test_an_answer_without_an_id_is_known_by_its_client_session_time_and_content() -> None:
    when = "2026-11-21T10:00:00.123Z"
    (first,) = ids("openai", EMBEDDING, occurred_at=when, session="s-1")
    assert ids("openai", EMBEDDING, occurred_at=when, session="s-1", at=NOW.replace(hour=13)) == [first]
    others = [
        ids("openai", EMBEDDING, occurred_at="2026-11-21T10:00:00.124Z", session="s-1"), ids("openai", EMBEDDING, occurred_at=when, session="s-2"),
        ids("openai", EMBEDDING, occurred_at=when, session="s-1", client="2"), ids("openai", {**EMBEDDING, "model": "text-embedding-3-large"}, occurred_at=when, session="s-1"),
        ids("openai", {**EMBEDDING, "data": [{"embedding": [0.2]}]}, occurred_at=when, session="s-1"),
    ]  # fmt: skip
    assert len({first, *(one for other in others for one in other)}) == 6


def test_equal_answers_without_any_time_stay_as_many_calls_as_were_posted() -> None:
    posted = [*ids("openai", EMBEDDING, EMBEDDING), *ids("openai", EMBEDDING, at=NOW.replace(microsecond=1))]
    assert len(set(posted)) == 3
    # What took so many nanoseconds is the same answer whenever it is posted.
    assert ids("ollama", EMBEDDED, EMBEDDED)[0] == ids("ollama", EMBEDDED, at=NOW.replace(hour=13))[0]
    assert ids("ollama", EMBEDDED) != ids("ollama", {**EMBEDDED, "load_duration": 1019501})


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("openai", {"created": 1795255928, "data": [{"b64_json": "SECRET"}], "usage": {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}}),
        ("openai", {"text": "SECRET", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}}),
        ("gemini", {"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 9}}),
        ("gemini", {**{name: value for name, value in GENERATED.items() if name != "responseId"}, "candidates": [{"finishReason": "STOP"}]}),
        ("bedrock", {name: value for name, value in CONVERSED.items() if name != "ResponseMetadata"}),
    ],
    ids=["image", "transcription", "gemini embedding", "older gemini", "bedrock's body alone"],
)  # fmt: skip
def test_other_answers_without_an_id_are_counted_too(name: str, answer: dict[str, Any]) -> None:
    (one,) = ids(name, answer, model="m-1")
    assert one.startswith("answer-")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("openai", {**EMBEDDING, "usage": None}),
        ("ollama", {"embedding": [0.1]}),
        ("anthropic", {"type": "message_delta", "usage": {"output_tokens": 57}}),
        ("gemini", {"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 1300}}),
    ],
    ids=["no usage", "no counts", "a part", "a part of gemini's"],
)
def test_what_may_be_a_part_or_says_no_counts_still_needs_an_id(name: str, answer: dict[str, Any]) -> None:
    parsed = records.parse(json.dumps(answer).encode(), name=name, labels={"model": "m-1"}, received_at=NOW)
    assert [one.fault.code for one in parsed.refused] == ["missing_id"]


def chunk(**changes: Any) -> dict[str, Any]:
    return {
        "id": CHAT["id"],
        "object": "chat.completion.chunk",
        "created": CHAT["created"],
        "model": CHAT["model"],
        "choices": [],
        "usage": None,
        **changes,
    }


STREAMS = [
    ("openai", [chunk(choices=[{"delta": {"content": "SECRET"}}]), chunk(usage=CHAT_USAGE)], WITHOUT_WRITES),
    (
        "openai",
        [{"type": "response.output_text.delta", "delta": "SECRET"}, {"type": "response.completed", "response": RESPONSE}],
        WITHOUT_WRITES,
    ),
    (
        "anthropic",
        [
            {"type": "message_start", "message": {**MESSAGE, "usage": {**MESSAGE["usage"], "output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"text": "SECRET"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 57}},
        ],
        CLAUDE,
    ),
    ("gemini", [{**GENERATED, "usageMetadata": {"promptTokenCount": 1300, "totalTokenCount": 1300}}, GENERATED], GEMINI),
]


@pytest.mark.parametrize(("name", "events", "expected"), STREAMS)
def test_a_streams_events_are_one_call(name: str, events: list[dict[str, Any]], expected: dict[str, int]) -> None:
    (event,) = read(name, {"stream": events, "labels": {"session": "s-1"}})
    assert counts(event) == expected
    sent = "".join(f"event: x\ndata: {json.dumps(part)}\n\n" for part in events) + "data: [DONE]\n\n"
    (raw,) = records.parse(streams.collected(sent.encode()), name=name, labels={}, received_at=NOW).events
    assert counts(raw) == expected


def test_the_last_chunk_alone_is_enough_where_it_says_all() -> None:
    (event,) = read("openai", chunk(usage=CHAT_USAGE))
    assert counts(event) == WITHOUT_WRITES
    (converse,) = read(
        "bedrock", {"metadata": {key: CONVERSED[key] for key in ("usage", "metrics")}}, model="amazon.nova-pro-v1:0", id="b-1"
    )
    assert (converse.id, converse.output_tokens, converse.latency_ms) == ("b-1", 57, 551)


def test_a_stream_that_was_not_asked_for_usage_has_unknown_counts() -> None:
    (event,) = read("openai", {"stream": [chunk(choices=[{"delta": {"content": "SECRET"}}])]})
    assert counts(event) == {}
    assert (event.request_id, event.model) == (CHAT["id"], CHAT["model"])


def test_how_a_call_was_processed_is_a_tag_that_prices_go_by() -> None:
    assert read("openai", RESPONSE)[0].tags == {"service_tier": "flex"}
    batch = {
        **MESSAGE,
        "usage": {**MESSAGE["usage"], "service_tier": "batch", "server_tool_use": {"web_search_requests": 2}},
    }
    (event,) = read("anthropic", batch)
    assert (event.tags, event.units) == ({"service_tier": "batch"}, {"web_searches": Decimal(2)})


def test_an_envelope_that_names_no_vendor_or_no_label_is_refused_by_itself() -> None:
    good = {"format": "openai", "response": CHAT}
    rows = [{"response": CHAT}, {"format": "litellm", "response": CHAT}, {**good, "labels": {"colour": "blue"}}, good]
    parsed = records.parse(json.dumps(rows).encode(), name="response", labels={}, received_at=NOW)
    assert ([one.index for one in parsed.refused], [one.fault.field for one in parsed.refused]) == (
        [0, 1, 2],
        ["format", "format", "labels"],
    )
    assert parsed.positions == [3]


@pytest.mark.django_db
def test_labels_come_from_headers_and_from_the_address(api: APIClient) -> None:
    with time_machine.travel(NOW):
        response = api.generic(
            "POST", "/api/v1/events/anthropic?session=s-9&tags=feature=search", json.dumps(MESSAGE), content_type="application/json",
            HTTP_X_WEIGHHOUSE_SESSION="s-8", HTTP_X_WEIGHHOUSE_TEAM="platform", HTTP_X_WEIGHHOUSE_LATENCY_MS="146", HTTP_X_WEIGHHOUSE_TAGS="cost_center=eng-1, feature=chat",
        )  # fmt: skip
        again = api.generic("POST", "/api/v1/events/anthropic", json.dumps(MESSAGE), content_type="application/json")
    assert json.loads(response.content)["accepted"] == 1
    assert json.loads(again.content)["duplicate"] == 1
    event = UsageEvent.objects.get()
    assert (event.session, event.team_label, event.latency_ms, event.tags) == (
        "s-9",
        "platform",
        146,
        {"cost_center": "eng-1", "feature": "search"},
    )
    assert event.occurred_at.replace(microsecond=0) == NOW
    assert not RejectedInput.objects.exists()


@pytest.mark.django_db
def test_a_misspelled_label_is_refused_and_nothing_is_stored(api: APIClient) -> None:
    response = api.generic("POST", "/api/v1/events/openai?sesion=s-9", json.dumps(CHAT), content_type="application/json")
    assert (response.status_code, json.loads(response.content)["field"]) == (422, "sesion")
    assert not UsageEvent.objects.exists()


@pytest.mark.django_db
def test_a_cloud_event_in_binary_mode_has_its_attributes_in_headers(api: APIClient) -> None:
    with time_machine.travel(NOW):
        response = api.generic(
            "POST", "/api/v1/events/cloudevents", json.dumps({"model": "gpt-4o", "output_tokens": 3}), content_type="application/json",
            HTTP_CE_SPECVERSION="1.0", HTTP_CE_TYPE="com.acme.call", HTTP_CE_SOURCE="/agent", HTTP_CE_ID="A-7", HTTP_CE_TIME="2026-11-21T10:00:00Z",
        )  # fmt: skip
    assert json.loads(response.content)["accepted"] == 1
    assert UsageEvent.objects.get().external_id == "/agent:A-7"

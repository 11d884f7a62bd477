"""What gateways post and log, record by record: LiteLLM's as a real proxy sent them, the others' as their documentation shows them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.formats import records
from ingest.formats.event import UsageEvent as Reported
from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import FOLDER
from tests.golden.harness_files import COUNTS
from tests.golden.test_litellm import COMBO, EXPECTED
from tests.price_books import KeptBook

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BATCHES = ("litellm/001", "litellm/002", "claude-code-via-litellm/005")


def batch(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["body"]
    return found


def read(name: str, *rows: Any, **labels: Any) -> list[Reported]:
    parsed = records.parse(json.dumps(rows).encode(), name=name, labels=labels, received_at=NOW)
    assert parsed.refused == []
    return parsed.events


def counts(event: Reported) -> dict[str, int]:
    return {name: getattr(event, name) for name in COUNTS if getattr(event, name) is not None}


@pytest.mark.parametrize("name", BATCHES)
def test_each_record_of_litellm_is_one_event_with_its_exact_counts(name: str) -> None:
    for row, event, expected in zip(batch(name), read("litellm", *batch(name)), EXPECTED[name], strict=True):
        wanted = {**expected, "request_id": expected["request_id"] or row["litellm_call_id"]}
        assert {field: getattr(event, field) for field in wanted} == wanted
        assert counts(event) == {field: expected[field] for field in COUNTS if expected.get(field) is not None}
        assert (event.id, event.gateway, event.status) == (row["litellm_call_id"], "litellm", "ok")


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "total"), [*zip(BATCHES, ("0.00894", "0.028961", "0.026238"), strict=True)])
def test_a_batch_is_stored_once_at_what_litellm_says_it_cost(api: APIClient, whole_book: KeptBook, name: str, total: str) -> None:
    whole_book.put()
    body = cast("str", json.dumps(batch(name)).encode())
    with time_machine.travel("2026-11-21T12:00:00Z"):
        for expected in ("accepted", "duplicate"):
            response = api.generic("POST", "/api/v1/events/litellm", body, content_type="application/json")
            assert json.loads(response.content)[expected] == len(batch(name))
    assert sum(event.cost or 0 for event in UsageEvent.objects.all()) == Decimal(total)
    assert not RejectedInput.objects.exists()


def test_litellm_says_who_it_was_for() -> None:
    first, second = read("litellm", *batch("litellm/001"))
    assert (first.team, first.tags) == ("platform", {
        "cost_center": "eng-123", "generation_name": "greet", "team-platform": "true", "feature-x": "true", "model_group": "gpt-4o", "user_agent": "my-agent/1.2",
    })  # fmt: skip
    assert (second.project, second.environment, second.latency_ms, second.ttft_ms) == ("alpha", "prod", 349, 317)
    (claude, _) = read("litellm", *batch("claude-code-via-litellm/005"))
    assert (claude.session, claude.harness, claude.harness_version) == (COMBO, "claude-code", "2.1.329")


def test_the_keys_team_goes_before_what_the_caller_says() -> None:
    row = batch("litellm/001")[0]
    row["metadata"]["user_api_key_team_alias"] = "payments"
    assert read("litellm", row)[0].team == "payments"


def test_litellms_failures_caches_and_unknown_models() -> None:
    row = batch("litellm/001")[0]
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    failed = {
        **row,
        "status": "failure",
        "response_cost": 0,
        "endTime": row["endTime"] - 0.3,
        "metadata": {**row["metadata"], "usage_object": nothing},
    }
    cached = {**row, "cache_hit": True, "response_cost": 0}
    unknown = {
        **failed,
        "custom_llm_provider": None,
        "model": "nope",
        "model_group": None,
        "litellm_call_id": "9d0c1b3e-0000-4000-8000-000000000001",
    }
    retried, lost = read("litellm", failed, cached, unknown)
    assert (retried.status, retried.request_id, counts(retried), retried.reported_cost) == ("error", retried.id, {}, None)
    assert retried.id != read("litellm", row)[0].id
    assert (lost.model, lost.provider, lost.status) == ("nope", "", "error")


def test_litellms_embeddings_and_gemini_have_the_counts_they_say() -> None:
    row = batch("litellm/001")[0]
    embedding = {
        **row,
        "call_type": "aembedding",
        "metadata": {**row["metadata"], "usage_object": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}},
    }
    usage = {
        "prompt_tokens": 1300,
        "completion_tokens": 130,
        "total_tokens": 1430,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    gemini = {
        **row,
        "custom_llm_provider": "gemini",
        "model": "gemini/gemini-2.5-pro",
        "metadata": {**row["metadata"], "usage_object": usage},
    }
    first, second = read("litellm", embedding, gemini)
    assert counts(first) == {"input_tokens": 9, "output_tokens": 0}
    assert (second.provider, second.model) == ("gemini", "gemini-2.5-pro")
    assert counts(second) == {"input_tokens": 300, "cache_read_tokens": 1000, "output_tokens": 130, "reasoning_tokens": 40}


def test_a_stream_whose_usage_litellm_did_not_learn_has_no_counts() -> None:
    row = batch("litellm/001")[1]
    row["metadata"]["usage_object"] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert counts(read("litellm", row)[0]) == {}


@pytest.mark.django_db
def test_a_poisoned_record_never_sinks_its_batch_nor_leaves_its_text_behind(api: APIClient) -> None:
    good = batch("litellm/001")
    odd: list[Any] = [
        None, [], "text", 7, {}, {"metadata": []}, {"status": "success", "endTime": "SECRET PROMPT"}, {**good[0], "litellm_call_id": "x", "model": ["SECRET PROMPT"], "endTime": 1e30},
        {**good[0], "litellm_call_id": "9d0c1b3e-0000-4000-8000-000000000002", "hidden_params": None, "metadata": {"usage_object": {"prompt_tokens": "SECRET PROMPT", "completion_tokens": -4}}},
    ]  # fmt: skip
    body = json.dumps([odd[0], good[0], *odd[1:], good[1]])
    with time_machine.travel("2026-11-21T12:00:00Z"):
        response = api.generic("POST", "/api/v1/events/litellm", body, content_type="application/json")
    answer = json.loads(response.content)
    assert response.status_code == 200
    assert (answer["accepted"], answer["rejected"]) == (2, len(odd))
    assert [result["index"] for result in answer["results"] if result["status"] == "accepted"] == [1, len(odd) + 1]
    assert all(b"SECRET" not in bytes(row.payload) and "SECRET" not in row.reason for row in RejectedInput.objects.all())


def test_openrouter_says_its_cost_and_who_served() -> None:
    answer = {
        "id": "gen-1795255928-Ab3dE5fG7hI9jK1lM2n", "model": "anthropic/claude-sonnet-4.5", "provider": "Anthropic", "created": 1795255928, "object": "chat.completion",
        "usage": {
            "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "cost": 0.00447, "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 64},
            "cost_details": {"upstream_inference_cost": None},
        },
    }  # fmt: skip
    (event,) = read("openrouter", answer)
    assert counts(event) == {
        "input_tokens": 376,
        "cache_read_tokens": 1024,
        "cache_write_5m_tokens": 100,
        "output_tokens": 200,
        "reasoning_tokens": 64,
    }
    assert (event.request_id, event.provider, event.gateway, event.reported_cost, event.tags) == (
        answer["id"], "openrouter", "openrouter", Decimal("0.00447"), {"upstream": "Anthropic"},
    )  # fmt: skip
    lookup = {"data": {
        "id": answer["id"], "total_cost": 0.00447, "created_at": "2026-11-21T10:12:08.531Z", "model": "anthropic/claude-sonnet-4.5", "provider_name": "Anthropic",
        "native_tokens_prompt": 1500, "native_tokens_completion": 200, "native_tokens_cached": 1024, "native_tokens_reasoning": 64, "tokens_prompt": 1400, "tokens_completion": 190,
    }}  # fmt: skip
    (again,) = read("openrouter", lookup)
    assert counts(again) == {"input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200, "reasoning_tokens": 64}
    assert again.request_id == event.request_id
    (vercel,) = read("vercel", lookup)
    assert (vercel.provider, vercel.gateway) == ("vercel", "vercel")


DOCUMENTED = [
    pytest.param(
        "portkey",
        {
            "id": "3f0c2f9e-2b1e-4c7a-9a55-4a3f5f0c9d10", "trace_id": "t-1", "created_at": "2026-11-21T10:12:08.000Z", "is_success": True, "ai_org": "openai", "ai_model": "gpt-4o",
            "req_units": 1500, "res_units": 200, "total_units": 1700, "cost": 0.447, "cost_currency": "USD", "response_time": 795, "response_status_code": 200,
            "metadata": {"_user": "alice@example.com", "environment": "prod", "feature": "search"}, "request": {"messages": [{"content": "SECRET"}]},
        },
        {
            "id": "3f0c2f9e-2b1e-4c7a-9a55-4a3f5f0c9d10", "provider": "openai", "model": "gpt-4o", "gateway": "portkey", "member": "alice@example.com", "environment": "prod",
            "input_tokens": 1500, "output_tokens": 200, "reported_cost": Decimal("0.00447"), "latency_ms": 795, "trace": "t-1", "tags": {"feature": "search"},
        },
        id="portkey",
    ),
    pytest.param(
        "helicone",
        {
            "request_id": "7a1d5c1e-0b3f-4f57-8a3f-0c6a2b1d9e11", "model": "gpt-4o", "provider": "OPENAI", "user_id": "alice@example.com", "response_created_at": "2026-11-21T10:12:08Z",
            "request_properties": {"Helicone-Session-Id": "s-9", "Team": "platform", "feature": "search"}, "request_body": {"messages": [{"content": "SECRET"}]},
            "metadata": {"cost": 0.00447, "promptTokens": 1500, "completionTokens": 200, "totalTokens": 1700, "latencyMs": 795},
        },
        {
            "id": "7a1d5c1e-0b3f-4f57-8a3f-0c6a2b1d9e11", "provider": "openai", "model": "gpt-4o", "gateway": "helicone", "member": "alice@example.com", "session": "s-9", "team": "platform",
            "input_tokens": 1500, "output_tokens": 200, "reported_cost": Decimal("0.00447"), "latency_ms": 795, "tags": {"feature": "search"},
        },
        id="helicone-webhook",
    ),
    pytest.param(
        "helicone",
        {
            "request_id": "7a1d5c1e-0b3f-4f57-8a3f-0c6a2b1d9e12", "request_created_at": "2026-11-21T10:12:08Z", "response_status": 200, "request_model": "gpt-4o", "provider": "OPENAI",
            "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "prompt_cache_read_tokens": 1024, "delay_ms": 795, "time_to_first_token": 90, "cost": 0.00447,
        },
        {"model": "gpt-4o", "input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200, "latency_ms": 795, "ttft_ms": 90, "reported_cost": Decimal("0.00447")},
        id="helicone-query",
    ),
    pytest.param(
        "cloudflare",
        {
            "id": "01JADMCQQQBWH3NXZ5GCRN98DP", "created_at": "2026-11-21T10:12:08Z", "provider": "openai", "model": "gpt-4o", "cached": False, "success": True, "tokens_in": 1500,
            "tokens_out": 200, "cost": 0.00447, "duration": 795, "status_code": 200, "metadata": '{"user": "alice@example.com", "team": "platform", "feature": "search"}',
        },
        {
            "id": "01JADMCQQQBWH3NXZ5GCRN98DP", "provider": "openai", "model": "gpt-4o", "gateway": "cloudflare", "member": "alice@example.com", "team": "platform",
            "input_tokens": 1500, "output_tokens": 200, "reported_cost": Decimal("0.00447"), "latency_ms": 795, "tags": {"feature": "search"},
        },
        id="cloudflare",
    ),
    pytest.param(
        "kong",
        {
            "started_at": 1795255928531, "request": {"id": "5f4b2c0a9d1e8f7a6b5c4d3e2f1a0b9c", "headers": {"authorization": "SECRET"}}, "response": {"status": 200},
            "consumer": {"username": "checkout"}, "service": {"name": "llm"}, "route": {"name": "chat"},
            "ai": {"payload": {"request": "SECRET"}, "proxy": {
                "payload": {"response": "SECRET"}, "usage": {"prompt_token": 28, "total_tokens": 48, "completion_token": 20, "cost": 0.0038, "time_per_token": 133},
                "meta": {"request_model": "command", "provider_name": "cohere", "response_model": "command", "plugin_id": "546c3856-24b3-469a-bd6c-f6083babd2cd", "llm_latency": 2670},
            }},
        },
        {
            "id": "5f4b2c0a9d1e8f7a6b5c4d3e2f1a0b9c:proxy", "provider": "cohere", "model": "command", "gateway": "kong", "member": "checkout", "input_tokens": 28, "output_tokens": 20,
            "reported_cost": Decimal("0.0038"), "latency_ms": 2670, "tags": {"service": "llm", "route": "chat", "model.requested": "command"},
        },
        id="kong",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "expected"), DOCUMENTED)
def test_a_documented_record_is_one_event(name: str, row: dict[str, Any], expected: dict[str, Any]) -> None:
    (event,) = read(name, row)
    assert {field: getattr(event, field) for field in expected} == expected
    assert event.occurred_at.date() == NOW.date()
    assert "SECRET" not in str(event)


@pytest.mark.parametrize(
    ("name", "row", "cached"),
    [
        ("cloudflare", DOCUMENTED[3].values[1], {"cached": True}),
        ("portkey", DOCUMENTED[0].values[1], {"cache_status": "HIT"}),
        ("helicone", DOCUMENTED[2].values[1], {"cache_enabled": True, "cache_reference_id": "7a1d5c1e-0b3f-4f57-8a3f-0c6a2b1d9e13"}),
    ],
)  # fmt: skip
def test_an_answer_of_a_gateways_own_cache_is_no_call(name: str, row: Any, cached: dict[str, Any]) -> None:
    assert read(name, {**row, **cached}) == []


def test_a_list_of_cloudflares_logs_is_read_row_by_row() -> None:
    row = DOCUMENTED[3].values[1]
    assert len(read("cloudflare", {"success": True, "result": [row, {**row, "id": "01JADMCQQQBWH3NXZ5GCRN98DQ", "success": False}]})) == 2  # type: ignore[dict-item]


def test_a_cloud_event_is_the_event_in_its_data() -> None:
    event = {
        "specversion": "1.0", "type": "com.acme.llm.call", "source": "/checkout/agent", "id": "A-1", "time": "2026-11-21T10:12:08Z", "subject": "alice@example.com",
        "data": {"model": "gpt-4o", "provider": "openai", "input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200},
    }  # fmt: skip
    (plain,) = read("cloudevents", event)
    assert (plain.id, plain.member, plain.occurred_at.isoformat()) == (
        "/checkout/agent:A-1",
        "alice@example.com",
        "2026-11-21T10:12:08+00:00",
    )
    assert counts(plain) == {"input_tokens": 476, "cache_read_tokens": 1024, "output_tokens": 200}
    vendor = {
        "format": "openai",
        "labels": {"session": "s-1"},
        "response": {"id": "chatcmpl-Mock00000125", "model": "gpt-4o", "usage": {"prompt_tokens": 9, "total_tokens": 9}},
    }
    (inner,) = read("cloudevents", {**event, "data": vendor})
    assert (inner.request_id, inner.session, inner.input_tokens) == ("chatcmpl-Mock00000125", "s-1", 9)
    packed = {
        **{name: value for name, value in event.items() if name != "data"},
        "data_base64": "eyJtb2RlbCI6ICJncHQtNG8iLCAib3V0cHV0X3Rva2VucyI6IDN9",
    }
    assert read("cloudevents", packed)[0].output_tokens == 3


def test_a_file_of_telemetry_is_read_as_its_export_would_be() -> None:
    body = (FOLDER / "gemini-cli" / "telemetry-outfile.log").read_bytes()
    parsed = records.parse(body, name="telemetry-file", labels={}, received_at=NOW)
    assert parsed.refused == []
    (event,) = parsed.events
    assert counts(event) == {"input_tokens": 300, "cache_read_tokens": 1000, "output_tokens": 130, "reasoning_tokens": 40}
    assert (event.harness, event.model, event.team, event.session) == (
        "gemini-cli",
        "gemini-2.5-pro",
        "platform",
        "a903f6ba-2700-49e0-b080-6ac8326edb47",
    )

"""Other instrumentations of the captured calls, written by their conventions from what was captured: each call still counts once, with its buckets."""

import json
from typing import Any, cast

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import Capture, capture, joined, twin, written

NOON = "2026-11-21T12:00:00Z"
ID = "msg_01Mock00000176"
MODEL = "claude-sonnet-4-5-20250929"
GENAI = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": MODEL, "gen_ai.response.model": MODEL, "gen_ai.response.id": ID,
    "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57, "gen_ai.usage.cache_read.input_tokens": 10240,
}  # fmt: skip
OPENINFERENCE = {
    "openinference.span.kind": "LLM", "llm.provider": "anthropic", "llm.system": "anthropic", "llm.model_name": MODEL, "llm.token_count.prompt": 12408,
    "llm.token_count.completion": 57, "llm.token_count.total": 12465, "llm.token_count.prompt_details.cache_read": 10240,
    "llm.token_count.prompt_details.cache_write": 2048, "output.value": json.dumps({"id": ID, "content": [{"text": "Hello from the mock", "type": "text"}]}),
    "session.id": "sess-1", "user.id": "alice@example.com",
}  # fmt: skip
# (scope, attributes, whether the vendor's own span lies within it): what else tells of the one call of anthropic-sdk-native/001.
BESIDE = {
    "openllmetry-anthropic": ("opentelemetry.instrumentation.anthropic", {**GENAI, "gen_ai.usage.cache_creation.input_tokens": 2048, "gen_ai.usage.total_tokens": 12465}, False),
    "openllmetry-anthropic, streamed": ("opentelemetry.instrumentation.anthropic", {**GENAI, "gen_ai.usage.output_tokens": 58, "gen_ai.usage.cache_creation.input_tokens": 2048}, False),
    "otel-genai-anthropic": ("opentelemetry.instrumentation.genai.anthropic", {**GENAI, "gen_ai.usage.cache_write.input_tokens": 2048}, True),
    "otel-genai-anthropic, old names": (
        "opentelemetry.instrumentation.anthropic",
        {"gen_ai.system": "anthropic", "gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL, "gen_ai.response.id": ID, "gen_ai.usage.prompt_tokens": 12408,
         "gen_ai.usage.completion_tokens": 57, "gen_ai.usage.cache_read_input_tokens": 10240, "gen_ai.usage.cache_creation_input_tokens": 2048},
        True,
    ),
    "openinference-anthropic": ("openinference.instrumentation.anthropic", OPENINFERENCE, True),
    "openinference-anthropic, streamed": ("openinference.instrumentation.anthropic", OPENINFERENCE, False),
    "pydantic-ai-anthropic": ("pydantic-ai", {**GENAI, "gen_ai.system": "anthropic", "gen_ai.usage.details.cache_write_tokens": 2048, "operation.cost": 0.013119}, True),
    "pydantic-ai-legacy-format": (
        "pydantic-ai",
        {"gen_ai.operation.name": "invoke_agent", "agent_name": "claude_agent", "model_name": MODEL, "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57,
         "gen_ai.usage.details.cache_read_tokens": 10240},
        True,
    ),
    "pydantic-ai before operations": ("pydantic-ai", {"agent_name": "agent", "model_name": MODEL, "gen_ai.usage.input_tokens": 12408, "gen_ai.usage.output_tokens": 57}, True),
    "openinference-crewai": ("openinference.instrumentation.crewai", {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 12408, "llm.token_count.completion": 57}, True),
    "crew's kickoff": ("openinference.instrumentation.crewai", {"openinference.span.kind": "CHAIN", "llm.token_count.total": 12465}, True),
}  # fmt: skip


def value(plain: Any) -> dict[str, Any]:
    return (
        {"intValue": str(plain)}
        if isinstance(plain, int)
        else {"doubleValue": plain}
        if isinstance(plain, float)
        else {"stringValue": plain}
    )


def beside(name: str, number: int) -> tuple[Capture, Capture]:
    """The vendor's own span as captured, lying in the other one where it does, and the other one, in requests of their own. Each name's call is another."""
    scope, attributes, is_around = BESIDE[name]
    own = capture("anthropic-sdk-native/001")
    document = json.loads(json.dumps(own.document).replace(ID, call_id(number)).replace("req_011Mock000176", f"req_011Mock0009{number:02}"))
    group = document["resourceSpans"][0]
    (span,) = group["scopeSpans"][0]["spans"]
    start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    span["traceId"], span["spanId"] = f"{number + 1:032x}", f"{number + 1:016x}"
    other = {
        "traceId": span["traceId"] if is_around else "ab" * 15 + f"{number:02x}", "spanId": f"{number + 101:016x}", "name": "chat", "kind": 3,
        "startTimeUnixNano": str(start - 1_000_000), "endTimeUnixNano": str(end + 1_000_000),
        "attributes": [{"key": key, "value": value(plain.replace(ID, call_id(number)) if isinstance(plain, str) else plain)} for key, plain in attributes.items()],
    }  # fmt: skip
    if is_around:
        span["parentSpanId"] = other["spanId"]
    around = {"resourceSpans": [{"resource": group["resource"], "scopeSpans": [{"scope": {"name": scope}, "spans": [other]}]}]}
    return written(document, own), written(around, own)


def call_id(number: int) -> str:
    return f"msg_01Mock000009{number:02}"


ORDERS = {
    "together": lambda own, other: [joined([own, other])],
    "own first": lambda own, other: [own, other],
    "other first": lambda own, other: [other, own],
}


@pytest.mark.django_db
@pytest.mark.parametrize("order", ORDERS)
@time_machine.travel(NOON)
def test_a_call_that_two_instrumentations_tell_of_counts_once(api: APIClient, order: str) -> None:
    for number, name in enumerate(BESIDE):
        for sent in ORDERS[order](*beside(name, number)):
            for one in (sent, twin(sent)):
                assert one.post(api).status_code == 200
    found = {event.request_id: event for event in UsageEvent.objects.all()}
    assert len(found) == UsageEvent.objects.count() == len(BESIDE)
    for number, name in enumerate(BESIDE):
        event = found[call_id(number)]
        writes = (event.cache_write_5m_tokens or 0) + (event.cache_write_1h_tokens or 0)
        assert (name, event.input_tokens, event.cache_read_tokens, writes, event.provider) == (name, 120, 10240, 2048, "anthropic")
        assert event.output_tokens == 57 or (event.output_tokens == 58 and "streamed" in name and order == "other first")
    assert not RejectedInput.objects.exclude(kind=RejectedInput.Kind.CONFLICT).exists()


@pytest.mark.django_db
@time_machine.travel(NOON)
def test_opted_in_openai_v2_says_the_same_under_the_newer_names(api: APIClient) -> None:
    """`otel-openai-v2-optin`: the provider's newer name, and log records of the conventions beside the span."""
    sent = capture("otel-openai-v2/001")
    text = json.dumps(sent.document).replace('"gen_ai.system"', '"gen_ai.provider.name"')
    assert written(json.loads(text), sent).post(api).status_code == 200
    details = {
        "event.name": "gen_ai.client.inference.operation.details",
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 200,
    }
    record = {
        "timeUnixNano": "1795255928000000000",
        "eventName": "gen_ai.client.inference.operation.details",
        "attributes": [{"key": key, "value": value(plain)} for key, plain in details.items()],
    }
    body = {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "opentelemetry.instrumentation.openai_v2"}, "logRecords": [record]}]}]}
    answer = api.generic("POST", "/otlp/v1/logs", cast("str", json.dumps(body).encode()), content_type="application/json")
    assert (answer.status_code, json.loads(answer.content)) == (200, {})
    (event,) = UsageEvent.objects.all()
    assert (event.provider, event.input_tokens, event.cache_read_tokens, event.output_tokens) == ("openai", 1500, None, 200)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["claude-code/001", "claude-code/010", "codex-cli/004", "gemini-cli/002", "qwen-code/001"])
@time_machine.travel(NOON)
def test_a_resumed_process_reports_what_came_before_and_adds_only_what_is_new(api: APIClient, name: str) -> None:
    """The same session again from another process: its sequence begins anew, its earlier calls may come again in the other encoding."""
    sent = capture(name)
    assert sent.post(api).status_code == 200
    before = UsageEvent.objects.count()
    document = json.loads(json.dumps(sent.document))
    for group in document["resourceLogs"]:
        for scoped in group["scopeLogs"]:
            for record in scoped["logRecords"]:
                later(record)
    assert written(document, sent).post(api).status_code == 200
    assert twin(sent).post(api).status_code == 200
    assert UsageEvent.objects.count() == 2 * before
    assert not RejectedInput.objects.exists()


def later(record: dict[str, Any]) -> None:
    """The record as of a call a minute later: another time and another id, the same session, sequence and counts."""
    minute = 60_000_000_000
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        if int(record.get(name) or 0):
            record[name] = str(int(record[name]) + minute)
    for attribute in record["attributes"]:
        text = attribute["value"].get("stringValue", "")
        if attribute["key"] in ("request_id", "response_id"):
            attribute["value"]["stringValue"] = f"{text}9"
        elif attribute["key"] == "event.timestamp":
            attribute["value"]["stringValue"] = f"{text[:14]}{int(text[14:16]) + 1:02}{text[16:]}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "kind"),
    [("gemini-cli/002", "gemini_cli.api_error"), ("qwen-code/001", "qwen-code.api_error"), ("claude-code/001", "api_error")],
)
@time_machine.travel(NOON)
def test_a_request_that_failed_is_a_call_without_counts(api: APIClient, name: str, kind: str) -> None:
    sent = capture(name)
    document = json.loads(json.dumps(sent.document))
    for group in document["resourceLogs"]:
        for scoped in group["scopeLogs"]:
            for record in scoped["logRecords"]:
                failed(record, kind)
    assert twin(written(document, sent)).post(api).status_code == 200
    events = list(UsageEvent.objects.all())
    assert events
    assert {(event.status, event.input_tokens, event.output_tokens, event.cost) for event in events} == {("error", None, None, None)}


def failed(record: dict[str, Any], kind: str) -> None:
    """A record of an answer as one of a refusal: no counts, a status and a sentence."""
    attributes = record["attributes"]
    if not any("token" in attribute["key"] for attribute in attributes):
        return
    kept = [
        attribute
        for attribute in attributes
        if "token" not in attribute["key"] and attribute["key"] not in ("event.name", "cost_usd", "cost_usd_micros", "response_id")
    ]
    told = {"event.name": kind, "error": "429 rate limited", "error.message": "rate limited", "status_code": 429}
    record["attributes"] = kept + [{"key": key, "value": value(plain)} for key, plain in told.items()]
    record["body"] = {"stringValue": kind}

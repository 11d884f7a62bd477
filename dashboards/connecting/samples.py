"""One call as each client reports it, in its own format and by its own door: what a test of the connection sends."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

JSON, PROTOBUF = "application/json", "application/x-protobuf"
KINDS = {bool: "boolValue", int: "intValue", str: "stringValue", float: "doubleValue"}
VERSION = "test"


@dataclass(frozen=True, slots=True)
class Sample:
    """A request: the path, the content type and the body, and headers beside."""

    path: str
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """When the call is said to have ended, and what makes its ids its own."""

    at: datetime
    stamp: str

    @property
    def text(self) -> str:
        return self.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def nanoseconds(self) -> int:
        return int(self.at.timestamp() * 1000) * 1_000_000

    @property
    def seconds(self) -> float:
        return self.at.timestamp()

    @property
    def session(self) -> str:
        return f"weighhouse-test-{self.stamp}"

    @property
    def id(self) -> str:
        return f"test-{self.stamp}"


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {KINDS[type(value)]: value}} for key, value in values.items()]


def resource(service: str) -> dict[str, Any]:
    return {"attributes": attributes({"service.name": service, "service.version": VERSION, "weighhouse.test": "true"})}


def logs(service: str, scope: str, values: Mapping[str, Any], *, at: int, is_json: bool = False) -> Sample:
    record = {"timeUnixNano": str(at), "observedTimeUnixNano": str(at), "attributes": attributes(values)}
    document = {"resourceLogs": [{"resource": resource(service), "scopeLogs": [{"scope": {"name": scope}, "logRecords": [record]}]}]}
    if is_json:
        return Sample("/otlp/v1/logs", JSON, json.dumps(document).encode())
    return Sample("/otlp/v1/logs", PROTOBUF, json_format.ParseDict(document, ExportLogsServiceRequest()).SerializeToString())


def spans(service: str, scope: str, values: Mapping[str, Any], *, moment: Moment) -> Sample:
    ids = {"traceId": "VGVzdCBvZiBXZWlnaGhvdQ==", "spanId": "VGVzdFRlc3Q="}  # base64, as this notation of protobuf has it
    span = {
        **ids, "name": "chat", "kind": 3, "startTimeUnixNano": str(moment.nanoseconds - 130_000_000), "endTimeUnixNano": str(moment.nanoseconds),
        "attributes": attributes(values),
    }  # fmt: skip
    document = {"resourceSpans": [{"resource": resource(service), "scopeSpans": [{"scope": {"name": scope}, "spans": [span]}]}]}
    return Sample("/otlp/v1/traces", PROTOBUF, json_format.ParseDict(document, ExportTraceServiceRequest()).SerializeToString())


def posted(door: str, document: Any, **headers: str) -> Sample:
    return Sample(f"/api/v1/events/{door}" if door else "/api/v1/events", JSON, json.dumps(document).encode(), headers)


def claude_code(moment: Moment) -> Sample:
    return logs("claude-code", "com.anthropic.claude_code.events", {
        "event.name": "api_request", "event.timestamp": moment.text, "session.id": moment.session, "prompt.id": moment.id, "anthropic.provider": "firstParty",
        "model": "claude-sonnet-4-5-20250929", "input_tokens": 120, "output_tokens": 57, "cache_read_tokens": 10240, "cache_creation_tokens": 2048,
        "cache_creation_5m_tokens": 1536, "cache_creation_1h_tokens": 512, "cost_usd": 0.013119, "duration_ms": 146, "request_id": f"req_{moment.id}",
    }, at=moment.nanoseconds)  # fmt: skip


def codex(moment: Moment) -> Sample:
    return logs("codex_exec", "codex_otel.log_only", {
        "event.name": "codex.sse_event", "event.kind": "response.completed", "event.timestamp": moment.text, "conversation.id": moment.session,
        "model": "gpt-5", "input_token_count": "1500", "output_token_count": "200", "cached_token_count": 1024, "reasoning_token_count": 64, "tool_token_count": "1700",
    }, at=moment.nanoseconds)  # fmt: skip


def gemini_cli(moment: Moment) -> Sample:
    return logs("gemini-cli", "gemini-cli", {
        "event.name": "gemini_cli.api_response", "event.timestamp": moment.text, "session.id": moment.session, "prompt_id": moment.session, "model": "gemini-2.5-pro",
        "auth_type": "gemini-api-key", "duration_ms": 179, "input_token_count": 1300, "output_token_count": 90, "cached_content_token_count": 1000,
        "thoughts_token_count": 40, "tool_token_count": 0, "total_token_count": 1430, "status_code": 200,
    }, at=moment.nanoseconds, is_json=True)  # fmt: skip


def qwen_code(moment: Moment) -> Sample:
    return logs("qwen-code", "qwen-code", {
        "event.name": "qwen-code.api_response", "event.timestamp": moment.text, "session.id": moment.session, "response_id": f"chatcmpl-{moment.id}",
        "model": "qwen3-coder-plus", "auth_type": "openai", "duration_ms": 329, "input_token_count": 1500, "output_token_count": 200,
        "cached_content_token_count": 1024, "thoughts_token_count": 64, "total_token_count": 1700,
    }, at=moment.nanoseconds, is_json=True)  # fmt: skip


def opencode(moment: Moment) -> Sample:
    return logs("opencode", "com.opencode", {
        "event.name": "api_request", "session.id": moment.session, "model": "gpt-5", "provider": "openai", "input_tokens": 476, "output_tokens": 136,
        "reasoning_tokens": 64, "cache_read_tokens": 1024, "cache_creation_tokens": 0, "cost_usd": 0.0027, "duration_ms": 210,
    }, at=moment.nanoseconds)  # fmt: skip


def openclaw(moment: Moment) -> Sample:
    usage = {
        "input": 476,
        "output": 200,
        "cacheRead": 1024,
        "cacheWrite": 0,
        "reasoningTokens": 64,
        "totalTokens": 1700,
        "cost": {"total": 0.002723},
    }
    message = {
        "role": "assistant",
        "provider": "openai",
        "model": "gpt-5",
        "usage": usage,
        "stopReason": "stop",
        "responseId": f"chatcmpl-{moment.id}",
    }
    event = {"type": "message", "id": moment.id, "timestamp": moment.text, "message": message}
    return posted("openclaw", {"table": "transcript_events", "session_id": moment.session, "event_json": event})


def genai(moment: Moment, **values: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": f"chatcmpl-{moment.id}", "gen_ai.conversation.id": moment.session, "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.output_tokens": 200, "gen_ai.usage.cache_read.input_tokens": 1024, "gen_ai.usage.reasoning.output_tokens": 64, **values,
    }  # fmt: skip


def copilot(moment: Moment) -> Sample:
    return spans("copilot-chat", "copilot-chat", genai(moment, **{"gen_ai.provider.name": "github"}), moment=moment)


def opentelemetry(moment: Moment) -> Sample:
    return spans("checkout-agent", "opentelemetry.instrumentation.genai.openai", genai(moment), moment=moment)


def litellm(moment: Moment) -> Sample:
    usage = {
        "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 64},
    }  # fmt: skip
    return posted("litellm", [{
        "id": f"chatcmpl-{moment.id}", "litellm_call_id": moment.id, "trace_id": moment.session, "session_id": "", "call_type": "acompletion", "status": "success",
        "custom_llm_provider": "openai", "model": "openai/gpt-4o", "model_group": "gpt-4o", "startTime": moment.seconds - 0.3, "endTime": moment.seconds,
        "response_cost": 0.00447, "stream": False, "cache_hit": None, "request_tags": ["weighhouse-test"], "metadata": {"usage_object": usage},
    }])  # fmt: skip


def chat(moment: Moment, **others: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 64}, **others.pop("usage", {}),
    }  # fmt: skip
    return {
        "id": f"chatcmpl-{moment.id}",
        "object": "chat.completion",
        "created": int(moment.seconds),
        "model": "gpt-4o-2024-08-06",
        "usage": usage,
        **others,
    }


def openrouter(moment: Moment) -> Sample:
    answer = chat(moment, id=f"gen-{moment.id}", model="anthropic/claude-sonnet-4.5", provider="Anthropic", usage={"cost": 0.00447})
    return posted("openrouter", answer, HTTP_X_WEIGHHOUSE_SESSION=moment.session)


def vendors(moment: Moment) -> Sample:
    return posted("openai", chat(moment), HTTP_X_WEIGHHOUSE_SESSION=moment.session)


def cloudevents(moment: Moment) -> Sample:
    data = {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 476,
        "cache_read_tokens": 1024,
        "output_tokens": 200,
        "session": moment.session,
    }
    return posted(
        "cloudevents",
        {
            "specversion": "1.0",
            "type": "com.acme.llm.call",
            "source": "/weighhouse/test",
            "id": moment.id,
            "time": moment.text,
            "data": data,
        },
    )


def portkey(moment: Moment) -> Sample:
    return posted("portkey", {
        "id": moment.id, "created_at": moment.text, "is_success": True, "ai_org": "openai", "ai_model": "gpt-4o", "req_units": 1500, "res_units": 200, "cost": 0.447,
        "cost_currency": "USD", "response_time": 795, "response_status_code": 200, "metadata": {"session": moment.session},
    })  # fmt: skip


def helicone(moment: Moment) -> Sample:
    return posted("helicone", {
        "request_id": moment.id, "model": "gpt-4o", "provider": "OPENAI", "response_created_at": moment.text,
        "request_properties": {"Helicone-Session-Id": moment.session}, "metadata": {"cost": 0.00447, "promptTokens": 1500, "completionTokens": 200, "latencyMs": 795},
    })  # fmt: skip


def vercel(moment: Moment) -> Sample:
    found = {
        "id": f"gen_{moment.id}", "total_cost": 0.00447, "created_at": moment.text, "model": "anthropic/claude-sonnet-4.5", "provider_name": "anthropic",
        "native_tokens_prompt": 1500, "native_tokens_completion": 200, "native_tokens_cached": 1024, "native_tokens_reasoning": 64,
    }  # fmt: skip
    return posted("vercel", {"data": found}, HTTP_X_WEIGHHOUSE_SESSION=moment.session)


def cloudflare(moment: Moment) -> Sample:
    row = {
        "id": moment.id, "created_at": moment.text, "provider": "openai", "model": "gpt-4o", "cached": False, "success": True, "tokens_in": 1500, "tokens_out": 200,
        "cost": 0.00447, "duration": 795, "status_code": 200, "metadata": json.dumps({"session": moment.session}),
    }  # fmt: skip
    return posted("cloudflare", {"success": True, "result": [row]})


def kong(moment: Moment) -> Sample:
    proxy = {
        "usage": {"prompt_tokens": 28, "total_tokens": 48, "completion_tokens": 20, "cost": 0.0038},
        "meta": {"request_model": "gpt-4o", "provider_name": "openai", "response_model": "gpt-4o", "llm_latency": 2670},
    }  # fmt: skip
    entry = {"started_at": int(moment.seconds * 1000), "request": {"id": moment.id}, "response": {"status": 200}, "ai": {"proxy": proxy}}
    return posted("kong", entry, HTTP_X_WEIGHHOUSE_SESSION=moment.session)


def collector(moment: Moment) -> Sample:
    """As the collector posts what it has read of Claude Code's transcripts."""
    return posted("claude-code", {"events": [{
        "request_id": f"req_{moment.id}", "occurred_at": moment.text, "harness": "claude-code", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "session": moment.session, "input_tokens": 120, "cache_read_tokens": 10240, "cache_write_5m_tokens": 1536, "cache_write_1h_tokens": 512, "output_tokens": 57,
    }]})  # fmt: skip


def rest(moment: Moment) -> Sample:
    return posted("", {
        "id": moment.id, "occurred_at": moment.text, "provider": "anthropic", "model": "claude-sonnet-4-5", "session": moment.session, "input_tokens": 1200,
        "output_tokens": 350, "tags": {"weighhouse.test": "true"},
    })  # fmt: skip


SAMPLES: dict[str, Callable[[Moment], Sample]] = {
    "claude-code": claude_code, "codex": codex, "gemini-cli": gemini_cli, "qwen-code": qwen_code, "opencode": opencode, "openclaw": openclaw, "copilot": copilot,
    "litellm": litellm, "openrouter": openrouter, "portkey": portkey, "helicone": helicone, "vercel": vercel, "cloudflare": cloudflare, "kong": kong,
    "opentelemetry": opentelemetry, "vendors": vendors, "cloudevents": cloudevents, "collector": collector, "rest": rest,
}  # fmt: skip

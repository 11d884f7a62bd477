"""OpenTelemetry: protobuf log records in batches of 512 beside native events, and what a record or span costs to parse."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.formats import otlp, telemetry
from tests.bench.events import Calls

if TYPE_CHECKING:
    from tests.bench.measures import Bench

BATCH = 512
BATCHES_EACH = 10
PARSED = 2_000
RESOURCE = {"service.name": "claude-code", "service.version": "2.1.329", "host.arch": "amd64", "os.type": "linux", "cost_center": "eng-123"}


def labelled(into: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        kind = "int_value" if isinstance(value, int) else "double_value" if isinstance(value, float) else "string_value"
        setattr(into.add(key=key).value, kind, value)


def logs_batch(calls: Calls, size: int = BATCH) -> bytes:
    """The same calls as a native batch has, as Claude Code's exporter posts them: it says each label on the resource and on the record."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    labelled(group.resource.attributes, RESOURCE)
    scoped = group.scope_logs.add()
    scoped.scope.name = "com.anthropic.claude_code.events"
    for number in range(size):
        event = calls.event()
        at = event["occurred_at"]
        record = scoped.log_records.add(time_unix_nano=int(datetime.fromisoformat(at).timestamp() * 1_000_000) * 1000)
        record.body.string_value = "claude_code.api_request"
        labelled(record.attributes, {
            "user.id": "c0ffee" * 10, "session.id": event["session"], "app.version": "2.1.329", "anthropic.provider": "firstParty", "terminal.type": "xterm",
            "event.name": "api_request", "event.timestamp": at, "event.sequence": number, "prompt.id": event["trace"], "model": event["model"],
            "input_tokens": event["input_tokens"], "output_tokens": event["output_tokens"], "cache_read_tokens": event["cache_read_tokens"],
            "cache_creation_tokens": event["cache_write_5m_tokens"], "cost_usd": 0.0131, "duration_ms": event["latency_ms"], "ttft_ms": event["ttft_ms"],
            "request_id": event["request_id"], "speed": "normal", "query_source": "sdk", "team.id": event["team"], "project.id": event["project"],
            "user.email": event["member"], "deployment.environment": event["environment"], "cost_center": "eng-123",
        })  # fmt: skip
    return request.SerializeToString()


def spans_batch(calls: Calls, named: Callable[[dict[str, Any]], dict[str, Any]], size: int) -> bytes:
    """Spans of as many calls, in the words of a convention."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    labelled(group.resource.attributes, RESOURCE | {"service.name": "checkout-agent"})
    scoped = group.scope_spans.add()
    scoped.scope.name = "some.instrumentation"
    for number in range(size):
        event = calls.event()
        end = int(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1_000_000) * 1000
        ids = {"trace_id": number.to_bytes(16, "big"), "span_id": (number + 1).to_bytes(8, "big")}
        span = scoped.spans.add(**ids, start_time_unix_nano=end - event["latency_ms"] * 1_000_000, end_time_unix_nano=end)
        labelled(span.attributes, named(event))
    return request.SerializeToString()


def genai(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": event["provider"], "gen_ai.request.model": event["model"], "gen_ai.response.model": event["model"],
        "gen_ai.response.id": event["request_id"], "gen_ai.usage.input_tokens": event["input_tokens"] + event["cache_read_tokens"],
        "gen_ai.usage.output_tokens": event["output_tokens"], "gen_ai.usage.cache_read.input_tokens": event["cache_read_tokens"],
        "server.address": "api.openai.com", "gen_ai.conversation.id": event["session"], "gen_ai.input.messages": "The quick brown fox. " * 100,
    }  # fmt: skip


def openinference(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "openinference.span.kind": "LLM", "llm.provider": event["provider"], "llm.model_name": event["model"],
        "llm.token_count.prompt": event["input_tokens"] + event["cache_read_tokens"], "llm.token_count.completion": event["output_tokens"],
        "llm.token_count.prompt_details.cache_read": event["cache_read_tokens"], "session.id": event["session"], "user.id": event["member"],
        "input.value": "The quick brown fox. " * 100, "output.value": f'{{"id": "{event["request_id"]}", "text": "{"The quick brown fox. " * 50}"}}',
    }  # fmt: skip


def doors(bench: "Bench") -> None:
    """Calls a second by either door, 512 a request."""
    base = BATCH * bench.rate(to=bench.product, path="/api/v1/events", kind="batch of 512", clients=4, each=BATCHES_EACH)
    ours = BATCH * bench.rate(to=bench.product, path="/otlp/v1/logs", kind="otlp", clients=4, each=BATCHES_EACH)
    bench.note("native 512 events/s", base)
    bench.note("otlp events/s", ours)
    bench.note("otlp ratio", ours / base)


def parsed(calls: Calls) -> dict[str, Callable[[], int]]:
    """What parses a body of each kind, from protobuf to events."""
    logs, spans = logs_batch(calls, PARSED), {"genai spans": genai, "openinference spans": openinference}
    bodies = {name: spans_batch(calls, named, PARSED) for name, named in spans.items()}
    return {
        "claude-code otlp": lambda: len(otlp.parse(telemetry.log_records(logs, is_json=False)).usage.events),
        **{
            name: lambda body=body: len(otlp.parse_spans(telemetry.spans(body, is_json=False)).usage.events)  # type: ignore[misc]
            for name, body in bodies.items()
        },
    }

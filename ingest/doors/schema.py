"""What OpenAPI says of the doors: bodies, answers, limits and examples."""

from typing import Any, ClassVar

import msgspec
from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema

from governance.tenancy.openapi import KEY_NEEDED, problems
from ingest.formats.event import MAX_TAGS, MAX_UNITS, Outcome, UsageEvent

LIMITS = (
    f"Limits: {settings.INGEST_MAX_EVENTS:,} events, {settings.INGEST_MAX_BODY_BYTES:,} bytes as sent, "
    f"{settings.INGEST_MAX_DECODED_BYTES:,} bytes unpacked, {MAX_TAGS} tags and {MAX_UNITS} units an event, and the sizes that each field names. "
    "`Content-Encoding: gzip` and `zstd` are taken. null says the same as an absent field: not known."
)


class EventBatch(msgspec.Struct, frozen=True):
    """Several events."""

    events: list[UsageEvent]


class EventsAnswer(msgspec.Struct, frozen=True):
    """What became of each event."""

    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    results: list[Outcome]

    field_notes: ClassVar[dict[str, str]] = {
        "accepted": "Events counted now.",
        "duplicate": "Events counted before, with the same content; nothing changed.",
        "conflict": "Events whose id was counted before with other content; kept aside, not counted.",
        "rejected": "Events that break a rule; kept aside, not counted.",
        "results": "In the order of the request. With `?results=errors` without the accepted ones.",
    }


EVENT: dict[str, Any] = {
    "request_id": "req_011CQ4pvX7",
    "occurred_at": "2026-11-21T10:04:00.807Z",
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
    "harness": "claude-code",
    "team": "platform",
    "member": "engineer@acme.example",
    "session": "97e8544a-a043-4d89-ad42-4e8480be4b00",
    "input_tokens": 120,
    "cache_read_tokens": 10240,
    "cache_write_5m_tokens": 1536,
    "cache_write_1h_tokens": 512,
    "output_tokens": 57,
    "latency_ms": 146,
}
SECOND: dict[str, Any] = {
    "id": "nightly-7/call-12",
    "occurred_at": "2026-11-21T10:04:09Z",
    "model": "gpt-5",
    "input_tokens": 476,
    "output_tokens": 200,
    "reasoning_tokens": 64,
}
ACCEPTED = {"index": 0, "status": "accepted", "id": "5f2a7c54-0c63-8e6b-6f3c-0de3f9b0a2d4"}
ANSWER = {"accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 0, "results": [ACCEPTED]}
REJECTED = {
    "index": 1,
    "status": "rejected",
    "id": "nightly-7/call-12",
    "code": "invalid_field",
    "reason": "A whole number of at least 0 is expected.",
    "field": "output_tokens",
}
SINGLE_PROBLEM = {
    "type": "urn:weighhouse:problem:invalid_field",
    "title": "The event cannot be counted",
    "status": 422,
    "code": "invalid_field",
    "detail": "A whole number of at least 0 is expected.",
    "id": "nightly-7/call-12",
    "field": "output_tokens",
}
# drf-spectacular takes whatever an extension knows; its stubs know only serializers.
SHAPES: list[Any] = [UsageEvent, EventBatch]
BODY = PolymorphicProxySerializer(component_name="EventsBody", serializers=SHAPES, resource_type_field_name=None)
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description=(
        "1 to 200 printable characters, remembered for a day when the answer was 2xx. The same body under the same key gets the same answer, "
        "with `Idempotency-Replayed: true`; another body gets 409. Not needed: an event's own ids make sending again safe, also in part."
    ),
)
REFUSALS = {
    "s400": "The body cannot be read: broken JSON, UTF-8 or compression, the wrong shape, too deep, or cut short.",
    "s401": "The key is missing, unknown, revoked or expired.",
    "s403": "The key lacks the scope `ingest`.",
    "s413": "More events or bytes than allowed. Nothing was stored.",
    "s415": "A media type or compression that is not taken.",
    "s503": "The database gave way; send the same again.",
}

events_post = extend_schema(
    operation_id="events_post",
    tags=["usage"],
    auth=KEY_NEEDED,
    summary="Report usage",
    description=(
        'Takes one event, `{"events": […]}`, or one event per line, and answers for each. Each model call is counted once, '
        "by `request_id` where there is one, else by `id`; sending again is safe. One bad event harms no other. " + LIMITS
    ),
    parameters=[
        IDEMPOTENCY,
        OpenApiParameter("results", OpenApiTypes.STR, enum=["errors"], description="`errors`: list only events that were not accepted."),
    ],
    request={"application/json": BODY, "application/x-ndjson": OpenApiTypes.STR},
    responses={
        (200, "application/json"): OpenApiResponse(EventsAnswer, description="A batch, or a single event that was known already."),
        (201, "application/json"): OpenApiResponse(EventsAnswer, description="A single event, counted."),
        **problems(
            **REFUSALS,
            s409="A single event whose id was counted before with other content (`differs` lists the fields), or an Idempotency-Key used for another body.",
            s422="A single event that breaks a rule; `field` says where.",
        ),
    },
    examples=[
        OpenApiExample("One event", value=EVENT, request_only=True, media_type="application/json"),
        OpenApiExample("Several", value={"events": [EVENT, SECOND]}, request_only=True, media_type="application/json"),
        OpenApiExample(
            "One per line",
            value="\n".join(msgspec.json.encode(event).decode() for event in (EVENT, SECOND)),
            request_only=True,
            media_type="application/x-ndjson",
        ),
        OpenApiExample("Counted", value=ANSWER, response_only=True, status_codes=["201"]),
        OpenApiExample(
            "One of two rejected",
            value=ANSWER | {"rejected": 1, "results": [ACCEPTED, REJECTED]},
            response_only=True,
            status_codes=["200"],
        ),
        OpenApiExample("Rejected", value=SINGLE_PROBLEM, response_only=True, status_codes=["422"], media_type="application/problem+json"),
    ],
)

LITELLM: list[dict[str, Any]] = [{
    "litellm_call_id": "419cfe59-caa1-4fb0-a607-8cfb2094c778", "status": "success", "startTime": 1795255927.736572, "endTime": 1795255928.531645,
    "custom_llm_provider": "openai", "model": "openai/gpt-4o", "trace_id": "sess-1", "end_user": "alice@example.com", "response_cost": 0.00447,
    "metadata": {"usage_object": {
        "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700,
        "prompt_tokens_details": {"cached_tokens": 1024}, "completion_tokens_details": {"reasoning_tokens": 64},
    }},
}]  # fmt: skip
# The library describes no header that stands for any of a list of names.
RECORD_PARAMETERS: list[Any] = [
    OpenApiParameter("format_name", OpenApiTypes.STR, OpenApiParameter.PATH, description="What the records are: `litellm`, `openai`, `claude-code`…"),
    OpenApiParameter("results", OpenApiTypes.STR, enum=["errors"], description="`errors`: list only calls that were not accepted."),
    OpenApiParameter("session", OpenApiTypes.STR, description="The session of the calls, where their records say none. So are all labels of an event."),
    OpenApiParameter("X-Weighhouse-Session", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The same as a header, and so are all labels."),
]
records_post = extend_schema(
    operation_id="events_format_post",
    tags=["usage"],
    summary="Report usage in another's format",
    description=(
        "Takes what a gateway logs, a vendor answers or a harness writes: one record, a list of them, or one per line. A body that can be read is "
        "answered 200 and says for each call what became of it; one bad record harms no other. Labels that the records lack come "
        "from `X-Weighhouse-<Label>` headers or parameters of the same name. Nothing of a record is kept but its usage. " + LIMITS
    ),
    parameters=RECORD_PARAMETERS,
    request={"application/json": OpenApiTypes.ANY, "application/x-ndjson": OpenApiTypes.STR},
    responses={
        (200, "application/json"): OpenApiResponse(EventsAnswer, description="`index` is that of the record."),
        **problems(**REFUSALS, s404="There is no such format.", s422="A label that does not exist."),
    },
    examples=[
        OpenApiExample("A batch of LiteLLM's generic_api callback", value=LITELLM, request_only=True, media_type="application/json"),
        OpenApiExample("Counted", value=ANSWER, response_only=True, status_codes=["200"]),
    ],
)


def telemetry(group: str, content: dict[str, Any], *, service: str = "claude-code", scope: str = "com.anthropic.claude_code") -> dict[str, Any]:
    """An OTLP/JSON request with one scope; `group` is its first key, such as resourceLogs."""
    resource = {"attributes": attributes({"service.name": service, "service.version": "2.1.329", "team.id": "platform"})}
    return {group: [{"resource": resource, group.replace("resource", "scope"): [{"scope": {"name": scope}, **content}]}]}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """OTLP/JSON attributes: 64-bit integers are text there."""
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    return [{"key": key, "value": {kinds[type(value)]: str(value) if isinstance(value, int) else value}} for key, value in values.items()]


NANOSECONDS = "1795255440807000000"
LOGS = telemetry("resourceLogs", {"logRecords": [{
    "timeUnixNano": NANOSECONDS,
    "body": {"stringValue": "claude_code.api_request"},
    "attributes": attributes({
        "event.name": "api_request", "session.id": "97e8544a-a043-4d89-ad42-4e8480be4b00", "model": "claude-sonnet-4-5", "input_tokens": 120,
        "cache_read_tokens": 10240, "output_tokens": 57, "cost_usd": 0.013119, "duration_ms": 146, "request_id": "req_011CQ4pvX7",
    }),
}]})  # fmt: skip
METRICS = telemetry("resourceMetrics", {"metrics": [{
    "name": "claude_code.token.usage",
    "sum": {"dataPoints": [{"timeUnixNano": NANOSECONDS, "asDouble": 120, "attributes": attributes({"type": "input"})}], "aggregationTemporality": 1},
}]})  # fmt: skip
SPANS = telemetry("resourceSpans", {"spans": [{
    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat gpt-4o", "kind": 3,
    "startTimeUnixNano": NANOSECONDS, "endTimeUnixNano": NANOSECONDS,
    "attributes": attributes({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.id": "chatcmpl-CQ4pvX7a1b2",
        "gen_ai.usage.input_tokens": 1500, "gen_ai.usage.cache_read.input_tokens": 1024, "gen_ai.usage.output_tokens": 200,
    }),
}]}, service="checkout-agent", scope="opentelemetry.instrumentation.genai.openai")  # fmt: skip


def otlp_post(signal: str, description: str, answer: str, *, sender: str, sent: dict[str, Any]) -> Any:
    """The description of one signal's door. Bodies and answers are OTLP's own, so only their kind is said."""
    return extend_schema(
        operation_id=f"otlp_{signal}",
        tags=["OpenTelemetry"],
        summary=f"Export OTLP {signal}",
        description=(
            f"{description} Protobuf or OTLP/JSON, answered in kind; an error is a google.rpc.Status. "
            "Unpacked a body may have 16 MiB. Set OTEL_EXPORTER_OTLP_ENDPOINT to this server's address followed by /otlp."
        ),
        request={"application/x-protobuf": OpenApiTypes.BINARY, "application/json": OpenApiTypes.OBJECT},
        responses={
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, description=f"{answer}; `partialSuccess` names what was not counted."),
            (200, "application/x-protobuf"): OpenApiResponse(OpenApiTypes.BINARY, description=f"{answer}."),
            **{
                (int(status[1:]), "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, description=sentence)
                for status, sentence in REFUSALS.items()
            },
        },
        examples=[
            OpenApiExample(f"As {sender} sends it", value=sent, request_only=True, media_type="application/json"),
            OpenApiExample("All counted", value={}, response_only=True, status_codes=["200"], media_type="application/json"),
            OpenApiExample(
                "Refused",
                value={"code": 16, "message": "This API key was revoked. (key_revoked)"},
                response_only=True,
                status_codes=["401"],
                media_type="application/json",
            ),
        ],
    )


otlp_logs_post = otlp_post(
    "logs",
    "One event for each call that Claude Code, Codex, Gemini CLI, Qwen Code or OpenCode reports in its log records; records that repeat spans do not count. "
    "Records that count tokens under names that no format here knows are named in `partialSuccess` and not stored.",
    "ExportLogsServiceResponse",
    sender="Claude Code",
    sent=LOGS,
)
otlp_metrics_post = otlp_post(
    "metrics",
    "Checked and answered: clients report the same usage in their log records or spans. Counted of services that say `weighhouse.signal=metrics` on their "
    "resource, cumulative streams by what they grew.",
    "ExportMetricsServiceResponse",
    sender="Claude Code",
    sent=METRICS,
)
otlp_traces_post = otlp_post(
    "traces",
    "One event for each span that is a model call, by OpenTelemetry's GenAI conventions, OpenInference or the Vercel AI SDK, counted once by the vendor's id "
    "however many spans tell of it. Spans of agents, chains and tools do not count.",
    "ExportTraceServiceResponse",
    sender="an instrumented application",
    sent=SPANS,
)

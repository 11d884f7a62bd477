"""The OpenTelemetry door: POST /otlp/v1/logs, /metrics and /traces, protobuf and JSON, answered in the request's encoding.

Usage is read from log records and from spans, of each client from where it says most; what repeats it is checked and not counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from rest_framework.request import Request
from rest_framework.response import Response

from governance.budgets.api import actor_of, api_key_of
from governance.tenancy.access import Actor
from governance.tenancy.models import ApiKey
from ingest import rejections
from ingest.doors import schema
from ingest.doors.body import media_type
from ingest.doors.door import Door
from ingest.formats import otlp, otlp_broken, telemetry
from ingest.formats.batch import BadBody, Unreadable, Unsupported
from ingest.formats.event import Outcome
from ingest.formats.otlp import ParsedTelemetry
from ingest.formats.points import Meter, event_fields, meters
from ingest.models import RejectedInput
from ingest.rejections import PAYLOAD_BYTES, Misfit
from ingest.services import settled_afterwards
from ingest.signals import nested, streams

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
PROTOBUF_TYPES = (PROTOBUF, "application/protobuf", "application/vnd.google.protobuf")
# Exporters send batches of a few hundred records; a protobuf unpacks to many times its size in memory.
MAX_DECODED_BYTES = 16 * 1024 * 1024
# Larger ones are unpacked one at a time in each process: made of empty messages, 16 MiB take some 450 MB for a moment.
LARGE_BYTES = 1024 * 1024
LARGE = Lock()
Read = TypeVar("Read")
# A call that is told of again in other words is usual where several signals tell of it; other counts are worth a word.
COUNTS = {"input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens"}
# google.rpc.Code by HTTP status.
RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 411: 3, 413: 8, 415: 3, 422: 3, 429: 8, 503: 14}
RPC_INTERNAL = 13


def status_class() -> type[Message]:
    """google.rpc.Status, the body of an OTLP error: code and message."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="status.proto", package="google.rpc", syntax="proto3")
    status = file.message_type.add(name="Status")
    status.field.add(name="code", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    status.field.add(name="message", number=2, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


Status = status_class()


class OtlpDoor(Door):
    """Reads one signal. `take` gives the answer's message, or raises."""

    name = "otlp"
    request_type: type[Message]

    def receive(self, request: Request) -> HttpResponse:
        body, is_json = b"", True
        try:
            is_json = json_expected(request)
            body = self.body(request._request, MAX_DECODED_BYTES)
            message = self.take(actor_of(request), api_key_of(request), body, is_json)
        except BadBody as error:
            # Of one that is too large, or of no known kind, only that it came.
            self.unread_keep(api_key_of(request), error, body if isinstance(error, Unreadable) else b"", is_json=is_json)
            raise
        return encoded(message, is_json=is_json)

    def unread_keep(self, api_key: ApiKey, error: BadBody, body: bytes, *, is_json: bool) -> None:
        """Keeps what can be made out of a body that cannot be read, without its texts: telemetry can hold prompts."""
        made_out = body[:PAYLOAD_BYTES] if is_json else otlp_broken.outline(body, self.request_type.DESCRIPTOR) if body else b""
        misfit = Misfit(kind=RejectedInput.Kind.ENVELOPE, code=error.code, reason=error.detail, payload=made_out, is_whole=False)
        rejections.misfits_keep(api_key=api_key, door=self.name, misfits=[misfit])

    def take(self, actor: Actor, api_key: ApiKey, body: bytes, is_json: bool) -> Message:
        raise NotImplementedError

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponseBase | None]:
        """Refusals as google.rpc.Status, which is what OTLP clients read."""
        as_problem = super().get_exception_handler()

        def handler(error: Exception, context: dict[str, Any]) -> HttpResponseBase | None:
            response = as_problem(error, context)
            return as_status(response, self.request) if isinstance(response, Response) else response

        return handler


class CallsDoor(OtlpDoor):
    """Stores the calls that a signal reports. A call that was seen before, in the same words or in others, is no failure of the sender's."""

    def calls_take(self, actor: Actor, api_key: ApiKey, found: ParsedTelemetry) -> list[Outcome]:
        """Stores the events and keeps what was refused. Returns the outcomes of those that are not counted, and were not before in the same words."""
        outcomes: list[Outcome] = []
        for start in range(0, len(found.usage.events), settings.INGEST_MAX_EVENTS):
            outcomes += self.part_take(actor, api_key, found, slice(start, start + settings.INGEST_MAX_EVENTS))
        outcomes += self.refused_take(actor, api_key, found.usage.refused)
        return [outcome for outcome in outcomes if outcome.status in ("rejected", "conflict")]

    def part_take(self, actor: Actor, api_key: ApiKey, found: ParsedTelemetry, part: slice) -> list[Outcome]:
        return self.store(actor, api_key, found.usage.events[part])


class LogsDoor(CallsDoor):
    """Log records, in which harnesses report each model call."""

    request_type = ExportLogsServiceRequest

    @schema.otlp_logs_post
    def post(self, request: Request) -> HttpResponse:
        return self.receive(request)

    def take(self, actor: Actor, api_key: ApiKey, body: bytes, is_json: bool) -> Message:
        found = otlp.parse(read(telemetry.log_records, body, is_json=is_json))
        uncounted = self.calls_take(actor, api_key, found)
        rejections.unread_note(api_key=api_key, door=self.name, unread=found.unread)
        answer = ExportLogsServiceResponse()
        if sentences := complaints(uncounted) + unread_sentences(found.unread, "log record"):
            answer.partial_success.rejected_log_records = refused(uncounted) + found.unread.total()
            answer.partial_success.error_message = " ".join(sentences)
        return answer


class TracesDoor(CallsDoor):
    """Spans, of which those that are model calls count, each call once however many tell of it."""

    request_type = ExportTraceServiceRequest

    @schema.otlp_traces_post
    def post(self, request: Request) -> HttpResponse:
        return self.receive(request)

    def part_take(self, actor: Actor, api_key: ApiKey, found: ParsedTelemetry, part: slice) -> list[Outcome]:
        """Leaves out calls that an earlier request told of by a span around them or in them."""
        events, sightings = found.usage.events[part], found.sightings[part]
        if nested.is_whole(sightings):
            return self.store(actor, api_key, events)
        with settled_afterwards(actor.organization), transaction.atomic():
            told = nested.told_before(organization_id=api_key.organization_id, sightings=sightings)
            outcomes = self.store(actor, api_key, [event for event, how in zip(events, told, strict=True) if not how])
            nested.told_note(organization_id=api_key.organization_id, sightings=sightings, told=told, now=timezone.now())
        return outcomes

    def take(self, actor: Actor, api_key: ApiKey, body: bytes, is_json: bool) -> Message:
        found = otlp.parse_spans(read(telemetry.spans, body, is_json=is_json))
        uncounted = self.calls_take(actor, api_key, found)
        rejections.unread_note(api_key=api_key, door="otlp-traces", unread=found.unread)
        answer = ExportTraceServiceResponse()
        if sentences := complaints(uncounted) + unread_sentences(found.unread, "span"):
            answer.partial_success.rejected_spans = refused(uncounted) + found.unread.total()
            answer.partial_success.error_message = " ".join(sentences)
        return answer


class MetricsDoor(CallsDoor):
    """Metrics: counted where their owner says that they are all there is, else checked and answered."""

    request_type = ExportMetricsServiceRequest

    @schema.otlp_metrics_post
    def post(self, request: Request) -> HttpResponse:
        return self.receive(request)

    def take(self, actor: Actor, api_key: ApiKey, body: bytes, is_json: bool) -> Message:
        points = read(telemetry.metric_points, body, is_json=is_json)
        uncounted = self.meters_take(actor, api_key, meters(points)) + self.refused_take(actor, api_key, otlp.misshapen(points))
        unread = otlp.unread_points(points)
        rejections.unread_note(api_key=api_key, door="otlp-metrics", unread=unread)
        answer = ExportMetricsServiceResponse()
        if sentences := complaints(uncounted) + unread_sentences(unread, "data point"):
            answer.partial_success.rejected_data_points = refused(uncounted) + unread.total()
            answer.partial_success.error_message = " ".join(sentences)
        return answer

    def meters_take(self, actor: Actor, api_key: ApiKey, found: Sequence[Meter]) -> list[Outcome]:
        """Counts what the points add, in one transaction with how far their streams are: both move or neither does."""
        uncounted: list[Outcome] = []
        for start in range(0, len(found), settings.INGEST_MAX_EVENTS):
            with settled_afterwards(actor.organization), transaction.atomic():
                part = found[start : start + settings.INGEST_MAX_EVENTS]
                deltas = streams.added(organization_id=api_key.organization_id, meters=part, now=timezone.now())
                usage = otlp.validated([(index, event_fields(one, tokens)) for index, (one, tokens) in enumerate(deltas)])
                uncounted += self.calls_take(actor, api_key, ParsedTelemetry(usage, Counter()))
        return uncounted


def read(reader: Callable[..., Read], body: bytes, *, is_json: bool) -> Read:
    """What the reader makes of the body."""
    with LARGE if len(body) > LARGE_BYTES else nullcontext():
        return reader(body, is_json=is_json)


def json_expected(request: Request) -> bool:
    kind = media_type(request._request)
    if kind == JSON:
        return True
    if kind in PROTOBUF_TYPES:
        return False
    raise Unsupported("unsupported_media_type", f"'{kind[:80]}' is not taken; send {PROTOBUF} or {JSON}.")


def refused(uncounted: Sequence[Outcome]) -> int:
    """How many the sender is told were rejected: a call that was counted before is not, whatever is said of it now."""
    return sum(outcome.status == "rejected" for outcome in uncounted)


def complaints(uncounted: Sequence[Outcome]) -> list[str]:
    """One sentence for each different reason, at most five; then, as a warning, in which counts calls differ that were counted before."""
    counts = Counter(outcome.reason or outcome.status for outcome in uncounted if outcome.status == "rejected")
    sentences = [f"{count:,} not counted: {reason}" for reason, count in counts.most_common(5)]
    other = [{one.field for one in outcome.differs} & COUNTS for outcome in uncounted if outcome.status == "conflict"]
    if differing := [names for names in other if names]:
        sentences.append(
            f"{len(differing):,} kept aside: counted before under the same id, with other {', '.join(sorted(set.union(*differing)))}."
        )
    return sentences


def unread_sentences(unread: Counter[str], what: str) -> list[str]:
    """Which clients' `what` (in the singular) no format reads, and how many of each."""
    return [
        f"1 {what} of {client} was not read: there is no format for it yet."
        if count == 1
        else f"{count:,} {what}s of {client} were not read: there is no format for them yet."
        for client, count in unread.most_common(5)
    ]


def encoded(message: Message, *, is_json: bool, status: int = 200) -> HttpResponse:
    if is_json:
        return HttpResponse(json_format.MessageToJson(message, indent=None), status=status, content_type=JSON)
    return HttpResponse(message.SerializeToString(), status=status, content_type=PROTOBUF)


def as_status(problem: Response, request: Request) -> HttpResponse:
    """A problem document as google.rpc.Status, in the request's encoding, with the same HTTP status and headers."""
    sentence = problem.data.get("detail") or problem.data["title"]
    message = Status(code=RPC_CODES.get(problem.status_code, RPC_INTERNAL), message=f"{sentence} ({problem.data['code']})")
    is_protobuf = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() in PROTOBUF_TYPES
    response = encoded(message, is_json=not is_protobuf, status=problem.status_code)
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in problem:
            response[name] = problem[name]
    return response

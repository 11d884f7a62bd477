"""What Claude Code really sends, through the door and into the tables, to the last token."""

import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from rest_framework.test import APIClient

from governance.tenancy.models import Team
from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import JSON, PROTOBUF, Capture, capture, twin
from tests.price_books import KeptBook

pytestmark = pytest.mark.django_db

TOKENS = {
    "input_tokens": 120,
    "cache_read_tokens": 10240,
    "cache_write_5m_tokens": 1536,
    "cache_write_1h_tokens": 512,
    "output_tokens": 57,
    "reasoning_tokens": None,
}


@pytest.fixture(autouse=True)
def day_of_the_captures() -> Any:
    with time_machine.travel("2026-11-21T12:00:00Z"):
        yield


@pytest.fixture
def prices(db: None, whole_book: KeptBook) -> None:
    whole_book.put()


def tokens_of(event: UsageEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in TOKENS}


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("claude-code/001", 1),
        ("claude-code/003", 2),
        ("claude-code/010", 2),
        ("claude-code-via-litellm/001", 0),
        ("claude-code-via-litellm/003", 2),
    ],
)
def test_each_call_is_counted_once_with_its_tokens(api: APIClient, name: str, calls: int) -> None:
    sent = capture(name)
    for _ in range(2):
        response = sent.post(api)
        assert response.status_code == 200
        assert response["Content-Type"] == sent.content_type
    events = list(UsageEvent.objects.all())
    assert [tokens_of(event) for event in events] == [TOKENS] * calls
    assert {event.request_id[:10] for event in events} <= {"req_011Moc"}


def test_everything_but_what_people_wrote_is_kept(api: APIClient, team: Team) -> None:
    capture("claude-code/001").post(api)
    event = UsageEvent.objects.get()
    assert (event.harness, event.harness_version, event.source) == ("claude-code", "2.1.329", "otlp")
    assert (event.provider, event.model_reported) == ("anthropic", "claude-sonnet-4-5-20250929")
    assert (event.session, event.trace) == ("97e8544a-a043-4d89-ad42-4e8480be4b00", "77e2f89c-b0f2-4efa-b214-39e9d67401ec")
    assert (event.team_id, event.team_label, event.member_label) == (team.pk, "platform", "")
    assert (event.latency_ms, event.ttft_ms, event.status, event.request_id) == (146, 136, "ok", "req_011Mock000101")
    assert event.occurred_at.isoformat() == "2026-11-21T10:04:00.807000+00:00"
    assert event.tags == {
        "cost_center": "eng-123",
        "department": "engineering",
        "service.namespace": "acme",
        "query_source": "sdk",
        "anthropic.custom_base_url": "true",
        "user.id": "c0ffee0000000000000000000000000000000000000000000000000000000000",
    }


def test_our_price_and_the_clients_agree_to_the_last_digit(prices: None, api: APIClient) -> None:
    capture("claude-code/001").post(api)
    capture("claude-code/003").post(api)
    assert [(event.reported_cost, event.cost) for event in UsageEvent.objects.all()] == [(Decimal("0.013119"), Decimal("0.013119"))] * 3


def test_json_and_protobuf_are_the_same_report(api: APIClient) -> None:
    sent = capture("claude-code/001")
    assert sent.content_type == JSON
    sent.post(api)
    answer = ExportLogsServiceResponse.FromString(twin(sent).post(api).content)
    assert answer.partial_success.rejected_log_records == 0
    assert UsageEvent.objects.count() == 1
    assert not RejectedInput.objects.exists()


def test_gzip_is_the_same_report(api: APIClient) -> None:
    sent = capture("claude-code/003")
    packed = Capture(sent.path, sent.content_type, gzip.compress(sent.body))
    assert packed.post(api, HTTP_CONTENT_ENCODING="gzip").status_code == 200
    sent.post(api)
    assert UsageEvent.objects.count() == 2


@pytest.mark.parametrize(
    "name", ["claude-code/002", "claude-code/004", "claude-code/011", "claude-code/009", "claude-code-via-litellm/002"]
)
def test_metrics_and_spans_repeat_the_logs_and_are_not_counted_again(api: APIClient, name: str) -> None:
    sent = capture(name)
    response = sent.post(api)
    assert response.status_code == 200
    if sent.content_type == PROTOBUF:
        assert not ExportMetricsServiceResponse.FromString(response.content).HasField("partial_success")
    else:
        assert json.loads(response.content) == {}
    assert not UsageEvent.objects.exists()

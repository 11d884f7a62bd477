"""The metrics door: nothing counts unless its owner says that metrics are all there is; then every token counts once."""

import json
import random
import threading
from typing import Any, cast

import pytest
import time_machine
from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils import timezone
from rest_framework.test import APIClient

from ingest.models import MetricStream, RejectedInput, UsageEvent
from ingest.signals.streams import REMEMBERED
from ingest.tasks import signals_forget
from tests.conftest import KeyInHand, client_with
from tests.golden.captures import captures
from tests.ingest.telemetry_made import SERVICE, point, points, request, span

pytestmark = pytest.mark.django_db
CUMULATIVE, DELTA = 2, 1


@pytest.fixture(autouse=True)
def soon_after() -> Any:
    with time_machine.travel("2026-11-21T13:00:00Z"):
        yield


def send(api: APIClient, body: bytes, signal: str = "metrics") -> dict[str, Any]:
    response = api.generic("POST", f"/otlp/v1/{signal}", cast("str", body), content_type="application/json")
    assert response.status_code == 200
    return cast("dict[str, Any]", json.loads(response.content))


def total(events: QuerySet[UsageEvent] | None = None) -> tuple[int | None, int | None]:
    sums = (UsageEvent.objects.all() if events is None else events).aggregate(Sum("input_tokens"), Sum("output_tokens"))
    return sums["input_tokens__sum"], sums["output_tokens__sum"]


def test_no_captured_client_counts_by_its_metrics(api: APIClient) -> None:
    for _, sent in captures():
        if sent.signal == "metrics":
            assert sent.post(api).status_code == 200
    assert not UsageEvent.objects.exists()
    assert not MetricStream.objects.exists()
    assert not RejectedInput.objects.exists()


def test_a_cumulative_stream_counts_what_it_grew_by(api: APIClient) -> None:
    for at, value in ((1, 1500), (2, 1500), (3, 4500)):
        for _ in range(2):
            assert send(api, points(point(value, at=at), point(value / 10, at=at, gen_ai__token__type="output"))) == {}
    assert total() == (4500, 450)
    event = UsageEvent.objects.order_by("occurred_at").first()
    assert event is not None
    assert (event.model_reported, event.provider, event.harness, event.tags) == (
        "gpt-4o",
        "openai",
        "checkout-agent",
        {"signal": "metrics"},
    )


def test_a_stream_that_begins_anew_counts_from_nothing(api: APIClient) -> None:
    send(api, points(point(1000, at=1), point(1800, at=2)))
    send(api, points(point(300, at=4, start=3), point(500, at=5, start=3)))
    assert total() == (2300, None)


def test_a_fall_without_a_word_is_a_restart(api: APIClient) -> None:
    for at, value in ((1, 1000), (2, 200), (3, 250)):
        send(api, points(point(value, at=at)))
    assert total() == (1250, None)


def test_points_in_any_order_and_split_count_the_same(api: APIClient) -> None:
    chance = random.Random(3)
    sent = [point(100 * at, at=at, gen_ai__request__model=model) for at in range(1, 9) for model in ("gpt-4o", "gpt-5")]
    chance.shuffle(sent)
    while sent:
        cut = chance.randrange(1, len(sent) + 1)
        body, sent = points(*sent[:cut]), sent[cut:]
        send(api, body)
        send(api, body)
    assert total() == (1600, None)


def test_equal_deltas_are_both_real_and_a_repeat_is_none(api: APIClient) -> None:
    first, second = points(point(120, at=1), temporality=DELTA), points(point(120, at=2, start=1), temporality=DELTA)
    for body in (first, second, first):
        send(api, body)
    assert total() == (240, None)


def test_streams_differ_by_resource_and_attributes(api: APIClient) -> None:
    labels = {**SERVICE, "weighhouse.signal": "metrics"}
    send(api, points(point(100, at=1), point(100, at=1, gen_ai__request__model="gpt-5"), resource=labels | {"service.instance.id": "a"}))
    send(api, points(point(100, at=1), resource=labels | {"service.instance.id": "b"}))
    assert total() == (300, None)


def test_who_counts_by_metrics_counts_by_nothing_else(api: APIClient) -> None:
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.id": "chatcmpl-Abcdef123456",
        "gen_ai.usage.input_tokens": 9,
    }
    labels = {**SERVICE, "weighhouse.signal": "metrics"}
    assert send(api, request(("openai", [span(call)]), resource=labels), "traces") == {}
    assert not UsageEvent.objects.exists()
    send(api, points(point(9, at=1), resource=SERVICE))
    assert not UsageEvent.objects.exists()


def test_overlapping_series_and_odd_values_are_left_out(api: APIClient) -> None:
    odd = [point(5, at=1, gen_ai__token__type="cache"), point(-5, at=1), point("NaN", at=1, gen_ai__request__model="a"), point(True, at=1)]  # type: ignore[arg-type]
    send(api, points(*odd))
    assert not UsageEvent.objects.exists()


def test_fractions_lose_no_token(api: APIClient) -> None:
    for at in range(1, 11):
        send(api, points(point(at * 0.4, at=at)))
    assert total() == (4, None)


def test_token_metrics_of_nobodys_are_noted(api: APIClient) -> None:
    answer = send(api, points(point(5, at=1), metric="acme.tokens", resource=SERVICE))
    assert answer["partialSuccess"]["rejectedDataPoints"] == "1"
    assert RejectedInput.objects.get().code == "format_unknown"


def test_streams_that_ended_are_forgotten(api: APIClient) -> None:
    send(api, points(point(5, at=1)))
    assert signals_forget() == 0
    MetricStream.objects.update(seen_at=timezone.now() - REMEMBERED * 2)
    assert signals_forget() == 1


@pytest.mark.django_db(transaction=True)
def test_exports_that_come_at_once_count_every_token_once(api_key: KeyInHand) -> None:
    chance = random.Random(5)
    bodies = [points(point(10 * at, at=at), point(7 * at, at=at, gen_ai__request__model="gpt-5")) for at in range(1, 13)] * 2

    failed: list[BaseException] = []

    def post(mine: list[bytes]) -> None:
        try:
            for body in mine:
                send(client_with(api_key), body)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = []
    for _ in range(4):
        chance.shuffle(bodies)
        threads.append(threading.Thread(target=post, args=(list(bodies[:12]),)))
    threads.append(threading.Thread(target=post, args=([points(point(120, at=12), point(84, at=12, gen_ai__request__model="gpt-5"))],)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, total(UsageEvent.objects.filter(organization=api_key.row.organization_id))) == ([], (204, None))

"""/healthz names what is not ready."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from governance.conf.logs import NewsOnly
from governance.conf.models import Heartbeat
from governance.conf.tasks import heartbeat

pytestmark = pytest.mark.django_db


def test_ready_once_the_worker_has_run_a_task(client: Client) -> None:
    heartbeat()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


def test_worker_that_never_ran_is_named(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "not_ready": {"worker": "has not run a task yet"}}


def test_worker_that_fell_silent_is_named(client: Client) -> None:
    Heartbeat.objects.create(name="worker", at=timezone.now() - timedelta(minutes=2))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["not_ready"]["worker"].startswith("has run no task since")


def test_broker_that_does_not_answer_is_named(client: Client, settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import current_app

    heartbeat()
    monkeypatch.setattr(current_app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["not_ready"] == {"broker": "does not answer"}


def test_health_is_read_with_one_query(client: Client, django_assert_num_queries: object) -> None:
    heartbeat()
    with django_assert_num_queries(1):
        client.get("/healthz")


def test_health_is_for_reading(client: Client) -> None:
    assert client.post("/healthz").status_code == 405


def test_waiting_for_readiness_does_not_fill_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/healthz")
    asked = [record for record in caplog.records if record.name == "django.request"]
    assert [record.status_code for record in asked] == [503]
    assert not NewsOnly().filter(asked[0])

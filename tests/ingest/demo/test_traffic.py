"""The simulated gateway: it asks, reports, waits when refused, and survives a server that is away."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import stamina
from django.db import transaction
from django.test import Client

from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create, period_topup
from governance.pricing.services import prices_load
from governance.tenancy import services as tenancy
from governance.tenancy.access import system_actor
from governance.tenancy.models import ApiKey, Organization, Project
from ingest.demo import traffic
from ingest.demo.budgets import SANDBOX
from ingest.demo.gateway import KEY_FILE, Gateway, Unwelcome, gateway_secret
from ingest.demo.organization import organization_build
from ingest.demo.traffic import SANDBOX_GUESS_USD, Live, Traffic
from ingest.models import UsageEvent
from ingest.verify import differences

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Retries without pauses."""
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def said() -> list[str]:
    return []


def traffic_over(transport: httpx.BaseTransport, said: list[str], secret: str = "none") -> Traffic:
    client = httpx.Client(transport=transport, base_url="http://testserver", headers={"Authorization": f"Bearer {secret}"})
    return Traffic(Gateway(client), rate=10_000, stop=threading.Event(), say=said.append, seed=1)


def scripted(*answers: Answer | httpx.Response) -> httpx.MockTransport:
    """A server that gives these answers in turn, and the last one from then on."""
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return found if isinstance(found, httpx.Response) else found(request)

    return httpx.MockTransport(answer)


def the_product() -> httpx.MockTransport:
    """The real server's answers, given in this process."""
    client = Client()

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Authorization": request.headers["Authorization"]}
        found = client.post(request.url.path, request.content, content_type="application/json", headers=headers)
        return httpx.Response(found.status_code, content=found.content)

    return httpx.MockTransport(answer)


def cut_off(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def allowed(request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"id": "0197f000-0000-7000-8000-000000000001"})


REFUSED = httpx.Response(402, json={"code": "payment_required"})


def ordinary(running: Traffic) -> Live:
    return next(live for live in running.lives if not live.is_sandbox)


def sandbox(running: Traffic) -> Live:
    return next(live for live in running.lives if live.is_sandbox)


def steps(running: Traffic, count: int) -> None:
    """So many turns, without waiting for when they are due."""
    for _ in range(count):
        live = min(running.lives, key=lambda item: item.due)
        running.turn(live)


@pytest.fixture
def northwind(db: None) -> Organization:
    prices_load()
    organization = organization_build("pw")
    actor = system_actor(organization)
    project = Project.objects.get(organization=organization, slug=SANDBOX)
    budget_create(actor=actor, name="Sandbox session", scope_kind="session", project=project, period_kind="session", limit_amount=Decimal(3))
    return organization


def test_allowed_calls_are_reported_and_settled(northwind: Organization, tmp_path: Path, said: list[str]) -> None:
    running = traffic_over(the_product(), said, gateway_secret(northwind, tmp_path))
    steps(running, 24)
    stored = UsageEvent.objects.filter(organization=northwind)
    assert stored.count() == running.counts["accepted"] >= 8
    assert not stored.filter(authorization_id=None).exists()
    assert set(stored.values_list("api_key_id", flat=True)) == {ApiKey.objects.get(name="Demo gateway").pk}
    assert differences(northwind) == []


def test_a_sandbox_session_runs_into_its_limit_waits_and_goes_on_when_there_is_more(
    northwind: Organization, tmp_path: Path, said: list[str]
) -> None:
    running = traffic_over(the_product(), said, gateway_secret(northwind, tmp_path))
    live = sandbox(running)
    while live.refused_at is None and live.made < 60:
        running.turn(live)
    period = BudgetPeriod.objects.get(organization=northwind, session_key=live.run.key)
    # Nearly always a call passes the limit and freezes the session; now and then what is left is less than the next one asks for.
    assert (period.frozen_at is not None) == (period.spent >= 3)
    assert period.spent + Decimal(SANDBOX_GUESS_USD) > 3
    assert Session.objects.get(key=live.run.key).cost == period.spent
    assert said == [f"{live.run.key} is refused; waiting for somebody to decide."]
    running.turn(live)
    assert len(said) == 1

    with transaction.atomic():
        period_topup(actor=system_actor(northwind), period_id=period.pk, amount=Decimal(5))
    running.turn(live)
    assert said[-1] == f"{live.run.key} goes on."
    assert live.pending is not None


def test_a_server_that_is_away_is_waited_for_and_asked_the_same_again(said: list[str]) -> None:
    asked: list[str] = []

    def remembered(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["id"])
        return allowed(request)

    def lost(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["id"])
        raise httpx.ReadError("server went away", request=request)

    running = traffic_over(scripted(lost, httpx.Response(503), httpx.Response(429), cut_off, remembered), said)
    live = ordinary(running)
    for _ in range(2):
        with pytest.raises(traffic.Away) as reason:
            running.turn(live)
        running.is_away(str(reason.value))
    running.turn(live)
    running.is_back()
    assert len(set(asked)) == 1
    assert live.pending is not None
    assert said == ["The server is away (HTTP 503); waiting.", "The server is back after 0 s."]


def test_a_report_whose_answer_was_lost_is_a_duplicate_and_counts_as_made(said: list[str]) -> None:
    known = httpx.Response(200, json={"accepted": 0, "duplicate": 1, "results": [{"index": 0, "status": "duplicate"}]})
    running = traffic_over(scripted(allowed, cut_off, known), said)
    live = ordinary(running)
    running.turn(live)
    running.turn(live)
    assert live.made == 1
    assert running.counts == {"duplicate": 1}


def test_a_refused_session_asks_ever_more_slowly_then_makes_room_for_another(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    running = traffic_over(scripted(REFUSED), said)
    live = ordinary(running)
    waits = []
    for _ in range(6):
        running.turn(live)
        waits.append(round(live.due - (live.refused_at or 0)))
    assert waits == [5, 10, 20, 30, 30, 30]
    monkeypatch.setattr(traffic, "GIVES_UP_S", -1.0)
    running.turn(live)
    assert live not in running.lives
    assert len(running.lives) == traffic.SESSIONS + 1
    assert said == [f"{live.run.key} is refused; waiting for somebody to decide.", f"{live.run.key} gives up."]


def test_nothing_stalls_while_every_call_is_refused(said: list[str]) -> None:
    running = traffic_over(scripted(REFUSED), said)
    steps(running, 200)
    assert running.counts["refused"] == 200
    running.said_at -= traffic.SUMMARY_S
    running.summarize()
    assert said[-1] == "0 calls reported, 200 refused; 7 of 7 sessions wait for a decision."


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(401, json={}), httpx.Response(403, json={}), httpx.Response(404, text="nothing"), httpx.Response(200, text="<html>")],
)
def test_a_server_that_will_not_have_it_ends_the_traffic(answer: httpx.Response, said: list[str]) -> None:
    running = traffic_over(scripted(answer), said)
    for live in running.lives:
        live.due = 0
    with pytest.raises(Unwelcome):
        running.go_on()


def test_an_event_that_is_rejected_is_said_and_its_session_replaced(said: list[str]) -> None:
    running = traffic_over(scripted(allowed, httpx.Response(422, json={"code": "out_of_range"})), said)
    live = ordinary(running)
    running.turn(live)
    with pytest.raises(traffic.Conflict, match="422"):
        running.turn(live)


def test_the_key_is_kept_and_replaced_when_it_no_longer_fits(northwind: Organization, tmp_path: Path) -> None:
    secret = gateway_secret(northwind, tmp_path)
    assert gateway_secret(northwind, tmp_path) == secret
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    tenancy.api_key_revoke(actor=system_actor(northwind), key=ApiKey.objects.get(name="Demo gateway"))
    assert gateway_secret(northwind, tmp_path) != secret
    assert ApiKey.objects.filter(name="Demo gateway", revoked_at=None).count() == 1


def test_nights_and_weekends_are_slower() -> None:
    assert traffic.is_busy(datetime(2026, 11, 20, 14, tzinfo=UTC))
    assert not traffic.is_busy(datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert not traffic.is_busy(datetime(2026, 11, 21, 14, tzinfo=UTC))

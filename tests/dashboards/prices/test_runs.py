"""Prices, runs and months: made, worked out, applied, watched; and what the API says of the same."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, MonthClose, Organization, Role, Scope
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create
from ingest.rerating.working import run_work
from tests.conftest import client_with, key_of, person
from tests.ingest.amending.test_closed_months import close, last_month
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import price_of_sonnet
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices", "last_month"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


@pytest.fixture
def page(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def at(name: str, organization: Organization, **parts: Any) -> str:
    return reverse(name, kwargs={"slug": organization.slug, **parts})


def asked(**fields: Any) -> dict[str, Any]:
    today = timezone.localdate()
    return {"reason": "list corrected", "first": today - timedelta(days=3), "last": today + timedelta(days=1), **fields}


def test_run_goes_from_the_form_over_its_preview_to_every_calls_old_and_new(page: Client, admin: Member, organization: Organization) -> None:
    store(admin, event(1), event(2))
    price_of_sonnet(input_amount="6", output_amount="30")
    answer = page.post(at("prices-run-new", organization), asked())
    run = ReratingRun.objects.get()
    assert answer["Location"] == at("prices-run", organization, run_id=run.pk)
    assert b"It begins in a moment" in page.get(answer["Location"]).content
    run_work(run.pk)
    shown = page.get(answer["Location"]).content.decode()
    assert "calls would change" in shown
    assert "Apply" in shown
    page.post(answer["Location"], {"action": "start"})
    run_work(run.pk)
    shown = page.get(answer["Location"]).content.decode()
    assert "Calls that changed" in shown
    assert "claude-sonnet-4-5" in shown
    csv = page.get(answer["Location"], {"format": "csv"}).content.decode().splitlines()
    assert len(csv) == 3
    assert f"{2 * COST:f}".rstrip("0") in csv[1]
    assert "list corrected" in page.get(at("prices-runs", organization)).content.decode()


def test_run_that_cannot_start_says_which_one_is_in_its_way(page: Client, admin: Member, organization: Organization) -> None:
    now = timezone.now()
    runs = [run_create(actor=member_actor(admin), reason=reason, starts_at=now - timedelta(days=1), ends_at=now) for reason in ("first", "second")]
    for run in runs:
        run_work(run.pk)
    page.post(at("prices-run", organization, run_id=runs[0].pk), {"action": "start"})
    answer = page.post(at("prices-run", organization, run_id=runs[1].pk), {"action": "start"})
    assert answer.status_code == 409
    assert f"Run {runs[0].pk} (first)" in answer.content.decode()


@pytest.mark.parametrize("fields", [{"reason": ""}, {"first": "2026-05-01", "last": "2026-04-01"}, {"first": "x"}])
def test_form_says_what_is_wrong(page: Client, organization: Organization, fields: dict[str, Any]) -> None:
    assert page.post(at("prices-run-new", organization), asked(**fields)).status_code == 422
    assert not ReratingRun.objects.exists()


def test_month_is_closed_and_reopened_on_its_page(page: Client, organization: Organization, last_month: datetime) -> None:
    address, month = at("prices-months", organization), f"{last_month:%Y-%m}"
    assert page.post(address, {"action": "close", "month": month, "reason": ""}).status_code == 422
    assert page.post(address, {"action": "close", "month": month, "reason": "reported"}).status_code == 302
    assert b"reported" in page.get(address).content
    assert page.post(address, {"action": "reopen", "month": month, "reason": "one was missing"}).status_code == 302
    assert page.post(address, {"action": "reopen", "month": month, "reason": "twice"}).status_code == 422
    assert MonthClose.objects.get().reopen_reason == "one was missing"


def test_what_came_late_is_listed(page: Client, admin: Member, organization: Organization, last_month: datetime) -> None:
    close(admin, last_month)
    store(admin, event(1, occurred_at=last_month))
    assert b"calls that came when it was closed" in page.get(at("prices-months", organization)).content


def test_auditor_looks_and_may_not_touch(client: Client, organization: Organization) -> None:
    client.force_login(person(organization, email="auditor@acme.example", role=Role.AUDITOR).user)
    assert client.get(at("prices-months", organization)).status_code == 200
    assert client.post(at("prices-months", organization), {"action": "close"}).status_code == 403


def test_program_runs_and_closes_with_a_members_key(admin: Member, organization: Organization, last_month: datetime) -> None:
    store(admin, event(1))
    price_of_sonnet(input_amount="6", output_amount="30")
    api, now = client_with(key_of(organization, Scope.ADMIN, Scope.READ, member=admin)), timezone.now()
    body = {"reason": "corrected", "starts_at": (now - timedelta(days=1)).isoformat(), "ends_at": now.isoformat()}
    made = api.post("/api/v1/rerating-runs", body)
    assert made.status_code == 201, made.json()
    address = f"/api/v1/rerating-runs/{made.json()['id']}"
    assert api.post(f"{address}/start").status_code == 409
    run_work(made.json()["id"])
    assert api.get(address).json()["preview"]["events"] == 1
    assert api.post(f"{address}/start").json()["state"] == "running"
    run_work(made.json()["id"])
    assert Decimal(api.get("/api/v1/rerating-runs").json()["runs"][0]["cost_after"]) == 2 * COST
    assert UsageEvent.objects.get().cost == 2 * COST
    assert api.post(f"/api/v1/months/{last_month:%Y-%m}/close", {"reason": "reported"}).json()["month"] == f"{last_month:%Y-%m}"
    assert api.post("/api/v1/months/2026-13/close", {"reason": "x"}).status_code == 422
    assert api.get("/api/v1/months").json()["months"][0]["reason"] == "reported"


def test_key_without_the_admin_scope_makes_no_run(organization: Organization) -> None:
    api = client_with(key_of(organization, Scope.READ, Scope.INGEST))
    assert api.post("/api/v1/rerating-runs", {"reason": "x", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"}).status_code == 403


def test_engineers_key_does_not_see_runs(engineer: Member, organization: Organization) -> None:
    assert client_with(key_of(organization, Scope.READ, member=engineer)).get("/api/v1/rerating-runs").status_code == 403


def test_spend_and_budget_say_what_they_count_for_closed_months(page: Client, admin: Member, organization: Organization, last_month: datetime) -> None:
    budget = budget_create(actor=member_actor(admin), name="All", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    spend, own = at("spend", organization), at("budget", organization, budget_id=budget.pk)
    store(admin, event(1))
    close(admin, last_month)
    assert "for closed months" not in page.get(spend).content.decode() + page.get(own).content.decode()
    store(admin, event(2, occurred_at=last_month))
    for address in (spend, own):
        assert "for closed months" in page.get(address).content.decode(), address

"""Refused calls are counted by what refused them, exactly, whatever happens at once, and what is granted pays nothing for it."""

import re
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import BudgetPeriod, Freeze, Refusal
from governance.budgets.services import budget_create, freeze_start, key_revoke, refusals_fold
from governance.budgets.tasks import refusals_fold as fold_all
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.conftest import KeyInHand, client_with, key_of
from tests.governance.budgets.test_freezes import NAMED, ask, seen

pytestmark = pytest.mark.django_db
BATCH = "/api/v1/authorizations/batch"


@pytest.fixture
def month(admin: Member) -> int:
    """A budget of 10 for the whole organization."""
    made = budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(10))
    return made.pk


def told(api: APIClient, address: str) -> tuple[int, bool]:
    answer = api.get(address).json()
    found = answer.get("present", answer)
    assert (found["refused_since"] is None) == (found["refused_calls"] == 0) == (found["refused_last_at"] is None)
    return found["refused_calls"], found["refused_since"] is not None


def test_calls_that_a_budget_refuses_are_counted_on_it_and_on_the_session(api: APIClient, organization: Organization, month: int) -> None:
    seen(organization, "s1")
    assert ask(api, "s1", amount="8").status_code == 201
    assert (told(api, f"/api/v1/budgets/{month}"), told(api, "/api/v1/sessions/s1")) == ((0, False), (0, False))
    assert [ask(api, name, amount="3").status_code for name in ("s1", "s1", "s2")] == [402] * 3
    assert ask(api, "s1", amount="1").status_code == 201
    assert (told(api, f"/api/v1/budgets/{month}"), told(api, "/api/v1/sessions/s1")) == ((3, True), (2, True))
    assert api.get("/api/v1/budgets").json()["items"][0]["present"]["refused_calls"] == 3


def test_every_way_of_asking_is_counted(api: APIClient, organization: Organization, month: int) -> None:
    held = ask(api, "s1", amount="8").json()["id"]
    entries = [{"session": "s1", "amount": amount} | NAMED for amount in ("1", "5", "5")]
    assert [row["status"] for row in api.post(BATCH, {"authorizations": entries}).json()["authorizations"]] == [201, 402, 402]
    assert api.post(f"/api/v1/authorizations/{held}/extend", {"amount": "5"}).status_code == 402
    assert ask(api, "s1", amount="5", allow_partial=True, min_amount="4").status_code == 402
    assert ask(api, "s1", amount="5", lease=True).status_code == 402
    assert told(api, f"/api/v1/budgets/{month}") == (5, True)


def test_calls_that_a_freeze_refuses_are_counted_on_it(client: Client, api: APIClient, admin: Member, organization: Organization) -> None:
    seen(organization, "s1")
    made = freeze_start(actor=member_actor(admin), scope_kind="session", scope_key="s1", reason="a loop")
    once = {"id": "call-1"}
    assert [ask(api, "s1").status_code for _ in range(2)] + [ask(api, "s1", **once).status_code for _ in range(2)] == [402] * 4
    assert list(Refusal.objects.values_list("freeze", flat=True).distinct()) == [made.pk]
    assert told(api, "/api/v1/sessions/s1") == (4, True)
    client.force_login(admin.user)
    assert client.get("/o/acme/freezes").context["standing"][0].refused.calls == 4
    assert re.search(r"4(</\w+>)? calls refused since", " ".join(client.get("/o/acme/freezes").content.decode().split()))
    assert re.search(r"4(</\w+>)? refused</span> since", " ".join(client.get("/o/acme/sessions/s1").content.decode().split()))


def test_call_held_for_before_and_frozen_since_is_counted(api: APIClient, admin: Member, organization: Organization) -> None:
    seen(organization, "s1")
    assert ask(api, "s1", id="call-1").status_code == 201
    freeze_start(actor=member_actor(admin), scope_kind="session", scope_key="s1", reason="a loop")
    assert ask(api, "s1", id="call-1").status_code == 402
    assert Refusal.objects.get().session_key == "s1"


def test_refusals_that_are_none_of_a_budget_count_nothing(api: APIClient, admin: Member, organization: Organization, api_key: KeyInHand, month: int) -> None:
    key_revoke(actor=member_actor(admin), key=api_key.row)
    assert ask(api, "s1").status_code == 401
    assert ask(client_with(key_of(organization, name="other")), "s1", amount="-1").status_code == 422
    assert not Refusal.objects.exists()


def test_others_do_not_count_here(api: APIClient, other_organization: Organization, stranger: Member, month: int) -> None:
    budget_create(actor=member_actor(stranger), name="Theirs", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    assert ask(client_with(key_of(other_organization)), "s1", amount="2").status_code == 402
    seen(api_organization := Organization.objects.get(slug="acme"), "s1")
    assert told(api, "/api/v1/sessions/s1") == (0, False)
    assert not Refusal.objects.filter(organization=api_organization).exists()


def refusal(organization: Organization, at: Any, **fields: Any) -> Refusal:
    return Refusal.objects.create(organization=organization, first_at=at, last_at=at, **fields)


def test_adding_up_by_the_hour_changes_no_sum(organization: Organization, other_organization: Organization, api: APIClient, month: int) -> None:
    assert [ask(api, name, amount="30").status_code for name in ("s1", "s1", "s2")] == [402] * 3
    period = BudgetPeriod.objects.get()
    now = timezone.now()
    for hours in (0, 0, 1, 1, 1, 30):
        refusal(organization, now - timedelta(hours=hours), period=period, session_key="s1")
    theirs = refusal(other_organization, now)
    before = api.get(f"/api/v1/budgets/{month}").json()["present"]
    assert fold_all() == 10
    assert api.get(f"/api/v1/budgets/{month}").json()["present"] == before
    assert before["refused_calls"] == 9
    assert Refusal.objects.filter(organization=organization, hour=None).count() == 0
    assert Refusal.objects.count() <= 6
    ask(api, "s1", amount="30")
    assert fold_all() == 1
    assert api.get(f"/api/v1/budgets/{month}").json()["present"]["refused_calls"] == 10
    assert fold_all() == 0
    assert not Refusal.objects.filter(pk=theirs.pk).exists()
    assert Refusal.objects.get(organization=other_organization).calls == 1


def test_what_is_older_than_a_year_is_let_go(organization: Organization) -> None:
    now = timezone.now()
    for days in (1, 400):
        refusal(organization, now - timedelta(days=days), freeze=None, session_key=f"s{days}")
    refusals_fold(organization_id=organization.pk, now=now)
    assert list(Refusal.objects.values_list("session_key", flat=True)) == ["s1"]


def test_granted_calls_write_no_count(api: APIClient, month: int) -> None:
    ask(api, "s1")
    with CaptureQueriesContext(connection) as queries:
        assert ask(api, "s1").status_code == 201
    assert not [query for query in queries if "refusal" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_counts_are_exact_while_they_are_added_up(transactional_db: None, admin: Member, organization: Organization, api_key: KeyInHand) -> None:
    """Four threads are refused while another adds up all the time: no refusal is lost, none counted twice."""
    freeze_start(actor=member_actor(admin), scope_kind="organization", scope_key="", reason="stop")
    done = threading.Event()
    wrong: list[Any] = []

    def asking() -> None:
        try:
            client = client_with(api_key)
            wrong.extend(status for status in (ask(client, "s1").status_code for _ in range(25)) if status != 402)
        finally:
            connection.close()

    def folding() -> None:
        try:
            while not done.wait(0.01):
                fold_all()
        finally:
            connection.close()

    threads, folders = [threading.Thread(target=asking) for _ in range(4)], [threading.Thread(target=folding) for _ in range(2)]
    for thread in (*folders, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in folders:
        thread.join()
    fold_all()
    assert wrong == []
    assert [(row.calls, row.freeze_id) for row in Refusal.objects.all()] == [(100, Freeze.objects.get().pk)]

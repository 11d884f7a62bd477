"""Authorizations asked for together: each answered as if it had come alone, in order, and never more than fits."""

import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import AuthorizationIn, Held, authorizations_hold, session_freeze, together
from governance.errors import DomainError
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.services import events_store
from ingest.verify import differences
from tests.conftest import client_with, key_of
from tests.governance.budgets.test_holds import budget
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event

__all__ = ["few_prices"]

pytestmark = pytest.mark.django_db

# Every label is named, so that nothing has to be looked up first.
NAMED: dict[str, Any] = {"team": "nobody", "project": "nothing", "member": "no.one@example.org"}


def ask(api: APIClient, *entries: Any, **headers: Any) -> Any:
    return api.post("/api/v1/authorizations/batch", {"authorizations": list(entries)}, **headers)


def statuses(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [one["status"] for one in answer.json()["authorizations"]]


def one(session: str = "s1", amount: str = "4", **fields: Any) -> dict[str, Any]:
    return {"session": session, "amount": amount} | fields


def held() -> dict[str, Decimal]:
    return dict(BudgetPeriod.objects.values_list("session_key", "held"))


@pytest.mark.parametrize("named", [{}, NAMED])
def test_each_entry_is_answered_in_order(admin: Member, api: APIClient, named: dict[str, Any]) -> None:
    budget(admin, "10")
    api.post("/api/v1/authorizations", one("warm", "1", **NAMED))
    answer = ask(api, one(**named), one("s2", "11", **named), one(amount="-1"), {"sessio": "x"}, one(**named), one(amount="3", **named), one(amount="2", **named))
    assert statuses(answer) == [201, 402, 422, 422, 201, 402, 201]
    told = answer.json()["authorizations"]
    assert [Decimal(told[place]["left"]) for place in (0, 1, 4, 5, 6)] == [6, 10, 2, 2, 0]
    assert (told[1]["code"], told[2]["field"], told[5]["budget"]["name"]) == ("budget_exceeded", "amount", "Session")
    assert held() == {"warm": 1, "s1": 10, "s2": 0}
    assert Authorization.objects.count() == 4


def test_what_all_fits_is_held_in_one_round_trip(
    admin: Member, api: APIClient, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(together, "_decide_each")
    budget(admin, "1000")
    budget(admin, "1000", name="Month", scope_kind="organization", period_kind="month")
    api.post("/api/v1/authorizations", one("warm", "1", **NAMED))
    entries = [one(f"s{number % 7}", "0.5", **NAMED) for number in range(200)]
    answer = ask(api, *entries)
    assert set(statuses(answer)) == {201}
    assert [Decimal(answer.json()["authorizations"][place]["left"]) for place in (0, 199)] == [Decimal("998.5"), Decimal(899)]
    assert BudgetPeriod.objects.get(session_key="").held == 101
    assert differences(organization) == []


def test_entries_with_the_same_id_are_one(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    api.post("/api/v1/authorizations", one("warm", "1", **NAMED))
    answer = ask(api, one(id="a", **NAMED), one(id="a", **NAMED), one(id="a", amount="5", **NAMED))
    assert statuses(answer) == [201, 200, 409]
    assert statuses(ask(api, one(id="a", **NAMED), one(id="b", **NAMED))) == [200, 201]
    assert held()["s1"] == 8


def test_key_of_the_batch_stands_for_one_of_each_entry(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    entries = [one(amount="2"), one(amount="2", id="own")]
    assert statuses(ask(api, *entries, HTTP_IDEMPOTENCY_KEY="k")) == [201, 201]
    assert statuses(ask(api, *entries, HTTP_IDEMPOTENCY_KEY="k")) == [200, 200]
    assert held() == {"s1": 4}
    assert set(Authorization.objects.values_list("idempotency_key", flat=True)) == {"k/0", "own"}


def test_frozen_session_is_refused_among_others(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event()])
    session_freeze(actor=member_actor(admin), session_key="s1", reason="looks like a loop")
    answer = ask(api, one(**NAMED), one("s2", **NAMED))
    assert statuses(answer) == [402, 201]
    assert answer.json()["authorizations"][0]["is_frozen"] is True


def test_leases_and_grants_in_part_may_be_among_them(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    answer = ask(api, one(lease=True), one(amount="8", allow_partial=True), one(amount="1", allow_partial=True))
    assert statuses(answer) == [201, 201, 402]
    told = answer.json()["authorizations"]
    assert (told[0]["lease"], told[1]["amount"], told[1]["bound_by"]["name"]) == (True, "6", "Session")


@pytest.mark.parametrize("body", [{"authorizations": []}, {"authorizations": [{}] * 1001}, {"authorization": []}, []])
def test_what_is_no_such_list_is_refused(api: APIClient, body: Any) -> None:
    assert api.post("/api/v1/authorizations/batch", body).status_code == 422


def test_strangers_budgets_are_not_touched(admin: Member, api: APIClient, other_organization: Organization) -> None:
    budget(admin, "10")
    assert statuses(ask(client_with(key_of(other_organization)), one(amount="100"))) == [201]
    assert not BudgetPeriod.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("named", [{}, NAMED])
def test_16_clients_with_batches_on_one_budget_never_pass_its_limit(admin: Member, organization: Organization, named: dict[str, Any]) -> None:
    """16 clients ask for 30 of 1 each in every other order of sessions, of a month with 300: exactly 300 get it."""
    budget(admin, "300", name="Month", scope_kind="organization", period_kind="month")
    budget(admin, "1000")
    results: Counter[str] = Counter()
    start = threading.Barrier(16)

    def client(number: int) -> None:
        try:
            sessions = [f"s{place}" for place in range(15)]
            requests = [AuthorizationIn(session=name, amount=Decimal(1), **named) for name in (sessions if number % 2 else sessions[::-1])]
            start.wait()
            for _ in range(2):
                verdicts = authorizations_hold(actor=member_actor(admin), api_key=None, requests=requests, now=timezone.now())
                results.update("held" if isinstance(verdict, Held) else verdict.code for verdict in verdicts)
        except DomainError as error:
            results[repr(error)] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"held": 300, "budget_exceeded": 180}
    assert BudgetPeriod.objects.get(session_key="").held == 300
    assert differences(organization) == []

"""Leases: held once, drawn down by many calls, ended by settle, void, time or use; spent and held never more than the limit."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import holds_expire
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from ingest.verify import differences
from tests.governance.budgets.test_holds import budget
from tests.governance.budgets.test_settling import EARLIER, as_json, balance, settle, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]

pytestmark = pytest.mark.django_db


def lease(api: APIClient, amount: str = "4", **fields: Any) -> UUID:
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": amount, "lease": True} | fields)
    assert (answer.status_code, answer.json()["lease"]) == (201, True), answer.content
    return UUID(answer.json()["id"])


def call(number: int, authorization: UUID, **fields: Any) -> UsageEvent:
    return event(number, authorization=authorization, **fields)


def state(api: APIClient, authorization: UUID) -> tuple[str, Decimal | None]:
    found = api.get(f"/api/v1/authorizations/{authorization}").json()
    return found["state"], None if found["remaining"] is None else Decimal(found["remaining"])


def test_each_call_draws_the_lease_down_by_what_it_cost(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    for number in (1, 2, 3):
        store(admin, call(number, made))
        assert balance() == (number * COST, 4 - number * COST)
        assert state(api, made) == ("held", 4 - number * COST)
    assert Authorization.objects.get().settled_cost == 3 * COST


def test_repeat_of_a_call_draws_once(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    sent = call(1, made)
    assert [store(admin, sent), store(admin, sent)] == ["accepted", "duplicate"]
    assert balance() == (COST, 4 - COST)


def test_call_counted_before_it_named_the_lease_draws_it_down(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made, sent = lease(api), event()
    store(admin, sent)
    assert balance() == (COST, 4)
    assert store(admin, msgspec.structs.replace(sent, authorization=made)) == "duplicate"
    assert balance() == (COST, 4 - COST)


def test_call_beyond_the_lease_passes_and_ends_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api, "0.001")
    store(admin, call(1, made))
    assert balance() == (COST, 0)
    assert state(api, made) == ("settled", None)
    store(admin, call(2, made))
    assert balance() == (2 * COST, 0)


def test_many_calls_of_one_request_draw_together(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    first, second = lease(api), lease(api)
    sent = [call(number, (first, second)[number % 2]) for number in range(12)]
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=sent)
    assert balance() == (12 * COST, 8 - 12 * COST)


def test_call_made_before_the_lease_draws_nothing(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made, occurred_at=timezone.now() - EARLIER))
    assert balance() == (COST, 4)


def test_each_budget_is_drawn_down_in_its_own_measure(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    for measure, limit in (("tokens", "100000"), ("calls", "20")):
        budget(admin, limit, name=measure, scope_kind="organization", period_kind="month", measure=measure)
    made = lease(api, calls=3, max_output_tokens=50_000)
    sent = call(1, made)
    used = (sent.input_tokens or 0) + (sent.output_tokens or 0)
    store(admin, sent)
    held = dict(BudgetPeriod.objects.values_list("budget__measure", "held"))
    assert held == {"money": 4 - COST, "tokens": 50_000 - used, "calls": 2}


def test_budget_that_a_call_does_not_count_against_keeps_what_it_holds(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made, session="s2"))
    assert dict(BudgetPeriod.objects.values_list("session_key", "held")) == {"s1": 4, "s2": 0}


def test_lease_that_is_voided_gives_back_what_is_left(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    unused, used = lease(api), lease(api)
    store(admin, call(1, used))
    assert [api.delete(f"/api/v1/authorizations/{made}").json()["state"] for made in (unused, used, used)] == ["voided", "settled", "settled"]
    assert balance() == (COST, 0)


def test_lease_ends_with_the_call_it_is_settled_with(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    answer = settle(api, str(made), event=as_json(event(2)))
    assert (answer.status_code, answer.json()["state"], Decimal(answer.json()["settled_cost"])) == (200, "settled", 2 * COST)
    assert settle(api, str(made), event=as_json(event(2))).json()["state"] == "settled"
    assert balance() == (2 * COST, 0)


def test_amount_of_a_lease_is_what_all_its_calls_cost(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    assert settle(api, str(made), amount=str(3 * COST)).json()["state"] == "settling"
    assert balance() == (COST, 2 * COST)
    store(admin, call(2, made))
    assert balance() == (2 * COST, COST)
    store(admin, call(3, made))
    assert (balance(), state(api, made)) == ((3 * COST, 0), ("settled", None))


def test_amount_that_was_counted_already_ends_the_lease(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    assert settle(api, str(made), amount=str(COST)).json()["state"] == "settled"
    assert balance() == (COST, 0)


def test_lease_expires_with_what_is_left_of_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    assert holds_expire(now=timezone.now() + timedelta(hours=1)) == 1
    assert (balance(), state(api, made)) == ((COST, 0), ("expired", None))
    store(admin, call(2, made))
    assert balance() == (2 * COST, 0)


def test_lease_ends_with_the_window_it_is_held_in(admin: Member, api: APIClient) -> None:
    budget(admin, "10", name="Day", scope_kind="organization", period_kind="day")
    made = api.post("/api/v1/authorizations", {"amount": "1", "lease": True, "ttl_seconds": 86_400}).json()
    assert Authorization.objects.get(pk=made["id"]).expires_at == BudgetPeriod.objects.get().ends_at


def test_several_calls_are_asked_for_with_a_lease_only(api: APIClient) -> None:
    answer = api.post("/api/v1/authorizations", {"amount": "1", "calls": 2})
    assert (answer.status_code, answer.json()["field"]) == (422, "calls")


def test_proof_adds_up_what_leases_hold(few_prices: None, admin: Member, api: APIClient, organization: Organization) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    assert differences(organization) == []
    BudgetPeriod.objects.update(held=4)
    assert [found.true.split()[0] for found in differences(organization)] == [f"held={4 - COST:.15f}"]

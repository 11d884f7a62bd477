"""Authorizations: held against every budget or none, refused exactly at the limit, given back when they end."""

import threading
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, Budget, BudgetPeriod
from governance.budgets.services import (
    AuthorizationIn,
    authorization_hold,
    budget_create,
    holds_expire,
    period_topup,
    session_freeze,
    session_resume,
)
from governance.budgets.services.endings import holds_expire_some
from governance.errors import Invalid, PaymentRequired
from governance.ids import uuid7
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from ingest.services import events_store
from tests.ingest.test_store import COST, event, prices

__all__ = ["prices"]

pytestmark = pytest.mark.django_db


def budget(admin: Member, limit: str, **fields: object) -> Budget:
    facts = {"name": "Session", "scope_kind": "session", "period_kind": "session"} | fields
    return budget_create(actor=member_actor(admin), limit_amount=Decimal(limit), **facts)  # type: ignore[arg-type]


def test_hold_is_taken_and_voided(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": "4"})
    assert answer.status_code == 201, answer.content
    assert Decimal(answer.json()["left"]) == 6
    assert BudgetPeriod.objects.get().held == 4
    assert api.delete(f"/api/v1/authorizations/{answer.json()['id']}").json()["state"] == "voided"
    assert BudgetPeriod.objects.get().held == 0


def test_refusal_says_which_budget_and_who_can_grant(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    api.post("/api/v1/authorizations", {"session": "s1", "amount": "8"})
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": "3"})
    assert (answer.status_code, answer["Content-Type"]) == (402, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["budget"]["name"], Decimal(problem["short_by"])) == ("budget_exceeded", "Session", 1)
    assert admin.user.email in [person["email"] for person in problem["approvers"]]
    assert BudgetPeriod.objects.get().held == 8
    assert BudgetPeriod.objects.get().refused_at is not None


def test_exact_limit_fits(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "10"}).status_code == 201
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.000000000000001"}).status_code == 402


def test_all_budgets_or_none(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    budget(admin, "5", name="Month", scope_kind="organization", period_kind="month")
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "6"}).status_code == 402
    assert not BudgetPeriod.objects.filter(held__gt=0).exists()


def test_event_settles_its_hold(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = api.post("/api/v1/authorizations", {"session": "s1", "amount": "4"}).json()
    sent = event(authorization=made["id"])
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[sent, sent])
    period = BudgetPeriod.objects.get()
    assert (period.spent, period.held) == (COST, 0)
    assert Authorization.objects.get().state == "settled"


def test_same_id_gets_the_same_answer(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    first = api.post("/api/v1/authorizations", {"id": "a", "session": "s1", "amount": "4"})
    again = api.post("/api/v1/authorizations", {"id": "a", "session": "s1", "amount": "4"})
    other = api.post("/api/v1/authorizations", {"id": "a", "session": "s1", "amount": "5"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert BudgetPeriod.objects.get().held == 4


@pytest.mark.parametrize("ending", ["voided", "settling", "expired", "swept"])
def test_id_of_an_authorization_that_is_over_passes_no_further_call(admin: Member, api: APIClient, ending: str) -> None:
    budget(admin, "10")
    asked = {"id": "a", "session": "s1", "amount": "4"}
    address = f"/api/v1/authorizations/{api.post('/api/v1/authorizations', asked).json()['id']}"
    if ending == "voided":
        api.delete(address)
    elif ending == "settling":
        api.post(f"{address}/settle", {"amount": "1"})
    else:
        Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    if ending == "swept":
        holds_expire()
    again = api.post("/api/v1/authorizations", asked)
    assert (again.status_code, again.json()["code"]) == (409, "authorization_over")
    assert again.json()["state"] == {"swept": "expired"}.get(ending, ending)


def test_holds_expire(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    api.post("/api/v1/authorizations", {"session": "s1", "amount": "4", "ttl_seconds": 1})
    assert holds_expire(now=timezone.now() + timedelta(seconds=2)) == 1
    assert BudgetPeriod.objects.get().held == 0


def test_top_up_resumes_and_the_next_call_passes(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "0.004")
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event()])
    assert api.get("/api/v1/sessions/s1").json()["state"] == "frozen"
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.001"}).status_code == 402
    period_topup(actor=member_actor(admin), period_id=BudgetPeriod.objects.get().pk, amount=Decimal(1))
    assert api.get("/api/v1/sessions/s1").json()["state"] == "running"
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.001"}).status_code == 201


def test_session_frozen_by_hand_is_refused(prices: None, admin: Member, api: APIClient) -> None:
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event()])
    session_freeze(actor=member_actor(admin), session_key="s1", reason="looks like a loop")
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": "1"})
    assert (answer.status_code, answer.json()["is_frozen"]) == (402, True)


def test_addresses_of_a_session_of_an_odd_key_can_be_followed(prices: None, admin: Member, api: APIClient) -> None:
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(session="a/b c?d#e")])
    session_freeze(actor=member_actor(admin), session_key="a/b c?d#e", reason="looks like a loop")
    refused = api.post("/api/v1/authorizations", {"session": "a/b c?d#e", "amount": "1"}).json()["request_url"]
    assert refused.endswith("/sessions/a/b%20c%3Fd%23e")
    assert api.get("/api/v1/sessions/a/b%20c%3Fd%23e").json()["url"] == refused


def test_bad_requests_are_named(api: APIClient) -> None:
    answer = api.post("/api/v1/authorizations", {"session": "s1", "amount": -1})
    assert (answer.status_code, answer.json()["field"]) == (422, "amount")
    assert api.post("/api/v1/authorizations", {"sessio": "s1"}).status_code == 422
    assert api.post("/api/v1/authorizations", b"{", content_type="application/json").status_code == 422


@pytest.mark.django_db(transaction=True)
def test_64_callers_on_one_hard_budget_never_pass_its_limit(admin: Member) -> None:
    """64 threads ask for 1 each, three times, of a session with 100: exactly 100 get it."""
    budget(admin, "100")
    budget(admin, "1000", name="Month", scope_kind="organization", period_kind="month")
    results: Counter[str] = Counter()
    start = threading.Barrier(64)

    def caller() -> None:
        try:
            start.wait()
            for _ in range(3):
                try:
                    authorization_hold(actor=member_actor(admin), api_key=None, request=AuthorizationIn(session="s1", amount=Decimal(1)))
                    results["held"] += 1
                except PaymentRequired:
                    results["refused"] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=caller) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"held": 100, "refused": 92}
    assert set(BudgetPeriod.objects.values_list("held", flat=True)) == {Decimal(100)}


def test_refusal_writes_what_its_figures_say(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    first = api.post("/api/v1/authorizations", {"session": "s1", "amount": "9.998"})
    assert first.status_code == 201
    short = api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.5"}).json()
    assert short["detail"].endswith("has too little left: 0.0020 USD left of 10.0000, 0.5000 asked for.")
    BudgetPeriod.objects.update(held=0, spent=Decimal("11.97884336"))
    over = api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.5"}).json()
    assert over["left"] == "-1.97884336"
    assert over["detail"].endswith("has too little left: it is 1.98 USD over its limit of 10.00; 0.50 asked for.")


@pytest.mark.parametrize("named", [{}, {"model": "nobody-knows-it", "input_tokens": 10}, {"provider": "anthropic", "model": "claude-sonnet-4-5"}])
def test_what_has_no_price_says_so_and_holds_the_placeholder(
    prices: None, admin: Member, api: APIClient, named: dict[str, object]
) -> None:
    bare = api.post("/api/v1/authorizations", {"session": "s1", **named}).json()
    assert (bare["amount"], bare["priced"], bare["notice"][:29]) == ("0", False, "Not priced: Nothing is held. ")
    budget(admin, "10", unpriced_call_amount=Decimal("0.25"))
    held = api.post("/api/v1/authorizations", {"session": "s1", "id": "once", **named}).json()
    assert (held["amount"], held["priced"]) == ("0.25", False)
    assert "placeholder of 0.25 USD is held" in held["notice"]
    assert api.post("/api/v1/authorizations", {"session": "s1", "id": "once", **named}).json()["notice"] == held["notice"]
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "1"}).json()["priced"] is True


ASKED = {"id": "a", "session": "s1", "amount": "4"}


def test_call_held_for_is_refused_when_asked_again_after_the_session_was_frozen(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event()])
    made = api.post("/api/v1/authorizations", ASKED).json()
    session_freeze(actor=member_actor(admin), session_key="s1", reason="looks like a loop")
    again = api.post("/api/v1/authorizations", ASKED)
    assert (again.status_code, again.json()["is_frozen"], "looks like a loop" in again.json()["detail"]) == (402, True, True)
    assert (BudgetPeriod.objects.get().held, api.get(f"/api/v1/authorizations/{made['id']}").json()["state"]) == (4, "held")
    session_resume(actor=member_actor(admin), session_key="s1", reason="it was none")
    again = api.post("/api/v1/authorizations", ASKED)
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


def test_call_held_for_is_refused_when_asked_again_after_its_budget_froze(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "5")
    made = api.post("/api/v1/authorizations", ASKED).json()
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(input_tokens=1_000_000, output_tokens=0)])
    again = api.post("/api/v1/authorizations", ASKED)
    told = again.json()
    assert (again.status_code, told["is_frozen"], told["budget"]["name"]) == (402, True, "Session")
    # The own hold is asked for, so it is not among what is held by others.
    assert [Decimal(told[name]) for name in ("limit", "spent", "held", "left", "amount", "short_by")] == [5, 6, 0, -1, 4, 5]
    period_topup(actor=member_actor(admin), period_id=BudgetPeriod.objects.get().pk, amount=Decimal(10))
    again = api.post("/api/v1/authorizations", ASKED)
    assert (again.status_code, again.json()["id"], Decimal(again.json()["left"])) == (200, made["id"], 5)


def test_asking_again_takes_no_more_round_trips_for_the_freezes(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    api.post("/api/v1/authorizations", ASKED)
    with CaptureQueriesContext(connection) as asked:
        api.post("/api/v1/authorizations", ASKED)
    assert len([query for query in asked if "budget_" in query["sql"]]) <= 2


@pytest.mark.parametrize(("amount", "status"), [("1000000", None), ("1000000.01", "unpriced_call_amount"), ("-1", "unpriced_call_amount")])
def test_charge_for_a_call_without_a_price_is_at_most_what_one_call_may_hold(admin: Member, amount: str, status: str | None) -> None:
    if status is None:
        assert budget(admin, "10", unpriced_call_amount=Decimal(amount)).unpriced_call_amount == Decimal(amount)
        return
    with pytest.raises(Invalid) as refused:
        budget(admin, "10", unpriced_call_amount=Decimal(amount))
    assert refused.value.extra["field"] == status


def test_refusal_at_the_largest_sum_says_that_it_is_not_the_limit(admin: Member, api: APIClient) -> None:
    budget(admin, "10", is_hard=False)
    api.post("/api/v1/authorizations", {"session": "s1", "amount": "4"})
    BudgetPeriod.objects.update(held=Decimal(999_999_999_999))
    told = api.post("/api/v1/authorizations", {"session": "s1", "amount": "3"}).json()
    assert told["detail"] == (
        "The budget “Session” for session s1 cannot hold 3.00 USD more: spent and held would come to more than 1,000,000,000,000 USD, "
        "the most that is kept for any period. This is not its limit, and granting more does not help."
    )
    assert [Decimal(told[name]) for name in ("limit", "held", "left", "amount", "short_by")] == [10, 999_999_999_999, 1, 3, 2]
    assert told["is_frozen"] is False
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "1"}).status_code == 201


def test_task_that_expires_holds_gives_back_all_of_them_a_thousand_at_a_time(admin: Member, api: APIClient) -> None:
    budget(admin, "2000")
    api.post("/api/v1/authorizations", {"session": "s1", "amount": "1", "ttl_seconds": 1})
    first = Authorization.objects.get()
    like = {name: getattr(first, name) for name in ("organization", "session_key", "amount", "periods", "amounts", "created_at", "expires_at")}
    Authorization.objects.bulk_create(Authorization(id=uuid7(), **like) for _ in range(1200))
    BudgetPeriod.objects.update(held=1201)
    later = timezone.now() + timedelta(seconds=2)
    assert holds_expire_some(organization_id=first.organization_id, now=later) == 1000
    assert BudgetPeriod.objects.get().held == 201
    assert holds_expire(now=later) == 201
    assert (BudgetPeriod.objects.get().held, Authorization.objects.filter(state="expired").count()) == (0, 1201)

"""More time and more money for a hold: in every budget or in none, once for each key, and never for what has ended."""

import threading
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, AuthorizationExtension, BudgetPeriod
from governance.budgets.services import ExtensionIn, authorization_extend, holds_expire, session_freeze
from governance.errors import Conflict
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.services import events_store
from ingest.verify import differences
from tests.conftest import client_with, key_of
from tests.governance.budgets.test_holds import budget
from tests.governance.budgets.test_leases import call, lease
from tests.governance.budgets.test_settling import balance, hold, settle, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]

pytestmark = pytest.mark.django_db


def extend(api: APIClient, authorization: Any, **body: Any) -> Any:
    return api.post(f"/api/v1/authorizations/{authorization}/extend", body)


def test_more_money_is_held_in_addition(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    before = Authorization.objects.get().expires_at
    answer = extend(api, made, amount="3")
    assert (answer.status_code, Decimal(answer.json()["amount"]), Decimal(answer.json()["left"])) == (200, 7, 3)
    assert (balance(), Authorization.objects.get().expires_at) == ((0, 7), before)
    assert api.delete(f"/api/v1/authorizations/{made}").status_code == 200
    assert balance() == (0, 0)


def test_more_time_counts_from_now_and_never_shortens(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    extend(api, made, ttl_seconds=3600)
    long = Authorization.objects.get().expires_at
    assert long - timezone.now() > timedelta(minutes=59)
    extend(api, made, ttl_seconds=10)
    assert (Authorization.objects.get().expires_at, balance()) == (long, (0, 4))
    assert holds_expire(now=timezone.now() + timedelta(minutes=10)) == 0


def test_refused_extension_leaves_the_hold_as_it_was(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    budget(admin, "6", name="Month", scope_kind="organization", period_kind="month")
    made = hold(api)
    before = Authorization.objects.values().get()
    answer = extend(api, made, amount="3", ttl_seconds=3600)
    assert (answer.status_code, answer.json()["budget"]["name"], Decimal(answer.json()["short_by"])) == (402, "Month", 1)
    assert Authorization.objects.values().get() == before
    assert set(BudgetPeriod.objects.values_list("held", flat=True)) == {4}
    assert not AuthorizationExtension.objects.exists()


def test_exactly_the_rest_can_be_had(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    assert extend(api, made, amount="6.000000000000001").status_code == 402
    assert extend(api, made, amount="6").status_code == 200
    assert balance() == (0, 10)


def test_same_key_extends_once(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    answers = [extend(api, made, amount="3", id="more") for _ in range(3)]
    assert [(answer.status_code, Decimal(answer.json()["amount"])) for answer in answers] == [(200, 7)] * 3
    assert balance() == (0, 7)
    assert extend(api, made, amount="1", id="more").status_code == 409
    assert Decimal(extend(api, made, amount="1", id="another").json()["amount"]) == 8


def test_key_may_come_in_the_header(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    address, header = f"/api/v1/authorizations/{made}/extend", dict[str, Any](HTTP_IDEMPOTENCY_KEY="more")
    assert [api.post(address, {"amount": "1"}, **header).status_code for _ in range(2)] == [200, 200]
    assert balance() == (0, 5)


@pytest.mark.parametrize("ending", ["voided", "settling", "settled", "expired", "swept"])
def test_what_has_ended_is_not_extended(few_prices: None, admin: Member, api: APIClient, ending: str) -> None:
    budget(admin, "10")
    made = hold(api)
    if ending == "voided":
        api.delete(f"/api/v1/authorizations/{made}")
    elif ending == "settling":
        settle(api, made, amount="1")
    elif ending == "settled":
        store(admin, event(authorization=Authorization.objects.get().pk))
    else:
        Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    if ending == "swept":
        holds_expire()
    before = balance()
    answer = extend(api, made, amount="1", ttl_seconds=60)
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "authorization_over", {"swept": "expired"}.get(ending, ending))
    assert balance() == before


def test_frozen_session_is_not_extended(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = hold(api)
    store(admin, event())
    session_freeze(actor=member_actor(admin), session_key="s1", reason="looks like a loop")
    answer = extend(api, made, ttl_seconds=60)
    assert (answer.status_code, answer.json()["is_frozen"]) == (402, True)


def test_frozen_budget_extends_no_time(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "5")
    made = hold(api)
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(input_tokens=1_000_000, output_tokens=0)])
    answer = extend(api, made, ttl_seconds=60)
    assert (answer.status_code, answer.json()["is_frozen"]) == (402, True)


def test_addition_after_midnight_is_held_in_the_window_of_now(organization: Organization, admin: Member, api: APIClient) -> None:
    evening = timezone.now().astimezone(organization.zone).replace(hour=23, minute=58)
    with time_machine.travel(evening, tick=False):
        budget(admin, "10", name="Day", scope_kind="organization", period_kind="day")
        made = hold(api, ttl_seconds=600)
    with time_machine.travel(evening + timedelta(minutes=4), tick=False):
        assert extend(api, made, amount="3").status_code == 200
        assert list(BudgetPeriod.objects.order_by("starts_at").values_list("held", flat=True)) == [4, 3]
        assert differences(organization) == []
        api.delete(f"/api/v1/authorizations/{made}")
        assert set(BudgetPeriod.objects.values_list("held", flat=True)) == {0}


def test_lease_is_renewed(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    made = lease(api)
    store(admin, call(1, made))
    answer = extend(api, made, amount="2", ttl_seconds=3600)
    assert (answer.status_code, Decimal(answer.json()["remaining"])) == (200, 6 - COST)
    assert balance() == (COST, 6 - COST)
    store(admin, call(2, made))
    assert balance() == (2 * COST, 6 - 2 * COST)


def test_other_measures_are_extended_in_their_own(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    for measure, limit in (("tokens", "100"), ("calls", "5")):
        budget(admin, limit, name=measure, scope_kind="organization", period_kind="month", measure=measure)
    made = lease(api, max_output_tokens=50, calls=2)
    assert extend(api, made, tokens=50, calls=3, amount="1").status_code == 200
    assert dict(BudgetPeriod.objects.values_list("budget__measure", "held")) == {"money": 5, "tokens": 100, "calls": 5}
    assert extend(api, made, tokens=1).json()["budget"]["name"] == "tokens"


def test_bad_requests_and_strangers(api: APIClient, other_organization: Organization) -> None:
    made = hold(api)
    assert extend(api, made).status_code == 422
    assert extend(api, made, amount="-1").json()["field"] == "amount"
    assert extend(api, made, calls=1).json()["field"] == "calls"
    assert extend(api, made, amount="999999").json()["field"] == "amount"
    assert extend(client_with(key_of(other_organization)), made, ttl_seconds=10).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_extension_and_expiry_at_once_give_back_all_or_keep_all(admin: Member, api: APIClient, organization: Organization) -> None:
    """Of a hold whose time is up while it is extended, either the extension is refused or the hold lives on with all its money."""
    budget(admin, "1000")
    outcomes: Counter[str] = Counter()
    for number in range(20):
        made = hold(api, "2", session=f"s{number}", ttl_seconds=60)
        found = Authorization.objects.get(pk=made)
        start = threading.Barrier(2)

        def extending(made: Any = found.pk, at: Any = found.expires_at - timedelta(microseconds=1), start: Any = start) -> None:
            try:
                start.wait()
                authorization_extend(actor=member_actor(admin), api_key=None, authorization_id=made, request=ExtensionIn(ttl_seconds=300, amount=Decimal(1)), now=at)
                outcomes["extended"] += 1
            except Conflict:
                outcomes["over"] += 1
            finally:
                connection.close()

        def sweeping(at: Any = found.expires_at, start: Any = start) -> None:
            try:
                start.wait()
                holds_expire(now=at)
            finally:
                connection.close()

        threads = [threading.Thread(target=one) for one in (extending, sweeping)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.refresh_from_db()
        assert (found.state, BudgetPeriod.objects.get(session_key=f"s{number}").held) in {("held", 3), ("expired", 0)}
    assert outcomes.total() == 20
    assert differences(organization) == []

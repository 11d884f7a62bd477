"""Grants in part: what fits every budget is held, to the last digit, and the answer says which budget had no more."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import AuthorizationIn, authorization_hold
from governance.errors import Invalid, PaymentRequired
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from tests.governance.budgets.test_holds import budget

pytestmark = pytest.mark.django_db


def ask(api: APIClient, amount: str = "4", **fields: Any) -> Any:
    return api.post("/api/v1/authorizations", {"session": "s1", "amount": amount, "allow_partial": True} | fields)


def held() -> dict[str, Decimal]:
    return dict(BudgetPeriod.objects.values_list("budget__name", "held"))


def test_what_fits_in_whole_is_granted_in_whole(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    answer = ask(api, "10")
    assert (answer.status_code, Decimal(answer.json()["amount"]), answer.json()["bound_by"]) == (201, 10, None)


def test_what_fits_every_budget_is_granted_and_the_one_that_bounds_it_is_named(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    budget(admin, "2.5", name="Month", scope_kind="organization", period_kind="month")
    budget(admin, "1", name="Told", scope_kind="organization", period_kind="day", is_hard=False)
    answer = ask(api)
    assert (answer.status_code, Decimal(answer.json()["amount"]), answer.json()["bound_by"]["name"]) == (201, Decimal("2.5"), "Month")
    assert Decimal(answer.json()["left"]) == 0
    assert held() == {"Session": Decimal("2.5"), "Month": Decimal("2.5"), "Told": Decimal("2.5")}
    assert api.delete(f"/api/v1/authorizations/{answer.json()['id']}").json()["state"] == "voided"
    assert set(held().values()) == {0}


def test_nothing_left_is_refused(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    assert Decimal(ask(api, "9.999999999999999").json()["amount"]) == Decimal("9.999999999999999")
    last = ask(api)
    assert (last.status_code, Decimal(last.json()["amount"])) == (201, Decimal("1e-15"))
    refused = ask(api)
    assert (refused.status_code, Decimal(refused.json()["amount"]), Decimal(refused.json()["left"])) == (402, 4, 0)
    assert held() == {"Session": 10}


@pytest.mark.parametrize(("least", "status"), [("2.5", 201), ("2.500000000000001", 402)])
def test_less_than_the_least_is_refused(admin: Member, api: APIClient, least: str, status: int) -> None:
    budget(admin, "2.5")
    assert ask(api, min_amount=least).status_code == status


def test_least_goes_with_a_grant_in_part(api: APIClient) -> None:
    answer = api.post("/api/v1/authorizations", {"amount": "4", "min_amount": "1"})
    assert (answer.status_code, answer.json()["field"]) == (422, "min_amount")
    assert ask(api, min_amount="-1").json()["field"] == "min_amount"
    assert ask(api, amount="1", min_amount="1.5").json()["field"] == "min_amount"


def test_tokens_are_granted_in_part_where_what_goes_in_fits(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    budget(admin, "1500", name="Tokens", scope_kind="organization", period_kind="month", measure="tokens")
    asked: dict[str, Any] = {"input_tokens": 1000, "max_output_tokens": 4000}
    answer = ask(api, **asked)
    assert (answer.status_code, answer.json()["tokens"], answer.json()["bound_by"]["name"]) == (201, 1500, "Tokens")
    assert (Decimal(answer.json()["amount"]), held()["Session"]) == (4, 4)
    assert ask(api, **asked).status_code == 402
    assert held() == {"Session": 4, "Tokens": 1500}


def test_same_id_gets_the_part_that_was_granted(admin: Member, api: APIClient) -> None:
    budget(admin, "2.5")
    first, again = ask(api, id="a"), ask(api, id="a")
    assert (first.status_code, again.status_code, again.json()["amount"], again.json()["id"]) == (201, 200, "2.5", first.json()["id"])


def test_frozen_session_gets_no_part(admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    ask(api, "1")
    BudgetPeriod.objects.update(frozen_at=BudgetPeriod.objects.get().created_at)
    answer = ask(api)
    assert (answer.status_code, answer.json()["is_frozen"]) == (402, True)


AMOUNTS = st.decimals(min_value=Decimal("0.000000000000001"), max_value=Decimal(6), places=15)


@settings(max_examples=25)
@given(limits=st.lists(AMOUNTS, min_size=1, max_size=3), asked=st.lists(st.tuples(AMOUNTS, st.one_of(st.none(), AMOUNTS)), min_size=1, max_size=4))
def test_grants_come_to_what_the_tightest_budget_has(
    admin: Member, limits: list[Decimal], asked: list[tuple[Decimal, Decimal | None]]
) -> None:
    BudgetPeriod.objects.all().delete()
    Authorization.objects.all().delete()
    for found in type(budget(admin, "1")).objects.all():
        found.delete()
    for place, limit in enumerate(limits):
        budget(admin, str(limit), name=f"Budget {place}", scope_kind="organization", period_kind=("month", "day", "year")[place])
    left = min(limits)
    for amount, least in asked:
        request = AuthorizationIn(session="s1", amount=amount, allow_partial=True, min_amount=least)
        due = min(amount, left)
        if least is not None and least > amount:
            with pytest.raises(Invalid):
                authorization_hold(actor=member_actor(admin), api_key=None, request=request)
        elif due > 0 and due >= (least or 0):
            made = authorization_hold(actor=member_actor(admin), api_key=None, request=request)
            assert (made.authorization.amount, made.left, made.bound_by is None) == (due, left - due, due == amount)
            left -= due
        else:
            with pytest.raises(PaymentRequired):
                authorization_hold(actor=member_actor(admin), api_key=None, request=request)
    assert set(BudgetPeriod.objects.values_list("held", flat=True)) <= {min(limits) - left}

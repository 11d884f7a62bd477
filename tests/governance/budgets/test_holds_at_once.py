"""Holds granted in one round trip under the budgets in memory: never by rules that have changed, past a freeze or in part."""

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from rest_framework.test import APIClient

from governance.budgets import rules
from governance.budgets.models import Authorization, Budget, BudgetPeriod
from governance.budgets.services import AuthorizationIn, authorization_hold, budget_change, budget_create, holds, session_freeze
from governance.errors import PaymentRequired
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from ingest.services import events_store
from tests.ingest.test_store import event, prices

__all__ = ["prices"]

pytestmark = pytest.mark.django_db

# Every label is named, so that the session's earlier calls cannot say more.
NAMED: dict[str, Any] = {"team": "nobody", "project": "nothing", "member": "no.one@example.org"}


def budget(admin: Member, limit: str) -> Budget:
    return budget_create(
        actor=member_actor(admin), name="Session", scope_kind="session", period_kind="session", limit_amount=Decimal(limit)
    )


def ask(admin: Member, session: str, amount: str) -> holds.Held:
    return authorization_hold(
        actor=member_actor(admin), api_key=None, request=AuthorizationIn(session=session, amount=Decimal(amount), **NAMED)
    )


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one each time a hold takes a second look."""
    found: list[Any] = []
    decide = holds._decide

    def counted(*given: Any, **rest: Any) -> Any:
        found.append(given)
        return decide(*given, **rest)

    monkeypatch.setattr(holds, "_decide", counted)
    return found


def test_second_hold_is_granted_at_once(admin: Member, looks: list[Any]) -> None:
    budget(admin, "10")
    ask(admin, "s1", "1")
    looks.clear()
    assert (ask(admin, "s1", "2").left, ask(admin, "s2", "4").left) == (7, 6)
    assert looks == []
    assert sorted(BudgetPeriod.objects.values_list("session_key", "held")) == [("s1", 3), ("s2", 4)]


def test_rules_that_have_changed_elsewhere_make_no_period_and_hold_nothing(admin: Member, looks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = budget(admin, "10")
    ask(admin, "s1", "1")
    old = rules.rules_remembered(admin.organization_id)
    assert old is not None
    budget_change(actor=member_actor(admin), budget=made, limit_amount=Decimal(20))
    monkeypatch.setitem(rules._rules, admin.organization_id, old)
    looks.clear()
    assert ask(admin, "s2", "15").left == 5
    assert len(looks) == 1
    assert BudgetPeriod.objects.get(session_key="s2").limit_amount == 20


def test_frozen_session_is_refused_to_fully_named_calls(prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "10")
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event()])
    asked = {"session": "s1", "amount": "1"} | NAMED
    assert api.post("/api/v1/authorizations", asked).status_code == 201
    session_freeze(actor=member_actor(admin), session_key="s1", reason="looks like a loop")
    answer = api.post("/api/v1/authorizations", asked)
    assert (answer.status_code, answer.json()["is_frozen"]) == (402, True)
    assert Authorization.objects.count() == 1


def test_frozen_session_costs_calls_of_others_one_look(admin: Member, looks: list[Any]) -> None:
    budget(admin, "10")
    ask(admin, "s1", "1")
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(session="s2")])
    session_freeze(actor=member_actor(admin), session_key="s2", reason="looks like a loop")
    ask(admin, "s1", "1")
    looks.clear()
    for _ in range(3):
        ask(admin, "s1", "1")
    assert len(looks) == 0
    with pytest.raises(PaymentRequired):
        ask(admin, "s2", "1")


@pytest.mark.django_db(transaction=True)
def test_what_fails_on_the_way_leaves_nothing(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(admin, "10")
    ask(admin, "s1", "1")
    monkeypatch.setattr(holds, "decide_at_once", lambda *_, **__: "SELECT 1 / 0, %(version)s::bigint")
    with pytest.raises(psycopg.errors.DivisionByZero):
        ask(admin, "s2", "1")
    assert list(BudgetPeriod.objects.values_list("session_key", "held")) == [("s1", 1)]


def test_period_that_went_away_is_made_again(admin: Member, looks: list[Any]) -> None:
    budget(admin, "10")
    ask(admin, "s1", "1")
    ask(admin, "s1", "2")
    Authorization.objects.all().delete()
    BudgetPeriod.objects.all().delete()
    looks.clear()
    assert ask(admin, "s1", "3").left == 7
    assert len(looks) == 1
    assert list(BudgetPeriod.objects.values_list("session_key", "held")) == [("s1", 3)]

"""Requests that overlap are decided together, and each gets its own answer: exactly as many as fit are held, under every key's own budgets."""

import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import AuthorizationIn, queueing
from governance.budgets.services.queueing import authorization_hold_queued
from governance.errors import PaymentRequired
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope
from ingest.verify import differences
from tests.conftest import key_of
from tests.governance.budgets.test_holds import budget

pytestmark = pytest.mark.django_db(transaction=True)

NAMED: dict[str, Any] = {"team": "nobody", "project": "nothing", "member": "no.one@example.org"}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the groups that were decided together."""
    found: list[int] = []
    hold_together = queueing.hold_together

    def counted(**given: Any) -> Any:
        held = hold_together(**given)
        if held is not None:
            found.append(len(held))
        return held

    monkeypatch.setattr(queueing, "hold_together", counted)
    return found


def at_once(callers: int, work: Callable[[int], None]) -> None:
    """Runs the callers' work in threads that begin together, and raises what fails."""
    start, failed = threading.Barrier(callers), list[BaseException]()

    def caller(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_overlapping_requests_share_a_transaction_and_keep_their_own_answers(admin: Member, organization: Organization, groups: list[int]) -> None:
    budget(admin, "1000", name="Month", scope_kind="organization", period_kind="month")
    amounts: dict[Any, Decimal] = {}

    def work(number: int) -> None:
        for step in range(6):
            amount = Decimal(number * 6 + step + 1) / 100
            held = authorization_hold_queued(actor=member_actor(admin), api_key=None, request=AuthorizationIn(session=f"s{number}", amount=amount, **NAMED))
            amounts[held.authorization.pk] = amount

    at_once(12, work)
    assert {found.pk: found.amount for found in Authorization.objects.all()} == amounts
    assert (len(amounts), BudgetPeriod.objects.get().held) == (72, sum(amounts.values()))
    assert max(groups) > 1
    assert differences(organization) == []


def test_of_many_at_the_limit_exactly_as_many_as_fit_are_held(admin: Member, organization: Organization, groups: list[int]) -> None:
    budget(admin, "50", name="Month", scope_kind="organization", period_kind="month")
    results: Counter[str] = Counter()

    def work(number: int) -> None:
        for _ in range(5):
            try:
                authorization_hold_queued(actor=member_actor(admin), api_key=None, request=AuthorizationIn(session=f"s{number}", amount=Decimal(1), **NAMED))
                results["held"] += 1
            except PaymentRequired:
                results["refused"] += 1

    at_once(16, work)
    assert (results, BudgetPeriod.objects.get().held) == ({"held": 50, "refused": 30}, 50)
    assert differences(organization) == []


def test_each_key_is_held_against_its_own_budget(admin: Member, organization: Organization) -> None:
    keys = [key_of(organization, Scope.AUTHORIZE, name=f"key {number}").row for number in range(2)]
    for number, key in enumerate(keys):
        budget(admin, ("10", "3")[number], name=f"Key {number}", scope_kind="key", api_key=key, period_kind="month")
    results: Counter[tuple[int, str]] = Counter()

    def work(number: int) -> None:
        for _ in range(3):
            try:
                request = AuthorizationIn(amount=Decimal(1), **NAMED)
                authorization_hold_queued(actor=member_actor(admin), api_key=keys[number % 2], request=request)
                results[number % 2, "held"] += 1
            except PaymentRequired:
                results[number % 2, "refused"] += 1

    at_once(8, work)
    assert results == {(0, "held"): 10, (0, "refused"): 2, (1, "held"): 3, (1, "refused"): 9}


def test_failure_of_a_group_harms_nobody(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(admin, "1000", name="Month", scope_kind="organization", period_kind="month")

    def failing(**_: Any) -> None:
        raise RuntimeError("the leader is struck")

    monkeypatch.setattr(queueing, "hold_together", failing)
    at_once(8, lambda number: _ask(admin, number))
    assert BudgetPeriod.objects.get().held == 40
    assert queueing._lines == {}


def _ask(admin: Member, number: int) -> None:
    for _ in range(5):
        authorization_hold_queued(actor=member_actor(admin), api_key=None, request=AuthorizationIn(session=f"s{number}", amount=Decimal(1), **NAMED))

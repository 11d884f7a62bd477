"""Moving what one budget has left to another: both sides or none, never more than is left, whoever is at it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.services import budget_change, budget_retire, budget_transfer, period_topup, topup_end
from governance.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.verify import differences
from tests.governance.budgets.test_scopes import budget, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def period_of(found: Budget) -> BudgetPeriod:
    return BudgetPeriod.objects.get(budget=found)


@pytest.fixture
def pair(admin: Member, team: Team) -> tuple[BudgetPeriod, BudgetPeriod]:
    """The whole organization's 10 and a team's 5."""
    return period_of(budget(admin, 10, name="All")), period_of(budget(admin, 5, name="Platform", scope_kind="team", team=team))


def move(admin: Member, source: BudgetPeriod, target: BudgetPeriod, amount: Any, reason: str = "the migration") -> Any:
    return budget_transfer(actor=member_actor(admin), from_period_id=source.pk, to_period_id=target.pk, amount=Decimal(amount), reason=reason)


def allowances(*periods: BudgetPeriod) -> list[Decimal]:
    return [BudgetPeriod.objects.get(pk=period.pk).allowance for period in periods]


def test_what_is_moved_leaves_one_budget_and_comes_to_the_other(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    moved = move(admin, *pair, 4)
    assert allowances(*pair) == [6, 9]
    assert (moved.given.amount, moved.given.other_period_id) == (-4, pair[1].pk)
    assert (moved.received.amount, moved.received.other_period_id, moved.received.granted_by) == (4, pair[0].pk, admin)
    records = AuditRecord.objects.filter(action="budget_period.moved").order_by("id")
    assert [(row.target_id, row.new["reason"]) for row in records] == [(str(period.pk), "the migration") for period in pair]
    assert differences(admin.organization) == []


def test_more_than_is_left_is_not_moved(admin: Member, api: APIClient, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    store(admin, event(1))
    assert api.post("/api/v1/authorizations", {"amount": "3"}).status_code == 201
    with pytest.raises(Conflict, match="Only"):
        move(admin, *pair, 7)
    move(admin, *pair, 7 - COST)
    period = period_of(pair[0].budget)
    assert (period.left, period.frozen_at) == (0, None)
    assert api.post("/api/v1/authorizations", {"amount": "0.01"}).status_code == 402


def test_freezes_follow(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod], team: Team) -> None:
    store(admin, event(1, team="platform"))
    budget_change(actor=member_actor(admin), budget=pair[1].budget, limit_amount=COST)
    assert period_of(pair[1].budget).frozen_at is not None
    move(admin, *pair, 10 - COST)
    assert [period_of(period.budget).frozen_at is not None for period in pair] == [True, False]


def test_what_was_granted_for_a_time_is_not_given_away(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    grant = period_topup(actor=member_actor(admin), period_id=pair[0].pk, amount=Decimal(5), ends_at=timezone.now() + timedelta(hours=1))
    with pytest.raises(Conflict):
        move(admin, *pair, 11)
    move(admin, *pair, 10)
    assert topup_end(actor=member_actor(admin), topup_id=grant.pk)
    assert allowances(*pair) == [0, 15]


def test_limit_does_not_fall_below_what_was_moved(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    move(admin, *pair, 8)
    with pytest.raises(Conflict, match=r"8\.00 USD was moved"):
        budget_change(actor=member_actor(admin), budget=pair[0].budget, limit_amount=Decimal(7))
    budget_change(actor=member_actor(admin), budget=pair[0].budget, limit_amount=Decimal(8))
    assert allowances(pair[0]) == [0]


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e20"])
def test_amount_that_is_none_is_refused(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod], amount: str) -> None:
    with pytest.raises(Invalid):
        move(admin, *pair, amount)


def test_only_the_same_measure_is_moved_and_only_between_two(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    tokens, rolling = budget(admin, 1000, measure="tokens"), budget(admin, 10, period_kind="rolling", rolling_hours=5)
    for target in (period_of(tokens), period_of(rolling), pair[0]):
        with pytest.raises(Invalid):
            move(admin, pair[0], target, 1)
    with pytest.raises(Invalid):
        move(admin, *pair, 1, reason=" ")


def test_what_is_over_gives_and_takes_nothing(admin: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    day = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with time_machine.travel(day, tick=False) as clock:
        daily = period_of(budget(admin, 10, name="Day", period_kind="day"))
        clock.shift(timedelta(days=1))
        with pytest.raises(Conflict):
            move(admin, daily, pair[1], 1)
    budget_retire(actor=member_actor(admin), budget=pair[1].budget)
    with pytest.raises(Conflict):
        move(admin, *pair, 1)


def test_who_may_not_manage_budgets_moves_nothing(admin: Member, lead: Member, stranger: Member, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    with pytest.raises(Forbidden):
        move(lead, *pair, 1)
    with pytest.raises(NotFound):
        move(stranger, *pair, 1)


@pytest.mark.django_db(transaction=True)
def test_transfers_at_once_both_ways_make_and_lose_nothing(admin: Member, organization: Organization, pair: tuple[BudgetPeriod, BudgetPeriod]) -> None:
    def attempt(number: int) -> bool:
        source, target = pair if number % 2 else pair[::-1]
        try:
            move(admin, source, target, 3)
        except DomainError:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(attempt, range(40)))
    assert done > 0
    assert TopUp.objects.count() == 2 * done
    assert sum(allowances(*pair)) == 15
    assert min(allowances(*pair)) >= 0
    assert differences(organization) == []

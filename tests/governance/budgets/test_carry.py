"""What a window leaves to the next: up to the cap, once, through windows that nobody saw, whoever is at it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.services import budget_change, budget_retire, period_topup, periods_close
from governance.budgets.services.carry import carried
from governance.budgets.tasks import periods_roll
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.verify import differences
from tests.governance.budgets.test_scopes import budget, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
AMOUNTS = st.decimals(Decimal(-1000), Decimal(1000), places=4)


def daily(admin: Member, limit: Decimal | int, cap: Decimal | int | None, **fields: Any) -> Budget:
    return budget(admin, limit, period_kind="day", rollover_cap=None if cap is None else Decimal(cap), **fields)


def topups() -> list[Decimal]:
    """What is on top of each window, oldest first."""
    return list(BudgetPeriod.objects.order_by("starts_at").values_list("topup", flat=True))


def test_what_is_left_goes_on_up_to_the_cap(admin: Member, team: Team) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, 10 * COST, 3 * COST)
        daily(admin, 10 * COST, 100 * COST, name="Roomy")
        store(admin, event(1, occurred_at=NOON), event(2, occurred_at=NOON))
        clock.shift(DAY)
        periods_roll()
        present = BudgetPeriod.objects.filter(starts_at__gt=NOON).order_by("budget__pk")
        assert [period.topup for period in present] == [3 * COST, 8 * COST]
        row = TopUp.objects.get(period=present[0])
        assert (row.kind, row.other_period_id, row.granted_by) == ("carry", BudgetPeriod.objects.earliest("pk").pk, None)
        assert differences(admin.organization) == []


def test_it_goes_on_once(admin: Member) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, 10, 4)
        clock.shift(DAY)
        assert [periods_close(actor=system_actor(admin.organization)) for _ in range(3)] == [1, 0, 0]
        periods_roll()
        assert topups() == [0, 4]
        assert AuditRecord.objects.filter(action="budget_period.carried_over").count() == 1


def test_windows_that_nobody_saw_are_made_and_carried_through(admin: Member) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, 10, 100)
        clock.shift(4 * DAY)
        periods_roll()
        assert topups() == [0, 10, 20, 30, 40]
        assert BudgetPeriod.objects.filter(closed_at=None).count() == 1


def test_next_window_that_is_there_already_gets_it(admin: Member, team: Team) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, 10 * COST, 100)
        clock.shift(DAY)
        store(admin, event(1, occurred_at=NOON + DAY))
        clock.shift(DAY)
        store(admin, event(2, occurred_at=NOON + 2 * DAY))
        periods_roll()
        assert topups() == [0, 10 * COST, 19 * COST]


def test_what_is_held_is_not_carried_and_later_usage_changes_nothing(admin: Member, api: APIClient, team: Team) -> None:
    with time_machine.travel(datetime(2026, 11, 20, 22, 58, tzinfo=UTC), tick=False) as clock:  # two minutes before midnight in Berlin
        daily(admin, 10, 100)
        held = api.post("/api/v1/authorizations", {"amount": "4"}).json()
        clock.shift(timedelta(minutes=4))
        periods_roll()
        assert topups() == [0, 6]
        api.delete(f"/api/v1/authorizations/{held['id']}")
        store(admin, event(1, occurred_at=NOON))
        periods_roll()
        assert topups() == [0, 6]
        assert BudgetPeriod.objects.earliest("starts_at").spent == COST
        assert differences(admin.organization) == []


def test_excess_takes_nothing_from_the_next_window(admin: Member, team: Team) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, COST, 100)
        store(admin, event(1, occurred_at=NOON), event(2, occurred_at=NOON))
        clock.shift(DAY)
        periods_roll()
        assert topups() == [0, 0]


def test_what_was_granted_goes_on_too_and_thaws(admin: Member, team: Team) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, COST, 100)
        first = BudgetPeriod.objects.get()
        period_topup(actor=member_actor(admin), period_id=first.pk, amount=Decimal(2))
        clock.shift(DAY)
        store(admin, event(1, occurred_at=NOON + DAY))
        assert BudgetPeriod.objects.get(starts_at__gt=NOON).frozen_at is not None
        periods_roll()
        present = BudgetPeriod.objects.get(starts_at__gt=NOON)
        assert (present.topup, present.frozen_at) == (2 + COST, None)


def test_cap_set_later_carries_nothing_of_windows_that_were_over(admin: Member) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        made = daily(admin, 10, None)
        clock.shift(DAY)
        periods_roll()
        budget_change(actor=member_actor(admin), budget=made, rollover_cap=Decimal(5))
        periods_roll()
        assert topups() == [0, 0]
        clock.shift(DAY)
        periods_roll()
        assert topups() == [0, 0, 5]


def test_retired_budget_carries_nothing(admin: Member) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        budget_retire(actor=member_actor(admin), budget=daily(admin, 10, 5))
        clock.shift(DAY)
        periods_roll()
        assert topups() == [0]


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_once_carry_once(admin: Member, organization: Organization) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        daily(admin, 10, 100)
        clock.shift(5 * DAY)

        def close(_: int) -> None:
            try:
                periods_close(actor=system_actor(organization))
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(close, range(6)))
        assert topups() == [0, 10, 20, 30, 40, 50]
        assert differences(organization) == []


@given(left=AMOUNTS, cap=st.none() | AMOUNTS.map(abs))
def test_carried_is_never_more_than_what_is_left_or_the_cap(left: Decimal, cap: Decimal | None) -> None:
    amount = carried(left=left, cap=cap)
    assert 0 <= amount <= max(left, 0)
    assert amount <= (cap or 0)
    assert cap is None or amount in (max(left, 0), cap)


@given(limits=st.lists(st.tuples(AMOUNTS.map(abs), AMOUNTS.map(abs)), min_size=1, max_size=12), cap=AMOUNTS.map(abs))
def test_carrying_through_many_windows_makes_no_money(limits: list[tuple[Decimal, Decimal]], cap: Decimal) -> None:
    """Over any run of windows, what may be spent comes to the limits with the cap on top at most, and to the limits alone in sum."""
    allowed, granted, on_top = Decimal(0), Decimal(0), Decimal(0)
    for limit, wanted in limits:
        spent = min(wanted, limit + on_top)
        granted += limit
        allowed += spent
        assert spent <= limit + cap
        assert allowed <= granted
        on_top = carried(left=limit + on_top - spent, cap=cap)

"""Telling ahead that a budget runs out: once for each crossing, with a margin, and not before there is something to say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from governance.budgets.ledger import ledger
from governance.budgets.models import Budget, BudgetPeriod, ThresholdCrossing
from governance.budgets.rules import rules_at
from governance.budgets.services import budget_change
from governance.budgets.services.forecasts import WELL_BELOW, turn
from governance.budgets.tasks import forecasts_look
from governance.notices.models import Notice, Signal
from governance.tenancy.access import member_actor
from governance.tenancy.directory import directory_at
from governance.tenancy.models import Member, Team
from tests.conftest import KeyInHand
from tests.governance.budgets.test_scopes import budget, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
# The eleventh day of the month: ten days at one call each.
NOW = datetime(2026, 11, 11, 12, tzinfo=UTC)
AMOUNTS = st.decimals(Decimal(0), Decimal(200), places=2)


def used(admin: Member, **labels: Any) -> None:
    """One call on each of the last ten days."""
    store(admin, *(event(number, occurred_at=NOW - timedelta(days=number), **labels) for number in range(1, 11)))


def look(clock: Any) -> int:
    clock.shift(timedelta(minutes=10))
    found: int = forecasts_look()
    return found


@pytest.mark.parametrize(
    ("measure", "limit", "filters"),
    [
        ("money", 25 * COST, {}), ("tokens", 25 * 1100, {}), ("calls", 25, {}), ("calls", 25, {"environment": ["ci"]}), ("calls", 25, {"tag:repo": ["api"]}),
    ],
)
def test_it_is_told_once_and_names_the_day(admin: Member, measure: str, limit: Any, filters: dict[str, Any]) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin, environment="ci", tags={"repo": "api"})
        budget(admin, limit, name="Platform", measure=measure, filters=filters)
        assert [look(clock) for _ in range(3)] == [1, 0, 0]
        notice = Notice.objects.get(subject__startswith="Platform runs out")
        assert notice.subject == "Platform runs out on 26 November at its present pace"
        assert "at the end of the period" in notice.body
        signal = Signal.objects.get(kind="budget.forecast_exceeds")
        assert (signal.facts["budget_name"], signal.facts["unit"]) == ("Platform", "USD" if measure == "money" else measure)
        assert signal.facts["exhausted_at"].startswith("2026-11-26")


def test_what_stays_within_is_not_told(admin: Member) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin)
        budget(admin, 40 * COST)
        assert look(clock) == 0


def test_it_is_told_again_after_it_has_fallen_well_below(admin: Member) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin)
        made = budget(admin, 25 * COST)

        def limited(factor: str) -> int:
            budget_change(actor=member_actor(admin), budget=Budget.objects.get(pk=made.pk), limit_amount=Decimal(factor) * COST)
            return look(clock)

        assert look(clock) == 1
        assert [limited("30"), limited("25"), limited("60"), limited("25"), limited("25.1")] == [0, 0, 0, 1, 0]
        assert ThresholdCrossing.objects.filter(percent=0).count() == 2
        assert Notice.objects.filter(subject__contains="runs out").count() == 2


def test_young_windows_and_little_history_say_nothing(admin: Member) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        store(admin, event(1, occurred_at=NOW - timedelta(days=1)), event(2, occurred_at=NOW - timedelta(days=2)))
        budget(admin, COST * 3)
        assert look(clock) == 0
    with time_machine.travel(datetime(2026, 12, 2, 12, tzinfo=UTC), tick=False) as clock:
        store(admin, *(event(number, occurred_at=NOW - timedelta(days=number)) for number in range(3, 11)))
        budget(admin, COST, name="December")
        assert look(clock) == 0


def test_who_asked_not_to_be_told_is_not(admin: Member) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin)
        budget(admin, 25 * COST, warns_ahead=False)
        assert look(clock) == 0


def test_what_is_used_up_is_told_by_its_freeze(admin: Member) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        used(admin)
        budget(admin, 5 * COST)
        assert BudgetPeriod.objects.get(spent__gt=0).frozen_at is not None
        assert look(clock) == 0


@given(course=st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=60))
def test_never_twice_without_having_fallen_in_between(course: list[tuple[Decimal, Decimal]]) -> None:
    is_told, has_fallen = False, True
    for expected, allowance in course:
        has_fallen = has_fallen or expected < allowance * WELL_BELOW
        change = turn(is_told=is_told, expected=expected, allowance=allowance)
        if change == "tell":
            assert has_fallen
            assert expected >= allowance
            has_fallen = False
        is_told = change == "tell" or (is_told and change != "end")


@pytest.mark.parametrize("step", ["hour", "day"])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"measure": "tokens"}, {"measure": "calls", "filters": {"role": ["planner"]}}, {"filters": {"tag:repo": ["api"]}}, {"scope_kind": "key"},
        {"unpriced_call_amount": Decimal(1)},
    ],
)
def test_course_adds_up_to_the_balance(admin: Member, team: Team, api_key: KeyInHand, fields: dict[str, Any], step: Any) -> None:
    """By day from the daily sums where they tell it, else from the events: the same sum."""
    with time_machine.travel(NOW, tick=False):
        store(admin, *(event(number, occurred_at=NOW - timedelta(hours=7 * number), role="planner" if number % 2 else "worker", tags={"repo": "api"}) for number in range(1, 20)), api_key=api_key.row)
        store(admin, event(30, occurred_at=NOW, model="no-such-model"))
        made = budget(admin, 10_000, **fields, **({"api_key": api_key.row} if fields.get("scope_kind") == "key" else {}))
        directory = directory_at(admin.organization)
        period = BudgetPeriod.objects.get()
        course = ledger().course(directory, rules_at(directory).by_id[made.pk], starts_at=period.starts_at, ends_at=period.ends_at, step=step)
        assert sum(course.values()) == period.spent > 0

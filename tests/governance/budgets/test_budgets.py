"""Budgets made, changed and retired: what they count from the start, and what they tell."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import time_machine

from governance.budgets.models import BudgetPeriod, Freeze, ThresholdCrossing
from governance.budgets.services import budget_change, budget_create, budget_retire, period_topup
from governance.errors import Conflict
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Team
from governance.tenancy.services import team_change, team_create
from ingest.services import events_store
from ingest.verify import differences
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
BERLIN = ZoneInfo("Europe/Berlin")


def store(admin: Member, *numbers: int, at: datetime | None = None) -> None:
    more = {} if at is None else {"occurred_at": at}
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(number, **more) for number in numbers])


def told(cause: str) -> int:
    return Notice.objects.filter(key__startswith=f"{cause}:").values("key").distinct().count()


def test_new_budget_counts_calls_reported_for_its_next_window(admin: Member) -> None:
    """A client whose clock runs ahead reports a call of tomorrow before the budget is made, and one after."""
    noon, tomorrow = datetime(2026, 11, 20, 12, tzinfo=BERLIN), datetime(2026, 11, 21, 1, tzinfo=BERLIN)
    with time_machine.travel(noon, tick=False):
        store(admin, 1, at=tomorrow)
        budget_create(actor=member_actor(admin), name="Day", scope_kind="organization", period_kind="day", limit_amount=Decimal(1))
        store(admin, 2, at=tomorrow)
    assert BudgetPeriod.objects.get(starts_at__gt=noon).spent == 2 * COST
    assert differences(admin.organization) == []


def test_threshold_is_told_once_for_each_crossing(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=10 * COST, thresholds=(50, 80))
    store(admin, *range(5))
    store(admin, 5)
    assert told("threshold") == 1
    period_topup(actor=member_actor(admin), period_id=BudgetPeriod.objects.get().pk, amount=Decimal("0.8") * COST)
    store(admin, 6)  # 6 of 10.8 was not far enough below: no news
    assert told("threshold") == 1


def test_threshold_is_told_again_after_the_spend_had_fallen_well_below(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=10 * COST, thresholds=(50, 80))
    store(admin, *range(5))
    period_topup(actor=member_actor(admin), period_id=BudgetPeriod.objects.get().pk, amount=4 * COST)
    store(admin, *range(5, 8))  # passes 50 % of the higher limit
    assert told("threshold") == 2
    assert list(ThresholdCrossing.objects.order_by("pk").values_list("percent", flat=True)) == [50, 50]
    assert ThresholdCrossing.objects.filter(ended_at=None).count() == 1


def test_of_several_thresholds_passed_at_once_the_highest_is_told(admin: Member) -> None:
    budget_create(
        actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=COST, thresholds=(100, 50, 80, 150), is_hard=False
    )
    store(admin, 1)
    assert sorted(ThresholdCrossing.objects.values_list("percent", flat=True)) == [50, 80, 100]
    assert told("threshold") == 1
    assert Notice.objects.filter(subject__contains="100 %").exists()


def test_a_crossing_that_freezes_is_told_once(admin: Member) -> None:
    budget_create(
        actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=4 * COST, thresholds=(50, 100)
    )
    store(admin, 1, 2)
    assert (told("threshold"), told("frozen")) == (1, 0)
    store(admin, 3, 4)
    assert sorted(ThresholdCrossing.objects.values_list("percent", flat=True)) == [50, 100]
    assert (told("threshold"), told("frozen")) == (1, 1)


def test_threshold_that_a_lower_limit_passes_is_kept_and_not_told(admin: Member) -> None:
    budget = budget_create(
        actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=100 * COST, thresholds=(50,)
    )
    store(admin, *range(6))
    budget_change(actor=member_actor(admin), budget=budget, limit_amount=10 * COST)
    store(admin, 6)
    assert ThresholdCrossing.objects.get().spent == 6 * COST
    assert told("threshold") == 0


def test_new_window_is_another_row_and_starts_free(admin: Member) -> None:
    monday = datetime(2026, 11, 16, 23, 30, tzinfo=BERLIN)
    with time_machine.travel(monday, tick=False):
        budget_create(actor=member_actor(admin), name="Day", scope_kind="organization", period_kind="day", limit_amount=2 * COST)
        store(admin, 1, 2, at=monday)
    with time_machine.travel(monday + timedelta(hours=1), tick=False):
        store(admin, 3, at=monday + timedelta(hours=1))
        store(admin, 4, at=monday)  # late, for the day that is over
    days = list(BudgetPeriod.objects.order_by("starts_at").values_list("spent", "frozen_at"))
    assert [spent for spent, _ in days] == [3 * COST, COST]
    assert (days[0][1] is not None, days[1][1]) == (True, None)


def test_retiring_a_budget_ends_its_freeze_and_its_counting(admin: Member) -> None:
    budget = budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=COST)
    store(admin, 1)
    assert Freeze.objects.filter(ended_at=None).count() == 1
    budget_retire(actor=member_actor(admin), budget=budget)
    store(admin, 2)
    assert Freeze.objects.get().end_reason == "the budget was retired"
    assert BudgetPeriod.objects.get().spent == COST


def test_team_stays_where_budgets_above_have_counted_it(admin: Member, team: Team) -> None:
    actor = member_actor(admin)
    below = team_create(actor=actor, slug="core", name="Core", parent=team)
    budget = budget_create(
        actor=actor, name="Platform", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(1)
    )
    with pytest.raises(Conflict):
        team_change(actor=actor, team=below, name="Core", parent=None)
    budget_retire(actor=actor, budget=budget)
    assert team_change(actor=actor, team=below, name="Core", parent=None).parent is None

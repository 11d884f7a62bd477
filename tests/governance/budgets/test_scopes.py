"""What a budget may limit: whom, which calls, in which measure and over which window."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, Budget, BudgetPeriod, BudgetSlice, BudgetVersion, Freeze
from governance.budgets.services import budget_change, budget_create, periods_slide
from governance.errors import Invalid
from governance.periods import PeriodKind, window_at
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.services import events_store
from ingest.verify import differences, organization_repair
from tests.conftest import KeyInHand
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
TOKENS = 1100
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the bounds are given without


def budget(admin: Member, limit: Decimal | int | str, **fields: Any) -> Budget:
    facts: dict[str, Any] = {"name": "Limit", "scope_kind": "organization", "period_kind": "month"} | fields
    return budget_create(actor=member_actor(admin), limit_amount=Decimal(limit), **facts)


def store(admin: Member, *events: Any, api_key: Any = None) -> None:
    outcomes = events_store(actor=member_actor(admin), api_key=api_key, source="rest", events=events)
    assert {outcome.status for outcome in outcomes} == {"accepted"}


def spent() -> Decimal:
    amount: Decimal = BudgetPeriod.objects.get(spent__gt=0).spent
    return amount


@pytest.mark.parametrize(
    ("filters", "label", "others"),
    [
        ({"provider": ["anthropic"]}, {}, {"provider": "acme", "model": "acme-1"}),
        ({"model": ["claude-haiku-4-5"]}, {"model": "claude-haiku-4-5"}, {}),
        ({"maker": ["anthropic"]}, {}, {"provider": "acme", "model": "acme-1"}),
        ({"harness": ["Codex"]}, {"harness": "codex"}, {"harness": "claude-code"}),
        ({"gateway": ["litellm"]}, {"gateway": "LiteLLM"}, {}),
        ({"role": ["planner"]}, {"role": "planner"}, {"role": "worker"}),
        ({"task_class": ["code"]}, {"task_class": "code"}, {}),
        ({"environment": ["ci"]}, {"environment": "ci"}, {"environment": "prod"}),
        ({"tag:repo": ["api", "web"]}, {"tags": {"repo": "web"}}, {"tags": {"repo": "docs"}}),
    ],
)
def test_filter_counts_only_what_it_names(admin: Member, team: Team, filters: dict[str, Any], label: dict[str, Any], others: dict[str, Any]) -> None:
    budget(admin, 1000, measure="calls", filters=filters)
    store(admin, event(1, **label), event(2, **others), event(3, **label))
    assert spent() == 2
    assert differences(admin.organization) == []


def test_new_budget_counts_what_its_filter_names_of_the_past(admin: Member, team: Team) -> None:
    store(admin, event(1, tags={"repo": "web"}), event(2), event(3, tags={"repo": "web", "x": "y"}))
    budget(admin, 10, filters={"tag:repo": ["web"]})
    assert spent() == 2 * COST


def test_filter_stands_against_the_calls_it_names_alone(admin: Member, api: APIClient) -> None:
    budget(admin, 1, filters={"tier": ["flagship"], "role": ["planner"]})
    call = {"model": "claude-opus-4-5", "provider": "anthropic", "amount": "2"}
    assert api.post("/api/v1/authorizations", {**call, "role": "planner"}).status_code == 402
    assert api.post("/api/v1/authorizations", {**call, "role": "worker"}).status_code == 201
    assert api.post("/api/v1/authorizations", {**call, "model": "claude-haiku-4-5", "role": "planner"}).status_code == 201


def test_pool_is_shared_by_teams_and_the_teams_below_them(admin: Member, team: Team, organization: Organization) -> None:
    below = Team.objects.create(organization=organization, slug="core", name="Core", parent=team)
    other = Team.objects.create(organization=organization, slug="data", name="Data")
    Team.objects.create(organization=organization, slug="ops", name="Ops")
    budget(admin, 100, measure="calls", filters={"team": [team.pk, other.pk]})
    store(admin, event(1), event(2, team=below.slug), event(3, team="data"), event(4, team="ops"))
    assert spent() == 3
    assert differences(organization) == []


def test_pool_of_another_organization_is_refused(admin: Member, stranger: Member, other_organization: Organization) -> None:
    theirs = Team.objects.create(organization=other_organization, slug="theirs", name="Theirs")
    with pytest.raises(Invalid):
        budget(admin, 1, filters={"team": [theirs.pk]})


@pytest.mark.parametrize("filters", [{"colour": ["red"]}, {"tag:": ["x"]}, {"team": ["x"]}, {"model": [""]}, {"model": ["a\0"]}, {"role": ["x"] * 51}])
def test_filter_that_means_nothing_is_refused(admin: Member, filters: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        budget(admin, 1, filters=filters)


def test_tokens_are_limited_and_held(admin: Member, api: APIClient, team: Team) -> None:
    budget(admin, 3000, measure="tokens")
    store(admin, event(1))
    assert spent() == TOKENS
    call = {"model": "claude-sonnet-4-5", "provider": "anthropic", "input_tokens": 1000, "max_output_tokens": 500}
    granted = api.post("/api/v1/authorizations", call)
    assert granted.status_code == 201
    assert BudgetPeriod.objects.get().held == 1500
    refused = api.post("/api/v1/authorizations", call)
    assert (refused.status_code, refused.json()["measure"], refused.json()["left"]) == (402, "tokens", "400")
    store(admin, event(2, authorization=granted.json()["id"]))
    period = BudgetPeriod.objects.get()
    assert (period.spent, period.held) == (2 * TOKENS, 0)
    assert differences(admin.organization) == []


def test_calls_are_limited(admin: Member, api: APIClient) -> None:
    budget(admin, 2, measure="calls")
    budget(admin, 10, name="Money")
    first = api.post("/api/v1/authorizations", {"amount": "4"}).json()
    assert api.post("/api/v1/authorizations", {"amount": "4"}).status_code == 201
    assert "calls" in api.post("/api/v1/authorizations", {"amount": "0.1"}).json()["detail"]
    held = dict(BudgetPeriod.objects.values_list("budget__measure", "held"))
    assert held == {"calls": 2, "money": 8}
    assert api.post(f"/api/v1/authorizations/{first['id']}/settle", {"amount": "1"}, format="json").status_code == 200
    assert dict(BudgetPeriod.objects.values_list("budget__measure", "held")) == {"calls": 2, "money": 5}
    assert differences(admin.organization) == []


def test_key_and_service_account_are_limited(admin: Member, organization: Organization, api_key: KeyInHand, team: Team) -> None:
    budget(admin, 100, scope_kind="key", api_key=api_key.row, measure="calls")
    store(admin, event(1), api_key=api_key.row)
    store(admin, event(2))
    assert spent() == 1
    assert differences(organization) == []


def test_task_has_a_period_of_its_own(admin: Member, api: APIClient, team: Team) -> None:
    budget(admin, 10 * COST, scope_kind="task", period_kind="task")
    store(admin, event(1, task="T-1", session="a"), event(2, task="T-1", session="b"), event(3, task="T-2"), event(4))
    assert dict(BudgetPeriod.objects.values_list("task_key", "spent")) == {"T-1": 2 * COST, "T-2": COST}
    store(admin, *(event(number, task="T-1") for number in range(10, 18)))
    assert Freeze.objects.get().period.task_key == "T-1"
    assert api.post("/api/v1/authorizations", {"amount": "0.001", "task": "T-1"}).json()["is_frozen"] is True
    assert api.post("/api/v1/authorizations", {"amount": "0.001", "task": "T-2"}).status_code == 201
    store(admin, event(30, task="T-1"))
    assert differences(admin.organization) == []


def test_limit_that_asks_refuses_what_does_not_fit_and_freezes_nothing(admin: Member, api: APIClient, team: Team) -> None:
    budget(admin, 2 * COST, action="ask")
    store(admin, event(1), event(2))
    assert not Freeze.objects.exists()
    refused = api.post("/api/v1/authorizations", {"amount": "0.001"})
    assert (refused.status_code, refused.json()["is_frozen"]) == (402, False)


def test_downgrade_lets_the_cheaper_models_go_on(admin: Member, api: APIClient, team: Team) -> None:
    budget(admin, COST, action="downgrade", downgrade_models=["claude-haiku-4-5"])
    store(admin, event(1))
    call = {"provider": "anthropic", "amount": "0.01"}
    refused = api.post("/api/v1/authorizations", {**call, "model": "claude-sonnet-4-5"})
    assert refused.status_code == 402
    assert refused.json()["advice"] == {"action": "downgrade", "models": ["claude-haiku-4-5"]}
    assert api.post("/api/v1/authorizations", {**call, "model": "claude-haiku-4-5"}).status_code == 201


def test_rolling_window_lets_go_of_what_lies_behind_it(admin: Member, api: APIClient, team: Team) -> None:
    start = datetime(2026, 11, 20, 12, 7, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        budget(admin, 3 * COST, period_kind="rolling", rolling_hours=2)
        store(admin, event(1, occurred_at=start), event(2, occurred_at=start - timedelta(hours=1)))
        assert (spent(), BudgetSlice.objects.count()) == (2 * COST, 2)
        clock.shift(timedelta(minutes=30))
        store(admin, event(3, occurred_at=start + timedelta(minutes=20)))
        assert BudgetPeriod.objects.get().frozen_at is not None
        clock.shift(timedelta(minutes=50))  # 13:27: the call of 11:07 has left
        assert api.post("/api/v1/authorizations", {"amount": str(COST)}).status_code == 201
        period = BudgetPeriod.objects.get()
        assert (period.spent, period.held, period.frozen_at) == (2 * COST, COST, None)
        assert Freeze.objects.get().end_reason == "the window moved on"
        store(admin, event(4, occurred_at=start - timedelta(hours=3)))  # behind the window already
        assert BudgetPeriod.objects.get().spent == 2 * COST
        assert differences(admin.organization) == []
        clock.shift(timedelta(days=2))
        assert periods_slide(actor=member_actor(admin)) == 1
        assert (BudgetPeriod.objects.get().spent, BudgetSlice.objects.count()) == (0, 0)
        assert differences(admin.organization) == []


def test_rolling_budget_begins_with_what_its_window_holds(admin: Member, team: Team) -> None:
    now = datetime(2026, 11, 20, 12, 7, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        store(admin, *(event(number, occurred_at=now - timedelta(hours=number)) for number in range(1, 6)))
        budget(admin, 100, measure="calls", period_kind="rolling", rolling_hours=3)
        assert spent() == 3
        BudgetPeriod.objects.update(spent=1)
        assert {found.table for found in differences(admin.organization)} == {"budget_period", "budget_slice"}
        organization_repair(admin.organization)
        assert differences(admin.organization) == []
        assert spent() == 3


def test_each_change_is_a_version(admin: Member) -> None:
    made = budget(admin, 5)
    budget_change(actor=member_actor(admin), budget=made, limit_amount=Decimal(7))
    budget_change(actor=member_actor(admin), budget=made, limit_amount=Decimal(7))
    kept = BudgetVersion.objects.order_by("number")
    assert [(row.number, Decimal(row.facts["limit_amount"])) for row in kept] == [(1, 5), (2, 7)]


@pytest.mark.parametrize(
    "fields",
    [
        {"period_kind": "rolling"}, {"rolling_hours": 5}, {"period_kind": "day", "anchor_day": 2}, {"anchor_day": 29}, {"action": "downgrade"},
        {"measure": "tokens", "limit_amount": "1.5"}, {"scope_kind": "key"}, {"scope_kind": "task"}, {"period_kind": "lifetime", "rollover_cap": Decimal(1)},
        {"measure": "apples"}, {"action": "explode"}, {"period_kind": "rolling", "rolling_hours": 0},
    ],
)
def test_budget_that_does_not_fit_together_is_refused(admin: Member, fields: dict[str, Any]) -> None:
    limit = fields.pop("limit_amount", "5")
    with pytest.raises(Invalid):
        budget(admin, limit, **fields)


def test_hold_keeps_what_it_took_of_each_budget(admin: Member, api: APIClient) -> None:
    budget(admin, 10)
    budget(admin, 100_000, measure="tokens", name="Tokens")
    call = {"model": "claude-sonnet-4-5", "provider": "anthropic", "input_tokens": 700, "amount": "2"}
    made = api.post("/api/v1/authorizations", call).json()
    assert sorted(Authorization.objects.get().amounts) == [2, 700]
    api.delete(f"/api/v1/authorizations/{made['id']}")
    assert set(BudgetPeriod.objects.values_list("held", flat=True)) == {0}



def independent_month(day: date, anchor: int, months: int, year_starts_in: int) -> date:
    """The last day on or before the given one that begins a window, found by walking back."""
    while not (day.day == anchor and (day.month - year_starts_in) % months == 0):
        day -= timedelta(days=1)
    return day


@given(
    instant=INSTANTS,
    anchor=st.integers(1, 28),
    kind=st.sampled_from(["month", "quarter", "year"]),
    year_starts_in=st.integers(1, 12),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo", "UTC"]),
)
def test_anchored_windows_are_those_of_an_independent_calendar(
    instant: datetime, anchor: int, kind: PeriodKind, year_starts_in: int, zone: str
) -> None:
    found = window_at(kind, instant, ZoneInfo(zone), year_starts_in, anchor_day=anchor)
    months = {"month": 1, "quarter": 3, "year": 12}[kind]
    day = instant.astimezone(ZoneInfo(zone)).date()
    first = independent_month(day, anchor, months, year_starts_in if months > 1 else 1)
    assert found.contains(instant)
    assert found.starts_at.astimezone(ZoneInfo(zone)).date() == first
    assert found.ends_at is not None
    last = (found.ends_at - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).date()
    assert independent_month(last + timedelta(days=1), anchor, months, year_starts_in if months > 1 else 1) == last + timedelta(days=1)
    assert independent_month(last, anchor, months, year_starts_in if months > 1 else 1) == first


@given(instant=INSTANTS, weekday=st.integers(1, 7))
def test_weeks_begin_on_the_weekday_they_are_anchored_to(instant: datetime, weekday: int) -> None:
    found = window_at("week", instant, ZoneInfo("Europe/Berlin"), anchor_day=weekday)
    assert found.contains(instant)
    assert found.starts_at.astimezone(ZoneInfo("Europe/Berlin")).isoweekday() == weekday

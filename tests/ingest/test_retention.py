"""Months that retention dropped stay counted: in the sums that pages read, and in budgets made afterwards."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from governance.tenancy.services import organization_create
from ingest.models import AmendmentCause, EventAmendment, UsageEvent, UsageRollup, UsageRollupDay
from ingest.services import events_store
from ingest.services.amend import Amendment, Cause, events_amend
from ingest.tasks import partitions_ensure, partitions_retain
from ingest.verify import differences, organization_repair
from tests.ingest.test_store import event, prices, store

__all__ = ["prices"]

pytestmark = pytest.mark.django_db
AGES = (1, 40, 80, 110, 300)


@pytest.fixture
def thinned(prices: None, admin: Member, team: Team) -> Member:
    """An admin whose organization had twenty calls at each age and keeps thirty days of events."""
    Organization.objects.update(retention_days=30)
    now = timezone.now()
    events = [
        event(age * 100 + number, occurred_at=now - timedelta(days=age, minutes=number), session=f"s{age}", output_tokens=100 + number, harness="codex")
        for age in AGES
        for number in range(20)
    ]
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=events)
    partitions_ensure()
    assert partitions_retain() != []
    assert UsageEvent.objects.count() < 60
    return admin


def kept_sums() -> Any:
    rollups = [model.objects.aggregate(Sum("calls"), Sum("cost"), Sum("output_tokens")) for model in (UsageRollup, UsageRollupDay)]
    return rollups, list(Session.objects.order_by("key").values_list("key", "calls", "cost", "tokens"))


def test_a_longer_retention_that_appears_later_makes_nothing_untrue(thinned: Member) -> None:
    before = kept_sums()
    assert differences(thinned.organization) == []
    organization_create(slug="second", name="Second")
    assert differences(thinned.organization) == []
    assert organization_repair(thinned.organization) == 0
    assert kept_sums() == before


def test_what_is_left_is_still_proven_and_mended(thinned: Member) -> None:
    before = kept_sums()
    organization_create(slug="second", name="Second")
    UsageRollup.objects.filter(hour__gt=timezone.now() - timedelta(days=2)).update(cost=0)
    Session.objects.filter(key="s1").update(calls=7)
    assert {found.table for found in differences(thinned.organization)} == {"usage_rollup", "session"}
    organization_repair(thinned.organization)
    assert kept_sums() == before


def test_a_rolling_budget_is_proven_however_old_the_history_is(thinned: Member) -> None:
    budget = budget_create(
        actor=member_actor(thinned), name="Three days", scope_kind="organization", period_kind="rolling", rolling_hours=72, limit_amount=Decimal(10)
    )
    assert differences(thinned.organization) == []
    period = BudgetPeriod.objects.get(budget=budget)
    assert period.calls == 20
    BudgetPeriod.objects.filter(pk=period.pk).update(spent=9)
    organization_repair(thinned.organization)
    assert BudgetPeriod.objects.get(pk=period.pk).spent == period.spent


def test_a_call_reported_late_for_a_dropped_month_counts_beside_what_was_dropped(thinned: Member) -> None:
    calls = UsageRollup.objects.aggregate(calls=Sum("calls"))["calls"]
    events_store(
        actor=member_actor(thinned), api_key=None, source="rest", events=[event(1, occurred_at=timezone.now() - timedelta(days=300), session="s300")]
    )
    partitions_ensure()
    assert differences(thinned.organization) == []
    partitions_retain()
    assert differences(thinned.organization) == []
    assert UsageRollup.objects.aggregate(calls=Sum("calls"))["calls"] == calls + 1


def test_what_was_noted_of_changes_goes_with_the_calls_and_what_they_came_to_stays(prices: None, admin: Member) -> None:
    Organization.objects.update(retention_days=30)
    now = timezone.now()
    store(admin, *(event(days, occurred_at=now - timedelta(days=days)) for days in (1, 110, 111)))
    rows = {row.external_id: row for row in UsageEvent.objects.all()}
    wanted = [Amendment(row.id, row.occurred_at, {"cost": Decimal(1)}, is_removed=name == "call-111") for name, row in rows.items()]
    events_amend(organization=admin.organization, actor=member_actor(admin), amendments=wanted, cause=Cause("correction", "wrong"))
    partitions_ensure()
    assert partitions_retain() != []
    assert EventAmendment.objects.get().event_id == rows["call-1"].id
    assert AmendmentCause.objects.get().reason == "wrong"
    assert AuditRecord.objects.filter(action="events.amended").count() == 1
    assert differences(admin.organization) == []


@pytest.mark.parametrize("scope", ["organization", "team", "filtered"])
@pytest.mark.parametrize("measure", ["money", "tokens", "calls"])
def test_a_budget_made_afterwards_counts_the_dropped_months(thinned: Member, team: Team, scope: str, measure: str) -> None:
    scopes: dict[str, dict[str, Any]] = {
        "organization": {"scope_kind": "organization"},
        "team": {"scope_kind": "team", "team": team},
        "filtered": {"scope_kind": "organization", "filters": {"harness": ["codex"]}},
    }
    narrowed = scopes[scope]
    budget = budget_create(
        actor=member_actor(thinned), name="All", period_kind="lifetime", limit_amount=Decimal(1_000_000), measure=measure, **narrowed
    )
    period = BudgetPeriod.objects.get(budget=budget)
    sums = UsageRollupDay.objects.aggregate(money=Sum("cost"), calls=Sum("calls"), input=Sum("input_tokens"), output=Sum("output_tokens"))
    true = {"money": sums["money"], "calls": 100, "tokens": sums["input"] + sums["output"]}
    assert (period.spent, period.calls) == (true[measure], 100)


def test_a_year_counts_the_dropped_months_that_lie_in_it(thinned: Member) -> None:
    budget = budget_create(actor=member_actor(thinned), name="Year", scope_kind="organization", period_kind="year", limit_amount=Decimal(1000))
    period = BudgetPeriod.objects.get(budget=budget, starts_at__lte=timezone.now())
    first = period.starts_at.astimezone(thinned.organization.zone).date()
    assert period.spent == UsageRollupDay.objects.filter(day__gte=first).aggregate(cost=Sum("cost"))["cost"]


def test_unpriced_and_notional_calls_of_dropped_months_count_as_the_budget_says(prices: None, admin: Member) -> None:
    Organization.objects.update(retention_days=30)
    at = timezone.now() - timedelta(days=110)
    told = [
        event(1, occurred_at=at, model="made-up-9", provider="acme-ai"),
        event(2, occurred_at=at, billing_mode="subscription"),
        event(3, occurred_at=at, model="made-up-9", provider="acme-ai", billing_mode="subscription"),
        event(4),
    ]
    actor = member_actor(admin)
    events_store(actor=actor, api_key=None, source="rest", events=told)

    def spent(name: str) -> list[tuple[Decimal, int]]:
        common: dict[str, Any] = {"actor": actor, "scope_kind": "organization", "period_kind": "lifetime", "limit_amount": Decimal(100), "unpriced_call_amount": Decimal(2)}
        made = [budget_create(name=f"{name} {counts}", counts_notional=counts, **common) for counts in (False, True)]
        return [(period.spent, period.calls) for period in BudgetPeriod.objects.filter(budget__in=made).order_by("id")]

    before = spent("before")
    partitions_ensure()
    partitions_retain()
    assert UsageEvent.objects.count() == 1
    assert spent("after") == before


def test_what_sums_of_days_do_not_tell_apart_counts_from_the_events_that_are_left(thinned: Member) -> None:
    budget = budget_create(
        actor=member_actor(thinned), name="CI", scope_kind="organization", period_kind="lifetime", limit_amount=Decimal(10), filters={"environment": ["ci"]}
    )
    assert not BudgetPeriod.objects.filter(budget=budget, spent__gt=0).exists()

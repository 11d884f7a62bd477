"""A closed month is never rewritten: what changes is posted in the open one, and every sum is still true."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create
from governance.errors import Forbidden, Invalid, NotFound
from governance.periods import add_months
from governance.tenancy.access import member_actor
from governance.tenancy.directory import month_of
from governance.tenancy.models import Member, MonthClose, Organization
from governance.tenancy.months import month_close, month_reopen
from ingest.amending.models import Adjustment, EventAmendment
from ingest.models import UsageEvent, UsageRollup, UsageRollupDay
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_start
from ingest.rerating.unpriced import unpriced_rerate
from ingest.rerating.working import run_work
from ingest.services import events_store
from ingest.services.amend import Amended, Amendment, Cause, events_amend
from ingest.verify import differences, organization_repair
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import model_made_up, price_of_sonnet
from tests.ingest.rerating.test_runs import worked_out
from tests.ingest.test_store import COST, event, statuses, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


@pytest.fixture
def last_month(organization: Organization) -> datetime:
    """An instant well inside the month before this one."""
    first = add_months(month_of(timezone.now(), organization.zone), -1)
    return datetime(first.year, first.month, 20, 12, tzinfo=organization.zone)


def close(member: Member, at: datetime) -> MonthClose:
    return month_close(actor=member_actor(member), month=at.date(), reason="reported")


def amend(member: Member, **changes: Any) -> Amended:
    rows = [Amendment(row.id, row.occurred_at, changes) for row in UsageEvent.objects.filter(organization=member.organization)]
    done = events_amend(organization=member.organization, actor=member_actor(member), amendments=rows, cause=Cause("correction", "the list was wrong"))
    assert differences(member.organization) == []
    return done


def budgets(member: Member) -> None:
    for kind in ("month", "lifetime"):
        budget_create(actor=member_actor(member), name=kind, scope_kind="organization", period_kind=kind, limit_amount=Decimal(9))
    budget_create(actor=member_actor(member), name="each", scope_kind="session", period_kind="session", limit_amount=Decimal(9))


def test_difference_of_a_closed_month_is_posted_in_the_open_one(admin: Member, last_month: datetime) -> None:
    budgets(admin)
    store(admin, event(1, occurred_at=last_month), event(2))
    close(admin, last_month)
    done = amend(admin, cost=Decimal("0.5"), price_id=9)
    assert (done.changed, done.posted) == (2, 1)
    assert UsageEvent.objects.get(external_id="call-1").cost == COST
    assert UsageEvent.objects.get(external_id="call-2").cost == Decimal("0.5")
    row = Adjustment.objects.get()
    assert (row.cost, row.calls, row.month.day, row.provider) == (Decimal("0.5") - COST, 1, 1, "anthropic")
    assert row.month == last_month.date().replace(day=1)
    assert EventAmendment.objects.get(is_posted=True).new_cost == Decimal("0.5")
    assert Session.objects.get().cost == COST + Decimal("0.5")
    by_month = dict(UsageRollupDay.objects.filter(day__lt=timezone.now().date() - timedelta(days=1)).values_list("day", "cost"))
    assert list(by_month.values()) == [COST]


def test_second_change_posts_only_what_is_new(admin: Member, last_month: datetime) -> None:
    budgets(admin)
    store(admin, event(1, occurred_at=last_month))
    close(admin, last_month)
    amend(admin, cost=Decimal("0.5"))
    assert amend(admin, cost=Decimal("0.5")).changed == 0
    amend(admin, cost=Decimal("0.4"))
    assert sum(Adjustment.objects.values_list("cost", flat=True)) == Decimal("0.4") - COST
    month_reopen(actor=member_actor(admin), month=last_month.date(), reason="again")
    assert amend(admin, cost=Decimal("0.3")).posted == 1
    assert sum(Adjustment.objects.values_list("cost", flat=True)) == Decimal("0.3") - COST
    assert BudgetPeriod.objects.get(budget__name="lifetime").spent == Decimal("0.3")


def test_other_team_takes_the_money_over_now(admin: Member, team: Any, last_month: datetime) -> None:
    budget_create(actor=member_actor(admin), name="team", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(9))
    store(admin, event(1, occurred_at=last_month))
    close(admin, last_month)
    amend(admin, team_id=None)
    assert {row.team_id: row.cost for row in Adjustment.objects.all()} == {None: COST, team.pk: -COST}
    amend(admin, team_id=team.pk)
    assert BudgetPeriod.objects.get().spent == 0


def test_removed_call_of_a_closed_month_stays_and_its_money_is_taken_off(admin: Member, last_month: datetime) -> None:
    budgets(admin)
    sent = event(1, occurred_at=last_month)
    store(admin, sent)
    close(admin, last_month)
    row = UsageEvent.objects.get()
    removal = Amendment(row.id, row.occurred_at, is_removed=True, is_forgotten=True)
    done = events_amend(organization=admin.organization, actor=member_actor(admin), amendments=[removal], cause=Cause("undo", "wrong file"))
    assert (done.removed, done.posted) == (0, 1)
    assert Adjustment.objects.get().cost == -COST
    assert differences(admin.organization) == []
    assert statuses(store(admin, sent)) == ["duplicate"]


def test_late_call_counts_when_it_comes(admin: Member, last_month: datetime) -> None:
    budgets(admin)
    close(admin, last_month)
    store(admin, event(1, occurred_at=last_month), event(2))
    assert differences(admin.organization) == []
    late = UsageEvent.objects.get(external_id="call-1")
    assert late.counted_at is not None
    assert UsageRollup.objects.filter(hour__lt=timezone.now() - timedelta(days=1)).count() == 0
    assert BudgetPeriod.objects.get(budget__name="month", starts_at__lte=timezone.now(), ends_at__gt=timezone.now()).spent == 2 * COST
    assert amend(admin, cost=Decimal(1)).posted == 0
    organization_repair(admin.organization)
    assert differences(admin.organization) == []


def test_run_posts_for_closed_months_and_its_preview_says_so(admin: Member, last_month: datetime) -> None:
    budgets(admin)
    store(admin, event(1, occurred_at=last_month), event(2))
    price_of_sonnet(input_amount="6", output_amount="30", days_ago=100)
    close(admin, last_month)
    run = worked_out(admin, starts_at=last_month - timedelta(days=1))
    assert (run.preview["events"], run.preview["posted"]["events"]) == (2, 1)
    month = next(line for line in run.preview["budgets"] if line["name"] == "month")
    assert (Decimal(month["delta"]), month["periods"]) == (2 * COST, 1)
    run_start(actor=member_actor(admin), run=run)
    run_work(run.pk)
    assert ReratingRun.objects.get().state == "done"
    assert differences(admin.organization) == []
    assert Adjustment.objects.get().cost == COST
    assert worked_out(admin, starts_at=last_month - timedelta(days=1)).preview["events"] == 0


def test_price_that_appears_is_posted_once_for_unpriced_calls_of_a_closed_month(admin: Member, organization: Organization, last_month: datetime) -> None:
    store(admin, event(1, model="made-up-9", provider="acme-ai", occurred_at=last_month))
    close(admin, last_month)
    model_made_up()
    (run_id,) = unpriced_rerate(organization)
    run_work(run_id)
    assert (Adjustment.objects.get().cost, UsageEvent.objects.get().cost) == (Decimal("0.011"), None)
    model_made_up("made-up-10")
    assert unpriced_rerate(organization) == []


def test_months_are_closed_and_reopened_with_reason_and_record(admin: Member, lead: Member, last_month: datetime) -> None:
    row = close(admin, last_month)
    assert close(admin, last_month) == row
    with pytest.raises(Invalid):
        close(admin, timezone.now())
    with pytest.raises(Invalid):
        month_reopen(actor=member_actor(admin), month=last_month.date(), reason=" ")
    with pytest.raises(Forbidden):
        close(lead, last_month)
    month_reopen(actor=member_actor(admin), month=last_month.date(), reason="one invoice was missing")
    with pytest.raises(NotFound):
        month_reopen(actor=member_actor(admin), month=last_month.date(), reason="twice")
    close(admin, last_month)
    assert list(AuditRecord.objects.filter(target_kind="month").order_by("id").values_list("action", flat=True)) == [
        "month.closed", "month.reopened", "month.closed",
    ]  # fmt: skip


def test_calls_stored_in_a_batch_with_late_ones_are_all_right(admin: Member, last_month: datetime) -> None:
    close(admin, last_month)
    sent = [event(number, occurred_at=last_month + timedelta(seconds=number), session=f"s{number % 3}") for number in range(200)]
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=sent)
    assert differences(admin.organization) == []
    assert Session.objects.get(key="s0").first_at == last_month

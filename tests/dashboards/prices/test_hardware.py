"""Own hardware: what a million tokens comes to in a month, beside a hosted one; shared out by tokens; fixed when it is over."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import IntegrityError, InternalError, transaction
from django.test import Client

from dashboards.selectors.unpriced import unpriced_models
from governance.billing.fleets import fleet_change, fleet_create, fleet_end, fleet_hours_enter
from governance.billing.hardware import Rig, at_ordinary_rates, hours_there, month_of
from governance.billing.models import Fleet, FleetMonth
from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.errors import Conflict
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization, Team
from governance.tenancy.months import month_close
from ingest.own_hardware import hardware_months, months_fix, months_fix_all
from tests.dashboards.usage_made import NOW, call, use

pytestmark = pytest.mark.usefixtures("prices", "at_now")
PAGE = "/o/acme/prices/own-hardware"
OCTOBER = date(2026, 10, 1)


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def fleet_of(actor: Actor, **facts: Any) -> Fleet:
    """Two GPUs at 1.5 an hour from September on, compared with a hosted model."""
    given = {"name": "Pool", "model": "own-coder", "gpus": 2, "rate": Decimal("1.5"), "valid_from": date(2026, 9, 1), "hosted_provider": "deepseek", "hosted_model": "deepseek-chat"}
    return fleet_create(actor=actor, **{**given, **facts})


def served(organization: Organization, tokens: int, *, at: datetime = NOW - timedelta(hours=1), **fields: Any) -> None:
    facts = {"model": "own-coder", "provider": "vllm", "billing_mode": "self-hosted", "input_tokens": tokens, "output_tokens": 0, "occurred_at": at}
    use(organization, [call(**{**facts, **fields})])


def month(organization: Organization, first: date = OCTOBER, now: datetime = NOW) -> Any:
    (found,) = hardware_months(organization, first, now=now)
    return found


def test_calls_that_own_hardware_served_lack_no_price(actor: Actor, organization: Organization) -> None:
    fleet_of(actor, valid_from=date(2026, 10, 12))
    for day in (10, 14):
        served(organization, 1_000, at=datetime(2026, 10, day, tzinfo=UTC))
    served(organization, 1_000, at=datetime(2026, 10, 14, tzinfo=UTC), billing_mode="metered")
    (found,) = unpriced_models(actor, now=datetime(2026, 10, 20, tzinfo=UTC))
    assert (found.model, found.calls) == ("own-coder", 1)


def test_closed_month_keeps_what_its_hardware_cost(actor: Actor) -> None:
    fleet = fleet_of(actor)
    month_close(actor=actor, month=OCTOBER, reason="Reported", now=NOW)
    with pytest.raises(Conflict, match="October 2026 is closed"):
        fleet_end(actor=actor, fleet=fleet, ends_on=date(2026, 10, 20))
    assert fleet_end(actor=actor, fleet=fleet, ends_on=date(2026, 11, 1)).valid_to == date(2026, 11, 1)


def test_month_of_gpu_hours_over_its_tokens_is_the_price_of_a_million(actor: Actor, organization: Organization) -> None:
    fleet_of(actor, tokens_per_hour=1_000_000)
    served(organization, 149_000_000, at=datetime(2026, 10, 10, tzinfo=UTC))
    served(organization, 5_000_000, at=datetime(2026, 10, 10, tzinfo=UTC), billing_mode="metered")
    served(organization, 5_000_000, at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC))  # November in Berlin
    found = month(organization)
    assert (found.figures.gpu_hours, found.amount) == (745 * 2, Decimal(2235))  # the clocks of Berlin fall back in October
    assert (found.used.tokens, found.per_mtok) == (149_000_000, Decimal(15))
    assert found.figures.utilisation == Fraction(149, 745)
    assert found.hosted_per_mtok is not None
    assert found.hosted_name == "deepseek-chat of deepseek"


def test_running_month_counts_the_hours_so_far(actor: Actor, organization: Organization) -> None:
    fleet_of(actor)
    assert month(organization, date(2026, 11, 1)).amount == Decimal(3) * (17 * 24 + Decimal("16.5"))
    assert month(organization, date(2026, 11, 1)).per_mtok is None


@pytest.mark.parametrize(("first", "until", "hours"), [(date(2026, 3, 1), date(2026, 4, 1), 743), (date(2026, 10, 1), date(2026, 11, 1), 745), (date(2026, 2, 1), date(2026, 3, 1), 672)])
def test_hours_follow_the_clocks(first: date, until: date, hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert hours_there(date(2020, 1, 1), None, month=(first, until), zone=berlin, now=datetime(2027, 1, 1, tzinfo=UTC)) == hours
    assert hours_there(until, None, month=(first, until), zone=berlin, now=datetime(2027, 1, 1, tzinfo=UTC)) == 0
    assert hours_there(first, first, month=(first, until), zone=berlin, now=datetime(2027, 1, 1, tzinfo=UTC)) == 0
    assert hours_there(first, None, month=(first, until), zone=berlin, now=datetime(2020, 1, 1, tzinfo=UTC)) == 0


def rig(**facts: Any) -> Rig:
    given = {
        "id": 1, "name": "Pool", "gpus": 2, "rate": Decimal(3), "currency": "USD", "exchange_rate": Fraction(1), "is_paid_by_work": False, "hours": Fraction(100),
        "capacity_per_hour": None,
    }  # fmt: skip
    return Rig(**{**given, **facts})


def test_paid_by_work_costs_the_hours_its_tokens_take() -> None:
    by_work = rig(is_paid_by_work=True, capacity_per_hour=1_000_000)
    assert month_of([by_work], 10_000_000).amount == 60
    assert month_of([by_work], 0).amount == 0
    assert month_of([by_work], 0).per_mtok is None
    both = month_of([by_work, rig(id=2, gpus=6)], 8_000_000)  # a quarter of the GPU-hours, so a quarter of the tokens
    assert both.amounts == {1: 2 * 6, 2: 1800}


def test_what_is_not_known_makes_no_amount() -> None:
    assert month_of([rig(hours=None)], 10).amount is None
    assert month_of([rig(), rig(id=2, exchange_rate=None)], 10).amount is None
    assert month_of([], 10).amount is None
    assert month_of([rig(hours=Fraction(0))], 10).per_mtok == 0
    assert month_of([rig(hours=Fraction(0), capacity_per_hour=5)], 10).utilisation is None
    assert at_ordinary_rates({"input_tokens": {"base": "2", "per": 1000}}, {"input_tokens": 500, "cache_read_tokens": 500}) == 2
    assert at_ordinary_rates({"input_tokens": {"base": "2"}}, {"output_tokens": 1}) is None


def test_fleet_that_changes_in_the_month_counts_each_row_for_its_days(actor: Actor, organization: Organization) -> None:
    fleet_change(actor=actor, fleet=fleet_of(actor), valid_from=date(2026, 10, 11), gpus=4)
    assert month(organization).amount == Decimal("1.5") * (240 * 2 + 505 * 4)


def test_month_is_fixed_when_it_is_over_and_stays_so(actor: Actor, organization: Organization) -> None:
    fleet = fleet_of(actor)
    served(organization, 1_000_000, at=datetime(2026, 10, 10, tzinfo=UTC))
    assert [row.month for row in months_fix(organization, now=datetime(2026, 11, 3, 22, tzinfo=UTC))] == [date(2026, 9, 1)]
    assert months_fix_all(now=NOW) == 1
    assert months_fix_all(now=NOW) == 0
    row = FleetMonth.objects.get(month=OCTOBER)
    assert (row.amount, row.per_mtok, row.tokens) == (2235, 2235, 1_000_000)
    for change in (
        lambda: fleet_change(actor=actor, fleet=fleet, valid_from=date(2026, 10, 20), gpus=1),
        lambda: fleet_end(actor=actor, fleet=fleet, ends_on=date(2026, 10, 20)),
        lambda: fleet_of(actor, name="Second"),
    ):
        with pytest.raises(Conflict):
            change()
    served(organization, 1_000_000, at=datetime(2026, 10, 11, tzinfo=UTC))
    assert FleetMonth.objects.get(month=OCTOBER).tokens == 1_000_000
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
        FleetMonth.objects.update(amount=1)


def test_month_waits_for_its_hours_and_those_after_it_with_it(actor: Actor, organization: Organization) -> None:
    fleet = fleet_of(actor, schedule="entered")
    assert months_fix(organization, now=NOW) == []
    fleet_hours_enter(actor=actor, fleet=fleet, month=OCTOBER, hours=Decimal(100), now=NOW)
    assert months_fix(organization, now=NOW) == []
    fleet_hours_enter(actor=actor, fleet=fleet, month=date(2026, 9, 1), hours=Decimal(50), now=NOW)
    assert [(row.month, row.amount) for row in months_fix(organization, now=NOW)] == [(date(2026, 9, 1), 150), (OCTOBER, 300)]
    with pytest.raises(Conflict):
        fleet_hours_enter(actor=actor, fleet=fleet, month=OCTOBER, hours=Decimal(99), now=NOW)


def test_page_shows_months_shares_and_takes_changes(visitor: Client, organization: Organization, team: Team) -> None:
    assert visitor.get(PAGE).status_code == 200
    form = {"name": "Pool", "model": "own-coder", "gpus": "2", "rate": "1.5", "currency": "USD", "basis": "hours", "schedule": "entered", "valid_from": "2026-10-01"}
    made = visitor.post(PAGE, form)
    assert made.status_code == 302, made.context["form"].errors
    assert visitor.post(PAGE, form).status_code == 422
    fleet = Fleet.objects.get()
    one = f"{PAGE}/{fleet.pk}"
    assert visitor.post(one, {"action": "hours", "month": "2026-11", "hours": "100"}).status_code == 302
    assert visitor.post(one, {"action": "hours", "month": "November", "hours": "100"}).status_code == 422
    for tokens, of in ((3_000_000, "platform"), (1_000_000, "")):
        served(organization, tokens, team=of)
    answer = visitor.get(PAGE)
    assert [(row.team, row.share, row.amount) for row in answer.context["tables"][1].rows] == [("Platform", Decimal("0.75"), 225), ("Unallocated", Decimal("0.25"), 75)]
    assert [(row.state, row.amount, row.per_mtok) for row in answer.context["tables"][0].rows] == [("running", 300, 75), ("hours", None, None)]
    assert visitor.get("/o/acme/").context["shown"].modes.hardware == 300
    assert visitor.get("/o/acme/").context["shown"].month_figures.cost == 0
    change = {"action": "change", "gpus": "4", "rate": "1.5", "currency": "USD", "basis": "hours", "schedule": "entered", "valid_from": "2026-12-01"}
    assert visitor.post(one, change).status_code == 302
    assert visitor.get(one).status_code == 200
    assert visitor.post(f"{PAGE}/{Fleet.objects.get(valid_to=None).pk}", {"action": "end", "ends_on": "2027-01-01"}).status_code == 302


def test_others_see_nothing_of_it(client: Client, actor: Actor, stranger: Member, organization: Organization, other_organization: Organization) -> None:
    fleet = fleet_of(actor)
    assert hardware_months(other_organization, OCTOBER, now=NOW) == []
    client.force_login(stranger.user)
    assert client.get(PAGE).status_code == 404
    assert client.get(f"/o/globex/prices/own-hardware/{fleet.pk}").status_code == 404


@pytest.mark.parametrize("mode", ["subscription", "self-hosted"])
def test_neither_counts_in_a_hard_budget_unless_it_says_so(actor: Actor, organization: Organization, mode: str) -> None:
    facts: dict[str, Any] = {"scope_kind": "organization", "period_kind": "month", "limit_amount": Decimal(100)}
    for name, counts in (("hard", False), ("all", True)):
        budget_create(actor=actor, name=name, counts_notional=counts, **facts)
    use(organization, [call(model="claude-haiku-4-5", billing_mode=mode, input_tokens=1_000_000, output_tokens=0)])
    spent = dict(BudgetPeriod.objects.values_list("budget__name", "spent"))
    assert (spent.get("hard", 0), spent["all"]) == (0, 1)
    with time_machine.travel(NOW + timedelta(minutes=1), tick=False):
        fleet_of(actor)
    assert BudgetPeriod.objects.get(budget__name="all").spent == 1

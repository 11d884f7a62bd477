"""The page of seats: who has one, last use, idle, fees beside what the calls would have cost, and who would be cheaper otherwise."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboards.insights.seats import per_active, state_of, verdict
from governance.billing.models import Seat, SeatPlan
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization, Role
from governance.tenancy.services import organization_touch
from tests.conftest import person
from tests.dashboards.usage_made import NOW, call, use
from tests.governance.billing.conftest import plan_of, seat_of

pytestmark = pytest.mark.usefixtures("prices", "at_now")
PAGE = "/o/acme/prices/seats"
NOVEMBER = "?range=custom&from=2026-11-01&to=2026-11-18"


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def seated(organization: Organization, name: str, plan: SeatPlan, actor: Actor, *days: date) -> Member:
    member = person(organization, email=f"{name}@acme.example", role=Role.ENGINEER)
    organization_touch(organization)  # usage names the person from now on
    seat_of(actor, plan, member, *days)
    return member


def used(organization: Organization, member: Member, *, tokens: int = 1_000_000, days_ago: int = 0, **fields: Any) -> None:
    facts = {
        "model": "claude-haiku-4-5", "billing_mode": "subscription", "member": member.user.email, "input_tokens": tokens, "output_tokens": 0,
        "occurred_at": NOW - timedelta(days=days_ago, hours=1),
    }  # fmt: skip
    use(organization, [call(**{**facts, **fields})])


def rows(visitor: Client, query: str = NOVEMBER) -> dict[str, Any]:
    answer = visitor.get(PAGE + query)
    assert answer.status_code == 200
    return {row.seat.member.user.email.partition("@")[0]: row for row in answer.context["view"].rows}


def test_people_are_active_idle_or_new(visitor: Client, actor: Actor, organization: Organization) -> None:
    plan = plan_of(actor, fee=Decimal(30))
    busy, gone, never, fresh = (seated(organization, name, plan, actor, *days) for name, days in (("busy", ()), ("gone", ()), ("never", ()), ("fresh", (date(2026, 11, 10),))))
    used(organization, busy)
    used(organization, gone, days_ago=30)
    used(organization, never, harness="codex")
    assert fresh.pk
    found = rows(visitor)
    assert {name: row.state for name, row in found.items()} == {"busy": "active", "gone": "idle", "never": "idle", "fresh": "new"}
    assert (found["gone"].last, found["never"].last) == (date(2026, 10, 19), None)
    assert {name: row.state for name, row in rows(visitor, f"{NOVEMBER}&idle=60").items()}["gone"] == "active"
    view = visitor.get(PAGE + NOVEMBER).context["view"]
    assert view.fees.total == 18 * 3 + 9
    assert view.cost_per_active == 63


def test_metered_calls_keep_a_seat_from_being_idle(visitor: Client, actor: Actor, organization: Organization) -> None:
    member = seated(organization, "kim", plan_of(actor), actor)
    used(organization, member, billing_mode="metered")
    row = rows(visitor)["kim"]
    assert (row.state, row.use.notional, row.use.metered) == ("active", 0, 1)


def test_seat_is_worth_its_fee_when_the_calls_would_have_cost_more(visitor: Client, actor: Actor, organization: Organization) -> None:
    plan = plan_of(actor, fee=Decimal(30))
    for name, tokens in (("heavy", 30_000_000), ("light", 100_000)):
        used(organization, seated(organization, name, plan, actor), tokens=tokens)
    found = rows(visitor)
    assert (found["heavy"].use.notional, found["heavy"].fee.amount, found["heavy"].gain, found["heavy"].verdict) == (30, 18, 12, "seat")
    assert found["light"].verdict == "metered"


def test_metered_people_who_would_be_cheaper_on_a_seat_are_named(visitor: Client, actor: Actor, organization: Organization, lead: Member) -> None:
    plan = plan_of(actor, fee=Decimal(30))
    spender, saver = (person(organization, email=f"{name}@acme.example", role=Role.ENGINEER) for name in ("spender", "saver"))
    holder = seated(organization, "holder", plan, actor)
    for member, tokens in ((spender, 30_000_000), (saver, 15_000_000), (holder, 30_000_000)):
        used(organization, member, tokens=tokens, billing_mode="metered")
    found = visitor.get(PAGE + NOVEMBER).context["view"].candidates
    assert [(row.member, row.billed, row.fee, row.saving) for row in found] == [(spender, 30, 18, 12)]
    visitor.force_login(lead.user)
    assert visitor.get(PAGE + NOVEMBER).context["view"].candidates == []


def test_included_use_is_counted_from_the_first_day_of_the_billing_period(visitor: Client, actor: Actor, organization: Organization) -> None:
    terms = {"valid_from": date(2026, 9, 5), "included_amount": Decimal(4_000_000)}
    for measure, amount in (("tokens", 4_000_000), ("calls", 4), ("notional", 4)):
        plan = plan_of(actor, name=measure, harness=f"harness-{measure}", **{**terms, "included_measure": measure, "included_amount": Decimal(amount)})
        member = seated(organization, measure, plan, actor, date(2026, 9, 5))
        for days_ago, mode in ((0, "subscription"), (14, "subscription"), (0, "metered")):  # the period began on 5 November
            used(organization, member, harness=plan.harness, days_ago=days_ago, billing_mode=mode)
        row = rows(visitor)[measure]
        assert row.included == (Decimal(amount) / 4, amount)


def test_nobody_active_divides_by_nothing(visitor: Client, actor: Actor, organization: Organization) -> None:
    assert visitor.get(PAGE).status_code == 200
    plan_of(actor, included_measure="tokens", included_amount=Decimal(1))
    assert visitor.get(PAGE).context["view"].cost_per_active is None
    seated(organization, "kim", SeatPlan.objects.get(), actor)
    view = visitor.get(PAGE).context["view"]
    assert (view.cost_per_active, view.idle, view.rows[0].included) == (None, 1, (0, 1))
    assert per_active(Decimal(10), 0) is None
    assert verdict(None, Decimal(5)) == ""
    assert state_of(None, date(2026, 11, 1), today=date(2026, 11, 30), idle_days=30) == "new"


def test_seats_are_given_ended_and_read_from_a_file_on_the_page(visitor: Client, organization: Organization, engineer: Member, lead: Member) -> None:
    made = visitor.post(PAGE, {"action": "plan", "name": "Claude Team", "harness": "claude-code", "fee": "30", "currency": "USD", "period": "month", "valid_from": "2026-09-01"})
    assert made.status_code == 302, made.context["forms"]["plan"].errors
    plan = SeatPlan.objects.get()
    assert visitor.post(PAGE, {"action": "give", "plan": plan.pk, "member": engineer.pk, "valid_from": "2026-10-01"}).status_code == 302
    again = visitor.post(PAGE, {"action": "give", "plan": plan.pk, "member": engineer.pk, "valid_from": "2026-11-01"})
    assert again.status_code == 422
    assert "for the same calls" in again.content.decode()
    file = SimpleUploadedFile("seats.csv", b"email,from\nlead@acme.example,2026-11-01\n")
    assert visitor.post(PAGE, {"action": "file", "plan": plan.pk, "file": file}).status_code == 302
    wrong = visitor.post(PAGE, {"action": "file", "plan": plan.pk, "file": SimpleUploadedFile("seats.csv", b"email,from\nnobody@acme.example,2026-11-01\n")})
    assert (wrong.status_code, "Line 2" in wrong.content.decode()) == (422, True)
    seat = Seat.objects.get(member=engineer)
    assert visitor.post(PAGE, {"action": "end", "seat": seat.pk, "ends_on": "2026-11-16"}).status_code == 302
    one = f"{PAGE}/plans/{plan.pk}"
    assert "Other terms" in visitor.get(one).content.decode()
    change = {"action": "change", "fee": "60", "currency": "USD", "period": "month", "valid_from": "2026-12-01"}
    assert visitor.post(one, change).status_code == 302
    assert visitor.post(one, change | {"fee": "61"}).status_code == 422
    assert visitor.post(one, {"action": "end", "ends_on": "2027-01-01"}).status_code == 302
    assert set(Seat.objects.values_list("member", "valid_to")) == {(engineer.pk, date(2026, 11, 16)), (lead.pk, date(2027, 1, 1))}
    assert visitor.get(f"{PAGE}{NOVEMBER}&format=csv&table=seats").content.decode().startswith("Person,Team,Plan,")


def test_overview_and_spend_tell_billed_fees_and_notional_apart(visitor: Client, actor: Actor, organization: Organization) -> None:
    member = seated(organization, "kim", plan_of(actor, fee=Decimal(30)), actor)
    used(organization, member)
    used(organization, member, tokens=2_000_000, billing_mode="metered")
    modes = visitor.get("/o/acme/").context["shown"].modes
    assert (modes.metered, modes.fees, modes.seats, modes.notional_seats) == (2, 18, 1, 1)
    assert "Nobody bills it" in visitor.get("/o/acme/").content.decode()
    spend = visitor.get(f"/o/acme/spend{NOVEMBER}")
    assert (spend.context["total"].cost, spend.context["total"].notional_cost, spend.context["fees"]) == (2, 1, (Decimal(18), 1))
    assert visitor.get(f"/o/acme/spend{NOVEMBER}&team=~").context["fees"] is None
    assert visitor.get(f"/o/acme/spend{NOVEMBER}&billing-mode=metered").context["fees"] is None
    assert visitor.get(f"/o/acme/spend{NOVEMBER}&billing-mode=subscription").context["fees"] == (18, 1)


def test_page_asks_as_often_for_twenty_seats_as_for_two(visitor: Client, actor: Actor, organization: Organization) -> None:
    plan = plan_of(actor, included_measure="calls", included_amount=Decimal(9))
    counts = []
    for number in (2, 20):
        for index in range(number):
            used(organization, seated(organization, f"p{number}-{index}", plan, actor), billing_mode=("subscription", "metered")[index % 2])
        visitor.get(PAGE)
        with CaptureQueriesContext(connection) as asked:
            visitor.get(PAGE)
        counts.append(len(asked))
    assert counts[0] == counts[1]

"""Seats: who has one, when, and what they cost; one at a time, in one's own organization, by who may."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, InternalError, transaction

from governance.audit.models import AuditRecord
from governance.billing.models import Seat, SeatPlan, SeatTerms
from governance.billing.plans import plan_change, plan_end
from governance.billing.proration import Days
from governance.billing.seats import seat_end, seat_give, seats_import
from governance.billing.selectors import fees_in
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.pricing.contracts import ExchangeRate
from governance.tenancy.access import Actor, Right, member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from governance.tenancy.months import month_close, month_reopen
from governance.tenancy.services import organization_touch
from tests.conftest import person
from tests.governance.billing.conftest import BEGINS, plan_of, seat_of

OCTOBER = Days(date(2026, 10, 1), date(2026, 11, 1))
MIDDLE = date(2026, 10, 11)


def cost(actor: Actor, days: Days = OCTOBER) -> Decimal:
    return fees_in(actor, days).total


def test_seat_costs_its_fee_for_a_month_and_a_part_for_some_days(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat_of(actor, plan, engineer)
    assert cost(actor) == 31
    assert cost(actor, Days(MIDDLE, date(2026, 10, 14))) == 3
    assert cost(actor, Days(date(2026, 8, 1), BEGINS)) == 0


def test_seat_that_changes_hands_costs_one_fee(actor: Actor, plan: SeatPlan, engineer: Member, lead: Member) -> None:
    seat = seat_of(actor, plan, engineer)
    seat_end(actor=actor, seat=seat, ends_on=MIDDLE)
    seat_of(actor, plan, lead, MIDDLE)
    fees = fees_in(actor, OCTOBER)
    assert {fee.seat.member_id: (fee.days, fee.amount) for fee in fees.seats} == {engineer.pk: (10, Decimal(10)), lead.pk: (21, Decimal(21))}
    assert fees.total == 31


def test_fee_that_changes_in_the_middle_counts_by_days(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat_of(actor, plan, engineer)
    plan_change(actor=actor, plan=plan, valid_from=MIDDLE, fee=Decimal(62))
    assert cost(actor) == 10 + 42
    assert [(row.fee, row.valid_from, row.valid_to) for row in SeatTerms.objects.filter(plan=plan)] == [(31, BEGINS, MIDDLE), (62, MIDDLE, None)]


def test_seat_of_a_year_costs_a_day_s_share_of_the_year(actor: Actor, engineer: Member) -> None:
    seat_of(actor, plan_of(actor, period="year", fee=Decimal(365)), engineer)
    assert cost(actor) == 31


def test_change_to_what_is_so_already_makes_no_row(actor: Actor, plan: SeatPlan) -> None:
    before = AuditRecord.objects.count()
    plan_change(actor=actor, plan=plan, valid_from=MIDDLE, fee=Decimal("31.00"))
    assert (SeatTerms.objects.count(), AuditRecord.objects.count()) == (1, before)


def test_closed_month_keeps_its_fees(actor: Actor, plan: SeatPlan, engineer: Member, lead: Member) -> None:
    seat = seat_of(actor, plan, engineer)
    month_close(actor=actor, month=date(2026, 10, 1), reason="Reported")
    november = date(2026, 11, 1)
    for change in (
        lambda: seat_give(actor=actor, plan=plan, member=lead, valid_from=MIDDLE),
        lambda: seat_end(actor=actor, seat=seat, ends_on=MIDDLE),
        lambda: plan_change(actor=actor, plan=plan, valid_from=MIDDLE, fee=Decimal(62)),
        lambda: plan_end(actor=actor, plan=plan, ends_on=MIDDLE),
    ):
        with pytest.raises(Conflict, match="October 2026 is closed"):
            change()
    assert seat_give(actor=actor, plan=plan, member=engineer, valid_from=BEGINS) == seat
    seat_give(actor=actor, plan=plan, member=lead, valid_from=november)
    plan_change(actor=actor, plan=plan, valid_from=november, fee=Decimal(62))
    assert cost(actor) == 31

    month_reopen(actor=actor, month=date(2026, 10, 1), reason="A seat was forgotten")
    seat_end(actor=actor, seat=seat, ends_on=MIDDLE)
    assert cost(actor) == 10


def test_terms_begin_after_the_present_ones(actor: Actor, plan: SeatPlan) -> None:
    with pytest.raises(Conflict):
        plan_change(actor=actor, plan=plan, valid_from=BEGINS, fee=Decimal(1))


@pytest.mark.parametrize(
    ("first", "until"),
    [(BEGINS, None), (date(2026, 9, 15), None), (date(2026, 9, 15), date(2026, 9, 20)), (date(2026, 9, 1), date(2026, 12, 1)), (date(2026, 9, 29), date(2026, 10, 20))],
)
def test_overlapping_seats_of_one_person_are_refused(actor: Actor, plan: SeatPlan, engineer: Member, first: date, until: date | None) -> None:
    seat_of(actor, plan, engineer, date(2026, 9, 1), date(2026, 9, 30))
    with pytest.raises(Conflict):
        seat_give(actor=actor, plan=plan, member=engineer, valid_from=first, valid_to=until)


def test_seats_of_plans_for_the_same_calls_overlap_and_of_others_do_not(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat_of(actor, plan, engineer)
    for name, cover in (("Premium", {"harness": "claude-code"}), ("Any harness", {"harness": "", "provider": "anthropic"})):
        with pytest.raises(Conflict):
            seat_of(actor, plan_of(actor, name=name, **cover), engineer)
    seat_of(actor, plan_of(actor, name="Codex", harness="codex"), engineer)
    assert Seat.objects.count() == 2


def test_seat_may_follow_on_the_day_the_one_before_ends(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat_of(actor, plan, engineer, BEGINS, MIDDLE)
    seat_of(actor, plan, engineer, MIDDLE)
    assert cost(actor) == 31


def test_same_seat_again_changes_nothing(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    assert seat_of(actor, plan, engineer).pk == seat_of(actor, plan, engineer).pk
    assert AuditRecord.objects.filter(action="seat.given").count() == 1


def test_seat_that_ends_on_the_day_it_began_never_was(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat_end(actor=actor, seat=seat_of(actor, plan, engineer), ends_on=BEGINS)
    assert fees_in(actor, OCTOBER).seats == []
    seat_of(actor, plan, engineer, date(2026, 8, 1) + timedelta(days=31))
    assert cost(actor) == 31


def test_end_may_be_set_earlier_but_not_later(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat = seat_of(actor, plan, engineer, BEGINS, date(2026, 12, 1))
    seat_end(actor=actor, seat=seat, ends_on=MIDDLE)
    with pytest.raises(Conflict):
        seat_end(actor=actor, seat=seat, ends_on=date(2026, 12, 1))
    with pytest.raises(Invalid):
        seat_end(actor=actor, seat=seat, ends_on=date(2026, 8, 1))


def test_seats_lie_within_the_days_of_their_plan(actor: Actor, plan: SeatPlan, engineer: Member, lead: Member) -> None:
    with pytest.raises(Invalid):
        seat_of(actor, plan, engineer, date(2026, 8, 31))
    seat = seat_of(actor, plan, engineer)
    late = seat_of(actor, plan, lead, date(2026, 12, 1))
    plan_end(actor=actor, plan=plan, ends_on=MIDDLE)
    seat.refresh_from_db()
    late.refresh_from_db()
    assert (seat.valid_to, late.valid_to) == (MIDDLE, date(2026, 12, 1))
    assert cost(actor) == 10
    assert cost(actor, Days(date(2026, 12, 1), date(2027, 1, 1))) == 0
    for first, until in ((MIDDLE, None), (BEGINS, date(2026, 10, 12))):
        with pytest.raises(Invalid):
            seat_give(actor=actor, plan=plan, member=lead, valid_from=first, valid_to=until)
    with pytest.raises(Conflict):
        plan_end(actor=actor, plan=plan, ends_on=MIDDLE)
    with pytest.raises(Conflict):
        plan_change(actor=actor, plan=plan, valid_from=MIDDLE, fee=Decimal(1))


def test_fee_in_another_currency_is_converted_at_the_rate_of_its_period_s_first_day(actor: Actor, organization: Organization, engineer: Member) -> None:
    with pytest.raises(Invalid):
        plan_of(actor, currency="EUR")
    for day, rate in ((BEGINS, "1.1"), (date(2026, 10, 5), "2")):
        ExchangeRate.objects.create(organization=organization, base="EUR", quote="USD", day=day, rate=Decimal(rate), source="test")
    organization_touch(organization)
    seat_of(actor, plan_of(actor, currency="EUR"), engineer)
    assert cost(actor) == Decimal("34.1")
    assert cost(actor, Days(date(2026, 11, 1), date(2026, 12, 1))) == 62


def test_rows_are_not_changed_in_the_tables(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat = seat_of(actor, plan, engineer, BEGINS, MIDDLE)
    for rows, change in (
        (SeatTerms.objects.all(), {"fee": 1}),
        (Seat.objects.all(), {"valid_from": date(2026, 9, 2)}),
        (Seat.objects.all(), {"valid_to": date(2026, 12, 1)}),
        (SeatPlan.objects.all(), {"harness": "codex"}),
    ):
        with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
            rows.update(**change)
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
        Seat.objects.filter(pk=seat.pk).delete()


@pytest.mark.parametrize(
    "facts",
    [
        {"fee": Decimal(-1)}, {"fee": Decimal("NaN")}, {"fee": Decimal("Infinity")}, {"fee": Decimal(10) ** 10}, {"fee": Decimal("1e-16")}, {"currency": "dollars"},
        {"currency": "E€R"}, {"period": "week"}, {"harness": "", "provider": ""}, {"name": " "}, {"name": "x" * 121}, {"harness": "x" * 81}, {"included_measure": "tokens"},
        {"included_amount": Decimal(1)}, {"included_measure": "tokens", "included_amount": Decimal(0)}, {"included_measure": "hugs", "included_amount": Decimal(1)},
        {"valid_from": date(1, 1, 1)}, {"valid_from": date(9999, 12, 31)}, {"anchor": date(9999, 12, 31)}, {"name": "a\x00b"},
    ],
)  # fmt: skip
def test_plans_that_cannot_be_are_refused(actor: Actor, facts: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        plan_of(actor, **facts)
    assert not SeatPlan.objects.exists()


def test_name_is_taken_once(actor: Actor, plan: SeatPlan) -> None:
    with pytest.raises(Conflict):
        plan_of(actor, name=" Claude Team ")


@pytest.mark.parametrize("role", Role)
def test_who_manages_prices_manages_seats(organization: Organization, plan: SeatPlan, engineer: Member, role: Role) -> None:
    somebody = member_actor(person(organization, email="somebody@acme.example", role=role))
    if somebody.can(Right.MANAGE_PRICES):
        seat_end(actor=somebody, seat=seat_of(somebody, plan, engineer), ends_on=MIDDLE)
        return
    for act in (
        lambda: plan_of(somebody, name="Other"),
        lambda: plan_change(actor=somebody, plan=plan, valid_from=MIDDLE, fee=Decimal(1)),
        lambda: plan_end(actor=somebody, plan=plan, ends_on=MIDDLE),
        lambda: seat_of(somebody, plan, engineer),
        lambda: seats_import(actor=somebody, plan=plan, data=b""),
    ):
        with pytest.raises(Forbidden):
            act()


def test_strangers_plans_and_people_are_not_there(actor: Actor, plan: SeatPlan, engineer: Member, stranger: Member) -> None:
    other = member_actor(stranger)
    seat = seat_of(actor, plan, engineer)
    for act in (
        lambda: plan_change(actor=other, plan=plan, valid_from=MIDDLE, fee=Decimal(1)),
        lambda: plan_end(actor=other, plan=plan, ends_on=MIDDLE),
        lambda: seat_give(actor=other, plan=plan, member=stranger, valid_from=BEGINS),
        lambda: seat_end(actor=other, seat=seat, ends_on=MIDDLE),
        lambda: seat_give(actor=actor, plan=plan, member=stranger, valid_from=BEGINS),
    ):
        with pytest.raises(NotFound):
            act()
    assert fees_in(other, OCTOBER).seats == []
    assert fees_in(other, OCTOBER).total == 0


def test_approver_sees_the_seats_of_the_own_team(actor: Actor, plan: SeatPlan, organization: Organization, engineer: Member, lead: Member) -> None:
    elsewhere = person(organization, email="other@acme.example", role=Role.ENGINEER, team=Team.objects.create(organization=organization, slug="data", name="Data"))
    for member in (engineer, elsewhere):
        seat_of(actor, plan, member)
    assert [fee.seat.member_id for fee in fees_in(member_actor(lead), OCTOBER).seats] == [engineer.pk]
    assert len(fees_in(actor, OCTOBER).seats) == 2


def test_file_gives_and_ends_seats_and_changes_nothing_when_read_again(actor: Actor, plan: SeatPlan, engineer: Member, lead: Member) -> None:
    data = b"\xef\xbb\xbfEmail,From,To\r\nEngineer@acme.example,2026-09-01,\r\n\r\nlead@acme.example,2026-09-01,2026-10-11\r\n"
    first, again = (seats_import(actor=actor, plan=plan, data=data) for _ in range(2))
    assert (first.given, first.unchanged, again.given, again.unchanged) == (2, 0, 0, 2)
    ended = seats_import(actor=actor, plan=plan, data=b"email,from,to\nengineer@acme.example,2026-09-01,2026-10-11\n")
    assert (ended.ended, cost(actor)) == (1, 20)
    handed = seats_import(actor=actor, plan=plan, data=b"from,email\n2026-10-11,engineer@acme.example\n")
    assert (handed.given, cost(actor)) == (1, 41)


def test_file_with_a_wrong_line_changes_nothing_and_says_which(actor: Actor, plan: SeatPlan, engineer: Member, stranger: Member) -> None:
    data = b"email,from\nengineer@acme.example,2026-09-01\nstranger@globex.example,2026-09-01\nengineer@acme.example,soon\nengineer@acme.example,2026-09-02\n,2026-09-01\n"
    with pytest.raises(Invalid) as refusal:
        seats_import(actor=actor, plan=plan, data=data)
    assert [line.partition(":")[0] for line in refusal.value.extra["lines"]] == ["Line 3", "Line 4", "Line 5", "Line 6"]
    assert not Seat.objects.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"name,from\n", b"email,from,to,colour\n", b"email,from,from\n", b"\xff\xfe\x00", b'email,from\n"x', b"email,from\na\x00b,2026-09-01\n",
        b"x" * 1_000_001, b"email,from\n" + b"a,b\n" * 5001,
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_such_file_is_refused(actor: Actor, plan: SeatPlan, data: bytes) -> None:
    with pytest.raises(Invalid):
        seats_import(actor=actor, plan=plan, data=data)


def test_each_change_is_in_the_record(actor: Actor, plan: SeatPlan, engineer: Member) -> None:
    seat = seat_of(actor, plan, engineer)
    plan_change(actor=actor, plan=plan, valid_from=MIDDLE, fee=Decimal(62))
    seat_end(actor=actor, seat=seat, ends_on=MIDDLE)
    plan_end(actor=actor, plan=plan, ends_on=date(2026, 12, 1))
    rows = AuditRecord.objects.filter(action__startswith="seat").order_by("pk")
    assert [row.action for row in rows] == ["seat_plan.created", "seat.given", "seat_plan.changed", "seat.ended", "seat_plan.ended"]
    assert rows[2].old == {"fee": "31"}

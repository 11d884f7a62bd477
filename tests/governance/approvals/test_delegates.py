"""Standing in for somebody: within that person's limit, for that time only, and never for one's own good."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from governance.approvals import selectors
from governance.approvals.delegations import Standing as Known
from governance.approvals.delegations import delegates_of, delegation_create, delegation_end, stood_in_for
from governance.approvals.models import ApprovalRequest, Decision, Delegation, Vote
from governance.approvals.policies import policy_set
from governance.approvals.policy import APPROVERS, Band, Rules, Step
from governance.approvals.services import request_create, request_decide
from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization, Role
from tests.conftest import person


def ask(member: Member, period: BudgetPeriod, amount: int = 50) -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(amount), reason="Nearly done.")


def grant(member: Member, request: ApprovalRequest, amount: int | None = None) -> Decision | Vote:
    return request_decide(actor=fresh(member), request_id=request.pk, is_grant=True, amount=None if amount is None else Decimal(amount))


def fresh(member: Member) -> Actor:
    return member_actor(Member.objects.select_related("organization", "team", "user").get(pk=member.pk))


def away(member: Member, delegate: Member, *, hours: int = 24) -> Delegation:
    now = timezone.now()
    return delegation_create(actor=fresh(member), delegate=delegate, starts_at=now, ends_at=now + timedelta(hours=hours))


@pytest.fixture
def deputy(organization: Organization, other_engineer: Member) -> Member:
    """Somebody of another team who decides nothing of their own."""
    return other_engineer


def test_the_delegate_sees_is_told_and_decides_in_the_stead(lead: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    away(lead, deputy)
    request = ask(engineer, frozen)

    assert selectors.pending_count(fresh(deputy)) == 1
    assert Notice.objects.filter(recipient=deputy.user.email).count() == 1
    decision = grant(deputy, request)

    assert (decision.decider, decision.is_final) == (deputy, True)
    vote = Vote.objects.get()
    assert (vote.seat, vote.in_stead_of) == (lead, lead)
    assert AuditRecord.objects.get(action="request.approved").new["in_stead_of"] == lead.pk
    assert selectors.request_get(fresh(deputy), request.pk) == request


def test_without_a_delegation_the_same_person_sees_nothing(deputy: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    request = ask(engineer, frozen)
    assert selectors.pending_count(fresh(deputy)) == 0
    with pytest.raises(NotFound):
        grant(deputy, request)


def test_the_delegators_limit_holds(lead: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    Member.objects.filter(pk=lead.pk).update(approval_limit=Decimal(20))
    away(lead, deputy)
    request = ask(engineer, frozen)

    with pytest.raises(Forbidden, match=r"The limit of Lead, for whom you stand in, is 20\.00 USD"):
        grant(deputy, request)
    assert grant(deputy, request, 20).amount == 20


def test_the_place_with_a_limit_that_covers_the_amount_is_taken(
    lead: Member, second_lead: Member, engineer: Member, frozen: BudgetPeriod
) -> None:
    Member.objects.filter(pk=second_lead.pk).update(approval_limit=Decimal(20))
    away(lead, second_lead)
    grant(second_lead, ask(engineer, frozen))
    assert Vote.objects.get().in_stead_of == lead


def test_nobody_decides_their_own_through_a_delegation(lead: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    away(lead, engineer)
    request = ask(engineer, frozen)

    with pytest.raises(Forbidden, match="own request"):
        grant(engineer, request)
    assert engineer not in selectors.deciders(fresh(lead), request)


def test_a_requester_does_not_choose_who_decides(
    lead: Member, admin: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod, team_period: BudgetPeriod
) -> None:
    """Neither whom an approver named who asks, nor whom the requester named who stands in for an approver."""
    away(lead, deputy)
    own = ask(lead, team_period)
    with pytest.raises(NotFound):
        grant(deputy, own)

    away(admin, engineer)
    away(engineer, deputy)
    through = ask(engineer, frozen)
    assert selectors.deciders(fresh(admin), through) == [lead, admin, deputy]  # for the lead, not for the admin
    grant(deputy, through)
    assert Vote.objects.get().in_stead_of == lead


def test_who_was_named_by_somebody_who_stands_in_stands_in(
    lead: Member, second_lead: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod
) -> None:
    Member.objects.filter(pk=second_lead.pk).update(role=Role.ENGINEER)
    away(lead, second_lead)
    away(second_lead, deputy)
    grant(deputy, ask(engineer, frozen))
    assert Vote.objects.get().in_stead_of == lead


def test_two_people_do_not_stand_in_for_each_other(lead: Member, second_lead: Member, admin: Member) -> None:
    away(lead, second_lead)
    with pytest.raises(Conflict, match="nobody would be left"):
        away(second_lead, lead)
    away(second_lead, admin)
    with pytest.raises(Conflict, match="nobody would be left"):
        away(admin, lead)


def test_loops_end_wherever_they_come_from() -> None:
    now = timezone.now()
    known = [Known(one, other, now, now + timedelta(hours=1)) for one, other in ((1, 2), (2, 3), (3, 1), (3, 4))]
    assert delegates_of(1, known, now=now) == {2, 3, 4}
    assert delegates_of(1, known, now=now, barred={3}) == {2}
    assert delegates_of(1, known, now=now + timedelta(hours=1)) == set()
    assert stood_in_for(4, known, now=now) == [1, 2, 3]
    assert stood_in_for(4, known, now=now, barred={2}) == [3]


def test_one_place_is_taken_once(
    lead: Member, second_lead: Member, deputy: Member, engineer: Member, admin: Member, frozen: BudgetPeriod
) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS,), 2),)),)))
    away(lead, deputy)
    request = ask(engineer, frozen)

    grant(deputy, request)
    with pytest.raises(Forbidden, match="Researcher has decided in your stead"):
        grant(lead, request)
    assert selectors.pending_count(fresh(lead)) == 0
    assert grant(second_lead, request).is_final


def test_who_stands_in_for_two_decides_once(
    lead: Member, second_lead: Member, deputy: Member, engineer: Member, admin: Member, frozen: BudgetPeriod
) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS,), 2),)),)))
    away(lead, deputy)
    away(second_lead, deputy)
    request = ask(engineer, frozen)

    grant(deputy, request)
    with pytest.raises(Conflict, match="Everybody decides once"):
        grant(deputy, request)
    assert not selectors.requests_to_decide(fresh(deputy)).exists()


def test_when_the_time_is_over_the_delegate_decides_no_more_but_what_was_said_stands(
    lead: Member, second_lead: Member, deputy: Member, engineer: Member, admin: Member, frozen: BudgetPeriod
) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS,), 2),)),)))
    away(lead, deputy, hours=2)
    first, second = ask(engineer, frozen), ask(admin, frozen)
    grant(deputy, first)

    with time_machine.travel(timezone.now() + timedelta(hours=3)):
        assert grant(second_lead, first).is_final
        assert selectors.pending_count(fresh(deputy)) == 0
        with pytest.raises(NotFound):
            grant(deputy, second)


def test_taken_back_it_ends_at_once(
    lead: Member, deputy: Member, engineer: Member, admin: Member, stranger: Member, frozen: BudgetPeriod
) -> None:
    made = away(lead, deputy)
    request = ask(engineer, frozen)
    with pytest.raises(Forbidden):
        delegation_end(actor=fresh(deputy), delegation_id=made.pk)
    with pytest.raises(NotFound):
        delegation_end(actor=fresh(stranger), delegation_id=made.pk)
    delegation_end(actor=fresh(lead), delegation_id=made.pk)
    delegation_end(actor=fresh(admin), delegation_id=made.pk)

    with pytest.raises(NotFound):
        grant(deputy, request)
    assert AuditRecord.objects.filter(action="delegation.ended").count() == 1


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": Role.AUDITOR}])
def test_a_delegate_who_left_or_only_reads_decides_nothing(
    change: dict[str, object], lead: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod
) -> None:
    away(lead, deputy)
    request = ask(engineer, frozen)
    Member.objects.filter(pk=deputy.pk).update(**change)
    with pytest.raises((Forbidden, NotFound)):
        grant(deputy, request)


def test_a_delegator_who_lost_the_role_gives_nothing_on(lead: Member, deputy: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    away(lead, deputy)
    request = ask(engineer, frozen)
    Member.objects.filter(pk=lead.pk).update(role=Role.ENGINEER)
    with pytest.raises(NotFound):
        grant(deputy, request)


def test_what_cannot_be_named(lead: Member, deputy: Member, stranger: Member, organization: Organization) -> None:
    auditor = person(organization, email="auditor@acme.example", role=Role.AUDITOR)
    now = timezone.now()
    for delegate in (lead, stranger, auditor):
        with pytest.raises(Invalid):
            away(lead, delegate)
    for hours in (-1, 24 * 400):
        with pytest.raises(Invalid):
            delegation_create(actor=fresh(lead), delegate=deputy, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=hours))
    with pytest.raises(Forbidden):
        away(auditor, deputy)
    away(lead, deputy)
    with pytest.raises(Conflict, match="You have named Researcher"):
        away(lead, deputy)

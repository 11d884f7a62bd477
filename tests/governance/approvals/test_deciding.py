"""A request is decided once, never by its requester, within the approver's limit; money and thaw come with the decision."""

from datetime import timedelta
from decimal import Decimal
from unittest import mock

import pytest
from django.utils import timezone

from governance.approvals import selectors, services
from governance.approvals.models import ApprovalRequest, Decision, Vote
from governance.approvals.services import request_create, request_decide, request_withdraw, requests_expire
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod, Freeze, TopUp
from governance.budgets.selectors import session_freeze_of
from governance.budgets.services import session_freeze
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, frozen_session_period, period_of


@pytest.fixture
def request_of_50(engineer: Member, frozen: BudgetPeriod) -> ApprovalRequest:
    return ask(engineer, frozen)


def ask(member: Member, period: BudgetPeriod, **fields: object) -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(50), reason="Nearly done.", **fields)  # type: ignore[arg-type]


def grant(member: Member, request: ApprovalRequest, amount: str | None = None, **fields: object) -> Decision:
    given = None if amount is None else Decimal(amount)
    return decided(request_decide(actor=member_actor(member), request_id=request.pk, is_grant=True, amount=given, **fields))  # type: ignore[arg-type]


def deny(member: Member, request: ApprovalRequest, note: str = "Use the batch queue.") -> Decision:
    return decided(request_decide(actor=member_actor(member), request_id=request.pk, is_grant=False, note=note))


def decided(outcome: Decision | Vote) -> Decision:
    """The one vote that these requests need decides them."""
    assert isinstance(outcome, Decision)
    return outcome


def test_grant_adds_the_money_and_thaws_the_session(
    lead: Member, engineer: Member, frozen: BudgetPeriod, request_of_50: ApprovalRequest
) -> None:
    decision = grant(lead, request_of_50, note="Go on.")

    frozen.refresh_from_db()
    request_of_50.refresh_from_db()
    assert (frozen.topup, frozen.frozen_at, request_of_50.state) == (Decimal(50), None, "approved")
    assert (decision.amount, decision.topup.amount, decision.topup.granted_by) == (Decimal(50), Decimal(50), lead)
    assert session_freeze_of(member_actor(engineer), FROZEN_SESSION) is None
    assert Freeze.objects.get().ended_by == lead


def test_grant_is_recorded_and_told(lead: Member, engineer: Member, request_of_50: ApprovalRequest) -> None:
    grant(lead, request_of_50, note="Go on.")

    record = AuditRecord.objects.get(action="request.approved")
    assert (record.actor_id, record.old, record.new["granted"]) == (lead.pk, {"state": "pending"}, "50")
    assert {"budget_period.topped_up", "freeze.ended"} <= set(AuditRecord.objects.values_list("action", flat=True))
    notice = Notice.objects.get(recipient=engineer.user.email, subject__startswith="Granted")
    assert "Lead granted 50.00 USD" in notice.body
    assert f"Session {FROZEN_SESSION} may go on now." in notice.body


def test_grant_in_part_that_does_not_cover_the_excess_says_so(
    lead: Member, engineer: Member, frozen: BudgetPeriod, request_of_50: ApprovalRequest
) -> None:
    grant(lead, request_of_50, "0.2")

    frozen.refresh_from_db()
    assert frozen.topup == Decimal("0.2")
    assert frozen.frozen_at is not None
    notice = Notice.objects.get(recipient=engineer.user.email, subject__startswith="Granted")
    assert "of the 50.00 USD asked for" in notice.body
    assert "calls are still refused" in notice.body


def test_grant_to_a_session_that_is_frozen_by_hand_as_well_says_so(
    lead: Member, engineer: Member, request_of_50: ApprovalRequest
) -> None:
    session_freeze(actor=member_actor(lead), session_key=FROZEN_SESSION, reason="It loops.")
    grant(lead, request_of_50)

    notice = Notice.objects.get(recipient=engineer.user.email, subject__startswith="Granted")
    assert f"Calls are still refused for another reason: session {FROZEN_SESSION} is frozen by Lead." in notice.body


def test_denial_gives_nothing_and_passes_on_the_note(
    lead: Member, engineer: Member, frozen: BudgetPeriod, request_of_50: ApprovalRequest
) -> None:
    decision = deny(lead, request_of_50)

    frozen.refresh_from_db()
    assert (decision.amount, decision.topup, frozen.topup) == (None, None, Decimal(0))
    assert frozen.frozen_at is not None
    assert ApprovalRequest.objects.get().state == "denied"
    assert "Use the batch queue." in Notice.objects.get(subject__startswith="Denied").body


def test_denial_needs_a_note(lead: Member, request_of_50: ApprovalRequest) -> None:
    with pytest.raises(Invalid) as refusal:
        deny(lead, request_of_50, "  ")

    assert refusal.value.extra["field"] == "note"


def test_second_decision_names_who_made_the_first(lead: Member, admin: Member, request_of_50: ApprovalRequest) -> None:
    grant(lead, request_of_50, "20")

    with pytest.raises(Conflict, match=r"Lead has already granted 20\.00 USD"):
        deny(admin, request_of_50)
    with pytest.raises(Conflict, match="Lead has already"):
        grant(lead, request_of_50)

    assert (Decision.objects.count(), TopUp.objects.count()) == (1, 1)


def test_nobody_decides_their_own_request(
    lead: Member, admin: Member, team_period: BudgetPeriod, organization_period: BudgetPeriod
) -> None:
    for member, period in ((lead, team_period), (admin, organization_period)):
        request = ask(member, period)
        with pytest.raises(Forbidden, match="their own request"):
            grant(member, request)
        assert not selectors.may_decide(member_actor(member), request)


def test_nobody_decides_about_their_own_spend_when_another_asks(
    admin: Member, lead: Member, second_lead: Member, session_budget: Budget
) -> None:
    request = ask(admin, frozen_session_period(lead, session_budget, key="leads-run"))

    with pytest.raises(Forbidden, match="own spend"):
        grant(lead, request)

    assert grant(second_lead, request).decider == second_lead


def test_requester_who_became_approver_still_does_not_decide(engineer: Member, request_of_50: ApprovalRequest) -> None:
    engineer.role = Role.APPROVER
    engineer.save(update_fields=["role"])

    with pytest.raises(Forbidden):
        grant(engineer, request_of_50)


def test_role_lost_after_sign_in_counts_at_once(lead: Member, request_of_50: ApprovalRequest) -> None:
    actor = member_actor(lead)
    Member.objects.filter(pk=lead.pk).update(role=Role.ENGINEER)

    with pytest.raises(Forbidden):
        request_decide(actor=actor, request_id=request_of_50.pk, is_grant=True)


def test_inactive_approver_does_not_decide(lead: Member, request_of_50: ApprovalRequest) -> None:
    actor = member_actor(lead)
    Member.objects.filter(pk=lead.pk).update(is_active=False)

    with pytest.raises(Forbidden, match="no longer active"):
        request_decide(actor=actor, request_id=request_of_50.pk, is_grant=True)
    assert selectors.deciders(actor, request_of_50) == []


def test_approvers_limit_bounds_what_is_granted_not_what_is_denied(
    organization: Organization, team: Team, request_of_50: ApprovalRequest
) -> None:
    small = person(organization, email="small@acme.example", role=Role.APPROVER, team=team, approval_limit=Decimal(20))

    with pytest.raises(Forbidden, match=r"Your limit is 20\.00 USD"):
        grant(small, request_of_50)

    assert grant(small, request_of_50, "20").amount == Decimal(20)


def test_granting_more_than_asked_is_refused(admin: Member, request_of_50: ApprovalRequest) -> None:
    with pytest.raises(Invalid, match="at most what was asked"):
        grant(admin, request_of_50, "50.01")


@pytest.mark.parametrize("amount", ["0", "-5", "NaN"])
def test_granting_nothing_is_refused(admin: Member, request_of_50: ApprovalRequest, amount: str) -> None:
    with pytest.raises(Invalid):
        grant(admin, request_of_50, amount)


def test_grant_ends_when_the_decider_says_else_when_it_was_asked_for(
    admin: Member, engineer: Member, session_budget: Budget, frozen: BudgetPeriod
) -> None:
    asked, said = timezone.now() + timedelta(days=2), timezone.now() + timedelta(hours=4)
    other = frozen_session_period(engineer, session_budget, key="run-2")

    assert grant(admin, ask(engineer, frozen, ends_at=asked)).topup.ends_at == asked
    assert grant(admin, ask(engineer, other, ends_at=asked), ends_at=said).topup.ends_at == said


def test_grant_on_an_ended_period_is_refused_with_the_present_one(admin: Member, engineer: Member, team_period: BudgetPeriod) -> None:
    request = ask(engineer, team_period)
    now = timezone.now()
    BudgetPeriod.objects.filter(pk=team_period.pk).update(ends_at=now - timedelta(seconds=1))
    current = period_of(team_period.budget, starts_at=now - timedelta(seconds=1))

    with pytest.raises(Conflict, match=r"ended on .* Ask on the period that runs now") as refusal:
        grant(admin, request)

    assert refusal.value.extra["current_period"] == current.pk
    assert TopUp.objects.count() == 0
    assert deny(admin, request).is_grant is False


def test_same_idempotency_key_gives_the_same_decision(lead: Member, request_of_50: ApprovalRequest) -> None:
    first = grant(lead, request_of_50, "20", idempotency_key="d-1")

    assert grant(lead, request_of_50, "20", idempotency_key="d-1") == first
    with pytest.raises(Conflict):
        grant(lead, request_of_50, "21", idempotency_key="d-1")
    assert TopUp.objects.count() == 1


def test_failure_after_the_money_undoes_everything(lead: Member, frozen: BudgetPeriod, request_of_50: ApprovalRequest) -> None:
    before = (AuditRecord.objects.count(), Notice.objects.count())

    with mock.patch.object(services.tell, "decided", side_effect=RuntimeError("killed")), pytest.raises(RuntimeError):
        grant(lead, request_of_50)

    frozen.refresh_from_db()
    request_of_50.refresh_from_db()
    assert (frozen.topup, request_of_50.state, TopUp.objects.count(), Decision.objects.count()) == (Decimal(0), "pending", 0, 0)
    assert frozen.frozen_at is not None
    assert (AuditRecord.objects.count(), Notice.objects.count()) == before


def test_withdrawing_is_the_requesters_and_twice_is_once(engineer: Member, lead: Member, request_of_50: ApprovalRequest) -> None:
    with pytest.raises(Forbidden):
        request_withdraw(actor=member_actor(lead), request_id=request_of_50.pk)

    request_withdraw(actor=member_actor(engineer), request_id=request_of_50.pk)
    again = request_withdraw(actor=member_actor(engineer), request_id=request_of_50.pk)

    assert again.state == "withdrawn"
    assert AuditRecord.objects.filter(action="request.withdrawn").count() == 1
    with pytest.raises(Conflict, match="has withdrawn"):
        grant(lead, request_of_50)


def test_decided_request_cannot_be_withdrawn(engineer: Member, lead: Member, request_of_50: ApprovalRequest) -> None:
    deny(lead, request_of_50)

    with pytest.raises(Conflict, match="Lead has already denied"):
        request_withdraw(actor=member_actor(engineer), request_id=request_of_50.pk)


def test_requests_expire_with_their_time_their_period_or_their_budget(
    organization: Organization,
    engineer: Member,
    session_budget: Budget,
    frozen: BudgetPeriod,
    team_period: BudgetPeriod,
    organization_period: BudgetPeriod,
) -> None:
    now = timezone.now()
    timed = ask(engineer, frozen, ends_at=now + timedelta(hours=1))
    of_period, of_budget = ask(engineer, team_period), ask(engineer, organization_period)
    lasting = ask(engineer, frozen_session_period(engineer, session_budget, key="run-2"))
    ApprovalRequest.objects.filter(pk=timed.pk).update(ends_at=now - timedelta(seconds=1))
    BudgetPeriod.objects.filter(pk=team_period.pk).update(ends_at=now - timedelta(seconds=1))
    Budget.objects.filter(pk=organization_period.budget_id).update(is_active=False)

    assert requests_expire() == 3
    assert requests_expire() == 0

    assert set(ApprovalRequest.objects.filter(state="expired")) == {timed, of_period, of_budget}
    assert ApprovalRequest.objects.get(state="pending") == lasting
    assert AuditRecord.objects.filter(action="request.expired", actor_kind="system").count() == 3
    assert Notice.objects.filter(recipient=engineer.user.email, subject__startswith="Closed without a decision").count() == 3


def test_expired_request_cannot_be_decided(admin: Member, engineer: Member, request_of_50: ApprovalRequest) -> None:
    ApprovalRequest.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Conflict, match="time it was asked for is over"):
        grant(admin, request_of_50)
    requests_expire()

    with pytest.raises(Conflict, match="closed without a decision"):
        grant(admin, request_of_50)


@pytest.mark.parametrize(
    ("who", "on_team", "on_organization"),
    [
        ("owner", "decides", "decides"),
        ("admin", "decides", "decides"),
        ("lead", "decides", "sees"),
        ("other_lead", "nothing", "nothing"),
        ("engineer", "sees", "sees"),
        ("other_engineer", "nothing", "nothing"),
        ("stranger", "nothing", "nothing"),
    ],
)
def test_who_sees_and_who_decides(
    request: pytest.FixtureRequest,
    engineer: Member,
    team_period: BudgetPeriod,
    organization_period: BudgetPeriod,
    who: str,
    on_team: str,
    on_organization: str,
) -> None:
    member: Member = request.getfixturevalue(who)
    actor = member_actor(member)
    for period, expected in ((team_period, on_team), (organization_period, on_organization)):
        asked = ask(engineer, period)
        is_seen = selectors.requests_visible(actor).filter(pk=asked.pk).exists()
        assert is_seen == (expected != "nothing")
        assert (asked in selectors.requests_to_decide(actor)) == (expected == "decides")
        assert (member in selectors.deciders(member_actor(engineer), asked)) == (expected == "decides")
        refused = NotFound if expected == "nothing" else Forbidden
        if expected == "decides":
            assert selectors.may_decide(actor, asked)
            assert grant(member, asked, "1").decider == member
        else:
            with pytest.raises(refused):
                grant(member, asked, "1")
            with pytest.raises(refused):
                deny(member, asked)
        if member != engineer and expected != "decides":
            with pytest.raises(refused):
                request_withdraw(actor=actor, request_id=asked.pk)
    assert selectors.pending_count(actor) == 0


def test_pending_count_counts_what_waits_for_the_actor(
    lead: Member, second_lead: Member, engineer: Member, team_period: BudgetPeriod
) -> None:
    ask(engineer, team_period)
    ask(lead, team_period)

    assert selectors.pending_count(member_actor(lead)) == 1
    assert selectors.pending_count(member_actor(second_lead)) == 2
    assert selectors.pending_count(member_actor(engineer)) == 0


def test_approver_of_a_team_above_decides(organization: Organization, team: Team, lead: Member) -> None:
    below = Team.objects.create(organization=organization, slug="infra", name="Infra", parent=team)
    sub_engineer = person(organization, email="infra@acme.example", role=Role.ENGINEER, team=below)
    sub_lead = person(organization, email="infra-lead@acme.example", role=Role.APPROVER, team=below)
    on_sub_team = ask(sub_engineer, period_of(budget_of(organization, name="Infra month", scope_kind="team", team=below)))
    on_team = ask(sub_engineer, period_of(budget_of(organization, name="Platform month", scope_kind="team", team=team)))

    assert selectors.may_decide(member_actor(lead), on_sub_team)
    assert selectors.may_decide(member_actor(sub_lead), on_sub_team)
    assert not selectors.may_decide(member_actor(sub_lead), on_team)

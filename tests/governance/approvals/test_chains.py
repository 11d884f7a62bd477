"""A policy decides who decides: chains by amount, whose turn it is, escalation and expiry, and what happens when things change meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from governance.approvals import policies, selectors
from governance.approvals.models import ApprovalPolicy, ApprovalRequest, Decision, Vote
from governance.approvals.policies import policy_end, policy_for, policy_set
from governance.approvals.policy import ADMINS, APPROVERS, FINANCE, OWNERS, Band, Rules, Step
from governance.approvals.services import (
    request_create,
    request_decide,
    request_withdraw,
    requests_escalate,
    requests_expire,
    requests_refresh,
)
from governance.approvals.standing import Standing
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.errors import Conflict, Forbidden, Invalid
from governance.notices.models import Notice, Signal
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, period_of

LEAD, ADMIN, MONEY = Step((APPROVERS,)), Step((ADMINS,)), Step((FINANCE,))
THREE_BANDS = Rules((Band((LEAD,), Decimal(100)), Band((LEAD, ADMIN), Decimal(500)), Band((LEAD, ADMIN, MONEY))))
Write = Callable[..., ApprovalPolicy]


@pytest.fixture
def finance(organization: Organization) -> Member:
    return person(organization, email="finance@acme.example", role=Role.FINANCE)


@pytest.fixture
def write(admin: Member) -> Write:
    """Writes the organization's policy, or a team's."""
    return lambda rules, team=None: policy_set(actor=member_actor(admin), team=team, rules=rules)


def ask(member: Member, period: BudgetPeriod, amount: str = "50", **fields: object) -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(amount), reason="Nearly done.", **fields)  # type: ignore[arg-type]


def grant(member: Member, request: ApprovalRequest, amount: str | None = None, **fields: object) -> Decision | Vote:
    given = None if amount is None else Decimal(amount)
    return request_decide(actor=member_actor(member), request_id=request.pk, is_grant=True, amount=given, **fields)  # type: ignore[arg-type]


def deny(member: Member, request: ApprovalRequest) -> Decision | Vote:
    return request_decide(actor=member_actor(member), request_id=request.pk, is_grant=False, note="Not now.")


def names(request: ApprovalRequest) -> list[str]:
    """Whose turn it is."""
    request.refresh_from_db()
    return [str(member) for member in selectors.deciders(member_actor(request.requester), request)]


def test_the_amount_says_who_decides(
    lead: Member, admin: Member, finance: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    for amount, deciding in (("100", [lead]), ("100.01", [lead, admin]), ("500", [lead, admin]), ("501", [lead, admin, finance])):
        request = ask(engineer, frozen, amount)
        for member in deciding:
            assert names(request) == [str(member)]
            assert list(selectors.requests_to_decide(member_actor(member))) == [request]
            last = grant(member, request)
            assert last.is_final == (member is deciding[-1])
        request.refresh_from_db()
        assert request.state == "approved"
        assert Vote.objects.filter(request=request).count() == len(deciding)
    assert TopUp.objects.count() == 4


def test_nobody_decides_before_their_turn_nor_twice(
    lead: Member, admin: Member, finance: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "600")

    with pytest.raises(Forbidden, match="waits for others, or for its turn"):
        grant(finance, request)
    grant(lead, request)
    with pytest.raises(Conflict, match=r"You have granted 600\.00 USD already"):
        grant(lead, request)
    with pytest.raises(Conflict, match="Everybody decides once"):
        deny(lead, request)

    assert not selectors.may_decide(member_actor(lead), request)
    assert (Vote.objects.count(), TopUp.objects.count()) == (1, 0)


def test_nothing_moves_before_the_last_vote(lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")

    grant(lead, request)
    frozen.refresh_from_db()
    assert (frozen.topup, frozen.frozen_at is None) == (0, False)
    assert Notice.objects.filter(recipient=admin.user.email, subject__startswith="Your turn").count() == 1
    assert Notice.objects.filter(recipient=engineer.user.email, subject__startswith="One step further").count() == 1

    grant(admin, request)
    frozen.refresh_from_db()
    assert (frozen.topup, frozen.frozen_at) == (300, None)
    assert AuditRecord.objects.filter(action="request.voted").count() == 1
    assert AuditRecord.objects.get(action="request.approved").new["granted_before_by"] == [lead.pk]
    assert list(Signal.objects.order_by("id").filter(kind__startswith="request.").values_list("kind", flat=True)) == [
        "request.filed",
        "request.closed",
    ]


def test_the_smallest_amount_and_the_earliest_end_count(
    lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    early = timezone.now() + timedelta(hours=2)

    grant(lead, request, "120", ends_at=early)
    decision = grant(admin, request, "250", ends_at=early + timedelta(days=1))

    assert (decision.amount, decision.topup.ends_at) == (120, early)
    assert decision.decider == admin


def test_one_denial_ends_it_wherever_the_chain_stands(
    lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    grant(lead, request)

    assert deny(admin, request).is_final
    request.refresh_from_db()
    frozen.refresh_from_db()
    assert (request.state, frozen.topup) == ("denied", 0)


def test_a_policy_may_take_two_denials(
    lead: Member, admin: Member, owner: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((Step((APPROVERS, ADMINS), 2),)),), denials=2))
    request = ask(engineer, frozen)

    assert not deny(lead, request).is_final
    assert not grant(admin, request).is_final
    assert deny(owner, request).is_final
    request.refresh_from_db()
    assert request.state == "denied"


def test_a_step_of_two_takes_two_people(
    lead: Member, second_lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((Step((APPROVERS,), 2),)),)))
    request = ask(engineer, frozen)

    with pytest.raises(Forbidden, match="the approvers of Platform"):
        grant(admin, request)
    assert not grant(lead, request).is_final
    assert names(request) == ["Second"]
    assert grant(second_lead, request).is_final


def test_steps_at_the_same_time_go_in_any_order(
    lead: Member, admin: Member, finance: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((LEAD, ADMIN, MONEY), in_parallel=True),)))
    for order in ((finance, lead, admin), (admin, finance, lead)):
        request = ask(engineer, frozen)
        assert [grant(member, request).is_final for member in order] == [False, False, True]


def test_named_people_decide_whatever_their_role_and_see_what_they_decide(
    engineer: Member, other_engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((Step((f"member:{other_engineer.pk}",)),)),)))
    request = ask(engineer, frozen)
    actor = member_actor(other_engineer)

    assert (names(request), selectors.pending_count(actor)) == (["Researcher"], 1)
    assert grant(other_engineer, request).is_final
    assert selectors.request_get(actor, request.pk) == request


def test_the_nearest_teams_policy_holds_else_the_organizations_else_the_built_in_one(
    organization: Organization, admin: Member, team: Team, other_team: Team, write: Write
) -> None:
    below = Team.objects.create(organization=organization, slug="below", name="Below", parent=team)
    assert policy_for(organization, below.pk) is None
    whole = write(THREE_BANDS)
    assert policy_for(organization, below.pk) == whole
    own = write(Rules((Band((ADMIN,)),)), team)
    assert [policy_for(organization, one) for one in (below.pk, team.pk, other_team.pk, None)] == [own, own, whole, whole]
    policy_end(actor=member_actor(admin), team=team)
    assert policy_for(organization, below.pk) == whole


def test_policies_are_versions_and_the_same_again_changes_nothing(admin: Member, write: Write) -> None:
    first = write(THREE_BANDS)
    assert write(THREE_BANDS) == first
    second = write(Rules((Band((ADMIN,)),)))
    first.refresh_from_db()
    assert (first.number, second.number, first.ended_at is not None) == (1, 2, True)
    assert first.rules == policies.policy.to_facts(THREE_BANDS) or policies.rules_in(first) == THREE_BANDS
    assert AuditRecord.objects.filter(action__startswith="approval_policy.").count() == 2
    with pytest.raises(Conflict, match="since you opened it"):
        policy_set(actor=member_actor(admin), team=None, rules=THREE_BANDS, seen=1)


def test_who_may_not_write_policies_does_not(
    lead: Member, engineer: Member, stranger: Member, team: Team, other_organization: Organization
) -> None:
    for member in (lead, engineer):
        with pytest.raises(Forbidden):
            policy_set(actor=member_actor(member), team=None, rules=THREE_BANDS)
    from governance.errors import NotFound

    with pytest.raises(NotFound):
        policy_set(actor=member_actor(stranger), team=team, rules=THREE_BANDS)


def test_a_policy_names_nobody_of_another_organization(admin: Member, stranger: Member) -> None:
    with pytest.raises(Invalid, match="not an active member here"):
        policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((f"member:{stranger.pk}",)),)),)))


def test_the_policy_at_filing_counts(lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write) -> None:
    first = write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    write(Rules((Band((Step((OWNERS,), 2),)),)))

    grant(lead, request)
    assert grant(admin, request).is_final
    assert request.policy == first


def test_an_amount_in_tokens_falls_into_the_last_band(
    organization: Organization, engineer: Member, lead: Member, team: Team, write: Write
) -> None:
    write(THREE_BANDS)
    tokens = budget_of(organization, name="Tokens", scope_kind="team", team=team, measure="tokens", currency="USD")
    assert len(Standing(ask(engineer, period_of(tokens), "5")).chain.steps) == 3


def test_nobody_decides_their_own_in_any_step(
    lead: Member, admin: Member, finance: Member, team_period: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((LEAD, ADMIN, MONEY), in_parallel=True),)))
    for member in (lead, admin, finance):
        request = ask(member, team_period)
        with pytest.raises(Forbidden, match="own request"):
            grant(member, request)
        assert str(member) not in names(request)
        request_withdraw(actor=member_actor(member), request_id=request.pk)


def test_a_requester_who_became_approver_does_not_decide_at_any_step(
    engineer: Member, lead: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    grant(lead, request)
    Member.objects.filter(pk=engineer.pk).update(role=Role.ADMIN)
    engineer.refresh_from_db()

    with pytest.raises(Forbidden, match="own request"):
        grant(engineer, request)
    assert "Engineer" not in names(request)


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": Role.ENGINEER}, {"team": None}])
def test_the_vote_of_somebody_who_left_or_lost_the_role_does_not_count(
    change: dict[str, object], lead: Member, second_lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    grant(lead, request)
    Member.objects.filter(pk=lead.pk).update(**change)

    assert names(request) == ["Second"]
    with pytest.raises(Forbidden):
        grant(admin, request)
    assert requests_refresh() == 1
    assert Notice.objects.filter(recipient=second_lead.user.email, subject__startswith="Your turn").count() == 1
    assert list(selectors.requests_to_decide(member_actor(second_lead))) == [request]
    grant(second_lead, request, "10")
    assert grant(admin, request).is_final
    frozen.refresh_from_db()
    assert frozen.topup == 10
    assert requests_refresh() == 0


def test_withdrawn_while_others_were_still_deciding(
    lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")
    grant(lead, request)
    request_withdraw(actor=member_actor(engineer), request_id=request.pk)

    with pytest.raises(Conflict, match="has withdrawn"):
        grant(admin, request)
    # An amount never changes: who wants another withdraws and asks again, and every vote is for what was on the screen.
    again = ask(engineer, frozen, "400")
    assert names(again) == ["Lead"]


def test_a_budget_retired_or_a_period_over_meanwhile_refuses_the_next_grant(
    lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, team_period: BudgetPeriod, write: Write
) -> None:
    write(THREE_BANDS)
    retired, over = ask(engineer, frozen, "300"), ask(engineer, team_period, "300")
    for request in (retired, over):
        grant(lead, request)
    Budget.objects.filter(pk=frozen.budget_id).update(is_active=False)
    BudgetPeriod.objects.filter(pk=team_period.pk).update(ends_at=timezone.now())

    with pytest.raises(Conflict, match="no longer in force"):
        grant(admin, retired)
    with pytest.raises(Conflict, match="ended on"):
        grant(admin, over)
    assert (TopUp.objects.count(), Vote.objects.count()) == (0, 2)
    assert requests_expire() == 2


def test_a_limit_changed_meanwhile_takes_nothing_from_the_grant(lead: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    request = ask(engineer, frozen, "300")
    BudgetPeriod.objects.filter(pk=frozen.pk).update(limit_amount=Decimal(20))
    grant(lead, request)
    frozen.refresh_from_db()
    assert frozen.allowance == 320


def test_a_step_left_lying_goes_on_to_the_next_and_at_the_end_to_admins(
    lead: Member, admin: Member, finance: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((LEAD, MONEY)),), escalate_minutes=60))
    request = ask(engineer, frozen)
    now = timezone.now()

    assert requests_escalate(now=now + timedelta(minutes=59)) == 0
    assert requests_escalate(now=now + timedelta(minutes=61)) == 1
    assert requests_escalate(now=now + timedelta(minutes=61)) == 0
    assert names(request) == ["Lead", "Finance"]
    assert Notice.objects.filter(recipient=finance.user.email, subject__startswith="Your turn").count() == 1
    assert requests_escalate(now=now + timedelta(minutes=122)) == 1
    assert names(request) == ["Lead", "Admin", "Finance"]
    assert AuditRecord.objects.filter(action="request.escalated").count() == 2
    assert grant(finance, request).is_final


def test_who_decides_for_a_step_left_lying_decides_for_both(
    lead: Member, admin: Member, engineer: Member, frozen: BudgetPeriod, write: Write
) -> None:
    write(Rules((Band((LEAD, ADMIN)),), escalate_minutes=5))
    request = ask(engineer, frozen)
    requests_escalate(now=timezone.now() + timedelta(minutes=6))

    assert grant(admin, request).is_final
    assert Decision.objects.get().decider == admin


def test_a_request_expires_when_nobody_decides(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod, write: Write) -> None:
    write(Rules((Band((LEAD, ADMIN)),), expire_hours=48))
    request = ask(engineer, frozen)
    grant(lead, request)

    assert requests_expire() == 0
    with time_machine.travel(timezone.now() + timedelta(hours=49)):
        assert requests_expire() == 1
    request.refresh_from_db()
    assert request.state == "expired"
    assert "as long as the approval policy lets it wait" in Notice.objects.get(subject__startswith="Closed").body
    with pytest.raises(Conflict, match="closed without a decision"):
        grant(admin, request)


def test_same_key_gives_the_same_vote(lead: Member, engineer: Member, frozen: BudgetPeriod, write: Write) -> None:
    write(THREE_BANDS)
    request = ask(engineer, frozen, "300")

    first = grant(lead, request, idempotency_key="v-1")
    assert grant(lead, request, idempotency_key="v-1") == first
    with pytest.raises(Conflict, match="another request"):
        grant(lead, request, "5", idempotency_key="v-1")
    assert Vote.objects.count() == 1


def test_money_for_the_session_only_goes_to_its_own_limit(
    lead: Member, engineer: Member, frozen: BudgetPeriod, team_period: BudgetPeriod
) -> None:
    request = ask(engineer, team_period, session_key=FROZEN_SESSION)
    decision = grant(lead, request, session_only=True)

    assert decision.topup.period == frozen
    team_period.refresh_from_db()
    assert team_period.topup == 0


def test_asking_for_the_session_only_asks_on_its_own_limit(engineer: Member, frozen: BudgetPeriod, team_period: BudgetPeriod) -> None:
    request = ask(engineer, team_period, session_key=FROZEN_SESSION, session_only=True)
    assert request.period == frozen


def test_session_only_is_refused_where_nothing_limits_the_session_by_itself(
    lead: Member, engineer: Member, team_period: BudgetPeriod
) -> None:
    request = ask(engineer, team_period)
    with pytest.raises(Invalid, match="No budget limits this session by itself"):
        grant(lead, request, session_only=True)
    with pytest.raises(Invalid, match="for which session"):
        ask(engineer, team_period, session_only=True)
    assert TopUp.objects.count() == 0

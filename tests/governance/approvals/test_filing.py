"""Who may ask for more, on what, and what asking leaves behind."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from governance.approvals import selectors
from governance.approvals.models import ApprovalRequest
from governance.approvals.services import request_create, request_withdraw
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Project, Role, Team
from tests.conftest import person
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, frozen_session_period, period_of, session_of

REASON = "The migration is two thirds done."


def file(member: Member, period: BudgetPeriod, amount: str = "50", **fields: object) -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(amount), reason=REASON, **fields)  # type: ignore[arg-type]


def test_engineer_asks_for_the_own_frozen_session(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    request = file(engineer, frozen)

    assert (request.state, request.amount, request.session_key) == ("pending", Decimal(50), FROZEN_SESSION)
    assert (request.team_id, request.spender_id) == (engineer.team_id, engineer.pk)
    record = AuditRecord.objects.get(action="request.filed")
    assert (record.actor_id, record.target_id, record.new["amount"]) == (engineer.pk, str(request.pk), "50")
    assert set(Notice.objects.values_list("recipient", flat=True)) == {lead.user.email, admin.user.email}


def test_notice_to_deciders_says_what_how_much_why_and_where(engineer: Member, lead: Member, frozen: BudgetPeriod) -> None:
    file(engineer, frozen)

    notice = Notice.objects.get(recipient=lead.user.email)
    assert notice.subject == "Engineer asks for 50.00 USD on Platform session"
    for part in (REASON, "100.25 USD of 100.00 USD", FROZEN_SESSION, "/o/acme/approvals/link/"):
        assert part in notice.body


def test_another_organizations_period_is_not_there(stranger: Member, frozen: BudgetPeriod) -> None:
    with pytest.raises(NotFound):
        file(stranger, frozen)


def test_somebody_elses_session_is_refused_to_an_engineer(other_engineer: Member, frozen: BudgetPeriod) -> None:
    with pytest.raises(NotFound):
        file(other_engineer, frozen)


def test_lead_asks_for_a_session_of_the_own_team(lead: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    request = file(lead, frozen)

    assert (request.requester, request.spender) == (lead, engineer)


def test_lead_of_another_team_is_refused(other_lead: Member, frozen: BudgetPeriod) -> None:
    with pytest.raises(NotFound):
        file(other_lead, frozen)


def test_finance_asks_for_anybody(organization: Organization, frozen: BudgetPeriod) -> None:
    finance = person(organization, email="finance@acme.example", role=Role.FINANCE)

    assert file(finance, frozen).requester == finance


def test_auditor_does_not_ask(organization: Organization, frozen: BudgetPeriod) -> None:
    with pytest.raises(Forbidden):
        file(person(organization, email="auditor@acme.example", role=Role.AUDITOR), frozen)


def test_the_system_does_not_ask(organization: Organization, frozen: BudgetPeriod) -> None:
    with pytest.raises(Forbidden):
        request_create(actor=system_actor(organization), period_id=frozen.pk, amount=Decimal(1), reason=REASON)


def test_team_budget_covers_its_members_and_those_of_teams_below(
    organization: Organization, engineer: Member, team: Team, team_period: BudgetPeriod
) -> None:
    below = Team.objects.create(organization=organization, slug="infra", name="Infra", parent=team)
    sub_engineer = person(organization, email="infra@acme.example", role=Role.ENGINEER, team=below)

    assert file(engineer, team_period).team_id == team.pk
    assert file(sub_engineer, team_period).team_id == team.pk


def test_team_budget_of_another_team_is_refused(other_engineer: Member, team_period: BudgetPeriod) -> None:
    with pytest.raises(Forbidden):
        file(other_engineer, team_period)


def test_organization_budget_is_for_owners_and_admins_to_decide(
    engineer: Member, lead: Member, admin: Member, organization_period: BudgetPeriod
) -> None:
    request = file(engineer, organization_period)

    assert request.team_id is None
    assert selectors.deciders(member_actor(engineer), request) == [admin]


def test_project_budget_covers_its_team_and_whoever_worked_on_it(
    organization: Organization, engineer: Member, other_engineer: Member, team: Team
) -> None:
    project = Project.objects.create(organization=organization, slug="search", name="Search", team=team)
    period = period_of(budget_of(organization, name="Search month", scope_kind="project", project=project))
    assert file(engineer, period).team_id == team.pk
    with pytest.raises(Forbidden):
        file(other_engineer, period)

    session = session_of(other_engineer, "their-run")
    session.project_id = project.pk
    session.save(update_fields=["project_id"])

    assert file(other_engineer, period).team_id == team.pk


def test_project_without_a_team_is_for_owners_and_admins(organization: Organization, engineer: Member) -> None:
    project = Project.objects.create(organization=organization, slug="lone", name="Lone")
    session = session_of(engineer, "lone-run")
    session.project_id = project.pk
    session.save(update_fields=["project_id"])
    period = period_of(budget_of(organization, name="Lone month", scope_kind="project", project=project))

    assert file(engineer, period, session_key="lone-run").team_id is None


def test_member_budget_is_the_members_own(organization: Organization, engineer: Member, other_engineer: Member, lead: Member) -> None:
    period = period_of(budget_of(organization, name="Engineer month", scope_kind="member", member=engineer))
    with pytest.raises(Forbidden):
        file(other_engineer, period)

    request = file(engineer, period)

    assert (request.team_id, request.spender_id) == (engineer.team_id, engineer.pk)


def test_session_limit_without_a_team_is_decided_in_the_sessions_team(organization: Organization, engineer: Member) -> None:
    template = budget_of(organization, name="Every session", scope_kind="session", period_kind="session")

    assert file(engineer, frozen_session_period(engineer, template)).team_id == engineer.team_id


def test_session_that_the_budget_does_not_cover_is_named_as_such(
    engineer: Member, other_engineer: Member, admin: Member, team_period: BudgetPeriod
) -> None:
    session_of(other_engineer, "their-run")

    with pytest.raises(Invalid, match="does not apply to session their-run"):
        file(admin, team_period, session_key="their-run")


def test_session_period_of_another_session_is_refused(engineer: Member, frozen: BudgetPeriod) -> None:
    session_of(engineer, "run-2")

    with pytest.raises(Invalid):
        file(engineer, frozen, session_key="run-2")


def test_second_request_on_the_same_period_names_the_first(engineer: Member, frozen: BudgetPeriod) -> None:
    first = file(engineer, frozen)

    with pytest.raises(Conflict, match=r"50\.00 USD on Platform session still waits") as refusal:
        file(engineer, frozen, "80")

    assert refusal.value.extra["request"] == first.pk
    assert ApprovalRequest.objects.count() == 1


def test_withdrawing_makes_room_for_another_request(engineer: Member, frozen: BudgetPeriod) -> None:
    first = file(engineer, frozen)
    request_withdraw(actor=member_actor(engineer), request_id=first.pk)

    assert file(engineer, frozen, "80").state == "pending"


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000000000000001", "NaN", "Infinity", "10000000000000"])
def test_amount_must_be_above_zero_and_fit(engineer: Member, frozen: BudgetPeriod, amount: str) -> None:
    with pytest.raises(Invalid) as refusal:
        file(engineer, frozen, amount)

    assert refusal.value.extra["field"] == "amount"


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 2001, "a\x00b"])
def test_reason_is_required_and_storable(engineer: Member, frozen: BudgetPeriod, reason: str) -> None:
    with pytest.raises(Invalid) as refusal:
        request_create(actor=member_actor(engineer), period_id=frozen.pk, amount=Decimal(1), reason=reason)

    assert refusal.value.extra["field"] == "reason"


def test_end_must_lie_in_the_future(engineer: Member, frozen: BudgetPeriod) -> None:
    with pytest.raises(Invalid):
        file(engineer, frozen, ends_at=timezone.now() - timedelta(seconds=1))


def test_ended_period_is_refused_and_the_present_one_offered(engineer: Member, team_period: BudgetPeriod) -> None:
    now = timezone.now()
    over = period_of(team_period.budget, starts_at=now - timedelta(days=40), ends_at=now - timedelta(days=10))

    with pytest.raises(Conflict, match=r"ended on .* Ask on the period that runs now") as refusal:
        file(engineer, over)

    assert refusal.value.extra["current_period"] == team_period.pk


def test_retired_budget_is_refused(engineer: Member, session_budget: Budget, frozen: BudgetPeriod) -> None:
    Budget.objects.filter(pk=session_budget.pk).update(is_active=False)

    with pytest.raises(Conflict, match="no longer in force"):
        file(engineer, frozen)


def test_same_idempotency_key_gives_the_first_request_again(engineer: Member, frozen: BudgetPeriod) -> None:
    first = file(engineer, frozen, idempotency_key="k-1")

    assert file(engineer, frozen, idempotency_key="k-1") == first
    assert AuditRecord.objects.filter(action="request.filed").count() == 1


def test_idempotency_key_for_another_request_is_a_conflict(engineer: Member, frozen: BudgetPeriod) -> None:
    file(engineer, frozen, idempotency_key="k-1")

    with pytest.raises(Conflict, match="Idempotency-Key"):
        file(engineer, frozen, "51", idempotency_key="k-1")


def test_session_alone_finds_the_period_it_is_frozen_on(engineer: Member, frozen: BudgetPeriod) -> None:
    request = request_create(actor=member_actor(engineer), period_id=None, session_key=FROZEN_SESSION, amount=Decimal(5), reason=REASON)

    assert request.period == frozen


def test_session_alone_finds_the_period_that_refused_a_call(engineer: Member, session_budget: Budget) -> None:
    session_of(engineer, "short")
    period = period_of(session_budget, session_key="short", spent=Decimal(99), refused_at=timezone.now(), refused_amount=Decimal(3))

    request = request_create(actor=member_actor(engineer), period_id=None, session_key="short", amount=Decimal(5), reason=REASON)

    assert request.period == period


def test_session_alone_with_nothing_frozen_is_a_conflict(engineer: Member) -> None:
    session_of(engineer, "fine")

    with pytest.raises(Conflict, match="Nothing is frozen"):
        request_create(actor=member_actor(engineer), period_id=None, session_key="fine", amount=Decimal(5), reason=REASON)


def test_refused_filing_leaves_nothing_behind(other_engineer: Member, frozen: BudgetPeriod) -> None:
    with pytest.raises(NotFound):
        file(other_engineer, frozen)

    assert (ApprovalRequest.objects.count(), Notice.objects.count(), AuditRecord.objects.count()) == (0, 0, 0)

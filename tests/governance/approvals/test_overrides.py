"""Emergency overrides: who the policy names, with a reason, told to everybody, and reviewed by somebody else."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from governance.approvals.models import ApprovalRequest, Decision, Review
from governance.approvals.overrides import review_of, reviews_due
from governance.approvals.policies import policy_set
from governance.approvals.policy import ADMINS, APPROVERS, Band, Override, Rules, Step
from governance.approvals.services import request_create, request_decide, request_override, request_withdraw, review_record, reviews_remind
from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, TopUp
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role
from tests.conftest import person

RULES = Rules((Band((Step((ADMINS,), 2),)),), override=Override((APPROVERS,), review_days=3))


@pytest.fixture
def finance(organization: Organization) -> Member:
    return person(organization, email="finance@acme.example", role=Role.FINANCE)


@pytest.fixture
def request_of_50(admin: Member, engineer: Member, frozen: BudgetPeriod) -> ApprovalRequest:
    policy_set(actor=member_actor(admin), team=None, rules=RULES)
    return request_create(actor=member_actor(engineer), period_id=frozen.pk, amount=Decimal(50), reason="Nearly done.")


def override(member: Member, request: ApprovalRequest, reason: str = "Customers are down.", **fields: object) -> Decision:
    return request_override(actor=member_actor(member), request_id=request.pk, reason=reason, **fields)  # type: ignore[arg-type]


def review(member: Member, request: ApprovalRequest, note: str = "", *, is_upheld: bool = True) -> Review:
    return review_record(actor=member_actor(member), request_id=request.pk, is_upheld=is_upheld, note=note)


def test_an_override_grants_at_once_above_the_limit_and_is_told(
    lead: Member, admin: Member, finance: Member, frozen: BudgetPeriod, request_of_50: ApprovalRequest
) -> None:
    Member.objects.filter(pk=lead.pk).update(approval_limit=Decimal(1))

    decision = override(lead, request_of_50)

    frozen.refresh_from_db()
    assert (frozen.topup, frozen.frozen_at, decision.kind) == (50, None, "override")
    found = review_of(request_of_50)
    assert found is not None
    assert timedelta(days=2, hours=23) < found.due_at - timezone.now() <= timedelta(days=3)
    for member in (admin, finance):
        assert Notice.objects.filter(recipient=member.user.email, subject__startswith="Emergency override").count() == 1
    record = AuditRecord.objects.get(action="request.approved")
    assert (record.new["override"], record.new["passed_over"], record.new["note"]) == (True, ["admins"], "Customers are down.")


def test_who_the_policy_does_not_name_does_not_override(
    admin: Member, engineer: Member, lead: Member, team_period: BudgetPeriod, request_of_50: ApprovalRequest
) -> None:
    with pytest.raises(Forbidden, match="does not let you override"):
        override(admin, request_of_50)
    with pytest.raises(Forbidden, match="own request"):
        override(engineer, request_of_50)
    own = request_create(actor=member_actor(lead), period_id=team_period.pk, amount=Decimal(5), reason="Mine.")
    with pytest.raises(Forbidden, match="own request"):
        override(lead, own)
    assert TopUp.objects.count() == 0


def test_without_a_policy_nobody_overrides(admin: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    request = request_create(actor=member_actor(engineer), period_id=frozen.pk, amount=Decimal(50), reason="Nearly done.")
    with pytest.raises(Forbidden, match="lets nobody override"):
        override(admin, request)


def test_the_policy_at_filing_says_who_overrides(admin: Member, lead: Member, request_of_50: ApprovalRequest) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((ADMINS,)),)),)))
    assert override(lead, request_of_50).kind == "override"


def test_an_override_needs_a_reason_gives_at_most_what_was_asked_and_ends_the_request_once(
    lead: Member, admin: Member, engineer: Member, request_of_50: ApprovalRequest
) -> None:
    with pytest.raises(Invalid):
        override(lead, request_of_50, " ")
    with pytest.raises(Invalid, match="at most what was asked"):
        override(lead, request_of_50, amount=Decimal(51))
    first = override(lead, request_of_50, idempotency_key="o-1")
    assert override(lead, request_of_50, idempotency_key="o-1") == first
    for again in (
        lambda: override(lead, request_of_50),
        lambda: request_decide(actor=member_actor(admin), request_id=request_of_50.pk, is_grant=True),
    ):
        with pytest.raises(Conflict, match="Lead has already granted"):
            again()
    assert TopUp.objects.count() == 1


def test_a_withdrawn_request_is_not_overridden(lead: Member, engineer: Member, request_of_50: ApprovalRequest) -> None:
    request_withdraw(actor=member_actor(engineer), request_id=request_of_50.pk)
    with pytest.raises(Conflict, match="has withdrawn"):
        override(lead, request_of_50)


def test_somebody_else_reviews_it_once(
    lead: Member, admin: Member, finance: Member, engineer: Member, request_of_50: ApprovalRequest
) -> None:
    with pytest.raises(NotFound):
        review(admin, request_of_50)
    override(lead, request_of_50)

    with pytest.raises(Forbidden, match="Somebody else"):
        review(lead, request_of_50)
    with pytest.raises(Forbidden):
        review(engineer, request_of_50)
    with pytest.raises(Invalid):
        review(admin, request_of_50, is_upheld=False)
    assert reviews_due(member_actor(finance)).count() == 1
    done = review(finance, request_of_50, "It could have waited.", is_upheld=False)
    assert (done.is_upheld, done.reviewer) == (False, finance)
    with pytest.raises(Conflict, match="Finance has reviewed"):
        review(admin, request_of_50)
    assert reviews_due(member_actor(finance)).count() == 0
    assert "was not right" in Notice.objects.get(recipient=lead.user.email, subject__startswith="Reviewed").body
    assert AuditRecord.objects.filter(action="override.reviewed").count() == 1


def test_who_overrode_does_not_review_after_becoming_an_admin(lead: Member, request_of_50: ApprovalRequest) -> None:
    override(lead, request_of_50)
    Member.objects.filter(pk=lead.pk).update(role=Role.OWNER)
    lead.refresh_from_db()
    with pytest.raises(Forbidden, match="Somebody else"):
        review(lead, request_of_50)


def test_reviews_are_reminded_of_from_a_day_before_once_a_day(
    lead: Member, admin: Member, finance: Member, request_of_50: ApprovalRequest
) -> None:
    override(lead, request_of_50)
    now = timezone.now()

    assert reviews_remind(now=now + timedelta(days=1)) == 0
    assert reviews_remind(now=now + timedelta(days=2, hours=1)) == 1
    assert reviews_remind(now=now + timedelta(days=2, hours=2)) == 0
    assert reviews_remind(now=now + timedelta(days=3, hours=2)) == 1
    assert Notice.objects.filter(recipient=admin.user.email, subject__startswith="Review due").count() == 1
    assert Notice.objects.filter(recipient=finance.user.email, subject__startswith="Review late").count() == 1
    review(admin, request_of_50)
    assert reviews_remind(now=now + timedelta(days=5)) == 0

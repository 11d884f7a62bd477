"""The pages of approval policies, delegates, overrides and reviews: what a person types is what holds, and the page says whose turn it is."""

from decimal import Decimal
from typing import Any

import pytest

from governance.approvals.models import ApprovalPolicy, ApprovalRequest, Decision, Delegation, Review, Vote
from governance.approvals.policies import policy_set, rules_in
from governance.approvals.policy import ADMINS, APPROVERS, Automatic, Band, Override, Rules, Step
from governance.approvals.services import request_create, request_override
from governance.budgets.models import BudgetPeriod
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.dashboards.control import address, at, frozen, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]
LEAD_THEN_ADMIN = (Step((APPROVERS,)), Step((ADMINS,)))
TYPED = {
    "rows": "2", "seen": "0", "denials": "1", "escalate_minutes": "60", "expire_hours": "48", "up_to": "5", "person_daily": "10", "team_daily": "20",
    "override-groups": "owners", "review_days": "3", "band-0-up_to": "100", "band-0-order": "order", "band-0-0-groups": "approvers", "band-0-0-needed": "1",
    "band-1-order": "parallel", "band-1-0-groups": ["approvers", "admins"], "band-1-0-needed": "2", "band-1-1-groups": "finance", "band-1-1-needed": "1",
}  # fmt: skip


@pytest.fixture
def period(admin: Member, engineer: Member) -> BudgetPeriod:
    return frozen(admin, engineer)


def typed(action: str, /, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (TYPED | {"action": action} | changes).items() if value is not None}


def asked(engineer: Member, period: BudgetPeriod) -> ApprovalRequest:
    return request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(60), reason="Half done.", session_key=period.session_key)


def chain(admin: Member, **rest: Any) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band(LEAD_THEN_ADMIN),), **rest))


def test_what_is_typed_is_the_policy_and_reads_in_words(admin: Member) -> None:
    browser, page = at(admin), address(admin, "settings/approval-policy/organization")
    saved = text_of(browser.post(page, typed("save"), follow=True))
    rules = rules_in(ApprovalPolicy.objects.get())
    assert rules == Rules(
        (Band((Step(("approvers",)),), Decimal(100)), Band((Step(("approvers", "admins"), 2), Step(("finance",))), in_parallel=True)),
        60, 48, 1, Automatic(Decimal(5), Decimal(10), Decimal(20)), Override(("owners",), 3),
    )  # fmt: skip
    assert "two of approvers of the team and owners or admins and one person of finance, in any order" in saved
    assert "Up to 5.00 USD is granted at once" in saved
    again = text_of(browser.get(page))
    assert 'value="100"' in again
    assert "Version 1" in again


def test_a_row_is_added_and_removed_and_a_request_is_tried_without_saving(admin: Member, lead: Member, team: Team) -> None:
    browser, page = at(admin), address(admin, "settings/approval-policy/organization")
    assert 'name="rows" value="3"' in text_of(browser.post(page, typed("add")))
    fewer = text_of(browser.post(page, typed("remove-0")))
    assert 'name="rows" value="1"' in fewer
    assert 'name="band-0-1-groups" value="finance"' in fewer
    tried = text_of(browser.post(page, typed("try", **{"try-amount": "500", "try-team": str(team.pk)})))
    assert "A request of <strong>500.00 USD</strong> by team <strong>Platform</strong>" in tried
    assert "Two of approvers of Platform and owners or admins: Lead, Admin" in tried
    assert "not enough people" in tried  # nobody is of finance
    assert not ApprovalPolicy.objects.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"band-0-up_to": ""}, "The last row, and only that one"),
        ({"band-0-0-groups": None}, "between one and 5 steps"),
        ({"up_to": "50"}, "One automatic grant is at most"),
        ({"person_daily": ""}, "Give all three amounts"),
        ({"denials": "0"}, "greater than or equal to 1"),
        ({"band-0-0-groups": "everybody"}, "is not one of the available choices"),
        ({"seen": "4"}, "Somebody else has changed this policy"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_a_sentence(admin: Member, changes: dict[str, Any], sentence: str) -> None:
    answer = at(admin).post(address(admin, "settings/approval-policy/organization"), typed("save", **changes))
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not ApprovalPolicy.objects.exists()


@pytest.mark.parametrize("action", ["remove-", "remove-x", "remove-99", "remove--1", "add", "try", "freeze"])
def test_no_click_breaks_the_editor(admin: Member, action: str) -> None:
    page = address(admin, "settings/approval-policy/organization")
    for body in (typed(action), {"action": action}, {"action": action, "rows": "999"}):
        assert at(admin).post(page, body).status_code in (200, 302, 422)


def test_a_team_begins_with_what_holds_for_it_and_can_go_back(admin: Member, team: Team) -> None:
    browser, page = at(admin), address(admin, f"settings/approval-policy/team/{team.pk}")
    assert "The team has none of its own yet" in text_of(browser.get(page))
    browser.post(page, typed("save"))
    assert ApprovalPolicy.objects.get().team == team
    browser.post(page, typed("end", seen="1"))
    assert ApprovalPolicy.objects.get().ended_at is not None


def test_a_policy_that_was_changed_meanwhile_is_not_ended(admin: Member) -> None:
    browser, page = at(admin), address(admin, "settings/approval-policy/organization")
    chain(admin)
    answer = browser.post(page, typed("end", seen="0"))
    assert answer.status_code == 422
    assert "Somebody else has changed this policy since you opened it." in text_of(answer)
    assert ApprovalPolicy.objects.get().ended_at is None


def test_the_request_page_leads_through_the_chain(admin: Member, lead: Member, engineer: Member, period: BudgetPeriod) -> None:
    chain(admin)
    request = asked(engineer, period)
    page = f"approvals/{request.pk}"
    assert "It needs two more decisions; the next is for the approvers of Platform." in text_of(at(engineer).get(address(engineer, page)))
    assert 'id="decide"' not in text_of(at(admin).get(address(admin, page)))

    first = at(lead).post(address(lead, page), {"decision": "grant", "amount": "40", "until": "", "note": "Enough."}, follow=True)
    assert "Recorded. It goes on to those who decide next." in text_of(first)
    seen = text_of(at(admin).get(address(admin, page)))
    assert 'id="decide"' in seen
    assert "Lead granted" in seen
    assert "$40.00 was granted so far" in seen
    assert 'value="40"' in seen
    assert "$43.00" in seen  # what the limit comes to at most, of 3 and the 40 granted so far
    last = at(admin).post(address(admin, page), {"decision": "grant", "amount": "60", "until": "", "note": ""}, follow=True)
    assert "Granted $40.00. The next call passes." in text_of(last)
    assert Decision.objects.get().amount == 40


def test_what_ran_and_what_binds_is_on_the_page(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    from tests.dashboards.control import budget, use

    budget(admin, name="Whole company", limit="4", scope_kind="organization")
    use(admin.organization, session=period.session_key, member=engineer.user.email)
    seen = text_of(at(admin).get(address(admin, f"approvals/{asked(engineer, period).pk}")))
    assert "What ran" in seen
    assert "claude-sonnet-4-5" in seen
    assert "Granting this alone changes nothing: Whole company binds first." in seen


def test_a_delegate_is_named_decides_and_is_taken_back(lead: Member, engineer: Member, period: BudgetPeriod, organization: Organization) -> None:
    deputy = person(organization, email="deputy@acme.example", role=Role.ENGINEER)
    here = address(lead, "approvals/delegate")
    named = at(lead).post(here, {"delegate": str(deputy.pk), "first": "2020-01-01", "last": "2099-01-01"})
    assert named.status_code == 422
    today = period.created_at.astimezone(organization.zone).date().isoformat()
    assert "Deputy" in text_of(at(lead).post(here, {"delegate": str(deputy.pk), "first": today, "last": today}, follow=True))

    page = address(deputy, f"approvals/{asked(engineer, period).pk}")
    assert "You decide in the stead of <strong>Lead</strong>" in text_of(at(deputy).get(page))
    at(deputy).post(page, {"decision": "grant", "amount": "60", "until": "", "note": ""})
    assert Vote.objects.get().in_stead_of == lead
    at(lead).post(here, {"end": str(Delegation.objects.get().pk)})
    assert Delegation.objects.get().ended_at is not None


def test_nobody_is_named_from_a_day_long_ago(lead: Member, engineer: Member) -> None:
    answer = at(lead).post(address(lead, "approvals/delegate"), {"delegate": str(engineer.pk), "first": "0001-01-01", "last": "2999-01-01"})
    assert answer.status_code == 422
    assert "This day is over already." in text_of(answer)
    assert not Delegation.objects.exists()


def test_an_override_is_made_listed_and_reviewed(admin: Member, lead: Member, engineer: Member, period: BudgetPeriod) -> None:
    chain(admin, override=Override((APPROVERS,)))
    request = asked(engineer, period)
    page = f"approvals/{request.pk}"
    assert "Emergency override…" not in text_of(at(admin).get(address(admin, page)))
    assert at(lead).post(address(lead, page), {"decision": "override", "override-amount": "60", "override-reason": ""}).status_code == 422
    at(lead).post(address(lead, page), {"decision": "override", "override-amount": "60", "override-reason": "Customers are down."})
    assert Decision.objects.get().kind == "override"
    assert "Emergency overrides to review" in text_of(at(admin).get(address(admin, "approvals")))
    assert at(admin).post(address(admin, page), {"decision": "review", "review-upheld": ""}).status_code == 422
    at(admin).post(address(admin, page), {"decision": "review", "review-upheld": "no", "review-note": "It could have waited."})
    assert Review.objects.get().is_upheld is False
    assert "<strong>was not right</strong>" in text_of(at(lead).get(address(lead, page)))
    assert "Emergency overrides to review" not in text_of(at(admin).get(address(admin, "approvals")))


def test_nobody_reviews_their_own_override_on_the_page(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    chain(admin, override=Override((ADMINS,)))
    request = asked(engineer, period)
    request_override(actor=member_actor(admin), request_id=request.pk, reason="Now.")
    answer = at(admin).post(address(admin, f"approvals/{request.pk}"), {"decision": "review", "review-upheld": "yes"})
    assert answer.status_code == 403
    assert "Somebody else than who overrode reviews it." in text_of(answer)


def test_a_grant_by_the_policy_says_so(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    policy_set(
        actor=member_actor(admin), team=None, rules=Rules((Band(LEAD_THEN_ADMIN),), automatic=Automatic(Decimal(60), Decimal(60), Decimal(60)))
    )
    request = asked(engineer, period)
    assert "The policy granted" in text_of(at(engineer).get(address(engineer, f"approvals/{request.pk}")))
    assert "The policy" in text_of(at(admin).get(address(admin, "approvals?state=decided")))

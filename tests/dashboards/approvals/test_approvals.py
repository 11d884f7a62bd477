"""Asking and deciding through the pages: the road from a frozen session to a granted one, and every way to get it wrong."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.services import request_create, request_withdraw
from governance.budgets.models import BudgetPeriod
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Role, Team
from tests.conftest import person
from tests.dashboards.control import address, at, budget, frozen, people, queries, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


@pytest.fixture
def period(admin: Member, engineer: Member) -> BudgetPeriod:
    return frozen(admin, engineer)


def asking(period: BudgetPeriod, /, **changes: str) -> dict[str, str]:
    return {
        "session": period.session_key,
        "period": str(period.pk),
        "amount": "60",
        "reason": "Half the files are converted.",
        "until": "",
    } | changes


def asked(engineer: Member, period: BudgetPeriod, amount: str = "60") -> ApprovalRequest:
    return request_create(
        actor=member_actor(engineer), period_id=period.pk, amount=Decimal(amount), reason="Half done.", session_key=period.session_key
    )


def page_of(member: Member, request: ApprovalRequest) -> str:
    return address(member, f"approvals/{request.pk}")


def grant(member: Member, request: ApprovalRequest, **changes: str) -> Any:
    return at(member).post(page_of(member, request), {"decision": "grant", "amount": "60", "until": "", "note": ""} | changes)


def test_engineer_asks_admin_grants_a_part_and_the_open_page_shows_it(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    browser = at(engineer)
    assert "This session (Any session)" in text_of(browser.get(address(engineer, f"approvals/new?session={period.session_key}")))
    filed = browser.post(address(engineer, "approvals/new"), asking(period), follow=True)
    assert "Your request waits" in text_of(filed)
    request = ApprovalRequest.objects.get()
    poll = page_of(engineer, request) + "?seen=pending"
    assert browser.get(poll, headers={"HX-Request": "true"}).status_code == 204

    decided = at(admin).post(
        page_of(admin, request), {"decision": "grant", "amount": "12.50", "until": "", "note": "Enough for today."}, follow=True
    )
    assert "Granted $12.50" in text_of(decided)
    seen = text_of(browser.get(poll, headers={"HX-Request": "true"}))
    assert "The session is <strong>resumed</strong>" in seen
    assert "Enough for today." in seen
    period.refresh_from_db()
    assert (period.topup, period.frozen_at) == (Decimal("12.50"), None)


AMOUNTS = {
    "": "Say how much.",
    "sixty": "Write an amount in digits",
    "-5": "The amount must be at least 0.01.",
    "0": "The amount must be at least 0.01.",
    "NaN": "Write an amount in digits",
    "-Infinity": "Write an amount in digits",
    "1,000": "Write an amount in digits",
    "12,50": "Write an amount in digits",
    "1e400": "The amount must be at most 1 000 000 000.",
    "9" * 40: "The amount must be at most 1 000 000 000.",
    "1.0000000000000001": "An amount has at most 15 decimal places.",
}


@pytest.mark.parametrize(("amount", "sentence"), AMOUNTS.items(), ids=[repr(amount)[:12] for amount in AMOUNTS])
def test_an_amount_that_is_none_is_refused_with_one_sentence(engineer: Member, period: BudgetPeriod, amount: str, sentence: str) -> None:
    answer = at(engineer).post(address(engineer, "approvals/new"), asking(period, amount=amount))
    assert answer.status_code == 422
    assert text_of(answer).count(sentence) == 1
    assert not ApprovalRequest.objects.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"until": "2020-01-01"}, "This day is over already."),
        ({"until": "9999-12-31"}, "This is more than ten years away."),
        ({"until": "soon"}, "Enter a valid date."),
        ({"reason": "  "}, "Say what the money is for"),
        ({"period": ""}, "Choose the budget to raise."),
        ({"period": "9"}, "There is no such budget period here."),
    ],
)
def test_a_broken_request_says_what_is_wrong(engineer: Member, period: BudgetPeriod, changes: dict[str, str], sentence: str) -> None:
    answer = at(engineer).post(address(engineer, "approvals/new"), asking(period, **changes))
    assert answer.status_code in (404, 422)
    assert sentence in text_of(answer)
    assert not ApprovalRequest.objects.exists()


def test_sending_the_form_twice_files_one_request(engineer: Member, period: BudgetPeriod) -> None:
    browser = at(engineer)
    browser.post(address(engineer, "approvals/new"), asking(period))
    again = browser.post(address(engineer, "approvals/new"), asking(period, amount="70"))
    assert again.status_code == 409
    assert "still waits for a decision" in text_of(again)
    assert ApprovalRequest.objects.count() == 1


def test_the_second_decider_is_told_who_was_faster(admin: Member, lead: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    assert grant(admin, request).status_code == 302
    late = grant(lead, request)
    assert late.status_code == 409
    assert "Admin has already granted 60.00 USD." in text_of(late)
    assert Decision.objects.count() == 1


def test_going_back_and_deciding_again_changes_nothing(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    grant(admin, request)
    again = at(admin).post(page_of(admin, request), {"decision": "deny", "reason": "on second thoughts"})
    assert again.status_code == 409
    assert "has already granted" in text_of(again)
    period.refresh_from_db()
    assert period.topup == 60


def test_nobody_decides_their_own_request(admin: Member, period: BudgetPeriod) -> None:
    request = asked(admin, period)
    assert "You cannot decide your own request." in text_of(at(admin).get(page_of(admin, request)))
    answer = grant(admin, request)
    assert answer.status_code == 403
    assert "Nobody decides their own request." in text_of(answer)
    assert not Decision.objects.exists()


def test_a_withdrawn_request_cannot_be_granted(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    request_withdraw(actor=member_actor(engineer), request_id=request.pk)
    answer = grant(admin, request)
    assert answer.status_code == 409
    assert "has withdrawn this request." in text_of(answer)


def test_only_who_asked_withdraws(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    assert at(admin).post(page_of(admin, request), {"decision": "withdraw"}).status_code == 403
    assert "The request is withdrawn." in text_of(at(engineer).post(page_of(engineer, request), {"decision": "withdraw"}, follow=True))


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"amount": "61"}, 422, "Grant at most what was asked for: 60.00 USD."),
        ({"amount": "nan"}, 422, "Write an amount in digits"),
        ({"until": "2020-01-01"}, 422, "This day is over already."),
        ({"decision": "deny"}, 422, "Say why: the requester reads it"),
        ({"decision": "perhaps"}, 422, "Say whether to grant or to deny."),
    ],
)
def test_a_broken_decision_says_what_is_wrong(
    admin: Member, engineer: Member, period: BudgetPeriod, changes: dict[str, str], status: int, sentence: str
) -> None:
    answer = grant(admin, asked(engineer, period), **changes)
    assert answer.status_code == status
    assert sentence in text_of(answer)
    assert not Decision.objects.exists()


def test_an_approver_grants_up_to_the_own_limit(engineer: Member, team: Team, period: BudgetPeriod) -> None:
    lead = person(engineer.organization, email="small@acme.example", role=Role.APPROVER, team=team, approval_limit=Decimal(10))
    request = asked(engineer, period)
    assert "Your limit is $10.00: grant a part" in text_of(at(lead).get(page_of(lead, request)))
    above = grant(lead, request)
    assert above.status_code == 403
    assert "Your limit is 10.00 USD a request." in text_of(above)
    assert grant(lead, request, amount="10").status_code == 302


def test_a_denial_reaches_the_requester_with_its_reason(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    at(admin).post(page_of(admin, request), {"decision": "deny", "reason": "Use the cheaper model."})
    seen = text_of(at(engineer).get(page_of(engineer, request)))
    assert "denied it" in seen
    assert "Use the cheaper model." in seen


def test_a_form_without_its_token_is_refused_with_a_sentence(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    answer = at(admin, enforce_csrf_checks=True).post(page_of(admin, request), {"decision": "grant", "amount": "60"})
    assert answer.status_code == 403
    assert "Traceback" not in text_of(answer)
    assert "The page was too old to send this" in text_of(answer)
    assert not Decision.objects.exists()


def test_everybody_sees_what_is_theirs(admin: Member, engineer: Member, stranger: Member, team: Team, period: BudgetPeriod) -> None:
    other = person(engineer.organization, email="other@acme.example", role=Role.ENGINEER, team=team)
    auditor = person(engineer.organization, email="auditor@acme.example", role=Role.AUDITOR)
    request = asked(engineer, period)
    assert at(other).get(page_of(other, request)).status_code == 404
    assert "run-1" not in text_of(at(other).get(address(other, "approvals")))
    assert at(other).get(address(other, "approvals/new?session=run-1")).status_code == 404
    assert at(stranger).get(page_of(engineer, request)).status_code == 404
    assert at(stranger).get(page_of(stranger, request)).status_code == 404
    read = at(auditor).get(page_of(auditor, request))
    assert (read.status_code, "Grant and resume" in text_of(read)) == (200, False)
    assert grant(auditor, request).status_code == 403
    assert at(auditor).get(address(auditor, "approvals/new")).status_code == 403
    assert Client().get(page_of(engineer, request)).status_code == 302
    assert "Grant and resume" in text_of(at(admin).get(page_of(admin, request)))


def test_a_grant_promises_to_resume_only_what_it_can(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    assert "Grant and resume" in text_of(at(admin).get(page_of(admin, request)))
    at(admin).post(address(admin, "sessions/run-1"), {"action": "freeze", "reason": "Runs in circles."})
    budget(admin, name="All", scope_kind="organization", limit="1")
    page = text_of(at(admin).get(page_of(admin, request)))
    assert "Grant and resume" not in page
    assert "It stays frozen for another reason as well." in page
    assert grant(admin, request).status_code == 302
    assert "The session is still frozen" in text_of(at(engineer).get(page_of(engineer, request)))


def test_a_form_asks_for_what_is_over_the_limit_as_well(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    use(admin.organization, session="run-1", member=engineer.user.email, calls=4)
    page = text_of(at(engineer).get(address(engineer, "approvals/new?session=run-1")))
    assert "on top of it $6.00, which are over the limit already and buy nothing." in page
    assert 'name="amount" value="9"' in page


def test_a_grant_that_only_makes_up_for_the_past_promises_no_call(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    use(admin.organization, session="run-1", member=engineer.user.email, calls=4)
    page = text_of(at(admin).get(page_of(admin, asked(engineer, period, "6"))))
    assert "Grant and resume" not in page
    assert "It stays frozen: the amount only makes up for what was spent over the limit." in page


def test_whose_grant_was_too_small_is_led_to_ask_for_the_rest(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    use(admin.organization, session="run-1", member=engineer.user.email, calls=4)
    request = asked(engineer, period, "6")
    grant(admin, request, amount="3")
    link = f'<a href="{address(engineer, "approvals/new")}?session=run-1">Ask for the rest '
    assert link in text_of(at(engineer).get(page_of(engineer, request)))
    assert link not in text_of(at(admin).get(page_of(admin, request)))


def test_how_long_a_grant_lasts_says_why_where_it_is_not_known(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    request = asked(engineer, period)
    assert "<dd>too few calls to say</dd>" in text_of(at(admin).get(page_of(admin, request)))
    use(admin.organization, session="run-1", member=engineer.user.email, calls=60)
    assert "<dd>it only makes up for what was spent over the limit</dd>" in text_of(at(admin).get(page_of(admin, request)))


def test_the_queue_begins_with_what_is_blocked_now(admin: Member, engineer: Member, team: Team, period: BudgetPeriod) -> None:
    use(admin.organization, session="run-2", member=engineer.user.email)
    idle = BudgetPeriod.objects.get(session_key="run-2")
    ApprovalRequest.objects.filter(pk=asked(engineer, idle, "5").pk).update(created_at=timezone.now() - timedelta(hours=3))
    asked(engineer, period)
    page = text_of(at(admin).get(address(admin, "approvals")))
    assert page.index("session run-1") < page.index("session run-2")
    assert page.count("blocked now") == 1
    table = at(admin).get(address(admin, "approvals?state=all&format=csv"))
    assert (table["Content-Type"].partition(";")[0], len(text_of(table).splitlines())) == ("text/csv", 3)


def test_a_longer_queue_asks_no_more_queries(admin: Member, engineer: Member, team: Team) -> None:
    paths = [address(admin, "approvals"), address(admin, "approvals?state=all")]

    def file(members: Any, first: int) -> None:
        for place, member in enumerate(members):
            use(admin.organization, session=f"more-{first + place}", calls=2, member=member.user.email)
            asked(member, BudgetPeriod.objects.get(session_key=f"more-{first + place}"))

    several = people(team, engineer, 20)
    budget(admin)
    file(several[:2], 0)
    before = [queries(at(admin), path) for path in paths]
    file(several[2:], 2)
    assert [queries(at(admin), path) for path in paths] == before


def test_an_approver_sees_what_a_grant_buys_after_the_overrun(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    use(admin.organization, session=period.session_key, member=engineer.user.email)
    page = text_of(at(admin).get(page_of(admin, asked(engineer, period, "2"))))
    assert "$1.50 was spent over the limit already" in page.replace('<span title="USD 1.5">', "").replace("</span>", "")
    assert "it buys <strong>" in page
    assert "Left to spend then" in page

"""Budgets through the pages: the tree, one budget's course, and making, changing and retiring one with a look ahead."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from dashboards.selectors import periods
from governance.budgets.models import Budget, BudgetPeriod
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.dashboards.control import address, at, budget, frozen, queries, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def making(team: Team | None = None, /, **changes: str) -> dict[str, str]:
    fields = {"name": "Platform", "scope_kind": "team", "team": str(team.pk) if team else "", "period_kind": "month", "limit_amount": "100"}
    return fields | {"action": "freeze", "thresholds": "50, 80", "step": "create"} | changes


def changing(**changes: str) -> dict[str, str]:
    return {"name": "Any session", "limit_amount": "10", "action": "freeze", "thresholds": "50", "step": "change"} | changes


def test_the_tree_shows_what_is_spent_held_and_left(admin: Member, engineer: Member, team: Team) -> None:
    budget(admin, name="All", scope_kind="organization", limit="100")
    budget(admin, name="Platform", scope_kind="team", team=team, limit="10")
    frozen(admin, engineer)
    page = text_of(at(admin).get(address(admin, "budgets")))
    assert page.index(">All<") < page.index(">Platform<") < page.index(">Any session<")
    assert 'title="USD 7"' in page
    assert "1 session stands frozen at its own limit" in page
    rows = text_of(at(admin).get(address(admin, "budgets?format=csv"))).splitlines()
    assert len(rows) == 4
    assert rows[1].startswith("All,organization,month,USD,100,0,3,0,97,no")


def test_a_new_budget_counts_what_its_period_holds_already_and_says_so_before(admin: Member, engineer: Member, team: Team) -> None:
    use(admin.organization, session="run", calls=2, member=engineer.user.email)
    browser, path = at(admin), address(admin, "budgets/new")
    look = text_of(browser.post(path, making(team, limit_amount="3", step="preview")))
    assert "Freezes now:" in look
    assert not Budget.objects.exists()
    assert "Nothing freezes and nothing thaws." in text_of(browser.post(path, making(team, limit_amount="3.01", step="preview")))
    made = browser.post(path, making(team, limit_amount="3"), follow=True)
    assert "Platform is in force." in text_of(made)
    period = BudgetPeriod.objects.get()
    assert (period.spent, period.frozen_at is not None) == (Decimal(3), True)
    assert "used up" in text_of(browser.get(address(admin, "budgets")))


AMOUNTS = ("", "-1", "nan", "inf", "1e400", "1,000", "ten", "9" * 30, "0.0000000000000001")


@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_limit_that_is_none_is_refused(admin: Member, team: Team, amount: str) -> None:
    answer = at(admin).post(address(admin, "budgets/new"), making(team, limit_amount=amount))
    page = text_of(answer)
    assert answer.status_code == 422
    assert page.count('class="error"') == 1
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"team": ""}, "Choose the team."),
        ({"team": "987654"}, "Select a valid choice"),
        ({"scope_kind": "planet"}, "Select a valid choice"),
        ({"scope_kind": "member"}, "Choose the member."),
        ({"period_kind": ""}, "Say how long a period is."),
        ({"thresholds": "50, many"}, "Write whole percents from 1 to 1000"),
        ({"thresholds": "0"}, "Write whole percents from 1 to 1000"),
        ({"name": " "}, "This field is required"),
        ({"name": "x" * 200}, "at most 120 characters"),
        ({"unpriced_call_amount": "1000000.01"}, "The amount must be at most 1 000 000."),
    ],
)
def test_a_broken_budget_says_what_is_wrong(admin: Member, team: Team, changes: dict[str, str], sentence: str) -> None:
    answer = at(admin).post(address(admin, "budgets/new"), making(team, **changes))
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Budget.objects.exists()


def test_a_higher_limit_thaws_and_the_history_tells_who_raised_it(admin: Member, engineer: Member) -> None:
    period = frozen(admin, engineer)
    browser, path = at(admin), address(admin, f"budgets/{period.budget_id}")
    look = text_of(browser.post(path, changing(step="preview")))
    assert "Goes on again:" in look
    assert "sessions/run-1" in look
    assert "Any session is changed." in text_of(browser.post(path, changing(), follow=True))
    period.refresh_from_db()
    assert (period.limit_amount, period.frozen_at) == (Decimal(10), None)
    page = text_of(browser.get(path))
    assert "$3.00 → $10.00" in page
    assert browser.post(path, changing(limit_amount="-1")).status_code == 422


def test_what_somebody_else_changed_meanwhile_is_not_undone(admin: Member, engineer: Member) -> None:
    made = frozen(admin, engineer).budget
    browser, path = at(admin), address(admin, f"budgets/{made.pk}")
    assert 'name="seen" value="1"' in text_of(browser.get(path))
    assert browser.post(path, changing(limit_amount="20", seen="1")).status_code == 302
    late = browser.post(path, changing(limit_amount="10", thresholds="90", seen="1"))
    assert late.status_code == 409
    assert "Somebody else has changed this budget since you opened it." in text_of(late)
    made.refresh_from_db()
    assert (made.limit_amount, made.version) == (Decimal(20), 2)


def test_a_retired_budget_keeps_its_history_and_lets_go(admin: Member, engineer: Member) -> None:
    period = frozen(admin, engineer)
    browser, path = at(admin), address(admin, f"budgets/{period.budget_id}")
    assert "is retired" in text_of(browser.post(path, {"step": "retire"}, follow=True))
    assert "Any session" not in text_of(browser.get(address(admin, "budgets")))
    assert "Any session" in text_of(browser.get(address(admin, "budgets?state=retired")))
    assert browser.post(path, {"step": "retire"}).status_code in (302, 409)
    assert "idle" in text_of(browser.get(address(admin, "sessions?state=idle"))) or "running" in text_of(
        browser.get(address(admin, "sessions"))
    )


def test_everybody_sees_what_covers_them(admin: Member, engineer: Member, stranger: Member, team: Team, organization: Organization) -> None:
    elsewhere = Team.objects.create(organization=organization, slug="data", name="Data")
    own, other = budget(admin, name="Platform", scope_kind="team", team=team), budget(admin, name="Data", scope_kind="team", team=elsewhere)
    auditor = person(organization, email="auditor@acme.example", role=Role.AUDITOR)
    page = text_of(at(engineer).get(address(engineer, "budgets")))
    assert (">Platform<" in page, ">Data<" in page) == (True, False)
    paths = [address(engineer, f"budgets/{found.pk}") for found in (own, other)]
    assert [at(engineer).get(path).status_code for path in paths] == [200, 404]
    assert [at(stranger).get(path).status_code for path in paths] == [404, 404]
    assert at(stranger).get(address(stranger, f"budgets/{own.pk}")).status_code == 404
    seen = text_of(at(auditor).get(paths[1]))
    assert "Change…" not in seen
    assert "History" in seen
    refused: list[Any] = [at(person_).post(paths[0], changing(name="Mine")) for person_ in (auditor, engineer)]
    assert [answer.status_code for answer in refused] == [403, 403]
    assert [at(person_).get(address(person_, "budgets/new")).status_code for person_ in (auditor, engineer, admin)] == [403, 403, 200]


def test_a_burn_down_ends_on_the_balance(admin: Member, team: Team) -> None:
    use(admin.organization, session="run", calls=3, team="platform")
    made = budget(admin, name="Platform", scope_kind="team", team=team, limit="100")
    page = text_of(at(admin).get(address(admin, f"budgets/{made.pk}")))
    assert "$4.50 spent of $100.00." in page
    assert at(admin).get(address(admin, f"budgets/{made.pk}?period=abc")).status_code == 200
    assert at(admin).get(address(admin, f"budgets/{made.pk}?period=999999999999999999999")).status_code == 200


def test_more_budgets_ask_no_more_queries(admin: Member, organization: Organization) -> None:
    teams = [Team.objects.create(organization=organization, slug=f"t{place}", name=f"Team {place}") for place in range(20)]
    path, before = address(admin, "budgets"), 0
    for place, team in enumerate(teams):
        budget(admin, name=f"B{place}", scope_kind="team", team=team, limit="10")
        if place == 1:
            before = queries(at(admin), path)
    assert queries(at(admin), path) == before < 25


def test_what_passed_a_limit_is_told_as_it_was(admin: Member, team: Team) -> None:
    use(admin.organization, session="run", calls=2, team="platform", minutes_ago=2)
    made = budget(admin, name="Platform", scope_kind="team", team=team, limit="2")
    browser, path = at(admin), address(admin, f"budgets/{made.pk}")
    assert "<p>spent before the budget was made</p>" in text_of(browser.get(path))
    use(admin.organization, session="run", team="platform", minutes_ago=-1)
    assert "$3.00 was spent before the budget was made; usage since counts" in text_of(browser.get(path))
    Budget.objects.update(created_at=timezone.now() - timedelta(days=40))
    assert "<p>usage counts at what it cost, authorized first or not</p>" in text_of(browser.get(path))


def test_a_burn_down_is_flat_until_something_was_spent(admin: Member, team: Team) -> None:
    with time_machine.travel(datetime(2026, 3, 4, 15, 30, tzinfo=UTC), tick=False):
        use(admin.organization, session="run", calls=2, team="platform", minutes_ago=5)
        made = budget(admin, name="Platform", scope_kind="team", team=team, limit="100", period_kind="day")
        now = timezone.now()
        actor = member_actor(admin)
        period = periods.budget_line(actor, made, now=now).period
        levels = periods.period_levels(actor, period, now=now)
    assert levels == [(period.starts_at, 0), (now.replace(minute=0), 0), (now, 3)]


def test_a_look_ahead_at_half_a_form_says_what_it_needs(admin: Member) -> None:
    answer = at(admin).post(address(admin, "budgets/new"), making(None, limit_amount="", step="preview"))
    assert answer.status_code == 200
    assert "To look ahead it still needs: Team: Choose the team." in text_of(answer)
    assert not Budget.objects.exists()


def test_what_a_scope_needs_is_not_called_optional(admin: Member) -> None:
    page = text_of(at(admin).get(address(admin, "budgets/new")))
    assert '<div data-with="scope_kind" data-values="team session task">' in page
    assert not any(f'{name} <span class="faint">(optional)' in page for name in ("Team", "Project", "Member", "Per"))

"""An engineer's home: own usage and nobody else's, what limits it, and what waits."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine

from governance.tenancy.models import Member, Role, Team
from tests.conftest import person
from tests.dashboards.control import address, at, budget, frozen, people, queries, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def test_it_shows_own_spend_limits_and_frozen_work(admin: Member, engineer: Member, team: Team) -> None:
    other = people(team, engineer, 1)[0]
    budget(admin, name="Platform", scope_kind="team", team=team, limit="100")
    frozen(admin, engineer)
    use(admin.organization, session="other-run", calls=2, member=other.user.email)
    page = text_of(at(engineer).get(address(engineer, "my-usage")))
    assert page.count('title="USD 3"') >= 3
    assert "Session run-1 is frozen." in page
    assert "other-run" not in page
    assert "Platform" in page
    assert 'title="USD 94"' in page


def test_own_requests_are_watched_from_here(admin: Member, engineer: Member) -> None:
    period = frozen(admin, engineer)
    browser = at(engineer)
    assert "See why, ask for more" in text_of(browser.get(address(engineer, "my-usage")))
    browser.post(address(engineer, "approvals/new"), {"session": "run-1", "period": period.pk, "amount": "5", "reason": "Half done."})
    page = text_of(browser.get(address(engineer, "my-usage")))
    assert "You asked for more: watch" in page
    assert "waiting" in page


def test_its_file_has_own_models_only(admin: Member, engineer: Member, team: Team) -> None:
    other = people(team, engineer, 1)[0]
    use(admin.organization, session="a", member=engineer.user.email)
    use(admin.organization, session="b", member=other.user.email, provider="openai", model="gpt-5")
    rows = text_of(at(engineer).get(address(engineer, "my-usage?format=csv"))).splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["claude-sonnet-4-5", "1.5"]]


def test_without_usage_it_teaches(engineer: Member, stranger: Member) -> None:
    assert "No usage under your name yet" in text_of(at(engineer).get(address(engineer, "my-usage")))
    assert at(stranger).get(address(engineer, "my-usage")).status_code == 404


def test_an_auditor_has_one_too(admin: Member) -> None:
    auditor = person(admin.organization, email="auditor@acme.example", role=Role.AUDITOR)
    page = text_of(at(auditor).get(address(auditor, "my-usage")))
    assert "Ask for more" not in page


def test_more_sessions_ask_no_more_queries(admin: Member, engineer: Member) -> None:
    path = address(engineer, "my-usage")
    budget(admin, limit="50")
    before = 0
    for place in range(12):
        use(admin.organization, session=f"run-{place}", member=engineer.user.email)
        if place == 1:
            before = queries(at(engineer), path)
    assert queries(at(engineer), path) == before


def test_it_shows_how_to_connect_and_whom_to_ask_for_a_key(admin: Member, engineer: Member) -> None:
    page = text_of(at(engineer).get(address(engineer, "my-usage")))
    assert "export CLAUDE_CODE_ENABLE_TELEMETRY=1" in page
    assert f'ask <a href="mailto:{admin.user.email}">' in page
    assert "Make a key and get these lines" in text_of(at(admin).get(address(admin, "my-usage")))


def test_today_is_compared_with_yesterday_by_this_time(admin: Member, engineer: Member) -> None:
    with time_machine.travel(datetime(2026, 3, 4, 15, 30, tzinfo=UTC), tick=False):
        use(admin.organization, session="run", member=engineer.user.email)
        use(admin.organization, session="run", calls=2, member=engineer.user.email, minutes_ago=25 * 60)
        use(admin.organization, session="late", calls=4, member=engineer.user.email, minutes_ago=22 * 60)
        answer = at(engineer).get(address(engineer, "my-usage"))
    today, week, month = answer.context["spans"]
    assert (today.figures.cost, today.before) == (Decimal("1.5"), 3)
    assert (week.before, month.before) == (0, 0)
    assert "against yesterday by this time" in text_of(answer)

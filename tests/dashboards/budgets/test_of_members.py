"""Budgets of one person: their pages know hours too, also beyond the limit; and the form that names a person or a team asks for one."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from dashboards.forms.budgets import OWNERS, BudgetForm
from dashboards.selectors import periods
from governance.budgets.models import Budget
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from tests.dashboards.control import address, at, budget, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def test_a_day_burns_down_by_the_hour(admin: Member, engineer: Member) -> None:
    with time_machine.travel(datetime(2026, 3, 4, 15, 30, tzinfo=UTC), tick=False):
        budget(admin, name="A day", scope_kind="member", member=engineer, limit="100", period_kind="day")
        use(admin.organization, session="run", calls=2, member=engineer.user.email, minutes_ago=140)
        use(admin.organization, session="run", member=engineer.user.email, minutes_ago=5)
        use(admin.organization, session="other", member=admin.user.email, minutes_ago=5)
        now, actor = timezone.now(), member_actor(admin)
        period = periods.budget_line(actor, Budget.objects.get(), now=now).period
        levels = periods.period_levels(actor, period, now=now)
    hour = now.replace(minute=0)
    assert levels == [(period.starts_at, 0), (hour - timedelta(hours=2), 0), (hour, 3), (now, 4.5)]


@pytest.mark.parametrize("kind", ["day", "month"])
def test_a_budget_that_was_passed_before_it_was_made_has_a_page(admin: Member, engineer: Member, kind: str) -> None:
    with time_machine.travel(datetime(2026, 3, 4, 15, 30, tzinfo=UTC), tick=False):
        use(admin.organization, session="run", calls=2, member=engineer.user.email, minutes_ago=5)
        use(admin.organization, session="run", member=engineer.user.email, minutes_ago=40 * 60)
        made = budget(admin, name="Tight", scope_kind="member", member=engineer, limit="1", period_kind=kind)
        page = text_of(at(admin).get(address(admin, f"budgets/{made.pk}")))
    assert "<p>spent before the budget was made</p>" in page
    assert f"by=model&member={engineer.pk}" in page, "what is spent leads to what it was made of"


def test_the_form_asks_for_a_team_by_name(admin: Member) -> None:
    form = BudgetForm(owners={name: [(1, "Platform")] for name in OWNERS})
    assert [str(label) for _, label in form.fields["team"].choices] == ["Choose a team", "Platform"]
    page = text_of(at(admin).get(address(admin, "budgets/new")))
    assert 'data-needed-value="team" data-otherwise="Any team"' in page

"""A budget of every kind: each is made with the form, and no page breaks with all of them there."""

from decimal import Decimal
from typing import Any

import pytest

from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.services import budget_create, budget_transfer
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Project, ServiceAccount, Team
from tests.conftest import KeyInHand
from tests.dashboards.control import address, at, budget, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]
FORM = {"name": "Made", "scope_kind": "organization", "period_kind": "month", "measure": "money", "limit_amount": "100", "action": "freeze", "step": "create"}
PAGES = (
    "", "budgets", "budgets?format=csv", "budgets?state=retired", "sessions", "sessions/run", "approvals", "approvals/new", "approvals/new?session=run",
    "my-usage", "search?q=b", "spend", "budgets/new",
)  # fmt: skip


@pytest.fixture
def every_kind(admin: Member, engineer: Member, team: Team, api_key: KeyInHand) -> list[Budget]:
    """One budget of each scope, measure, window and action, with usage under them."""
    organization = admin.organization
    project = Project.objects.create(organization=organization, slug="site", name="Site", team=team)
    account = ServiceAccount.objects.create(organization=organization, name="nightly", team=team)
    wanted: list[dict[str, Any]] = [
        {"scope_kind": "organization"},
        {"scope_kind": "organization", "measure": "tokens", "limit": "5000000", "rollover_cap": Decimal(1000)},
        {"scope_kind": "organization", "measure": "calls", "limit": "5", "action": "notify", "period_kind": "day"},
        {"scope_kind": "organization", "filters": {"tier": ["flagship"], "tag:repo": ["api"], "team": [team.pk], "member": [engineer.pk], "project": [project.pk]}},
        {"scope_kind": "team", "team": team, "period_kind": "rolling", "rolling_hours": 24},
        {"scope_kind": "team", "team": team, "period_kind": "rolling", "rolling_hours": 168, "measure": "tokens", "limit": "1000000"},
        {"scope_kind": "project", "project": project, "period_kind": "quarter", "anchor_day": 15},
        {"scope_kind": "member", "member": engineer, "period_kind": "week", "anchor_day": 3, "action": "ask"},
        {"scope_kind": "service_account", "service_account": account, "period_kind": "lifetime", "action": "downgrade", "downgrade_models": ["claude-haiku-4-5"]},
        {"scope_kind": "key", "api_key": api_key.row, "period_kind": "year", "fails_open": False},
        {"scope_kind": "session", "limit": "50"},
        {"scope_kind": "session", "measure": "tokens", "limit": "1"},
        {"scope_kind": "task", "period_kind": "task", "measure": "calls", "limit": "100"},
    ]
    made = [budget(admin, name=f"B{place}", **{"limit": "100", **fields}) for place, fields in enumerate(wanted)]
    use(organization, session="run", calls=3, member=engineer.user.email, team="platform", task="T-1")
    return made


@pytest.mark.parametrize("who", ["admin", "lead", "engineer"])
def test_no_page_breaks(request: pytest.FixtureRequest, every_kind: list[Budget], who: str) -> None:
    member = request.getfixturevalue(who)
    browser = at(member)
    own = [f"budgets/{found.pk}" for found in every_kind if who == "admin"]
    for path in (*PAGES, *own):
        status = browser.get(address(member, path)).status_code
        assert status in ((200,) if who == "admin" else (200, 302, 403)), path


def test_figures_are_in_the_budgets_own_measure(admin: Member, every_kind: list[Budget]) -> None:
    page = text_of(at(admin).get(address(admin, "budgets")))
    assert "300\u202fk\u00a0tokens" in page
    assert "3\u00a0calls" in page
    assert "every task" in page
    assert "any 24 hours" in page
    assert "in any 24 hours, <strong>" in page
    assert "a any" not in page
    assert "quarter from the 15th" in page
    assert "week from Wednesday" in page
    rolling = text_of(at(admin).get(address(admin, f"budgets/{every_kind[4].pk}")))
    assert "What the window holds" in rolling
    assert "after a call it counts no more" in rolling
    narrowed = text_of(at(admin).get(address(admin, f"budgets/{every_kind[3].pk}")))
    assert "tier flagship" in narrowed
    assert "All calls, of members Engineer, of projects Site, tag repo api, of teams Platform, tier flagship" in narrowed
    session = text_of(at(admin).get(address(admin, "sessions/run")))
    assert "300\u202fk\u00a0tokens" in session


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"measure": "tokens", "limit_amount": "5000000"}, {"measure": "tokens", "limit_amount": 5_000_000}),
        ({"period_kind": "rolling", "rolling_length": "7", "rolling_unit": "days"}, {"period_kind": "rolling", "rolling_hours": 168}),
        ({"period_kind": "week", "anchor_weekday": "3"}, {"anchor_day": 3}),
        ({"period_kind": "quarter", "anchor_day": "15", "rollover_cap": "20"}, {"anchor_day": 15, "rollover_cap": 20}),
        ({"action": "downgrade", "downgrade_models": "b, a"}, {"downgrade_models": ["a", "b"], "is_hard": False}),
        ({"action": "ask", "fails_open": "closed"}, {"action": "ask", "fails_open": False, "warns_ahead": False}),
        ({"warns_ahead": "on"}, {"warns_ahead": True}),
        ({"scope_kind": "task", "measure": "calls"}, {"scope_kind": "task", "period_kind": "task"}),
        (
            {"only_model": "a, b", "only_tier": ["flagship"], "tags": "repo = api, web\nenv = ci"},
            {"filters": {"model": ["a", "b"], "tier": ["flagship"], "tag:repo": ["api", "web"], "tag:env": ["ci"]}},
        ),
    ],
)
def test_the_form_makes_every_kind(admin: Member, given: dict[str, Any], kept: dict[str, Any]) -> None:
    path = address(admin, "budgets/new")
    assert at(admin).post(path, FORM | given | {"step": "preview"}).status_code == 200
    answer = at(admin).post(path, FORM | given, follow=True)
    assert "Made is in force." in text_of(answer), text_of(answer)
    made = Budget.objects.get()
    assert {name: getattr(made, name) for name in kept} == kept


def test_the_form_makes_a_pool_and_a_keys_budget(admin: Member, team: Team, api_key: KeyInHand) -> None:
    path = address(admin, "budgets/new")
    at(admin).post(path, FORM | {"only_team": [str(team.pk)], "name": "Pool"})
    at(admin).post(path, FORM | {"scope_kind": "key", "api_key": str(api_key.row.pk), "name": "Key"})
    assert dict(Budget.objects.values_list("name", "filters")) == {"Pool": {"team": [team.pk]}, "Key": {}}
    assert Budget.objects.get(name="Key").api_key == api_key.row


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"period_kind": "rolling", "rolling_length": "100", "rolling_unit": "days"}, "1 hour to 92 days long"),
        ({"action": "downgrade"}, "Name the models that go on."),
        ({"measure": "calls", "limit_amount": "1.5"}, "A limit in calls is a whole number."),
        ({"scope_kind": "service_account"}, "Choose the service account."),
        ({"tags": "repo"}, "Write each tag with its values"),
        ({"anchor_day": "31"}, "less than or equal to 28"),
    ],
)
def test_what_does_not_fit_is_said(admin: Member, given: dict[str, Any], sentence: str) -> None:
    answer = at(admin).post(address(admin, "budgets/new"), FORM | given)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Budget.objects.exists()


def test_a_change_of_action_is_looked_ahead_at(admin: Member, team: Team) -> None:
    use(admin.organization, session="run", calls=3, team="platform")
    made = budget(admin, name="Soft", scope_kind="organization", limit="4", action="notify")
    path = address(admin, f"budgets/{made.pk}")
    change = {"name": "Soft", "limit_amount": "4", "thresholds": "", "step": "preview"}
    assert "Freezes now:" in text_of(at(admin).post(path, change | {"action": "freeze"}))
    assert "what does not fit is refused" in text_of(at(admin).post(path, change | {"action": "ask"}))
    assert not BudgetPeriod.objects.filter(frozen_at__isnull=False).exists()
    at(admin).post(path, change | {"action": "freeze", "step": "change"})
    assert BudgetPeriod.objects.get().frozen_at is not None
    page = text_of(at(admin).get(path))
    assert "Version 2: Changed by Admin" in page
    assert "At the limit: tells only → freezes" in page


def test_what_is_left_is_moved_from_the_page(admin: Member, lead: Member, team: Team) -> None:
    source, target = budget(admin, name="All", scope_kind="organization", limit="10"), budget(admin, name="Platform", scope_kind="team", team=team)
    budget(admin, name="Tokens", scope_kind="organization", measure="tokens")
    path = address(admin, f"budgets/{source.pk}")
    page = text_of(at(admin).get(path))
    assert "Platform, $3.00 left" in page
    assert "Tokens," not in page
    to = BudgetPeriod.objects.get(budget=target)
    sent = {"step": "transfer", "to_period": str(to.pk), "amount": "4", "reason": "the migration"}
    assert at(lead).post(path, sent).status_code == 403
    refused = at(admin).post(path, sent | {"amount": "11"})
    assert refused.status_code == 409
    assert "Only 10.00 USD can be moved" in text_of(refused)
    sent["once"] = "the-form-that-was-shown"
    assert "$4.00 moved to Platform." in text_of(at(admin).post(path, sent, follow=True))
    assert "$4.00 were moved already to Platform." in text_of(at(admin).post(path, sent, follow=True))
    assert at(admin).post(path, sent | {"amount": "1"}).status_code == 409
    assert sorted(TopUp.objects.values_list("amount", flat=True)) == [-4, 4]
    assert "Moved to Platform" in text_of(at(admin).get(path))
    assert "Moved from All" in text_of(at(admin).get(address(admin, f"budgets/{target.pk}")))


def test_pools_of_others_are_not_seen(admin: Member, engineer: Member, team: Team) -> None:
    other = Team.objects.create(organization=admin.organization, slug="data", name="Data")
    for name, teams in (("Ours", [team.pk, other.pk]), ("Theirs", [other.pk])):
        budget_create(
            actor=member_actor(admin), name=name, scope_kind="organization", period_kind="month", limit_amount=Decimal(1), filters={"team": teams}
        )
    page = text_of(at(engineer).get(address(engineer, "budgets")))
    assert (">Ours<" in page, ">Theirs<" in page) == (True, False)


def test_carried_and_moved_amounts_are_named(admin: Member, team: Team) -> None:
    source, target = budget(admin, name="All", scope_kind="organization", limit="10"), budget(admin, name="Platform", scope_kind="team", team=team)
    ids = [BudgetPeriod.objects.get(budget=found).pk for found in (source, target)]
    budget_transfer(actor=member_actor(admin), from_period_id=ids[0], to_period_id=ids[1], amount=Decimal(1), reason="x")
    TopUp.objects.create(organization=admin.organization, period_id=ids[1], amount=2, granted_at=source.created_at, kind="carry")
    assert "Carried over" in text_of(at(admin).get(address(admin, f"budgets/{target.pk}")))

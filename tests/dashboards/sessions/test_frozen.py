"""The list of sessions and the page of each agree on which stand frozen, whatever kind of budget or switch it is by."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from governance.budgets.models import BudgetPeriod
from governance.budgets.selectors import session_freeze_of
from governance.budgets.services import budget_create, period_topup
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import ApiKey, Member, Organization, Project, ServiceAccount, Team
from ingest.services import events_store
from tests.conftest import key_of
from tests.ingest.test_store import event, prices

__all__ = ["prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


@pytest.fixture
def post(organization: Organization) -> Callable[..., None]:
    """Stores one call, with a key or without."""
    numbers = iter(range(1, 100))

    def store(session: str, key: ApiKey | None = None, **labels: Any) -> None:
        events_store(actor=system_actor(organization), api_key=key, source="rest", events=[event(next(numbers), session=session, **labels)])

    return store


def frozen(client: Client, admin: Member) -> set[str]:
    """The sessions that the list shows as frozen; the page of each says the same."""
    client.force_login(admin.user)
    listed = {row.key for row in client.get("/o/acme/sessions", {"state": "frozen"}).context["table"].rows}
    everything = {row.key for row in client.get("/o/acme/sessions", {"state": "all"}).context["table"].rows}
    assert listed == {key for key in everything if session_freeze_of(member_actor(admin), key) is not None}
    return listed


LABELS: list[tuple[str, list[str], dict[str, Any], dict[str, Any]]] = [
    ("model", ["claude-sonnet-4-5"], {}, {"model": "claude-haiku-4-5"}), ("provider", ["anthropic"], {}, {"provider": "openai", "model": "gpt-5"}),
    ("maker", ["anthropic"], {}, {"provider": "openai", "model": "gpt-5"}), ("role", ["planner"], {"role": "planner"}, {"role": "worker"}),
    ("task_class", ["code"], {"task_class": "code"}, {}), ("environment", ["ci"], {"environment": "ci"}, {"environment": "dev"}),
    ("harness", ["codex"], {"harness": "codex"}, {"harness": "claude-code"}), ("tag:repo.name", ["api", "a'b"], {"tags": {"repo.name": "api"}}, {"tags": {"repo.name": "web"}}),
    ("billing_mode", ["metered"], {}, {"billing_mode": "subscription"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "hit", "missed"), LABELS, ids=[row[0] for row in LABELS])
def test_session_whose_latest_call_a_narrowed_budget_counts_is_frozen(
    name: str, values: list[str], hit: dict[str, Any], missed: dict[str, Any], client: Client, admin: Member, post: Callable[..., None]
) -> None:
    budget_create(
        actor=member_actor(admin), name="Narrow", scope_kind="organization", period_kind="lifetime", measure="calls", limit_amount=Decimal(2), filters={name: values}
    )
    post("hit", **hit)
    assert frozen(client, admin) == set()
    post("hit", **hit)
    post("missed", **missed)
    assert frozen(client, admin) == {"hit"}
    post("hit", **missed)
    post("missed", **hit)
    assert frozen(client, admin) == {"missed"}
    period_topup(actor=member_actor(admin), period_id=BudgetPeriod.objects.get().pk, amount=Decimal(9), reason="more")
    assert frozen(client, admin) == set()


def test_budgets_of_keys_and_service_accounts_freeze_the_sessions_that_they_ran_last(
    client: Client, admin: Member, organization: Organization, team: Team, post: Callable[..., None]
) -> None:
    account = ServiceAccount.objects.create(organization=organization, name="nightly", team=team)
    mine, other, programs = key_of(organization, name="mine").row, key_of(organization, name="other").row, key_of(organization, name="job", service_account=account).row
    actor = member_actor(admin)
    common: dict[str, Any] = {"period_kind": "lifetime", "measure": "calls", "limit_amount": Decimal(1)}
    budget_create(actor=actor, name="Of the key", scope_kind="key", api_key=mine, **common)
    budget_create(actor=actor, name="Of the program", scope_kind="service_account", service_account=account, **common)
    post("by-mine", mine)
    post("by-other", other)
    post("by-program", programs)
    post("by-nobody")
    assert frozen(client, admin) == {"by-mine", "by-program"}
    post("by-mine", other)
    assert frozen(client, admin) == {"by-program"}


def test_pools_teams_projects_and_tasks_with_filters(client: Client, admin: Member, organization: Organization, team: Team, post: Callable[..., None]) -> None:
    core = Team.objects.create(organization=organization, slug="core", name="Core", parent=team)
    project = Project.objects.create(organization=organization, slug="site", name="Site")
    actor = member_actor(admin)
    common: dict[str, Any] = {"period_kind": "lifetime", "measure": "calls", "limit_amount": Decimal(1)}
    budget_create(actor=actor, name="Pool", scope_kind="organization", filters={"team": [team.pk], "role": ["planner"]}, **common)
    budget_create(actor=actor, name="Site's", scope_kind="project", project=project, filters={"role": ["judge"]}, **common)
    budget_create(actor=actor, name="Task's", scope_kind="task", filters={"role": ["worker"]}, **common | {"period_kind": "task"})
    post("pool", team="core", role="planner")
    post("pool-else", team="core", role="judge")
    post("site", project="site", role="judge")
    post("task", task="t1", role="worker")
    post("task-else", task="t2", role="worker2")
    post("task-again", task="t1", role="retriever")
    assert core.parent_id == team.pk
    assert frozen(client, admin) == {"pool", "site", "task"}


def test_others_budgets_freeze_nothing_here(client: Client, admin: Member, other_organization: Organization, stranger: Member, post: Callable[..., None]) -> None:
    budget_create(
        actor=member_actor(stranger), name="Theirs", scope_kind="organization", period_kind="lifetime", measure="calls", limit_amount=Decimal(1), filters={"role": ["planner"]}
    )
    events_store(actor=system_actor(other_organization), api_key=None, source="rest", events=[event(1, session="s1", role="planner")])
    post("s1", role="planner")
    assert frozen(client, admin) == set()

"""What a proxy is told by GET /api/v1/check where the guard has stopped a session, and where rules say whose the call is."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.attribution.services import rule_change as attribution_change
from governance.attribution.services import rule_create as attribution_create
from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.tenancy.access import Actor
from governance.tenancy.models import Organization, Scope, Team
from ingest.guard.looking import organization_look
from ingest.guard.services import rule_create
from tests.conftest import client_with, key_of
from tests.ingest.guard.conftest import call, loop, store

pytestmark = pytest.mark.usefixtures("prices")


@pytest.fixture
def proxy(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.AUTHORIZE, name="nginx"))


def check(proxy: APIClient, **labels: str) -> Any:
    return proxy.get("/api/v1/check", labels)


def test_a_session_that_the_guard_stopped_is_refused_with_what_was_seen(proxy: APIClient, organization: Organization, by_admin: Actor) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops", action="ask")
    store(organization, [*loop(session="s-loop"), call(5, session="s-calm")])
    assert check(proxy, session="s-loop").status_code == 200
    organization_look(organization)
    refused = check(proxy, session="s-loop")
    told = refused.json()
    assert (refused.status_code, told["is_frozen"], told["frozen_by"]["cause"]) == (402, True, "guard")
    assert "Loops" in told["detail"]
    assert refused["X-Weighhouse-Link"].endswith("/sessions/s-loop")
    assert check(proxy, session="s-loop", refused="403").status_code == 403
    assert check(proxy, session="s-calm").status_code == 200


def test_a_rule_that_only_tells_stops_no_call(proxy: APIClient, organization: Organization, by_admin: Actor) -> None:
    rule_create(actor=by_admin, kind="repeat", name="Loops", action="notify")
    store(organization, loop(session="s-loop"))
    organization_look(organization)
    assert check(proxy, session="s-loop").status_code == 200


def test_an_attribution_rule_says_whose_budget_stands_against_the_call(proxy: APIClient, organization: Organization, by_admin: Actor, team: Team) -> None:
    budget = budget_create(actor=by_admin, name="Few", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(1), action="freeze")
    store(organization, [call(5, session="s-other", team=team.slug, harness="codex")])
    BudgetPeriod.objects.filter(organization=organization, budget=budget).update(spent=Decimal(2))
    asked = {"session": "s-new", "harness": "openclaw", "provider": "anthropic", "model": "claude-opus-4-5"}
    assert check(proxy, **asked).status_code == 200
    rule = attribution_create(actor=by_admin, name="Claws", conditions=[{"field": "harness", "op": "is", "values": ["openclaw"]}], team=team)
    refused = check(proxy, **asked)
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
    assert check(proxy, **asked, team="data").status_code == 200, "the call says whose it is, and the rule does not override"
    assert check(proxy, **{**asked, "harness": "codex"}).status_code == 200
    attribution_change(
        actor=by_admin, rule=rule, name="Claws", conditions=[{"field": "harness", "op": "is", "values": ["openclaw"]}], team=team, ends_at=timezone.now()
    )  # fmt: skip
    assert check(proxy, **asked).status_code == 200, "the rule has ended"

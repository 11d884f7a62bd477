"""The policy document: what it tells a gateway, when it changes, and to whom it tells what."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from governance.budgets.models import Budget
from governance.budgets.services import budget_change, budget_create, budget_retire, freeze_start, freeze_stop
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import client_with, key_of, person

pytestmark = pytest.mark.django_db
POLICY = "/api/v1/policy"


def budget(admin: Member, name: str, **fields: Any) -> Budget:
    facts: dict[str, Any] = {"scope_kind": "organization", "period_kind": "month", "limit_amount": Decimal(10)} | fields
    return budget_create(actor=member_actor(admin), name=name, **facts)


def test_document_tells_what_a_gateway_goes_by(admin: Member, team: Team, api: APIClient) -> None:
    made = budget(
        admin, "Platform", scope_kind="team", team=team, action="downgrade", downgrade_models=["claude-haiku-4-5"], is_hard=False, fails_open=False,
        unpriced_call_amount=Decimal("0.25"), filters={"environment": ["ci"]},
    )
    freeze = freeze_start(actor=member_actor(admin), scope_kind="model", scope_key="gpt-5", reason="leaks prompts")
    answer = api.get(POLICY)
    told = answer.json()
    assert (answer["ETag"], told["organization"]) == (f'"{told["version"]}"', "acme")
    assert told["budgets"] == [{
        "id": made.pk, "name": "Platform", "scope": "team", "covers": {"team": "platform"}, "filters": {"environment": ["ci"]}, "period": "month",
        "rolling_hours": None, "measure": "money", "limit": "10", "currency": "USD", "is_hard": False, "action": "downgrade",
        "downgrade_models": ["claude-haiku-4-5"], "fails_open": False, "counts_notional": False, "unpriced_call_amount": "0.25",
    }]  # fmt: skip
    assert [(one["id"], one["scope"], one["name"], one["reason"], one["started_by"]) for one in told["freezes"]] == [
        (freeze.pk, "model", "gpt-5", "leaks prompts", "Admin")
    ]


def test_document_is_told_again_after_each_change_and_not_otherwise(admin: Member, organization: Organization, api: APIClient) -> None:
    def changed(tag: str) -> tuple[bool, str]:
        answer = api.get(POLICY, HTTP_IF_NONE_MATCH=tag)
        assert answer.status_code in (200, 304)
        assert bool(answer.content) == (answer.status_code == 200)
        return answer.status_code == 200, answer["ETag"]

    actor, tag = member_actor(admin), changed("")[1]
    assert changed(tag) == (False, tag)
    assert changed(f'"other", W/{tag}') == (False, tag)
    made = budget(admin, "Month")
    assert (changed(tag)[0], tag := changed(tag)[1])[0]
    freeze = freeze_start(actor=actor, scope_kind="provider", scope_key="anthropic", reason="outage")
    assert (changed(tag)[0], tag := changed(tag)[1])[0]
    freeze_stop(actor=actor, freeze=freeze, reason="over")
    assert (changed(tag)[0], tag := changed(tag)[1])[0]
    budget_change(actor=actor, budget=made, fails_open=False)
    assert (changed(tag)[0], tag := changed(tag)[1])[0]
    budget_retire(actor=actor, budget=Budget.objects.get(pk=made.pk))
    assert (changed(tag)[0], tag := changed(tag)[1])[0]
    assert changed(tag) == (False, tag)


def test_each_key_is_told_what_concerns_it(
    admin: Member, engineer: Member, stranger: Member, team: Team, organization: Organization, other_organization: Organization
) -> None:
    research = Team.objects.create(organization=organization, slug="research", name="Research")
    colleague = person(organization, email="colleague@acme.example", role=Role.ENGINEER, team=research)
    budgets: dict[str, dict[str, Any]] = {
        "everybody": {}, "own team": {"scope_kind": "team", "team": team}, "other team": {"scope_kind": "team", "team": research},
        "own": {"scope_kind": "member", "member": engineer}, "colleague": {"scope_kind": "member", "member": colleague},
        "sessions": {"scope_kind": "session", "period_kind": "session"},
    }  # fmt: skip
    for name, fields in budgets.items():
        budget(admin, name, **fields)
    for kind, key in (("team", "platform"), ("team", "research"), ("member", colleague.user.email), ("model", "gpt-5")):
        freeze_start(actor=member_actor(admin), scope_kind=kind, scope_key=key, reason="over")

    def told(key: Any) -> tuple[list[str], list[str]]:
        document = client_with(key).get(POLICY).json()
        return [one["name"] for one in document["budgets"]], [one["name"] for one in document["freezes"]]

    everything = ["everybody", "own team", "other team", "own", "colleague", "sessions"]
    assert told(key_of(organization)) == (everything, ["platform", "research", colleague.user.email, "gpt-5"])
    assert told(key_of(organization, name="e", member=engineer)) == (["everybody", "own team", "own", "sessions"], ["platform", "gpt-5"])
    assert told(key_of(organization, name="a", member=admin))[0] == everything
    assert told(key_of(other_organization)) == ([], [])

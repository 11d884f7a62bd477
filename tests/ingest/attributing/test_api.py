"""Attribution over the API: rules, their test, runs over history, and names of members."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope, Team
from governance.tenancy.services import alias_add, alias_remove
from ingest.models import UsageEvent
from ingest.rerating.working import run_work
from tests.conftest import client_with, key_of
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
RULES = "/api/v1/attribution-rules"
SHOP: dict[str, Any] = {
    "name": "Shop",
    "conditions": [{"field": "repository", "op": "like", "values": ["acme/*"]}],
    "team": "platform",
    "task_class": "code",
}


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform", defaults={"role": "worker"}))


def test_rule_is_written_tested_ordered_and_retired(manage: APIClient, team: Team) -> None:
    made = manage.post(RULES, SHOP)
    assert made.status_code == 201, made.json()
    first = made.json()["id"]
    second = manage.post(RULES, SHOP | {"name": "All", "conditions": [{"field": "harness", "op": "is_empty"}], "role": "judge"}).json()[
        "id"
    ]
    tested = manage.post(f"{RULES}/test", {"event": {"tags": {"repository": "https://github.com/acme/web.git"}}}).json()
    decided = {one["what"]: (one["value"], one["by"], one["rule_id"]) for one in tested["decided"]}
    assert decided["team"] == ("platform", "Shop", first)
    assert decided["role"] == ("worker", "the call or its key", None)
    assert [(line["name"], line["matches"]) for line in tested["rules"]] == [("Shop", True), ("All", True)]
    assert tested["rules"][1]["sets"][0] == {"what": "team", "result": "Shop came first"}
    assert manage.put(f"{RULES}/order", {"rule_ids": [second, first]}).status_code == 200
    assert [rule["id"] for rule in manage.get(RULES).json()["items"]] == [second, first]
    assert manage.put(f"{RULES}/{first}", SHOP | {"overrides": True}).json()["overrides"] is True
    assert manage.delete(f"{RULES}/{first}").status_code == 204
    assert manage.get(f"{RULES}/{first}").status_code == 404
    assert set(AuditRecord.objects.filter(target_kind="attribution_rule").values_list("action", flat=True)) == {
        "attribution_rule.created", "attribution_rule.changed", "attribution_rule.retired",
    }  # fmt: skip


@pytest.mark.parametrize(("wrong", "field"), [
    ({"conditions": []}, "conditions"), ({"conditions": [{"field": "weather"}]}, "conditions"), ({"conditions": [{"field": "harness", "op": "matches"}]}, "conditions[0].op"),
    ({"conditions": [{"field": "harness"}]}, "conditions"), ({"conditions": [{"field": "harness", "values": ["a\nb"]}]}, "conditions"), ({"team": "nobody"}, "team"),
    ({"team": "", "task_class": ""}, "team"), ({"name": " "}, "name"), ({"starts_at": "2026-11-02T00:00:00Z", "ends_at": "2026-11-01T00:00:00Z"}, "ends_at"),
    ({"billing_mode": "free"}, "billing_mode"),
])  # fmt: skip
def test_wrong_rule_is_refused_with_its_field(manage: APIClient, team: Team, wrong: dict[str, Any], field: str) -> None:
    answer = manage.post(RULES, SHOP | wrong)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    if field in ("conditions[0].op", "billing_mode"):
        assert ("starts_with" if "op" in field else "subscription") in answer.json()["detail"]


def test_history_is_run_over_the_api(manage: APIClient, admin: Member, team: Team) -> None:
    store(admin, event(1, team="", tags={"repo": "acme/web"}))
    manage.post(RULES, SHOP)
    span = {"starts_at": (timezone.now() - timedelta(days=3)).isoformat(), "ends_at": timezone.now().isoformat()}
    tried = manage.post(f"{RULES}/try", SHOP | {"name": "Tried", "task_class": "", "role": "judge"}).json()
    assert manage.post(f"/api/v1/attribution-runs/{tried['id']}/start").status_code == 409
    run = manage.post("/api/v1/attribution-runs", {"reason": "Shop", **span}).json()
    address = f"/api/v1/attribution-runs/{run['id']}"
    assert manage.post(f"{address}/start").status_code == 409
    run_work(run["id"])
    assert manage.get(address).json()["preview"]["moves"][0]["to"] == "Platform"
    assert manage.post(f"{address}/start").json()["state"] == "running"
    run_work(run["id"])
    assert (manage.get(address).json()["state"], UsageEvent.objects.get().team_id) == ("done", team.pk)
    assert manage.get(f"/api/v1/rerating-runs/{run['id']}").status_code == 404
    assert len(manage.get("/api/v1/attribution-runs").json()["runs"]) == 2
    assert manage.get(RULES).json()["allocated_share"] == "1.000000"


def test_name_is_one_members_at_a_time(manage: APIClient, admin: Member, engineer: Member, lead: Member) -> None:
    store(admin, event(1, team="", member="Engineer@home.example"))
    unknown = manage.get("/api/v1/members").json()["unknown"]
    assert unknown == [{"name": "Engineer@home.example", "calls": 1, "likely": engineer.pk}]
    given = manage.post(f"/api/v1/members/{engineer.pk}/aliases", {"alias": "engineer@home.example"})
    assert given.json()["aliases"] == ["engineer@home.example"]
    for alias in ("ENGINEER@home.example", "engineer@acme.example"):
        assert manage.post(f"/api/v1/members/{lead.pk}/aliases", {"alias": alias}).status_code == 409
    assert manage.post(f"/api/v1/members/{engineer.pk}/aliases", {"alias": "Engineer@Home.example"}).json()["aliases"] == [
        "Engineer@Home.example"
    ]
    store(admin, event(2, team="", member="engineer@home.example"))
    assert UsageEvent.objects.get(external_id="call-2").member_id == engineer.pk
    assert manage.delete(f"/api/v1/members/{engineer.pk}/aliases?alias=engineer@home.example").json()["aliases"] == []
    assert manage.post("/api/v1/members/0/aliases", {"alias": "x"}).status_code == 404


def test_giving_a_name_again_leaves_one_row_of_the_record(admin: Member, engineer: Member) -> None:
    actor = member_actor(admin)
    for _ in range(2):
        alias_add(actor=actor, member_id=engineer.pk, alias="mira")
    alias_remove(actor=actor, member_id=engineer.pk, alias="nobody")
    assert AuditRecord.objects.filter(action="member.changed").count() == 1

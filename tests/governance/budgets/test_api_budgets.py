"""Budgets over the API: seen by readers, changed by admins, once for each key, refused with what is wrong."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.tenancy.models import Member, Organization, Scope, Team
from tests.conftest import client_with, key_of
from tests.governance.budgets.test_scopes import budget, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
BUDGETS = "/api/v1/budgets"
WANTED: dict[str, Any] = {"name": "Platform", "scope": "team", "team": "platform", "period": "month", "limit": "10"}


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    """A program that manages budgets."""
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def test_budget_is_made_read_changed_and_retired(manage: APIClient, team: Team) -> None:
    made = manage.post(BUDGETS, WANTED | {"filters": {"tier": ["flagship"], "team": ["platform"]}, "thresholds": [90]})
    assert made.status_code == 201, made.json()
    address = f"{BUDGETS}/{made.json()['id']}"
    found = manage.get(address).json()
    assert (found["team"], found["filters"], found["unit"], found["limit"]) == ("platform", {"team": ["platform"], "tier": ["flagship"]}, "USD", "10")
    assert (found["present"]["left"], found["depth"], found["version"]) == ("10", 2, 1)
    changed = manage.patch(address, {"limit": "12.5", "action": "ask", "rollover_cap": "3"}).json()
    assert (changed["limit"], changed["action"], changed["rollover_cap"], changed["version"]) == ("12.5", "ask", "3", 2)
    assert [row["number"] for row in changed["versions"]] == [2, 1]
    assert manage.patch(address, {"rollover_cap": None}).json()["rollover_cap"] is None
    assert manage.post(f"{address}/retire").json()["active"] is False
    assert manage.post(f"{address}/retire").status_code == 200
    assert manage.get(BUDGETS).json()["items"] == []
    assert [row["id"] for row in manage.get(f"{BUDGETS}?active=false").json()["items"]] == [found["id"]]
    assert manage.patch(address, {"limit": "1"}).status_code == 409


def test_tree_comes_in_order(manage: APIClient, admin: Member, team: Team) -> None:
    budget(admin, 5, name="Task", scope_kind="task", period_kind="task", measure="calls")
    budget(admin, 5, name="Platform", scope_kind="team", team=team)
    budget(admin, 5, name="All")
    items = manage.get(BUDGETS).json()["items"]
    assert [(row["name"], row["depth"], row["present"] is None) for row in items] == [("All", 0, False), ("Platform", 1, False), ("Task", 1, True)]


def test_looking_ahead_writes_nothing(manage: APIClient, admin: Member, team: Team) -> None:
    store(admin, event(1, team="platform"), event(2, team="platform"))
    ahead = manage.post(f"{BUDGETS}/preview", WANTED | {"limit": str(COST)})
    assert [row["name"] for row in ahead.json()["freezes"]] == ["Platform"]
    assert ahead.json()["spent"] == f"{(2 * COST).normalize():f}"
    assert manage.post(f"{BUDGETS}/preview", WANTED | {"limit": str(COST), "action": "ask"}).json()["refuses"] == 1
    assert not Budget.objects.exists()
    template = budget(admin, 5, name="Any session", scope_kind="session", period_kind="session")
    assert manage.post(f"{BUDGETS}/{template.pk}/preview", {}).json()["spent"] == "0"
    made = budget(admin, 5, scope_kind="team", team=team)
    assert len(manage.post(f"{BUDGETS}/{made.pk}/preview", {"limit": "0"}).json()["freezes"]) == 1
    assert not BudgetPeriod.objects.filter(frozen_at__isnull=False).exists()


def test_same_key_changes_once(manage: APIClient, team: Team) -> None:
    answers = [manage.post(BUDGETS, WANTED, headers={"Idempotency-Key": "k-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true"]
    assert Budget.objects.count() == 1
    other = manage.post(BUDGETS, WANTED | {"limit": "11"}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    refused = [manage.post(BUDGETS, WANTED | {"team": name}, headers={"Idempotency-Key": "k-2"}).status_code for name in ("nobody", "platform")]
    assert refused == [422, 201]


def test_transfer_moves_what_is_left(manage: APIClient, admin: Member, team: Team) -> None:
    source, target = budget(admin, 10, name="All"), budget(admin, 5, name="Platform", scope_kind="team", team=team)
    address = f"{BUDGETS}/{source.pk}/transfer"
    asked = {"to": target.pk, "amount": "4", "reason": "the migration"}
    answers = [manage.post(address, asked, headers={"Idempotency-Key": "t-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert (answers[0].json()["given"]["left"], answers[0].json()["received"]["left"]) == ("6", "9")
    assert TopUp.objects.count() == 2
    refused = manage.post(address, asked | {"amount": "7"})
    assert (refused.status_code, refused.json()["code"], refused.json()["movable"]) == (409, "conflict", "6")
    assert manage.post(address, asked | {"to": 10**12}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"team": "nobody"}, "team"), ({"limit": "-1"}, "limit"), ({"limit": "NaN"}, "limit"), ({"unpriced_call_amount": "NaN"}, "unpriced_call_amount"),
        ({"period": "fortnight"}, "period"), ({"colour": "red"}, None), ({"filters": {"colour": ["red"]}}, "filters"), ({"filters": {"team": ["x"]}}, "team"),
        ({"anchor_day": 10**30}, "anchor_day"), ({"key": 10**30}, "key"), ({"thresholds": [0]}, "thresholds"), ({"name": ""}, "name"), ({"name": "a\0"}, "name"),
        ({"period": "rolling"}, "rolling_hours"), ({"rolling_hours": -1, "period": "rolling"}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(manage: APIClient, team: Team, fields: dict[str, Any], field: str | None) -> None:
    answer = manage.post(BUDGETS, WANTED | fields)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json"), answer.content
    if field:
        assert answer.json()["field"] == field
    assert not Budget.objects.exists()


def test_only_admins_change_and_nobody_sees_others(api: APIClient, admin: Member, lead: Member, other_organization: Organization, team: Team) -> None:
    made = budget(admin, 5)
    address = f"{BUDGETS}/{made.pk}"
    assert api.get(address).status_code == 200
    assert [api.patch(address, {"limit": "6"}).status_code, api.post(f"{address}/retire").status_code] == [403, 403]
    of_lead = client_with(key_of(lead.organization, Scope.ADMIN, Scope.READ, name="leads", member=lead))
    assert of_lead.post(BUDGETS, WANTED).status_code == 403
    stranger = client_with(key_of(other_organization, Scope.ADMIN, Scope.READ, name="theirs"))
    assert [stranger.get(address).status_code, stranger.patch(address, {"limit": "6"}).status_code] == [404, 404]
    assert stranger.get(BUDGETS).json() == {"items": []}
    assert Budget.objects.get().limit_amount == Decimal(5)


def test_the_schema_describes_them(client: Client, db: None) -> None:
    schema = client.get("/api/schema?format=json").content.decode()
    for operation in ("budgets_list", "budgets_create", "budgets_preview", "budgets_get", "budgets_change", "budgets_preview_change", "budgets_retire", "budgets_transfer"):
        assert f'"{operation}"' in schema or f"operationId: {operation}" in schema


@pytest.mark.parametrize(("wrong", "field"), [
    ({"anchor_day": 0}, "anchor_day"), ({"anchor_day": 29}, "anchor_day"), ({"period": "week", "anchor_day": 8}, "anchor_day"),
    ({"period": "day", "anchor_day": 2}, "anchor_day"), ({"period": "rolling"}, "rolling_hours"), ({"rolling_hours": 3}, "rolling_hours"),
    ({"period": "session"}, "period"), ({"limit": "-1"}, "limit"), ({"limit": "1e-30"}, "limit"), ({"rollover_cap": "-1"}, "rollover_cap"),
    ({"member": "nobody@example.com"}, "member"), ({"filters": {"tag:a\0": ["x"]}}, "filters"), ({"filters": {"tag:" + "a" * 201: ["x"]}}, "filters"),
    ({"filters": {"tag:a": []}}, "filters"), ({"filters": {"model": []}}, "filters"),
])
def test_wrong_budget_is_refused_at_the_field_that_the_body_names(manage: APIClient, team: Team, wrong: dict[str, Any], field: str) -> None:
    for address in (BUDGETS, f"{BUDGETS}/preview"):
        answer = manage.post(address, WANTED | wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.json()
    assert not Budget.objects.exists()


def test_empty_id_names_no_authorization(organization: Organization) -> None:
    gateway = client_with(key_of(organization, Scope.AUTHORIZE))
    assert gateway.post("/api/v1/authorizations", {"amount": "1", "id": ""}).json()["field"] == "id"
    held = gateway.post("/api/v1/authorizations", {"amount": "1"}).json()["id"]
    for wrong in ("", "a\0"):
        answer = gateway.post(f"/api/v1/authorizations/{held}/extend", {"ttl_seconds": 400, "id": wrong})
        assert (answer.status_code, answer.json()["field"]) == (422, "id")


def test_batch_whose_entries_could_have_no_key_is_refused_whole(organization: Organization) -> None:
    gateway, one = client_with(key_of(organization, Scope.AUTHORIZE)), {"authorizations": [{"amount": "1"}]}
    refused = gateway.post("/api/v1/authorizations/batch", one, headers={"Idempotency-Key": "k" * 199})
    assert (refused.status_code, refused.json()["field"]) == (422, "Idempotency-Key")
    assert gateway.post("/api/v1/authorizations/batch", one, headers={"Idempotency-Key": "k" * 196}).json()["authorizations"][0]["status"] == 201


def test_body_nested_beyond_reading_is_refused(manage: APIClient) -> None:
    response = manage.post(BUDGETS, b'{"beyond":' + b"[" * 20_000 + b"]" * 20_000 + b"}", content_type="application/json")
    assert response.status_code == 422

"""Approval policies and delegations over the API: read by readers, written by those who manage budgets, refused with what is wrong."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.approvals.models import ApprovalPolicy, Delegation
from governance.audit.models import AuditRecord
from governance.tenancy.models import Member, Organization, Role, Scope, Team
from tests.conftest import client_with, key_of, person

pytestmark = pytest.mark.django_db
POLICIES = "/api/v1/approval-policies"
OWN = f"{POLICIES}/organization"
TEAM = f"{POLICIES}/teams/platform"
DELEGATIONS = "/api/v1/delegations"
RULES: dict[str, Any] = {
    "bands": [{"up_to": "200.50", "steps": [{"who": ["approvers", "admins"]}]}, {"steps": [{"who": ["approvers"], "needed": 2}, {"who": ["finance"]}], "in_parallel": True}],
    "escalate_minutes": 60, "expire_hours": 48, "denials": 2, "automatic": {"up_to": 5, "person_daily": "10", "team_daily": "40"},
    "override": {"who": ["owners"], "review_days": 3},
}  # fmt: skip


@pytest.fixture
def manage(organization: Organization) -> APIClient:
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))


def of(member: Member, *scopes: Scope) -> APIClient:
    return client_with(key_of(member.organization, *scopes, name=f"{member.user.email} {len(scopes)}", member=member))


def test_policy_is_written_read_and_ended(manage: APIClient, team: Team) -> None:
    before = manage.get(OWN).json()
    assert (before["version"], before["bands"]) == (0, [{"steps": [{"who": ["approvers", "admins"], "needed": 1}], "up_to": None, "in_parallel": False}])
    made = manage.put(OWN, RULES | {"seen": 0})
    assert made.status_code == 200, made.json()
    told = made.json()
    assert (told["version"], told["team"], told["bands"][0]["up_to"], told["automatic"]) == (1, None, "200.5", {"up_to": "5", "person_daily": "10", "team_daily": "40"})
    assert told["in_words"][1] == "above 200.50 USD: two of approvers of the team and one person of finance, in any order"
    assert manage.get(TEAM).json() == told | {"team": "platform", "version": 0, "at": None, "by": None, "in_words": manage.get(TEAM).json()["in_words"]}
    assert manage.put(TEAM, {"bands": [{"steps": [{"who": ["finance"]}]}]}).json()["version"] == 1
    assert [(row["team"], row["version"]) for row in manage.get(POLICIES).json()["items"]] == [(None, 1), ("platform", 1)]
    assert manage.delete(f"{TEAM}?seen=1").status_code == 204
    assert manage.delete(TEAM).status_code == 204
    assert manage.get(TEAM).json()["bands"] == told["bands"]
    assert AuditRecord.objects.filter(action__startswith="approval_policy.", actor_kind="api_key").count() == 3


def test_what_was_read_can_be_sent_back_and_changes_nothing(manage: APIClient, engineer: Member) -> None:
    told = manage.put(OWN, RULES | {"bands": [{"steps": [{"who": [engineer.user.email.upper(), "finance"]}]}]}).json()
    assert told["bands"][0]["steps"][0]["who"] == [f"member:{engineer.pk}", "finance"]
    assert "Engineer" in told["in_words"][0]
    body = {name: value for name, value in told.items() if name not in ("team", "version", "at", "by", "in_words")}
    assert manage.put(OWN, body | {"seen": told["version"]}).json() == told
    assert ApprovalPolicy.objects.count() == 1


def test_change_made_from_an_older_version_is_a_conflict(manage: APIClient) -> None:
    assert manage.put(OWN, RULES | {"seen": 0}).status_code == 200
    assert manage.put(OWN, RULES | {"denials": 1, "seen": 0}).status_code == 409
    assert manage.delete(f"{OWN}?seen=0").status_code == 409
    assert ApprovalPolicy.objects.get().rules["denials"] == 2


STEP = {"steps": [{"who": ["admins"]}]}
WRONG: list[dict[str, Any]] = [
    {}, {"bands": []}, {"bands": [STEP | {"up_to": "5"}]}, {"bands": [STEP | {"up_to": "9"}, STEP | {"up_to": "3"}, STEP]}, {"bands": [STEP | {"up_to": "0"}, STEP]},
    {"bands": [STEP | {"up_to": "NaN"}, STEP]}, {"bands": [STEP | {"up_to": "Infinity"}, STEP]}, {"bands": [STEP | {"up_to": "1e-999999"}, STEP]},
    {"bands": [STEP | {"up_to": "1e99"}, STEP]}, {"bands": [STEP | {"up_to": "-1"}, STEP]},
    {"bands": [{"steps": [{"who": []}]}]}, {"bands": [{"steps": [{"who": ["nobody@acme.example"]}]}]}, {"bands": [{"steps": [{"who": ["member:999999999"]}]}]},
    {"bands": [{"steps": [{"who": [f"member:{10**30}"]}]}]}, {"bands": [{"steps": [{"who": ["everybody"]}]}]}, {"bands": [{"steps": [{"who": ["admins"], "neded": 2}]}]},
    {"bands": [{"steps": [{"who": ["admins"], "needed": 0}]}]}, {"bands": [{"steps": [{"who": ["admins"], "needed": 10**40}]}]}, {"bands": [STEP], "denials": 0},
    {"bands": [STEP], "escalate_minutes": -1}, {"bands": [STEP], "automatic": {"up_to": "5", "person_daily": "1", "team_daily": "40"}},
    {"bands": [STEP], "automatic": {"up_to": "5"}}, {"bands": [STEP], "override": {"who": []}}, {"bands": [STEP], "seen": "x"}, {"bands": [STEP] * 9},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG)
def test_policy_that_cannot_be_used_is_refused(body: dict[str, Any], manage: APIClient) -> None:
    answer = manage.put(OWN, body)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json"), answer.content
    assert not ApprovalPolicy.objects.exists()


def test_only_those_who_manage_budgets_write_and_those_who_see_spend_read(
    manage: APIClient, lead: Member, engineer: Member, stranger: Member, organization: Organization, team: Team
) -> None:
    finance = person(organization, email="finance@acme.example", role=Role.FINANCE)
    assert of(finance, Scope.READ, Scope.ADMIN).put(OWN, RULES).status_code == 200
    assert of(lead, Scope.READ, Scope.ADMIN).put(OWN, RULES).status_code == 403
    assert of(lead, Scope.READ).get(OWN).status_code == 200
    for client in (of(engineer, Scope.READ, Scope.ADMIN), client_with(key_of(organization, Scope.AUTHORIZE, name="gateway"))):
        assert {client.get(OWN).status_code, client.put(TEAM, RULES).status_code, client.delete(OWN).status_code} == {403}
    theirs = of(stranger, Scope.READ, Scope.ADMIN)
    assert (theirs.get(OWN).json()["version"], theirs.get(POLICIES).json()["items"]) == (0, [])
    assert {theirs.get(TEAM).status_code, theirs.put(TEAM, RULES).status_code, theirs.delete(TEAM).status_code} == {404}
    assert manage.put(f"{POLICIES}/teams/nobody", RULES).status_code == 404


def away(person_: Member, **more: Any) -> dict[str, Any]:
    now = timezone.now()
    return {"delegate": person_.user.email, "starts_at": now.isoformat(), "ends_at": (now + timedelta(days=7)).isoformat()} | more


def test_delegate_is_named_seen_and_taken_back(lead: Member, admin: Member, engineer: Member, manage: APIClient) -> None:
    own = of(lead, Scope.READ, Scope.ADMIN)
    made = own.post(DELEGATIONS, away(admin))
    assert (made.status_code, made.json()["delegator"]["email"], made.json()["delegate"]["email"]) == (201, lead.user.email, admin.user.email)
    assert own.post(DELEGATIONS, away(engineer)).status_code == 409
    seen = [[row["id"] for row in client.get(DELEGATIONS).json()["items"]] for client in (own, of(admin, Scope.READ), manage, of(engineer, Scope.READ))]
    assert seen == [[made.json()["id"]]] * 3 + [[]]
    address = f"{DELEGATIONS}/{made.json()['id']}"
    assert of(engineer, Scope.READ, Scope.ADMIN).delete(address).status_code == 403
    assert [own.delete(address).status_code for _ in range(2)] == [204, 204]
    assert own.get(DELEGATIONS).json()["items"] == []
    assert own.post(DELEGATIONS, away(admin)).status_code == 201


def test_who_cannot_name_or_be_named_is_told_so(lead: Member, admin: Member, stranger: Member, manage: APIClient, organization: Organization) -> None:
    own = of(lead, Scope.READ, Scope.ADMIN)
    auditor = person(organization, email="auditor@acme.example", role=Role.AUDITOR)
    past = (timezone.now() - timedelta(days=1)).isoformat()
    assert [own.post(DELEGATIONS, body).status_code for body in (away(stranger), away(lead), away(auditor), away(admin, ends_at=past), away(admin, delegate="x"), {})] == [422] * 6
    assert manage.post(DELEGATIONS, away(admin)).status_code == 403
    assert of(auditor, Scope.READ, Scope.ADMIN).post(DELEGATIONS, away(admin)).status_code == 403
    reader = client_with(key_of(organization, Scope.READ, name="reader"))
    assert reader.get(DELEGATIONS).status_code == 403
    assert not Delegation.objects.exists()


def test_stranger_ends_no_delegation_here(lead: Member, admin: Member, stranger: Member) -> None:
    made = of(lead, Scope.READ, Scope.ADMIN).post(DELEGATIONS, away(admin)).json()
    theirs = of(stranger, Scope.READ, Scope.ADMIN)
    assert theirs.delete(f"{DELEGATIONS}/{made['id']}").status_code == 404
    assert theirs.get(DELEGATIONS).json()["items"] == []
    assert Delegation.objects.get().ended_at is None

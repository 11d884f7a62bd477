"""Freezes over the API: the switch is thrown and released by whoever may, seen by whoever may know, and says when a name is known to nobody."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.audit.models import AuditRecord
from governance.budgets.models import Freeze, Session
from governance.budgets.services import freeze_start, key_revoke
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope, Team
from tests.conftest import KeyInHand, client_with, key_of
from tests.governance.approvals.conftest import budget_of, frozen_session_period
from tests.governance.budgets.test_freezes import ask, seen
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]
pytestmark = pytest.mark.django_db
FREEZES = "/api/v1/freezes"
WANTED = {"scope": "organization", "reason": "a leak"}


@pytest.fixture
def switch(organization: Organization) -> APIClient:
    """A program of the organization that may throw switches."""
    return client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="watchdog"))


def of(member: Member, *scopes: Scope) -> APIClient:
    return client_with(key_of(member.organization, *scopes, name=f"{member.user.email} {len(scopes)}", member=member))


@pytest.mark.parametrize("body", [{"reason": "fixed\x00"}, {"reason": "\x00"}, {"\x00": "fixed"}], ids=["within", "alone", "as a name"])
def test_an_end_with_nul_characters_is_refused_and_the_freeze_stays(switch: APIClient, body: dict[str, str]) -> None:
    made = switch.post(FREEZES, WANTED).json()
    answer = switch.post(f"{FREEZES}/{made['id']}/end", body)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert switch.get(f"{FREEZES}/{made['id']}").json()["ended_at"] is None
    raw = switch.generic("POST", f"{FREEZES}/{made['id']}/end", '{"reason": "fixed\x00"}', content_type="application/json")
    assert raw.status_code == 422
    assert switch.post(f"{FREEZES}/{made['id']}/end", {"reason": "fixed"}).status_code == 200


def test_switch_is_thrown_and_released(switch: APIClient, api: APIClient, organization: Organization) -> None:
    made = switch.post(FREEZES, WANTED)
    assert (made.status_code, made.json()["scope"], made.json()["cause"], made.json()["ended_at"]) == (201, "organization", "hand", None)
    refused = ask(api, "s1")
    assert (refused.status_code, refused.json()["freeze"]) == (402, made.json()["id"])
    again = switch.post(FREEZES, WANTED | {"reason": "another"})
    assert (again.status_code, again.json()["id"], again.json()["reason"]) == (200, made.json()["id"], "a leak")
    address = f"{FREEZES}/{made.json()['id']}"
    assert [row["id"] for row in switch.get(FREEZES).json()["items"]] == [made.json()["id"]]
    over = switch.post(f"{address}/end", {"reason": "closed"})
    assert (over.status_code, over.json()["end_reason"], over.json()["ended_at"] is None) == (200, "closed", False)
    assert ask(api, "s1").status_code == 201
    assert switch.post(f"{address}/end", {}).json()["end_reason"] == "closed"
    assert (switch.get(FREEZES).json()["items"], [row["id"] for row in switch.get(f"{FREEZES}?active=false").json()["items"]]) == ([], [made.json()["id"]])
    assert switch.get(address).json() == over.json()
    record = AuditRecord.objects.get(action="freeze.started")
    assert (record.actor_kind, record.new["reason"]) == ("api_key", "a leak")


def test_a_key_that_is_nobodys_is_named_as_who_froze_and_a_session_stands_as_pages_say(switch: APIClient, organization: Organization) -> None:
    made = switch.post(FREEZES, WANTED).json()
    assert "watchdog" in made["started_by"]
    switch.post(f"{FREEZES}/{made['id']}/end", {"reason": "closed"})
    now = timezone.now()
    for name, hours in (("running", 0), ("idle", 18), ("closed", 25)):
        at = now - timedelta(hours=hours)
        Session.objects.create(organization=organization, key=name, first_at=at, last_at=at)
        assert switch.get(f"/api/v1/sessions/{name}").json()["state"] == name


def test_same_key_gives_the_first_answer_and_throws_nothing_twice(switch: APIClient) -> None:
    once: dict[str, Any] = {"HTTP_IDEMPOTENCY_KEY": "leak-1"}
    made = switch.post(FREEZES, WANTED, **once)
    switch.post(f"{FREEZES}/{made.json()['id']}/end", {})
    again = switch.post(FREEZES, WANTED, **once)
    assert (again.status_code, again.json(), again["Idempotency-Replayed"]) == (201, made.json(), "true")
    assert switch.post(FREEZES, WANTED | {"reason": "other"}, **once).status_code == 409
    assert not Freeze.objects.filter(ended_at=None).exists()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"scope": "period", "name": "1"}, 422, "scope"), ({"scope": "model"}, 422, "name"), ({"scope": "session", "name": "none"}, 404, None),
        ({"scope": "team", "name": "nobody"}, 404, None), ({"scope": "organization", "reason": " "}, 422, "reason"), ({"scope": "model", "name": "a\0"}, 422, "name"),
        ({"scope": "model", "name": "x", "cause": "guard"}, 422, None), ({"scope": "model", "name": 5}, 422, "name"), ({"scope": "member", "name": "9" * 30}, 404, None),
    ],
)  # fmt: skip
def test_what_cannot_be_frozen_is_refused(body: dict[str, Any], status: int, field: str | None, switch: APIClient) -> None:
    answer = switch.post(FREEZES, {"reason": "odd"} | body)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.json()
    assert not Freeze.objects.exists()


def test_broken_bodies_and_queries_are_told_so(switch: APIClient) -> None:
    for body in (b"", b"[]", b"{", b"\xff", b'{"scope":"model","reason":"a","name":"x","name":1}'):
        assert switch.post(FREEZES, body, content_type="application/json").status_code == 422
    for query in ("active=maybe", "limit=0", "limit=201", "limit=x", "before=-1", f"before={10**30}"):
        assert switch.get(f"{FREEZES}?{query}").status_code == 422
    assert switch.get(f"{FREEZES}/{10**25}").status_code == 404


def test_lead_switches_the_own_teams_only(lead: Member, admin: Member, engineer: Member, organization: Organization, team: Team) -> None:
    Team.objects.create(organization=organization, slug="research", name="Research")
    client = of(lead, Scope.READ, Scope.ADMIN)
    assert client.post(FREEZES, {"scope": "team", "name": "platform", "reason": "odd"}).status_code == 201
    assert client.post(FREEZES, {"scope": "team", "name": "research", "reason": "odd"}).status_code == 404
    assert client.post(FREEZES, {"scope": "provider", "name": "openai", "reason": "odd"}).status_code == 403
    theirs = freeze_start(actor=member_actor(admin), scope_kind="team", scope_key="research", reason="odd")
    wide = freeze_start(actor=member_actor(admin), scope_kind="provider", scope_key="openai", reason="odd")
    assert {row["name"] for row in client.get(FREEZES).json()["items"]} == {"platform", "openai"}
    assert client.get(f"{FREEZES}/{theirs.pk}").status_code == 404
    assert client.post(f"{FREEZES}/{theirs.pk}/end", {}).status_code == 404
    assert client.post(f"{FREEZES}/{wide.pk}/end", {}).status_code == 403
    assert Freeze.objects.filter(ended_at=None).count() == 3
    readers = of(engineer, Scope.READ, Scope.ADMIN), of(lead, Scope.READ)
    for reader in readers:
        assert reader.post(FREEZES, WANTED).status_code == 403
    assert {row["name"] for row in readers[0].get(FREEZES).json()["items"]} == {"platform", "openai"}


def test_stranger_sees_and_ends_nothing_here(stranger: Member, admin: Member, organization: Organization) -> None:
    seen(organization, "s1")
    made = freeze_start(actor=member_actor(admin), scope_kind="session", scope_key="s1", reason="odd")
    client = of(stranger, Scope.READ, Scope.ADMIN)
    assert client.get(FREEZES).json()["items"] == []
    assert client.get(f"{FREEZES}/{made.pk}").status_code == 404
    assert client.post(f"{FREEZES}/{made.pk}/end", {}).status_code == 404
    assert client.post(FREEZES, {"scope": "session", "name": "s1", "reason": "mine"}).status_code == 404
    assert Freeze.objects.filter(ended_at=None).count() == 1


def test_budgets_freeze_and_a_revoked_key_are_not_ended_here(switch: APIClient, admin: Member, engineer: Member, api_key: KeyInHand, organization: Organization) -> None:
    frozen_session_period(engineer, budget_of(organization, name="Each", scope_kind="session", period_kind="session"))
    key_revoke(actor=member_actor(admin), key=api_key.row)
    for freeze in Freeze.objects.all():
        assert switch.post(f"{FREEZES}/{freeze.pk}/end", {}).status_code == 409
    assert Freeze.objects.filter(ended_at=None).count() == 2


def test_pages_of_the_list_hold_every_freeze_once(switch: APIClient, admin: Member) -> None:
    made = [freeze_start(actor=member_actor(admin), scope_kind="model", scope_key=f"m-{number}", reason="odd").pk for number in range(5)]
    found: list[Any] = []
    before: str | None = ""
    while before is not None:
        page = switch.get(f"{FREEZES}?limit=2{before and f'&before={before}'}").json()
        found += [row["id"] for row in page["items"]]
        before = page["next"]
    assert found == made[::-1]


@pytest.mark.usefixtures("few_prices")
def test_name_that_nothing_goes_by_is_said_to_be_none(switch: APIClient, organization: Organization) -> None:
    def notice(scope: str, name: str) -> str:
        return str(switch.post(FREEZES, {"scope": scope, "name": name, "reason": "odd"}).json()["notice"])

    seen(organization, "s1", provider="acme-ai", model="House-9")
    assert notice("provider", "anthropc").endswith("Did you mean anthropic?")
    assert "was called here in the last 30 days" in notice("model", "gpt-99-nobody")
    assert [notice("provider", name) for name in ("Anthropic", "acme-ai")] == ["", ""]
    assert [notice("model", name) for name in ("claude-sonnet-4-5", "house-9")] == ["", ""]

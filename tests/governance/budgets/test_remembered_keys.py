"""POST /api/v1/authorizations takes a key from memory and asks for it in the statement that holds: every answer is as if it had been looked up first."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization
from governance.budgets.services import budget_create
from governance.tenancy import authentication
from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Scope
from tests.conftest import KeyInHand, client_with

pytestmark = pytest.mark.django_db
PATH = "/api/v1/authorizations"
NAMED = {"team": "nobody", "project": "nothing", "member": "no.one@example.org"}


@pytest.fixture
def remembered(api_key: KeyInHand, admin: Member) -> APIClient:
    """A client whose key and whose budgets are in memory: two uses, because the first notes the use, which is a change."""
    budget_create(actor=member_actor(admin), name="Session", scope_kind="session", period_kind="session", limit_amount=Decimal(10))
    api = client_with(api_key)
    for _ in range(2):
        assert api.post(PATH, body(session="s1", amount="1"), format="json").status_code == 201
    assert authentication.remembered_for(api_key.secret, scope=Scope.AUTHORIZE) is not None
    return api


def body(**fields: Any) -> dict[str, Any]:
    return {**NAMED, **fields}


def never(*_: object) -> None:
    raise AssertionError("the key was looked up by itself")


BODIES: dict[str, dict[str, Any]] = {
    "what fits": {"data": body(session="s1", amount="1")},
    "what fits, in part": {"data": body(session="s1", amount="20", allow_partial=True)},
    "what does not fit": {"data": body(session="s1", amount="100")},
    "an id": {"data": body(session="s1", amount="1", id="once")},
    "a wrong amount": {"data": body(session="s1", amount="-1")},
    "no JSON": {"data": "[", "content_type": "application/json"},
    "too much": {"data": body(session="s" * 70_000)},
    "under a broken key of its own": {"data": body(session="s1"), "HTTP_IDEMPOTENCY_KEY": ""},
}


def send(api: APIClient, given: dict[str, Any]) -> Any:
    how: dict[str, Any] = {} if "content_type" in given else {"format": "json"}
    return api.post(PATH, **how, **given)


def test_key_in_memory_is_not_looked_up_apart(remembered: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "key_for", never)
    assert send(remembered, BODIES["what fits"]).status_code == 201
    assert send(remembered, BODIES["an id"]).status_code == 201
    assert Authorization.objects.count() == 4


def test_same_id_gets_the_authorization_made_first(remembered: APIClient) -> None:
    first, again = (send(remembered, BODIES["an id"]) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert send(remembered, {"data": body(session="s1", amount="2", id="once")}).status_code == 409


def test_what_does_not_fit_is_refused_as_ever(remembered: APIClient) -> None:
    refused = send(remembered, BODIES["what does not fit"])
    assert (refused.status_code, refused.json()["left"]) == (402, "8")


@pytest.mark.parametrize("kind", BODIES)
def test_revoked_key_is_refused_whatever_it_sends(remembered: APIClient, api_key: KeyInHand, kind: str) -> None:
    ApiKey.objects.filter(pk=api_key.row.pk).update(revoked_at=timezone.now())
    response = send(remembered, BODIES[kind])
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")
    assert Authorization.objects.count() == 2


@pytest.mark.parametrize("kind", BODIES)
def test_key_that_lost_the_scope_is_refused_whatever_it_sends(remembered: APIClient, api_key: KeyInHand, kind: str) -> None:
    ApiKey.objects.filter(pk=api_key.row.pk).update(scopes=[Scope.READ])
    assert send(remembered, BODIES[kind]).status_code == 403
    assert Authorization.objects.count() == 2


def test_new_defaults_of_the_key_hold_at_once(remembered: APIClient, api_key: KeyInHand, admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Task", scope_kind="task", period_kind="task", limit_amount=Decimal("0.5"))
    assert send(remembered, BODIES["what fits"]).status_code == 201
    ApiKey.objects.filter(pk=api_key.row.pk).update(defaults={"task": "t-1"})
    assert send(remembered, BODIES["what fits"]).status_code == 402

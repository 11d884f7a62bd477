"""POST /api/v1/events takes a key from memory and asks for it in the storing transaction: every answer is as if it had been looked up first."""

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.tenancy import authentication
from governance.tenancy.models import ApiKey, ApiKeyUse, Member, Organization, Scope
from ingest.models import EventIdentity, IdempotencyKey, RejectedInput, UsageEvent
from tests.conftest import KeyInHand, client_with, key_of
from tests.ingest.doors.test_events import call, send

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def remembered(key: KeyInHand) -> APIClient:
    """A client whose key is in memory."""
    api = client_with(key)
    for number in (1, 2):
        assert send(api, call(number)).status_code == 201
    assert authentication.remembered_for(key.secret, scope=Scope.INGEST) is not None
    return api


def stored() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (UsageEvent, EventIdentity, RejectedInput, IdempotencyKey))


def never(*_: object) -> None:
    raise AssertionError("the key was looked up by itself")


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "an event": lambda: {"body": call(3)},
    "a repeat": lambda: {"body": call(1)},
    "a conflict": lambda: {"body": call(1, input_tokens=77)},
    "several": lambda: {"body": {"events": [call(3), call(4)]}},
    "one too old": lambda: {"body": call(3, occurred_at="2020-01-01T00:00:00Z")},
    "one that breaks a rule": lambda: {"body": {"events": [call(3), call(4, input_tokens=-1)]}},
    "none": lambda: {"body": {"events": []}},
    "no JSON": lambda: {"body": b"{"},
    "another type": lambda: {"body": call(3), "content_type": "text/html"},
    "under a key of its own": lambda: {"body": call(3), "HTTP_IDEMPOTENCY_KEY": "once"},
    "under a broken one": lambda: {"body": call(3), "HTTP_IDEMPOTENCY_KEY": ""},
}


def test_key_in_memory_is_not_looked_up_apart(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    api = remembered(api_key)
    monkeypatch.setattr(authentication, "key_for", never)
    event = call(3)
    assert send(api, event).status_code == 201
    assert send(api, event).status_code == 200
    assert send(api, {"events": [call(4), call(5)]}).status_code == 200
    assert UsageEvent.objects.count() == 5


@pytest.mark.parametrize("body", BODIES)
def test_revoked_key_is_refused_whatever_it_sends(api_key: KeyInHand, body: str) -> None:
    api = remembered(api_key)
    before = stored()
    ApiKey.objects.filter(pk=api_key.row.pk).update(revoked_at=timezone.now())
    response = send(api, **BODIES[body]())
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert stored() == before


@pytest.mark.parametrize("body", BODIES)
def test_key_that_lost_the_scope_is_refused_whatever_it_sends(api_key: KeyInHand, body: str) -> None:
    api = remembered(api_key)
    before = stored()
    ApiKey.objects.filter(pk=api_key.row.pk).update(scopes=[Scope.READ])
    assert send(api, **BODIES[body]()).status_code == 403
    assert stored() == before


def test_key_is_refused_from_the_moment_it_expires(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    api = remembered(key_of(organization, expires_at=now + timedelta(seconds=30)))
    monkeypatch.setattr(authentication, "timezone", SimpleNamespace(now=lambda: now + timedelta(seconds=30)))
    assert send(api, call(3)).json()["code"] == "key_expired"


def test_key_that_was_given_an_end_is_refused_after_it(api_key: KeyInHand) -> None:
    api = remembered(api_key)
    ApiKey.objects.filter(pk=api_key.row.pk).update(expires_at=timezone.now() - HOUR)
    assert send(api, call(3)).json()["code"] == "key_expired"


def test_key_of_someone_who_left_is_refused(organization: Organization, engineer: Member) -> None:
    api = remembered(key_of(organization, member=engineer))
    engineer.user.is_active = False
    engineer.user.save()
    assert send(api, call(3)).json()["code"] == "key_holder_inactive"


def test_deleted_key_is_refused(api_key: KeyInHand) -> None:
    api = remembered(api_key)
    ApiKey.objects.filter(pk=api_key.row.pk).update(secret_hash="0" * 64)
    assert send(api, call(3)).json()["code"] == "key_unknown"


def test_key_that_changed_and_still_stands_counts_once_and_as_it_is_now(api_key: KeyInHand) -> None:
    api = remembered(api_key)
    ApiKey.objects.filter(pk=api_key.row.pk).update(defaults={"harness": "codex"})
    assert send(api, call(3)).status_code == 201
    assert UsageEvent.objects.get(external_id="call-3").harness == "codex"
    assert send(api, call(3)).status_code == 200


def test_use_is_noted_though_the_key_is_in_memory(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    api = remembered(api_key)
    ApiKeyUse.objects.filter(pk=api_key.row.pk).update(last_used_at=timezone.now() - HOUR)
    monkeypatch.setitem(authentication._noted, api_key.row.pk, time.monotonic() - authentication.USE_RESOLUTION_S)
    assert send(api, call(3)).status_code == 201
    assert timezone.now() - ApiKeyUse.objects.get(pk=api_key.row.pk).last_used_at < HOUR


def test_noting_its_use_leaves_a_key_as_it_is_remembered(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    api = remembered(api_key)
    monkeypatch.delitem(authentication._noted, api_key.row.pk, raising=False)
    monkeypatch.setattr(authentication, "key_for", never)
    assert send(api, call(3)).status_code == 201


def test_other_methods_look_the_key_up(api_key: KeyInHand) -> None:
    api = remembered(api_key)
    ApiKey.objects.filter(pk=api_key.row.pk).update(revoked_at=timezone.now())
    assert api.get("/api/v1/events").status_code == 401

"""A report whose id was counted with other content: it is said in what it differs, to whom it may be said."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope
from ingest import services
from ingest.formats.event import ContentDifference, Outcome, UsageEvent
from ingest.models import EventSighting, RejectedInput
from ingest.services.conflicts import differences
from tests.conftest import KeyInHand, client_with, key_of

pytestmark = pytest.mark.django_db
EVENTS = "/api/v1/events"
FIRST: dict[str, Any] = {
    "id": "call-1", "model": "gpt-5", "provider": "openai", "input_tokens": 3, "output_tokens": 20, "tags": {"branch": "main", "step": "1"},
    "units": {"web_searches": "2"},
}  # fmt: skip


@pytest.fixture
def first() -> dict[str, Any]:
    return {**FIRST, "occurred_at": (timezone.now() - timedelta(minutes=1)).isoformat()}


def send(api: APIClient, body: object, path: str = EVENTS) -> Any:
    return api.generic("POST", path, cast("str", json.dumps(body).encode()), content_type="application/json")


def told(found: Sequence[ContentDifference]) -> list[tuple[str, str | None, str | None]]:
    return [(one.field, one.first, one.now) for one in found]


def test_a_conflict_names_the_fields_and_what_came_first(api: APIClient, first: dict[str, Any]) -> None:
    counted = json.loads(send(api, first).content)["results"][0]["id"]
    answer = send(api, first | {"input_tokens": 4, "latency_ms": 12, "tags": {"branch": "fix", "step": "1"}})
    problem = json.loads(answer.content)
    assert (answer.status_code, problem["code"], problem["id"], problem["field"]) == (409, "identity_conflict", counted, "id")
    assert problem["differs"] == [
        {"field": "input_tokens", "first": "3", "now": "4"}, {"field": "latency_ms", "now": "12"}, {"field": "tags.branch", "first": "main", "now": "fix"},
    ]  # fmt: skip
    assert problem["detail"].endswith("It differs in input_tokens, latency_ms, tags.branch.")


def test_a_conflict_within_a_batch_and_one_with_what_is_stored_are_told_alike(api: APIClient, first: dict[str, Any]) -> None:
    other = first | {"model": "gpt-4o", "units": {"web_searches": "3"}}
    together = json.loads(send(api, {"events": [first, other]}).content)["results"][1]
    later = json.loads(send(api, {"events": [other]}).content)["results"][0]
    assert together["differs"] == later["differs"] == [
        {"field": "model", "first": "gpt-5", "now": "gpt-4o"}, {"field": "units.web_searches", "first": "2", "now": "3"},
    ]  # fmt: skip


def test_what_another_key_reported_is_told_to_a_key_that_may_read(
    api: APIClient, organization: Organization, first: dict[str, Any]
) -> None:
    send(api, first)
    blind = send(client_with(key_of(organization, Scope.INGEST, name="blind")), first | {"output_tokens": 21})
    assert json.loads(blind.content)["differs"] == [{"field": "output_tokens", "now": "21", "is_withheld": True}]
    reading = send(client_with(key_of(organization, Scope.INGEST, Scope.READ, name="reading")), first | {"output_tokens": 22})
    assert json.loads(reading.content)["differs"] == [{"field": "output_tokens", "first": "20", "now": "22"}]


def test_labels_of_the_keys_are_no_difference(organization: Organization, first: dict[str, Any]) -> None:
    api = client_with(key_of(organization, Scope.INGEST, name="one", defaults={"team": "platform", "harness": "Codex"}))
    other = client_with(key_of(organization, Scope.INGEST, Scope.READ, name="other", defaults={"team": "data"}))
    send(api, first)
    for client in (api, other):
        assert [one["field"] for one in json.loads(send(client, first | {"output_tokens": 21}).content)["differs"]] == ["output_tokens"]
    named = json.loads(send(other, first | {"team": "search"}).content)
    assert named["differs"] == [{"field": "team", "first": "platform", "now": "search"}]


def test_it_is_compared_with_the_first_report_of_its_source(admin: Member) -> None:
    at = timezone.now() - timedelta(minutes=1)
    call = UsageEvent(
        request_id="req_011CQ4pvX7kJ", occurred_at=at, model="claude-sonnet-4-5", provider="anthropic", input_tokens=120, output_tokens=57
    )
    gateway = msgspec.structs.replace(call, gateway="litellm", output_tokens=60)
    store(admin, "otlp", call)
    store(admin, "litellm", gateway)
    assert EventSighting.objects.count() == 2
    changed = msgspec.structs.replace(call, output_tokens=58)
    (outcome,) = store(admin, "otlp", changed)
    assert told(outcome.differs) == [("output_tokens", "57", "58")]


def store(member: Member, door: str, *events: UsageEvent) -> list[Outcome]:
    return services.events_store(actor=member_actor(member), api_key=None, source=door, events=events)


def test_spellings_that_are_stored_alike_are_no_difference() -> None:
    at = timezone.now()
    one = UsageEvent(id="1", occurred_at=at, model="m", provider="Anthropic", harness="Claude-Code")
    other = UsageEvent(id="1", occurred_at=at, model="m", provider="anthropic", harness="claude-code", billing_mode="metered")
    assert differences(one, other) == []


def test_the_list_of_what_was_not_counted_shows_it(
    api: APIClient, api_key: KeyInHand, admin: Member, client: Client, first: dict[str, Any]
) -> None:
    send(api, first)
    send(api, first | {"input_tokens": 4, "tags": {"branch": "main", "step": "1", "aws_secret_access_key": "wJalrXUtnFEMIK7MDENG"}})
    row = RejectedInput.objects.get()
    assert [(one["field"], one["first"], one["is_withheld"]) for one in row.differs] == [
        ("input_tokens", "3", False), ("tags.aws_secret_access_key", None, False),
    ]  # fmt: skip
    assert "K7MDENG" not in json.dumps(row.differs)
    client.force_login(admin.user)
    page = client.get(f"/o/acme/settings/not-counted/{row.pk}").content.decode()
    assert f"/o/acme/calls/{row.call_id}" in page
    assert "<code>input_tokens</code></td><td>3</td><td>4</td>" in page
    listed = client_with(key_of(admin.organization, Scope.ADMIN, name="admin")).get(f"/api/v1/quarantine/{row.pk}").json()
    assert (listed["call"], listed["differs"][0]) == (
        str(row.call_id),
        {"field": "input_tokens", "first": "3", "now": "4", "is_withheld": False},
    )

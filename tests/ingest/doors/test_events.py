"""POST /api/v1/events over the door: statuses, answers, and what is stored."""

import gzip
import json
from datetime import timedelta
from typing import Any, cast

import pytest
import zstandard
from django.db import OperationalError
from django.utils import timezone
from rest_framework.test import APIClient

from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope
from ingest import services
from ingest.models import IdempotencyKey, RejectedInput, UsageEvent
from ingest.rejections import rejected_replay
from ingest.tasks import idempotency_keys_forget
from tests.conftest import KeyInHand, client_with, key_of

pytestmark = pytest.mark.django_db
EVENTS = "/api/v1/events"


def call(number: int = 1, **changes: Any) -> dict[str, Any]:
    at = timezone.now() - timedelta(minutes=1)
    return {
        "id": f"call-{number}",
        "occurred_at": at.replace(microsecond=number).isoformat(),
        "model": "gpt-5",
        "input_tokens": 3,
        **changes,
    }


def send(api: APIClient, body: bytes | object, content_type: str = "application/json", **headers: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.generic("POST", EVENTS + headers.pop("query", ""), cast("str", data), content_type=content_type, **headers)


def counts(response: Any) -> tuple[int, ...]:
    answer = json.loads(response.content)
    return tuple(answer[status] for status in ("accepted", "duplicate", "conflict", "rejected"))


def test_one_event_says_in_its_status_what_became_of_it(api: APIClient) -> None:
    sent = call()
    assert send(api, sent).status_code == 201
    assert send(api, sent).status_code == 200
    conflict = send(api, sent | {"input_tokens": 4})
    assert (conflict.status_code, conflict["Content-Type"]) == (409, "application/problem+json")
    rejected = send(api, call(2, input_tokens=-1))
    assert (rejected.status_code, rejected["Content-Type"]) == (422, "application/problem+json")
    assert json.loads(rejected.content)["field"] == "input_tokens"
    assert UsageEvent.objects.get().input_tokens == 3


def test_a_batch_answers_for_each_event_in_its_place(api: APIClient) -> None:
    first = call(1)
    events = [first, call(2, output_tokens="many"), first, first | {"input_tokens": 9}, call(3), call(4, id="")]
    response = send(api, {"events": events})
    results = json.loads(response.content)["results"]
    assert response.status_code == 200
    assert counts(response) == (2, 1, 1, 2)
    assert [result["index"] for result in results] == list(range(6))
    assert [result["status"] for result in results] == ["accepted", "rejected", "duplicate", "conflict", "accepted", "rejected"]
    assert (results[1]["code"], results[1]["field"], results[1]["id"]) == ("invalid_field", "output_tokens", "call-2")
    assert UsageEvent.objects.count() == 2


def test_lines_are_events(api: APIClient) -> None:
    body = "\n".join(json.dumps(call(number)) for number in range(3)).encode()
    assert counts(send(api, body, "application/x-ndjson")) == (3, 0, 0, 0)
    assert counts(send(api, body, "application/json")) == (0, 3, 0, 0)


def test_only_errors_are_listed_when_asked(api: APIClient) -> None:
    response = send(api, {"events": [call(1), call(2, colour="blue")]}, query="?results=errors")
    assert counts(response) == (1, 0, 0, 1)
    assert [result["index"] for result in json.loads(response.content)["results"]] == [1]


def test_an_empty_batch_is_nothing_to_do(api: APIClient) -> None:
    assert counts(send(api, {"events": []})) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("identity", bytes), ("GZIP", gzip.compress)]
)
def test_bodies_are_unpacked(api: APIClient, encoding: str, pack: Any) -> None:
    body = pack(json.dumps({"events": [call(1), call(2)]}).encode())
    assert counts(send(api, body, HTTP_CONTENT_ENCODING=encoding)) == (2, 0, 0, 0)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_several_packed_pieces_are_one_body(api: APIClient, encoding: str, pack: Any) -> None:
    body = b"".join(pack(json.dumps(call(number)).encode() + b"\n") for number in range(3))
    assert counts(send(api, body, "application/x-ndjson", HTTP_CONTENT_ENCODING=encoding)) == (3, 0, 0, 0)


class TestIdempotencyKey:
    """A request under a key has one answer, however often it is sent."""

    def test_one_event_is_answered_the_same(self, api: APIClient) -> None:
        sent = call()
        first, again = [send(api, sent, HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2)]
        assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
        assert (first.has_header("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (False, "true")
        assert send(api, sent).status_code == 200
        assert UsageEvent.objects.count() == 1

    def test_a_batch_is_answered_the_same_and_its_misfits_kept_once(self, api: APIClient) -> None:
        send(api, call(5))
        sent = {"events": [call(1), call(2, output_tokens="many"), call(5, input_tokens=9), call(3), call(1)]}
        first, again = [send(api, sent, HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2)]
        assert first.content == again.content
        assert counts(again) == (2, 1, 1, 1)
        assert RejectedInput.objects.count() == 2

    def test_a_key_is_for_one_body(self, api: APIClient) -> None:
        send(api, call(1), HTTP_IDEMPOTENCY_KEY="k1")
        refused = send(api, call(2), HTTP_IDEMPOTENCY_KEY="k1")
        assert (refused.status_code, json.loads(refused.content)["field"]) == (409, "Idempotency-Key")
        assert UsageEvent.objects.count() == 1

    def test_a_refused_event_leaves_the_key_free(self, api: APIClient) -> None:
        assert send(api, call(input_tokens=-1), HTTP_IDEMPOTENCY_KEY="k1").status_code == 422
        assert send(api, call(), HTTP_IDEMPOTENCY_KEY="k1").status_code == 201

    def test_each_organization_has_its_own_keys(self, api: APIClient, other_organization: Organization) -> None:
        assert send(api, call(1), HTTP_IDEMPOTENCY_KEY="k1").status_code == 201
        assert send(client_with(key_of(other_organization)), call(2), HTTP_IDEMPOTENCY_KEY="k1").status_code == 201

    @pytest.mark.parametrize("key", ["", "k" * 201, "a\x00b"])
    def test_a_key_that_is_none_is_refused(self, api: APIClient, key: str) -> None:
        assert send(api, call(), HTTP_IDEMPOTENCY_KEY=key).status_code == 422
        assert not UsageEvent.objects.exists()

    def test_a_day_later_the_key_is_forgotten(self, api: APIClient) -> None:
        send(api, call(1), HTTP_IDEMPOTENCY_KEY="k1")
        send(api, call(2), HTTP_IDEMPOTENCY_KEY="k2")
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=1, seconds=1))
        assert send(api, call(3), HTTP_IDEMPOTENCY_KEY="k1").status_code == 201
        assert idempotency_keys_forget() == 1
        assert IdempotencyKey.objects.count() == 1


@pytest.mark.parametrize("days", [-401, 2])
def test_far_past_and_future_are_rejected_and_kept(api: APIClient, days: int) -> None:
    far = (timezone.now() + timedelta(days=days)).isoformat()
    response = send(api, {"events": [call(1), call(2, occurred_at=far)]})
    assert counts(response) == (1, 0, 0, 1)
    assert json.loads(response.content)["results"][1]["field"] == "occurred_at"
    assert json.loads(bytes(RejectedInput.objects.get().payload))["id"] == "call-2"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_time_are_rejected(api: APIClient, at: str) -> None:
    assert send(api, call(occurred_at=at)).status_code == 422


def test_a_database_that_gives_way_asks_to_send_again(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_way(**_: Any) -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(services, "events_store_together", give_way)
    response = send(api, call())
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert json.loads(response.content)["code"] == "unavailable"


def test_an_event_under_the_wrong_media_type_can_be_replayed(api: APIClient, admin: Member) -> None:
    assert send(api, call(), "application/x-www-form-urlencoded").status_code == 415
    assert [one.status for one in rejected_replay(actor=member_actor(admin), rejected=RejectedInput.objects.get())] == ["accepted"]


def test_what_somebody_wrote_is_not_kept(api: APIClient) -> None:
    assert send(api, call(prompt="my mother's illness", tags={"key": "sk-ant-api03-AAAAAAAAAAAAAAAA"})).status_code == 422
    kept = RejectedInput.objects.get()
    assert (kept.field, json.loads(bytes(kept.payload))["prompt"]) == ("prompt", "[removed: text of 19 characters]")
    assert b"AAAA" not in bytes(kept.payload)


class TestKeys:
    """Whose key it is decides where events go, and whether."""

    def test_events_land_in_the_keys_organization(self, api: APIClient, other_organization: Organization) -> None:
        other = client_with(key_of(other_organization))
        sent = call()
        assert send(api, sent).status_code == send(other, sent).status_code == 201
        assert UsageEvent.objects.filter(organization=other_organization).count() == 1
        assert UsageEvent.objects.count() == 2

    def test_no_key(self) -> None:
        response = send(APIClient(), call())
        assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("header", ["Bearer", "Basic abc", "Bearer wh_unknown", "Bearer \x00", "wh_1"])
    def test_no_such_key(self, header: str) -> None:
        assert send(APIClient(), call(), HTTP_AUTHORIZATION=header).status_code == 401

    @pytest.mark.parametrize(
        ("change", "code"),
        [({"revoked_at": timedelta(0)}, "key_revoked"), ({"expires_at": timedelta(seconds=-1)}, "key_expired")],
    )
    def test_a_dead_key(self, api: APIClient, api_key: KeyInHand, change: dict[str, timedelta], code: str) -> None:
        ApiKey.objects.filter(pk=api_key.row.pk).update(**{name: timezone.now() + delta for name, delta in change.items()})
        response = send(api, call())
        assert (response.status_code, json.loads(response.content)["code"]) == (401, code)
        assert not UsageEvent.objects.exists()

    def test_a_key_without_the_scope(self, organization: Organization) -> None:
        reader = client_with(key_of(organization, Scope.READ))
        response = send(reader, call())
        assert (response.status_code, response["Content-Type"]) == (403, "application/problem+json")
        assert not RejectedInput.objects.exists()

    def test_a_key_of_someone_who_left(self, organization: Organization, engineer: Member) -> None:
        held = client_with(key_of(organization, member=engineer))
        Member.objects.update(is_active=False)
        assert send(held, call()).status_code == 401

    def test_other_methods(self, api: APIClient) -> None:
        assert api.get(EVENTS).status_code == 405

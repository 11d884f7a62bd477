"""What came in is noted by door, key, harness and gateway in the hour in which it was called, and stays what came in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from governance.errors import Forbidden
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization
from ingest.arrivals import arrivals, arrivals_forget, refusals
from ingest.models import ArrivalHour
from tests.conftest import client_with, key_of

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


def post(api: APIClient, *ids: str, at: datetime = NOW, **fields: Any) -> Any:
    events = [{"id": one, "occurred_at": at.isoformat(), "model": "claude-sonnet-4-5", "harness": "claude-code", **fields} for one in ids]
    return api.post("/api/v1/events", {"events": events})


@time_machine.travel(NOW, tick=False)
def test_calls_are_noted_where_and_when_they_came_from(organization: Organization, actor: Actor) -> None:
    key, other = key_of(organization), key_of(organization, name="other")
    post(client_with(key), "a", "b", at=NOW - timedelta(hours=2))
    post(client_with(key), "c", status="error")
    post(client_with(other), "d", harness="Codex", gateway="LiteLLM")
    first, second = sorted(arrivals(actor, now=NOW), key=lambda one: one.api_key_id)
    assert (first.source, first.harness, first.gateway, first.calls, first.errors, first.last_at) == ("rest", "claude-code", "", 3, 1, NOW)
    assert (first.by_hour[-3:], sum(first.by_hour)) == ((2, 0, 1), 3)
    assert (second.api_key_id, second.harness, second.gateway, second.calls) == (other.row.pk, "codex", "litellm", 1)
    assert [one.api_key_id for one in arrivals(actor, now=NOW, api_key_id=other.row.pk)] == [other.row.pk]


@time_machine.travel(NOW, tick=False)
def test_what_is_sent_again_shows_that_the_sender_lives(organization: Organization, actor: Actor) -> None:
    client = client_with(key_of(organization))
    post(client, "a", "b")
    with time_machine.travel(NOW + timedelta(minutes=5), tick=False):
        post(client, "a", "b", at=NOW)
        post(client, "b", "c", at=NOW)
    (found,) = arrivals(actor, now=NOW)
    assert (found.calls, found.repeats, found.last_at) == (3, 3, NOW + timedelta(minutes=5))


@time_machine.travel(NOW, tick=False)
def test_old_calls_that_come_now_came_now(organization: Organization, actor: Actor) -> None:
    """A transcript of a year leaves one row before the days that are looked at."""
    client = client_with(key_of(organization))
    for days in (300, 200, 100, 30):
        post(client, f"d{days}", at=NOW - timedelta(days=days))
    (row,) = ArrivalHour.objects.all()
    (found,) = arrivals(actor, now=NOW)
    assert (row.calls, found.calls, found.last_at) == (4, 0, NOW)


@time_machine.travel(NOW, tick=False)
def test_refusals_count_those_of_which_only_the_number_was_kept(organization: Organization, actor: Actor) -> None:
    key = key_of(organization)
    client = client_with(key)
    broken = [{"id": f"x{number}", "occurred_at": NOW.isoformat()} for number in range(260)]
    client.post("/api/v1/events", {"events": broken})
    (found,) = refusals(actor, now=NOW)
    assert (found.source, found.api_key_id, found.count) == ("rest", key.row.pk, 260)


@time_machine.travel(NOW, tick=False)
def test_of_a_connection_that_went_quiet_the_last_hour_stays(organization: Organization, actor: Actor) -> None:
    client = client_with(key_of(organization))
    post(client, "a", at=NOW - timedelta(hours=1))
    post(client, "b")
    with time_machine.travel(NOW + timedelta(days=30), tick=False):
        assert arrivals_forget() == 1
        assert arrivals_forget() == 0
        (found,) = arrivals(actor, now=NOW + timedelta(days=30))
    assert (found.last_at, found.calls) == (NOW, 0)


def test_only_those_who_manage_the_organization_see_it(
    engineer: Member, other_organization: Organization, organization: Organization, admin: Member
) -> None:
    post(client_with(key_of(other_organization)), "a", at=datetime.now(UTC))
    assert arrivals(member_actor(admin), now=datetime.now(UTC)) == []
    for look in (arrivals, refusals):
        with pytest.raises(Forbidden):
            look(member_actor(engineer), now=NOW)

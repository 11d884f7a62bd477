"""A call that two sources report counts once, in whatever order they come; two calls stay two."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from governance.tenancy.models import Organization, Team
from ingest.models import EventSighting, SightingPair
from ingest.models import UsageEvent as Stored
from tests.ingest.once.told import AT, assert_true, gateway, harness, statuses, sums, told

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("is_gateway_first", [False, True])
def test_a_gateway_and_a_harness_that_share_no_id_tell_of_one_call(organization: Organization, team: Team, is_gateway_first: bool) -> None:
    reports = [("otlp", harness()), ("litellm", gateway(after=0.4))]
    for door, event in reversed(reports) if is_gateway_first else reports:
        told(organization, door, event)
    stored = Stored.objects.get()
    assert (stored.harness, stored.gateway, stored.team_id, stored.output_tokens) == ("claude-code", "litellm", team.pk, 57)
    assert sorted(EventSighting.objects.values_list("source", "is_settled")) == [("gateway:litellm", True), ("harness:otlp", True)]
    assert_true(organization)


def test_each_of_many_calls_is_told_once_more_and_stays_one(organization: Organization) -> None:
    """Of calls that are alike in everything each is paired with one report."""
    assert statuses(told(organization, "otlp", *(harness(n, after=n * 0.2) for n in range(5)))) == ["accepted"] * 5
    assert statuses(told(organization, "litellm", *(gateway(n, after=n * 0.2 + 0.1) for n in range(5)))) == ["duplicate"] * 5
    assert statuses(told(organization, "litellm", gateway(7, after=1))) == ["accepted"]
    assert sums(organization)["calls"] == 6
    assert_true(organization)


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "s-2"},
        {"session": ""},
        {"output_tokens": 56},
        {"input_tokens": 121},
        {"provider": "openai", "model": "gpt-5"},
        {"after": 1000},
    ],
    ids=["session", "none", "output", "input", "provider", "time"],
)
def test_what_differs_in_what_is_common_is_another_call(organization: Organization, changes: dict[str, Any]) -> None:
    told(organization, "otlp", harness())
    assert statuses(told(organization, "litellm", gateway(**changes))) == ["accepted"]


def test_calls_of_two_models_with_the_same_tokens_find_their_own_reports(organization: Organization) -> None:
    """Claude Code 2.0.50 beside its transcript: no id in common, a small model asked at the same moment."""
    small = "claude-haiku-4-5-20251001"
    told(organization, "otlp", harness(request_id="", id="a", model=small, after=0.2), harness(request_id="", id="b", after=0.3))
    again = (harness(1, after=0.1), harness(2, after=0.4, model=small))
    assert statuses(told(organization, "claude-code", *again)) == ["duplicate"] * 2
    assert sorted(Stored.objects.values_list("occurred_at", "model")) == [
        (AT + timedelta(seconds=0.2), small),
        (AT + timedelta(seconds=0.3), "claude-sonnet-4-5"),
    ]
    assert statuses(told(organization, "opencode", harness(3, model="claude-opus-4-8"))) == ["accepted"]


def test_one_source_never_repeats_itself_under_another_id(organization: Organization) -> None:
    assert statuses(told(organization, "otlp", harness(1), harness(2))) == ["accepted"] * 2
    assert not EventSighting.objects.exists()


def test_a_call_is_known_by_every_id_it_came_with(organization: Organization) -> None:
    """The transcript has the vendor's two ids, of which telemetry has one and a library's span the other."""
    told(organization, "claude-code", harness(id="msg_01XFDUDYJgAACzvnptvVoYEL"))
    span = harness(2, after=300, session="", output_tokens=58, request_id="msg_01XFDUDYJgAACzvnptvVoYEL")
    assert statuses(told(organization, "otlp", span)) == ["duplicate"]
    assert statuses(told(organization, "otlp", harness(1, after=1, trace="t"))) == ["duplicate"]
    assert sums(organization)["calls"] == 1
    assert EventSighting.objects.count() == 3


def test_two_calls_that_a_report_shows_to_be_one_are_joined(organization: Organization) -> None:
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway(output_tokens=60, id="msg_01XFDUDYJgAACzvnptvVoYEL"))
    assert sums(organization)["calls"] == 2
    told(organization, "claude-code", harness(id="msg_01XFDUDYJgAACzvnptvVoYEL"))
    stored = Stored.objects.get()
    assert (stored.output_tokens, stored.gateway, stored.harness) == (60, "litellm", "claude-code")
    assert EventSighting.objects.filter(event_id=stored.id).count() == 3
    assert_true(organization)


def test_a_guess_that_ids_contradict_is_undone(organization: Organization) -> None:
    """The gateway's first call is taken for the harness's second; the transcript tells which is which."""
    told(organization, "litellm", gateway(1, after=0, id="msg_01XFDUDYJgAACzvnptvVoYE1"))
    told(organization, "otlp", harness(2, after=0.3))
    assert sums(organization)["calls"] == 1
    transcript = [harness(n, after=n * 0.3, id=f"msg_01XFDUDYJgAACzvnptvVoYE{n}") for n in (1, 2)]
    told(organization, "claude-code", *transcript)
    told(organization, "litellm", gateway(2, after=0.3, id="msg_01XFDUDYJgAACzvnptvVoYE2"))
    told(organization, "otlp", harness(1, after=0))
    assert sums(organization)["calls"] == 2
    by_event: dict[UUID, set[str]] = {}
    for one in EventSighting.objects.all():
        by_event.setdefault(one.event_id, set()).add(one.own_id[-1])
    assert sorted(map(len, by_event.values())) == [1, 1]
    assert_true(organization)


def test_the_more_trusted_source_stands_and_fills_come_from_the_other(organization: Organization) -> None:
    told(organization, "otlp", harness(output_tokens=58, request_id="msg_01XFDUDYJgAACzvnptvVoYEL", role="planner"))
    told(organization, "anthropic", harness(output_tokens=57, request_id="msg_01XFDUDYJgAACzvnptvVoYEL", harness="", session=""))
    stored = Stored.objects.get()
    assert (stored.output_tokens, stored.role, stored.session) == (57, "planner", "s-1")
    told(organization, "litellm", harness(output_tokens=99, request_id="msg_01XFDUDYJgAACzvnptvVoYEL", gateway="litellm"))
    stored.refresh_from_db()
    assert (stored.output_tokens, stored.gateway) == (57, "litellm")
    assert_true(organization)


def test_repeats_of_every_report_are_repeats(organization: Organization) -> None:
    reports = [("otlp", harness()), ("litellm", gateway()), ("claude-code", harness(id="msg_01XFDUDYJgAACzvnptvVoYEL", trace="t"))]
    for door, event in reports * 2:
        told(organization, door, event)
    assert sums(organization)["calls"] == 1
    assert EventSighting.objects.count() == 3


def test_figures_that_are_nearly_the_same_wait_for_a_person(organization: Organization) -> None:
    told(organization, "otlp", harness())
    told(organization, "litellm", gateway(output_tokens=58))
    assert sums(organization)["calls"] == 2
    assert SightingPair.objects.get().state == "undecided"

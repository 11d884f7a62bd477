"""Posts that arrive together are stored together, and each is answered for itself."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from governance.tenancy.access import key_actor
from governance.tenancy.authentication import KeyMoved, Remembered, key_for, remembered_for
from governance.tenancy.models import ApiKey, Scope
from ingest.formats.event import Outcome, UsageEvent
from ingest.models import EventIdentity, UsageRollup
from ingest.services import events_store, events_store_together, gather
from tests.conftest import KeyInHand

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db")]


def call(name: str) -> UsageEvent:
    return UsageEvent(occurred_at=datetime.now(UTC), model="gpt-5", provider="openai", id=name, input_tokens=10, session="s-1")


class Posts:
    """Threads that post at once while a first one is held inside its transaction, so that they have to wait for it."""

    def __init__(self, key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key = key
        self.sizes: list[int] = []
        self.unconfirmed: Remembered | None = None
        self.failing: Callable[[Sequence[UsageEvent]], bool] = lambda events: False
        self.answers: dict[int, Any] = {}
        self.entered, self.go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(gather, "events_store", self.store)

    def store(self, *, events: Sequence[UsageEvent], **rest: Any) -> list[Outcome]:
        self.sizes.append(len(events))
        if len(self.sizes) == 1:
            self.entered.set()
            assert self.go_on.wait(10)
        if self.failing(events):
            raise RuntimeError("cannot be stored")
        return events_store(events=events, **rest)

    def post(self, number: int, events: Sequence[UsageEvent]) -> None:
        try:
            self.answers[number] = events_store_together(
                actor=key_actor(self.key.row), api_key=self.key.row, source="rest", events=events, unconfirmed=self.unconfirmed
            )
        except (RuntimeError, KeyMoved) as error:
            self.answers[number] = error
        finally:
            connection.close()

    def run(self, posts: Sequence[Sequence[UsageEvent]]) -> None:
        threads = [threading.Thread(target=self.post, args=(number, events)) for number, events in enumerate(posts)]
        threads[0].start()
        assert self.entered.wait(10)
        for thread in threads[1:]:
            thread.start()
        while sum(len(line.posts) for line in list(gather._lines.values())) < len(posts) - 1:
            pass
        self.go_on.set()
        for thread in threads:
            thread.join(20)
        assert not gather._lines


@pytest.fixture
def posts(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> Posts:
    gather._lately.clear()
    return Posts(api_key, monkeypatch)


def test_posts_that_wait_are_stored_in_one_transaction(posts: Posts) -> None:
    posts.run([[call(f"a-{number}"), call(f"b-{number}")] for number in range(6)])
    assert posts.sizes == [2, 10]
    assert all([(one.index, one.status) for one in answer] == [(0, "accepted"), (1, "accepted")] for answer in posts.answers.values())
    assert EventIdentity.objects.count() == sum(UsageRollup.objects.values_list("calls", flat=True)) == 12


def test_those_who_come_back_after_a_group_are_stored_together(posts: Posts, monkeypatch: pytest.MonkeyPatch) -> None:
    posts.run([[call(f"a-{number}")] for number in range(4)])
    monkeypatch.setattr(gather, "MOMENT_S", 30)
    back = [threading.Thread(target=posts.post, args=(number, [call(f"b-{number}")])) for number in range(3)]
    for thread in back:
        thread.start()
    for thread in back:
        thread.join(20)
    assert posts.sizes == [1, 3, 3]
    assert EventIdentity.objects.count() == 7


def test_same_call_in_two_posts_is_accepted_once(posts: Posts) -> None:
    twice = call("same")
    posts.run([[call("first")], [twice], [twice], [twice]])
    statuses = sorted(posts.answers[number][0].status for number in (1, 2, 3))
    assert statuses == ["accepted", "duplicate", "duplicate"]
    assert EventIdentity.objects.count() == 2


def test_post_that_cannot_be_stored_harms_no_other(posts: Posts) -> None:
    posts.failing = lambda events: any(event.id == "poison" for event in events)
    posts.run([[call("first")], [call("poison")], [call("x")], [call("y")]])
    assert isinstance(posts.answers[1], RuntimeError)
    assert [posts.answers[number][0].status for number in (0, 2, 3)] == ["accepted"] * 3
    assert EventIdentity.objects.count() == 3


def test_large_post_has_its_own_transaction(posts: Posts) -> None:
    posts.go_on.set()
    posts.post(0, [call(f"c-{number}") for number in range(gather.FEW + 1)])
    assert posts.sizes == [gather.FEW + 1]
    assert len(list(posts.answers[0])) == gather.FEW + 1


def unconfirmed_key(posts: Posts) -> None:
    """Has the posts come with a key from memory."""
    for _ in range(2):
        key_for(posts.key.secret)
    posts.unconfirmed = remembered_for(posts.key.secret, scope=Scope.INGEST)
    assert posts.unconfirmed is not None


def test_key_is_asked_for_once_for_a_group(posts: Posts) -> None:
    unconfirmed_key(posts)
    posts.run([[call(f"a-{number}")] for number in range(4)])
    assert posts.sizes == [1, 3]
    assert EventIdentity.objects.count() == 4


def test_nothing_is_stored_for_a_key_that_changed_meanwhile(posts: Posts) -> None:
    unconfirmed_key(posts)
    ApiKey.objects.update(name="Another name")
    posts.run([[call(f"a-{number}")] for number in range(4)])
    assert all(isinstance(posts.answers[number], KeyMoved) for number in range(4))
    assert not EventIdentity.objects.exists()

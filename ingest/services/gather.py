"""Small posts that arrive while another is being stored are stored together, in one transaction: many clients share its cost.

A transaction's fixed cost (its round trips, its commit, the locks on the budgets everybody charges) is far above that of
one event. Every post still waits for the commit of its own events, and one that cannot be stored harms no other.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from django.db import connection

from governance.tenancy.access import Actor
from governance.tenancy.models import ApiKey
from ingest.formats.event import Outcome, UsageEvent
from ingest.services.store import events_store

# A post of more events is worth a transaction of its own.
FEW = 16
MOST_POSTS = 64
# Who posts and how: all that the storing transaction needs to know besides the events.
Sender = tuple[int, str | None, str]


@dataclass(slots=True, eq=False)
class _Post:
    """One request's events, waiting for a turn: to be told their outcomes, to store a group, or to store them alone."""

    events: Sequence[UsageEvent]
    turn: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] | None = None
    group: "list[_Post]" = field(default_factory=list)


_lock = threading.Lock()
# The posts that wait for the one at work, by sender. A sender without one at work is not in here.
_waiting: dict[Sender, list[_Post]] = {}


def events_store_together(*, actor: Actor, api_key: ApiKey, source: str, events: Sequence[UsageEvent]) -> list[Outcome]:
    """As `events_store`, with the same answer; in one transaction with other posts of the same key and address where they are few."""
    if len(events) > FEW or connection.in_atomic_block:
        return events_store(actor=actor, api_key=api_key, source=source, events=events)
    # The key's object stands for its version: posts under an older one are not mixed with these.
    sender = (id(api_key), actor.address, source)
    post = _Post(events)
    if not _is_first(sender, post):
        post.turn.wait()
        if post.outcomes is not None:
            return post.outcomes
        if not post.group:
            return events_store(actor=actor, api_key=api_key, source=source, events=events)
    try:
        return _store(post, actor=actor, api_key=api_key, source=source)
    finally:
        _pass_on(sender)


def _is_first(sender: Sender, post: _Post) -> bool:
    """Whether nobody of this sender is at work, so that this post is stored at once; else it waits."""
    with _lock:
        waiting = _waiting.get(sender)
        if waiting is not None:
            waiting.append(post)
            return False
        _waiting[sender] = []
        return True


def _store(post: _Post, *, actor: Actor, api_key: ApiKey, source: str) -> list[Outcome]:
    """Stores the posts of the group and tells the others their outcomes. When that fails, each stores its own."""
    others = [one for one in post.group if one is not post]
    events = [*post.events, *(event for one in others for event in one.events)]
    try:
        outcomes = events_store(actor=actor, api_key=api_key, source=source, events=events)
        place = len(post.events)
        for one in others:
            part = outcomes[place : place + len(one.events)]
            one.outcomes = [msgspec.structs.replace(outcome, index=outcome.index - place) for outcome in part]
            place += len(one.events)
    except Exception:
        if not others:
            raise
        return events_store(actor=actor, api_key=api_key, source=source, events=post.events)
    finally:
        for one in others:
            one.turn.set()
    return outcomes[: len(post.events)]


def _pass_on(sender: Sender) -> None:
    """Gives the turn to the first of those who came meanwhile, with the others as its group."""
    with _lock:
        waiting = _waiting.pop(sender)
        if not waiting:
            return
        group, _waiting[sender] = waiting[:MOST_POSTS], waiting[MOST_POSTS:]
    group[0].group = group
    group[0].turn.set()

"""Small posts that arrive while another is being stored are stored together, in one transaction: many clients share its cost.

A transaction's fixed cost (its round trips, its commit, the locks on the budgets everybody charges) is far above that of
one event. Every post still waits for the commit of its own events, and one that cannot be stored harms no other. A post
that finds nobody at work is stored at once; where posts do overlap, the next group gives those just answered a moment to
come back, or a few clients would split into two groups that take turns. So does the first to come back after a group that left nobody waiting.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
from django.db import connection

from governance.tenancy.access import Actor
from governance.tenancy.authentication import KeyMoved, Remembered
from governance.tenancy.models import ApiKey
from ingest.formats.event import Outcome, UsageEvent
from ingest.services.counting import events_store

# A post of more events is worth a transaction of its own.
FEW = 16
MOST_POSTS = 64
# How long a group waits for those just answered.
MOMENT_S = 0.005
MOST_REMEMBERED = 1_000
# Who posts and how: all that the storing transaction needs to know besides the events.
Sender = tuple[int, str | None, str, bool]


@dataclass(slots=True, eq=False)
class _Post:
    """One request's events, waiting for a turn: to be told their outcomes, to store a group, or to store them alone."""

    events: Sequence[UsageEvent]
    turn: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] | None = None
    leads: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """The posts that wait for the one at work. `is_full` says that as many wait as were expected."""

    posts: list[_Post] = field(default_factory=list)
    expected: int = MOST_POSTS
    is_full: threading.Event = field(default_factory=threading.Event)


_lock = threading.Lock()
# By sender. A sender without a post at work is not in here.
_lines: dict[Sender, _Line] = {}
# Senders whose last group left nobody waiting: when it was answered, and how many posts it had.
_lately: dict[Sender, tuple[float, int]] = {}


def events_store_together(
    *, actor: Actor, api_key: ApiKey, source: str, events: Sequence[UsageEvent], unconfirmed: Remembered | None = None
) -> list[Outcome]:
    """As `events_store`, with the same answer; in one transaction with other posts of the same key and address where they are few."""
    store = partial(events_store, actor=actor, api_key=api_key, source=source, unconfirmed=unconfirmed)
    if len(events) > FEW or connection.in_atomic_block:
        return store(events=events)
    # The key's object stands for its version: posts under an older one are not mixed with these, nor those that compare it with others.
    sender = (id(api_key), actor.address, source, unconfirmed is not None)
    post = _Post(events)
    line, is_first = _join(sender, post)
    if not is_first:
        post.turn.wait()
        if post.outcomes is not None:
            return post.outcomes
        if not post.leads:
            return store(events=events)
    group = [post]
    try:
        if post.leads:
            group += _others(line)
        return _store(group, store)
    finally:
        _pass_on(sender, len(group))


def _join(sender: Sender, post: _Post) -> tuple[_Line, bool]:
    """The sender's line, and whether nobody is at work, so that this post need not wait in it. It leads those who are about to come back, if any."""
    with _lock:
        line = _lines.get(sender)
        if line is None:
            line = _lines[sender] = _Line()
            answered_at, answered = _lately.pop(sender, (0.0, 1))
            if answered > 1 and time.monotonic() - answered_at < MOMENT_S:
                post.leads, line.expected = True, answered - 1
            return line, True
        line.posts.append(post)
        if len(line.posts) >= line.expected:
            line.is_full.set()
        return line, False


def _others(line: _Line) -> list[_Post]:
    """Those who wait, once all who are expected are there or the moment is over."""
    line.is_full.wait(MOMENT_S)
    with _lock:
        taken, line.posts = line.posts[: MOST_POSTS - 1], line.posts[MOST_POSTS - 1 :]
    return taken


def _store(group: Sequence[_Post], store: Callable[..., list[Outcome]]) -> list[Outcome]:
    """Stores the posts of the group and tells all but the first their outcomes. When that fails, each stores its own."""
    post, *others = group
    events = [event for one in group for event in one.events]
    try:
        outcomes = store(events=events)
        place = len(post.events)
        for one in others:
            part = outcomes[place : place + len(one.events)]
            one.outcomes = [msgspec.structs.replace(outcome, index=outcome.index - place) for outcome in part]
            place += len(one.events)
    except KeyMoved:
        raise
    except Exception:
        if not others:
            raise
        return store(events=post.events)
    finally:
        for one in others:
            one.turn.set()
    return outcomes[: len(post.events)]


def _pass_on(sender: Sender, answered: int) -> None:
    """Gives the turn to the first of those who came meanwhile; the `answered` may well come back to join it."""
    with _lock:
        line = _lines[sender]
        if not line.posts:
            del _lines[sender]
            if answered > 1:
                if len(_lately) >= MOST_REMEMBERED:
                    _lately.clear()
                _lately[sender] = time.monotonic(), answered
            return
        first = line.posts.pop(0)
        line.expected = min(len(line.posts) + answered, MOST_POSTS - 1)
        if len(line.posts) < line.expected:
            line.is_full.clear()
        else:
            line.is_full.set()
    first.leads = True
    first.turn.set()

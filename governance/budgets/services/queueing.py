"""Requests for authorizations that arrive while others are being decided are decided together, in one transaction.

The row of a budget that everybody calls against is locked until the commit, so that decisions queue there; those of a group share
one lock and one commit. A request that finds nobody at work is decided at once. Every request keeps its own answer, id and key:
where a group does not fit as a whole, each of it is decided alone.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from django.db import connection
from django.utils import timezone

from governance.budgets.services.asking import AuthorizationIn
from governance.budgets.services.holds import Held, authorization_hold
from governance.budgets.services.links import links_note
from governance.budgets.services.together import Ask, ask_of, hold_together
from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.models import ApiKey

MOST = 64
log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its turn: to be told what was held, to lead a group, or to be decided alone."""

    ask: Ask
    turn: threading.Event = field(default_factory=threading.Event)
    held: Held | None = None
    leads: bool = False


_lock = threading.Lock()
# By organization. One without a request at work is not in here.
_lines: dict[int, list[_Waiting]] = {}


def authorization_hold_queued(
    *, actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, unconfirmed: Remembered | None = None
) -> Held:
    """As `authorization_hold`, with the same answer; in one transaction with other requests of the organization where they overlap."""
    hold = partial(authorization_hold, actor=actor, api_key=api_key, request=request, unconfirmed=unconfirmed)
    if request.allow_partial or connection.in_atomic_block:
        return hold()
    organization_id = actor.organization.pk
    if _is_first(organization_id):
        return _alone(organization_id, hold)
    waiting = _Waiting(ask_of(actor, api_key, request, unconfirmed=unconfirmed))
    if _join(organization_id, waiting):
        return _alone(organization_id, hold)
    waiting.turn.wait()
    if waiting.held is not None:
        return _linked(waiting.held, waiting)
    return _lead(organization_id, waiting, hold) if waiting.leads else hold()


def _alone(organization_id: int, hold: Callable[[], Held]) -> Held:
    try:
        return hold()
    finally:
        _pass_on(organization_id)


def _lead(organization_id: int, waiting: _Waiting, hold: Callable[[], Held]) -> Held:
    """Decides for the one whose turn it is, together with those who came after it."""
    try:
        others = _others(organization_id)
        held = _decide(waiting, others) if others else None
        return _linked(held, waiting) if held is not None else hold()
    finally:
        _pass_on(organization_id)


def _linked(held: Held, waiting: _Waiting) -> Held:
    links_note(organization_id=waiting.ask.actor.organization.pk, requests=[waiting.ask.request], now=timezone.now())
    return held


def _is_first(organization_id: int) -> bool:
    """Whether nobody is at work, so that this one is decided at once."""
    with _lock:
        if organization_id in _lines:
            return False
        _lines[organization_id] = []
        return True


def _join(organization_id: int, waiting: _Waiting) -> bool:
    """Puts it in line. Whether nobody is at work any more, so that it is decided at once after all."""
    with _lock:
        line = _lines.get(organization_id)
        if line is None:
            _lines[organization_id] = []
            return True
        line.append(waiting)
        return False


def _others(organization_id: int) -> list[_Waiting]:
    with _lock:
        line = _lines[organization_id]
        taken = line[: MOST - 1]
        del line[: MOST - 1]
    return taken


def _decide(first: _Waiting, others: Sequence[_Waiting]) -> Held | None:
    """Holds for the group and tells all but the first. None where it does not fit as a whole, or cannot be decided so."""
    group = [first, *others]
    try:
        found = hold_together(organization=first.ask.actor.organization, asks=[one.ask for one in group], now=timezone.now())
        if found is None:
            return None
        for one, held in zip(others, found[1:], strict=True):
            one.held = held
        return found[0]
    except Exception:
        # Whatever it was, each meets it by itself or not at all.
        log.warning("A group of %d requests is decided one by one.", len(group), exc_info=True)
        return None
    finally:
        for one in others:
            one.turn.set()


def _pass_on(organization_id: int) -> None:
    """Gives the turn to the first of those who came meanwhile."""
    with _lock:
        line = _lines[organization_id]
        if not line:
            del _lines[organization_id]
            return
        first = line.pop(0)
    first.leads = True
    first.turn.set()

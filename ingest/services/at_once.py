"""The storing transaction in one round trip: the usual case, in which every event is a new call that nothing stands against.

The statements of a pipeline are one transaction, so that the rows everybody adds to are locked for as long as the database takes, and
not while we are busy. What they find is compared with what was in memory; where it is anything else, nothing is stored, and the
storing transaction looks and decides step by step (`store`).
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import errors

from governance import sql
from governance.budgets.reach import is_among_freezes, note_among_freezes
from governance.budgets.rules import Rules, rules_remembered
from governance.budgets.services import at_once_parameters, note_seen, period_totals, periods_move_at_once
from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.models import ApiKey
from governance.tenancy.services import LOCK_CONFIGURATION
from governance.tenancy.standing import parts_of
from ingest.formats.event import Outcome, UsageEvent
from ingest.guard import looking as guard
from ingest.services import statements
from ingest.services.prepare import Claim, claim_of, out_of_range
from ingest.services.recognition import shared_sessions
from ingest.services.store import Storing, mark_after_freeze, opening_parameters
from ingest.services.sums import Batch, batch_sums

# As many as are ever stored together; a larger body is worth its round trips.
MOST_EVENTS = 64
MOST_REMEMBERED = 50_000
# Sessions that were found frozen, reported by several sources, or charged to rolling budgets: how long they are taken step by step, by the process's clock.
APART_S = 600.0
_apart: dict[tuple[int, str], float] = {}


def events_keep_at_once(
    *, actor: Actor, api_key: ApiKey | None, source: str, events: Sequence[UsageEvent], now: datetime, unconfirmed: Remembered | None = None
) -> list[Outcome] | None:
    """As `events_keep`: an outcome for each event. None, with nothing stored, where it is not the usual case."""
    rules = rules_remembered(actor.organization.pk)
    # What fails would take an outer transaction with it.
    if rules is None or len(events) > MOST_EVENTS or connection.in_atomic_block:
        return None
    storing = Storing(actor, api_key, source, now=now, unconfirmed=unconfirmed)
    claims = _new_calls(storing, events)
    if claims is None:
        return None
    preparer = storing.preparer(rules.directory)
    accepted = [preparer.prepare(claim) for claim in claims]
    mark_after_freeze(accepted, rules, frozenset(), storing.origin(rules))
    batch = batch_sums(accepted, rules.directory.zone, storing.origin(rules))
    stored = storing.stored_parameters(accepted, (), batch=batch, rows=storing.event_rows(accepted))
    if not _is_stored(storing, rules, batch=batch, claims=claims, stored=stored):
        return None
    guard.stored(organization=actor.organization, version=rules.directory.version, sessions=batch.sessions)
    return [Outcome(row.index, "accepted", str(row.key)) for row in accepted]


def _new_calls(storing: Storing, events: Sequence[UsageEvent]) -> list[Claim] | None:
    """The events as calls that are new as far as can be told without asking. None where some are not, or need a look at what is stored."""
    organization_id, key = storing.organization_id, storing.api_key
    defaults, api_key_id = (key.defaults, key.pk) if key is not None else ({}, None)
    claims, began = [], time.monotonic()
    for index, event in enumerate(events):
        if event.authorization is not None or _apart.get((organization_id, event.session), 0.0) > began or out_of_range(event, storing.now):
            return None
        claims.append(claim_of(index, event, storing.source, defaults=defaults, api_key_id=api_key_id))
    return None if shared_sessions(claims) or _has_doubles(claims) else claims


def _has_doubles(claims: Sequence[Claim]) -> bool:
    keys: list[UUID] = [key for claim in claims for key in (claim.key, *claim.others)]
    return len(set(keys)) < len(keys)


def _is_stored(storing: Storing, rules: Rules, *, batch: Batch, claims: Sequence[Claim], stored: Mapping[str, Any]) -> bool:
    """Whether all of it was written; else none of it."""
    organization_id, now = storing.organization_id, storing.now
    totals = period_totals(rules, batch.spends)
    if any(slice_at for _, slice_at in totals):
        # Of rolling budgets the quarter hours are moved as well.
        _note_apart(organization_id, claims)
        return False
    moving = at_once_parameters(organization_id=organization_id, rules=rules, spent=totals, now=now)
    budgets = sorted({rule.id for spend in batch.spends for rule in rules.matching(spend.call)})
    parts, remembered = parts_of([storing.unconfirmed])
    store = statements.store_at_once(parts, is_among_freezes=is_among_freezes(organization_id))
    asked = {"version": rules.directory.version, "budgets": budgets, **remembered}
    try:
        with sql.pipeline(unlocks_early=True):
            # A statement of its own: the snapshot that the version is read from must not predate it.
            sql.send(LOCK_CONFIGURATION, [organization_id])
            storing_now = sql.send(store, {**moving, **stored, **asked, **opening_parameters(claims)})
            periods_move_at_once(moving, rules=rules, spent=totals, now=now)
    except errors.InvalidTextRepresentation:
        # How the statements say that it is not the usual case after all.
        return False
    found = storing_now.fetchall()[0]
    if found.is_apart:
        _note_apart(organization_id, claims)
    if found.is_apart or not found.is_usual:
        note_among_freezes(organization_id)
        return False
    note_seen(organization_id, [key for key, _ in totals])
    return True


def _note_apart(organization_id: int, claims: Sequence[Claim]) -> None:
    if len(_apart) >= MOST_REMEMBERED:
        _apart.clear()
    until = time.monotonic() + APART_S
    _apart.update(((organization_id, claim.event.session), until) for claim in claims)

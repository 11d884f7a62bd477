"""Counts events once: the storing transaction, then a second one that lets better figures stand where a call was reported again."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from governance import sql
from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.models import ApiKey, Organization
from ingest.formats.event import Outcome, UsageEvent
from ingest.services.at_once import events_keep_at_once
from ingest.services.store import events_keep

Key = tuple[datetime, UUID]  # when a stored event occurred, and its id

logger = logging.getLogger(__name__)
# The calls that the block of settled_afterwards has to settle.
_waiting: ContextVar[set[Key] | None] = ContextVar("waiting", default=None)


def events_store(
    *,
    actor: Actor,
    api_key: ApiKey | None,
    source: str,
    events: Sequence[UsageEvent],
    now: datetime | None = None,
    unconfirmed: Remembered | None = None,
) -> list[Outcome]:
    """Counts each event once. Returns an outcome for each, in order; when it returns, the accepted ones are committed.

    `source` names the door; it scopes ids that clients make up themselves. Inside an outer transaction the commit is
    that transaction's. A key that is `unconfirmed` is compared first: raises KeyMoved, with nothing stored, when it changed.
    """
    if not events:
        return []
    now = now or timezone.now()
    sql.check_health()
    at_once = events_keep_at_once(actor=actor, api_key=api_key, source=source, events=events, now=now, unconfirmed=unconfirmed)
    if at_once is not None:
        return at_once
    outcomes, touched = events_keep(actor=actor, api_key=api_key, source=source, events=events, now=now, unconfirmed=unconfirmed)
    if (waiting := _waiting.get()) is not None:
        waiting |= touched
    else:
        _settle(actor.organization, touched)
    return outcomes


@contextmanager
def settled_afterwards(organization: Organization) -> Iterator[None]:
    """Settles what calls stored in the block were reported again once the block is over, and with it the block's transaction.

    Settling takes locks that come before those which storing holds until its transaction ends.
    """
    waiting: set[Key] = set()
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
    _settle(organization, waiting)


def _settle(organization: Organization, touched: set[Key]) -> None:
    if not touched:
        return
    # Settling changes stored events, which builds on storing them.
    from ingest.once.settled import sightings_settle

    try:
        sightings_settle(organization=organization, events=sorted(touched), now=timezone.now())
    except Exception:
        # The reports are kept, where their transaction still can be; the pass settles them.
        logger.exception("Reports of %d calls are left to be settled later.", len(touched))
        sql.check_transaction()

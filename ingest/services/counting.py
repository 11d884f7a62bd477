"""Counts events once: the storing transaction, then a second one that lets better figures stand where a call was reported again."""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from governance import sql
from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.models import ApiKey
from ingest.formats.event import Outcome, UsageEvent
from ingest.services.store import events_keep

logger = logging.getLogger(__name__)


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
    outcomes, touched = events_keep(actor=actor, api_key=api_key, source=source, events=events, now=now, unconfirmed=unconfirmed)
    if touched:
        # Settling changes stored events, which builds on storing them.
        from ingest.once.settled import sightings_settle

        try:
            sightings_settle(organization=actor.organization, events=sorted(touched), now=now)
        except Exception:
            # The reports are kept; the pass settles them.
            logger.exception("Reports of %d calls are left to be settled later.", len(touched))
    return outcomes

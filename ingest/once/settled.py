"""Settles what the storing transaction found: figures first, then calls that ids show to be several, or to be one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from governance.errors import DomainError
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization
from governance.tenancy.services import organization_lock
from ingest.models import EventIdentity
from ingest.once.models import EventSighting, SightingPair
from ingest.once.parting import join, part, regroup
from ingest.once.settling import Event, figures_settle, groups_of, is_torn, sightings_of
from ingest.services.recording import pairs_note

BY_ID = "One source reports it under both ids."
TORN = "One source reports both, under an id each."
CROSSED = "Ids show that a report had been taken for one of the other call."


def sightings_settle(*, organization: Organization, events: Sequence[Event], now: datetime | None = None) -> None:
    """Puts further reports of these calls into effect, each step in a transaction of its own."""
    now = now or timezone.now()
    _, torn = figures_settle(organization=organization, events=events, now=now)
    for event in torn:
        torn_part(organization=organization, event=event, now=now)
    links_join(organization=organization, now=now)


@transaction.atomic
def torn_part(*, organization: Organization, event: Event, now: datetime) -> None:
    """Parts a call whose reports turned out to be of several: ids are believed, what was guessed is undone."""
    organization_lock(organization.pk, exclusive=True)
    sightings = sightings_of(organization.pk, [event[1]]).get(event[1], [])
    if not is_torn(sightings):
        return
    _, *leaving = groups_of(sightings)
    for members in leaving:
        new = part(organization=organization, event=event, leaving=members, now=now, reason=TORN)
        # The pass looks at the session again.
        session = str(members[0].reported.get("session") or "")
        pairs_note(organization_id=organization.pk, pairs=[(event[1], new[1], session, SightingPair.State.UNDECIDED)], now=now)


def links_join(*, organization: Organization, now: datetime) -> int:
    """Joins calls that one report's ids both name, unless a person has parted them. Returns how many."""
    joined = 0
    for pair in SightingPair.objects.filter(organization=organization, state=SightingPair.State.LINKED).order_by("id")[:1000]:
        joined += pair_join(pair=pair, how=EventSighting.How.SAME_ID, reason=BY_ID, now=now)
    return joined


def pair_join(*, pair: SightingPair, how: str, reason: str, now: datetime) -> bool:
    """Joins the two calls as they are now, in a transaction of its own. Returns whether there were two."""
    organization = pair.organization
    with transaction.atomic():
        first, second = (event_of(organization.pk, key) for key in (pair.first_key, pair.second_key))
        is_joined = False
        if first is not None and second is not None and first != second:
            try:
                with transaction.atomic():
                    join(
                        organization=organization,
                        actor=system_actor(organization),
                        first=first,
                        second=second,
                        how=how,
                        reason=reason,
                        now=now,
                    )
                is_joined = True
            except DomainError:
                if how == EventSighting.How.SAME_ID:
                    _guesses_undo(organization, first, second, now)
                is_joined = event_of(organization.pk, pair.first_key) == event_of(organization.pk, pair.second_key)
                state = SightingPair.State.JOINED if is_joined else SightingPair.State.APART
                SightingPair.objects.filter(pk=pair.pk).update(state=state, decided_at=now)
                return is_joined
        SightingPair.objects.filter(pk=pair.pk).update(state=SightingPair.State.JOINED, decided_at=now)
    return is_joined


def _guesses_undo(organization: Organization, first: Event, second: Event, now: datetime) -> None:
    """The two are two calls, and one has a report that ids say is of the other: it was guessed wrongly."""
    try:
        with transaction.atomic():
            regroup(organization=organization, first=first, second=second, now=now, reason=CROSSED)
    except DomainError:
        # The ids contradict one another; the guess counts alike.
        return


def event_of(organization_id: int, key: UUID) -> Event | None:
    """The event that a key is of now."""
    found = EventIdentity.objects.filter(organization=organization_id, key=key).values_list("occurred_at", "event_id").first()
    return None if found is None else (found[0], found[1] or key)

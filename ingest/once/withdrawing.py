"""Takes back reports of calls that others told of as well: such a call stays, as the others tell it, and every sum moves with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from governance.tenancy.access import Actor
from governance.tenancy.models import Organization
from ingest.amending.models import AmendmentCause
from ingest.models import EventIdentity
from ingest.once.models import EventSighting
from ingest.once.settling import Event, Workbench, rows_locked, sightings_of
from ingest.once.sources import door_of
from ingest.services.amend import Amended, Amendment, keys_amend


@dataclass(slots=True)
class Withdrawn:
    """What was done to the calls that stay (`kept`), and the calls that nobody else told of (`alone`), which are the caller's to remove.

    `known` are the keys that have reports, whatever became of their calls.
    """

    amended: Amended = field(default_factory=Amended)
    kept: list[Event] = field(default_factory=list)
    alone: list[Event] = field(default_factory=list)
    known: set[UUID] = field(default_factory=set)


def reports_withdraw(
    *,
    organization: Organization,
    actor: Actor,
    door: str,
    own_keys: Sequence[UUID],
    ids: Sequence[int],
    cause: AmendmentCause,
    now: datetime,
) -> Withdrawn:
    """Takes back what came by the door under these keys, and the reports of these ids. The caller is in a transaction that holds the configuration alone."""
    asked = EventSighting.objects.filter(Q(own_key__in=list(own_keys)) | Q(pk__in=list(ids)), organization=organization)
    going = {one.pk: one for one in asked if door_of(one.source) == door}
    done = Withdrawn(known={one.own_key for one in going.values()})
    if not going:
        return done
    bench, amendments = Workbench(organization, now), list[Amendment]()
    rows = rows_locked(organization.pk, sorted({(one.event_at, one.event_id) for one in going.values()}))
    by_event = sightings_of(organization.pk, [row.id for row in rows])
    staying: dict[UUID, list[EventSighting]] = {}
    for row in rows:
        sightings = by_event[row.id]
        left = [one for one in sightings if one.pk not in going]
        if not left:
            done.alone.append((row.occurred_at, row.id))
            continue
        staying[row.id] = left
        done.kept.append((row.occurred_at, row.id))
        if changes := bench.difference(row, [one for one in sightings if one.is_settled], left):
            amendments.append(Amendment(row.id, row.occurred_at, changes))
    if amendments:
        done.amended = keys_amend(organization=organization, actor=actor, amendments=amendments, cause=cause, now=now)
    _forget(organization.pk, going.values(), staying, door=door)
    return done


def _forget(organization_id: int, going: Any, staying: dict[UUID, list[EventSighting]], *, door: str) -> None:
    """Has the calls that stay known by the reports that are left: what was taken back counts as another report when it comes again."""
    EventSighting.objects.filter(organization=organization_id, pk__in=[one.pk for one in going if one.event_id in staying]).delete()
    for event_id, left in staying.items():
        if all(one.how != EventSighting.How.FIRST for one in left):
            EventSighting.objects.filter(pk=left[0].pk).update(how=EventSighting.How.FIRST)
        EventSighting.objects.filter(pk__in=[one.pk for one in left]).update(is_settled=True)
        kept = {key for one in left for key in one.keys}
        own = {one.own_key: one for one in left}
        for identity in EventIdentity.objects.filter(Q(key=event_id) | Q(event_id=event_id), organization=organization_id).order_by("key"):
            if identity.key != event_id and identity.key not in kept:
                EventIdentity.objects.filter(organization=organization_id, key=identity.key).delete()
            elif door_of(identity.source) == door:
                known_by = own.get(identity.key, left[0])
                EventIdentity.objects.filter(organization=organization_id, key=identity.key).update(
                    source=known_by.source, body_hash=known_by.body_hash
                )

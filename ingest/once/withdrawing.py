"""Takes back reports of calls that others told of as well: such a call stays, as the others tell it, and every sum moves with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from governance import sql
from governance.tenancy.access import Actor
from governance.tenancy.models import Organization
from ingest.amending.models import AmendmentCause
from ingest.models import EventIdentity
from ingest.once.models import EventSighting
from ingest.once.settling import Event, Workbench, rows_locked, sightings_of
from ingest.once.sources import door_of, reporter_of
from ingest.services.amend import Amended, Amendment, keys_amend, posted_rows
from ingest.services.recording import report_decoded

# Who reports a session's calls, so that it is looked through when another does.
TOLD_BY = """
UPDATE session s SET source_least = least(nullif(s.source_least, ''), x.source COLLATE "C"), source_greatest = greatest(s.source_greatest, x.source COLLATE "C")
FROM (SELECT %(source)s::text AS source) x
WHERE s.organization_id = %(organization)s AND s.key = %(session)s
"""


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
    posted = posted_rows(bench.directory, rows)
    staying: list[tuple[Event, Event, list[EventSighting]]] = []
    told: set[tuple[str, str]] = set()
    for row in rows:
        sightings, place = by_event[row.id], (row.occurred_at, row.id)
        left = [one for one in sightings if one.pk not in going]
        if not left:
            done.alone.append(place)
            continue
        moved: Mapping[str, Any] = {}
        if row.id not in posted and any(one.how == EventSighting.How.FIRST for one in sightings if one.pk in going):
            left = sorted(left, key=lambda one: (one.seen_at, one.pk))
            moved = _moved(bench, row, left[0])
        new = moved.get("occurred_at", row.occurred_at), moved.get("id", row.id)
        staying.append((place, new, left))
        done.kept.append(place)
        if changes := {**bench.difference(row, [one for one in sightings if one.is_settled], left, at=new[0]), **moved}:
            amendments.append(Amendment(row.id, row.occurred_at, changes))
        if moved and (session := changes.get("session", row.session)):
            told.add((session, reporter_of(left[0].source)))
    if amendments:
        done.amended = keys_amend(organization=organization, actor=actor, amendments=amendments, cause=cause, now=now)
    for session, reporter in sorted(told):
        sql.execute(TOLD_BY, {"organization": organization.pk, "session": session, "source": reporter})
    _forget(organization.pk, going.values(), staying, door=door)
    return done


def _moved(bench: Workbench, row: Any, first: EventSighting) -> Mapping[str, Any]:
    """What says how a call came, as the report has it that is its first one now: time, door, key and ids.

    A call that counts elsewhere than at its time, or would then because of a closed month, stays where it is.
    """
    if row.counted_at is not None or bench.directory.is_closed(first.reported_at):
        return {}
    report = report_decoded(first.reported)
    own = EventIdentity.objects.filter(organization=bench.organization, key=first.own_key).first()
    is_own = own is not None and (own.event_id or own.key) == row.id
    new = {
        "occurred_at": first.reported_at, "id": first.own_key if is_own else row.id, "received_at": first.seen_at, "source": door_of(first.source),
        "external_id": report.id, "request_id": report.request_id, "api_key_id": first.api_key_id,
    }  # fmt: skip
    return {name: value for name, value in new.items() if value != getattr(row, name)}


def _forget(organization_id: int, going: Any, staying: Sequence[tuple[Event, Event, list[EventSighting]]], *, door: str) -> None:
    """Has the calls that stay known by the reports that are left: what was taken back counts as another report when it comes again."""
    kept_ids = {event_id for (_, event_id), _, _ in staying}
    EventSighting.objects.filter(organization=organization_id, pk__in=[one.pk for one in going if one.event_id in kept_ids]).delete()
    for (_, old_id), (at, event_id), left in staying:
        if all(one.how != EventSighting.How.FIRST for one in left):
            EventSighting.objects.filter(pk=left[0].pk).update(how=EventSighting.How.FIRST)
        EventSighting.objects.filter(pk__in=[one.pk for one in left]).update(is_settled=True, event_id=event_id, event_at=at)
        kept = {key for one in left for key in one.keys} | {event_id}
        own = {one.own_key: one for one in left}
        for identity in EventIdentity.objects.filter(Q(key=old_id) | Q(event_id=old_id), organization=organization_id).order_by("key"):
            mine = EventIdentity.objects.filter(organization=organization_id, key=identity.key)
            if identity.key not in kept:
                mine.delete()
                continue
            mine.update(event_id=None if identity.key == event_id else event_id, occurred_at=at)
            if door_of(identity.source) == door:
                known_by = own.get(identity.key, left[0])
                mine.update(source=known_by.source, body_hash=known_by.body_hash)

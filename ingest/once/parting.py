"""Makes one call of two that were stored, and two of one: sums, sessions and budgets move in the same transaction, and either undoes the other.

The caller is in a transaction. Calls are parted with everybody else kept out, so that the order of locks does not matter there.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
from typing import Any
from uuid import UUID

import msgspec

from governance import sql
from governance.errors import Conflict, NotFound
from governance.ids import hash16
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import ApiKey, Organization
from governance.tenancy.services import organization_lock
from ingest.models import EventIdentity
from ingest.once.merging import rank
from ingest.once.models import EventSighting
from ingest.once.settling import Event, Workbench, amended, groups_of, is_torn, parts_of, rows_locked, sightings_of
from ingest.once.sources import door_of
from ingest.services import recording
from ingest.services.amend import Amendment
from ingest.services.prepare import Prepared
from ingest.services.store import prepared_store

IDENTITIES = """
SELECT key FROM event_identity
WHERE organization_id = %(organization)s AND (key = ANY(%(keys)s::uuid[]) OR event_id = ANY(%(keys)s::uuid[])) ORDER BY key FOR UPDATE
"""
REPOINT = """
UPDATE event_identity SET event_id = %(event_id)s, occurred_at = %(at)s
WHERE organization_id = %(organization)s AND (key = %(old)s OR event_id = %(old)s)
"""
# Only keys that were the call's until now: another call may have one of them by a decision of its own.
OWN = """
UPDATE event_identity SET event_id = nullif(%(event_id)s::uuid, key), occurred_at = %(at)s
WHERE organization_id = %(organization)s AND key = ANY(%(keys)s::uuid[]) AND (key = %(event_id)s OR coalesce(event_id, key) = %(old)s)
"""


def join(*, organization: Organization, actor: Actor, first: Event, second: Event, how: str, reason: str, now: datetime) -> Event:
    """Makes one call of two: the one whose reports are trusted more stays, with what only the other's know. Returns which stayed.

    Raises Conflict where one reporter tells of both, and NotFound when one is not there any more.
    """
    organization_lock(organization.pk, exclusive=False)
    keys = [first[1], second[1]]
    sql.rows(IDENTITIES, {"organization": organization.pk, "keys": keys})
    rows = {row.id: row for row in rows_locked(organization.pk, [first, second])}
    if len(rows) < 2:
        raise NotFound("One of the calls is not there any more.")
    _firsts_ensure(organization.pk, [first, second])
    sightings = sightings_of(organization.pk, keys)
    together = [one for found in sightings.values() for one in found]
    if is_torn(together):
        raise Conflict("One source reports both calls, under an id each: they are two.")
    bench = Workbench(organization, now)
    stays, goes = sorted(
        rows.values(), key=lambda row: (min(rank(one.source, bench.trust) for one in sightings[row.id]), row.occurred_at, row.id)
    )
    sql.execute(REPOINT, {"organization": organization.pk, "event_id": stays.id, "at": stays.occurred_at, "old": goes.id})
    EventSighting.objects.filter(pk__in=[one.pk for one in sightings[goes.id] if one.how == EventSighting.How.FIRST]).update(how=how)
    EventSighting.objects.filter(pk__in=[one.pk for one in sightings[goes.id]]).update(event_id=stays.id, event_at=stays.occurred_at)
    before = [one for one in sightings[stays.id] if one.is_settled]
    changes = dict(bench.difference(stays, before, [*sightings[stays.id], *sightings[goes.id]]))
    if goes.authorization_id is not None and stays.authorization_id is None:
        changes["authorization_id"] = goes.authorization_id
    amendments = [Amendment(goes.id, goes.occurred_at, is_removed=True), Amendment(stays.id, stays.occurred_at, changes)]
    amended(organization=organization, actor=actor, amendments=amendments, reason=reason, now=now)
    EventSighting.objects.filter(pk__in=[one.pk for one in together]).update(is_settled=True)
    return stays.occurred_at, stays.id


def regroup(*, organization: Organization, first: Event, second: Event, now: datetime, reason: str) -> None:
    """Sorts the reports of two calls anew, where ids of one call's guessed reports name the other: ids are believed, guesses give way.

    Each call keeps what it came as. Raises NotFound when one is not there any more.
    """
    organization_lock(organization.pk, exclusive=True)
    _firsts_ensure(organization.pk, [first, second])
    by_event = sightings_of(organization.pk, [first[1], second[1]])
    if len(by_event) < 2:
        raise NotFound("One of the calls is not there any more.")
    places = {one.pk: (one.event_at, one.event_id) for found in by_event.values() for one in found}
    groups: list[tuple[str, list[Event]]] = []
    for group in groups_of([one for found in by_event.values() for one in found]):
        homes = sorted({places[one.pk] for one in group if one.how == EventSighting.How.FIRST})
        for event in sorted({places[one.pk] for one in group} - set(homes)):
            leaving = [one for one in group if places[one.pk] == event]
            homes.append(part(organization=organization, event=event, leaving=leaving, now=now, reason=reason))
        groups.append((EventSighting.How.SAME_ID if len(parts_of(group)) == 1 else EventSighting.How.MATCHED, homes))
    # Not before all that is of another call has left.
    for how, (first_home, *others) in groups:
        stays = first_home
        for other in others:
            stays = join(
                organization=organization, actor=system_actor(organization), first=stays, second=other, how=how, reason=reason, now=now
            )


def _firsts_ensure(organization_id: int, events: Sequence[Event]) -> None:
    """Keeps what the first reports of these calls said, where they had no further one."""
    ordered = sorted(events)
    stored = sql.rows(recording.EVENTS, {
        "organization": organization_id, "key": [key for _, key in ordered], "occurred_at": [at for at, _ in ordered],
        "first": ordered[0][0], "last": ordered[-1][0],
    })  # fmt: skip
    rows = [recording.first_row(row) for row in stored if not row.is_shared]
    if rows:
        sql.execute(recording.ADD, {"organization": organization_id, "rows": msgspec.json.encode(rows).decode()})


def part_with(sightings: Sequence[EventSighting], chosen: EventSighting) -> list[EventSighting]:
    """The reports that leave when the chosen one is parted: those that ids link to it, without what the event itself came as."""
    by_id = next(members for members in parts_of(sightings) if chosen in members)
    leaving = by_id if len(by_id) < len(sightings) else [chosen]
    if any(one.how == EventSighting.How.FIRST for one in leaving):
        return [one for one in sightings if one not in leaving]
    return leaving


def part(
    *, organization: Organization, event: Event, leaving: Sequence[EventSighting], now: datetime, reason: str, actor: Actor | None = None
) -> Event:
    """Makes a call of its own of some of the reports of one. Returns the new call. The organization's configuration is held alone.

    Raises NotFound when the call is not there any more.
    """
    actor = actor or system_actor(organization)
    rows = rows_locked(organization.pk, [event])
    if not rows:
        raise NotFound("The call is not there any more.")
    sightings = sightings_of(organization.pk, [event[1]])[event[1]]
    gone = {one.pk for one in leaving}
    staying = [one for one in sightings if one.pk not in gone]
    bench = Workbench(organization, now)
    first = min(leaving, key=lambda one: (one.reported_at, one.body_hash))
    key, at = _new_key(organization.pk, event[1], first, staying), first.reported_at
    _identities_move(organization.pk, event[1], leaving, staying, first=first, new=(at, key))
    changes = dict(bench.difference(rows[0], [one for one in sightings if one.is_settled], staying))
    authorization = next(iter(_authorizations(leaving) - _authorizations(staying)), None)
    if authorization is not None and rows[0].authorization_id == authorization:
        changes["authorization_id"] = None
    amended(
        organization=organization,
        actor=actor,
        amendments=[Amendment(event[1], event[0], changes)] if changes else [],
        reason=reason,
        now=now,
    )
    ordered = [first, *(one for one in leaving if one.pk != first.pk)]
    prepared = bench.prepared(key, at, ordered)
    prepared.event = msgspec.structs.replace(prepared.event, authorization=authorization)
    _restore(organization, actor, prepared, first, now=now, reason=reason)
    EventSighting.objects.filter(pk__in=gone).update(event_id=key, event_at=at)
    EventSighting.objects.filter(pk=first.pk).update(how=EventSighting.How.FIRST)
    EventSighting.objects.filter(pk__in=[one.pk for one in sightings]).update(is_settled=True)
    return at, key


def _authorizations(reports: Sequence[EventSighting]) -> set[UUID]:
    """The authorizations that the reports name."""
    return {UUID(named) for one in reports if (named := one.reported.get("authorization"))}


def _new_key(organization_id: int, old: UUID, first: EventSighting, staying: Sequence[EventSighting]) -> UUID:
    """The key the report came under, or one of its own where the reports that stay or another call have it too."""
    kept = {old, *(key for one in staying for key in one.keys)}
    apart = hash16("apart", str(first.own_key), str(first.body_hash))
    keys = chain([first.own_key, apart], (hash16("apart", str(apart), str(number)) for number in count(1)))
    return next(key for key in keys if key not in kept and _is_to_have(organization_id, key, old))


def _is_to_have(organization_id: int, key: UUID, old: UUID) -> bool:
    """Whether the key is nobody's, or that of the call that is parted."""
    found = EventIdentity.objects.filter(organization=organization_id, key=key).first()
    return found is None or (found.event_id or found.key) == old


def _identities_move(
    organization_id: int, old: UUID, leaving: Sequence[EventSighting], staying: Sequence[EventSighting], *, first: EventSighting, new: Event
) -> None:
    at, key = new
    kept = {one for sighting in staying for one in sighting.keys}
    EventIdentity.objects.get_or_create(
        organization_id=organization_id, key=key, defaults={"body_hash": first.body_hash, "occurred_at": at, "source": first.source}
    )
    moving = sorted({one for sighting in leaving for one in sighting.keys} - kept | {key})
    sql.execute(OWN, {"organization": organization_id, "event_id": key, "at": at, "keys": moving, "old": old})


def _restore(organization: Organization, actor: Actor, row: Prepared, first: EventSighting, *, now: datetime, reason: str) -> None:
    """Stores the call. One of a closed month was left standing without its cost, and gets that back."""
    found: list[Any] = rows_locked(organization.pk, [(row.event.occurred_at, row.key)])
    if found:
        changes = {"cost": row.rating.cost, "list_cost": row.rating.list_cost}
        amended(
            organization=organization, actor=actor, amendments=[Amendment(row.key, row.event.occurred_at, changes)], reason=reason, now=now
        )
        return
    api_key = ApiKey.objects.filter(organization=organization, pk=first.api_key_id).first() if first.api_key_id is not None else None
    prepared_store(actor=actor, api_key=api_key, door=door_of(first.source), rows=[row], now=now)

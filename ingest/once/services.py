"""What an admin decides about calls that several sources report: two are one, one is two, two stay two, and whose figures stand."""

from collections.abc import Sequence
from datetime import datetime
from itertools import product
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.services import organization_lock
from ingest.models import UsageEvent
from ingest.once.models import EventSighting, OrderOfTrust, SightingPair
from ingest.once.parting import join, part, part_with
from ingest.once.settled import event_of
from ingest.once.settling import Event, sightings_of, trust_of
from ingest.once.sources import TRUST


@transaction.atomic
def calls_join(*, actor: Actor, first: UUID, second: UUID, reason: str = "") -> Event:
    """Makes one call of two. Returns the one that stays, as (time, id). Sums, the session and budgets move in the same transaction.

    Raises NotFound for a call that is not there, and Conflict for two that one source reports under an id each.
    """
    access.require(actor, Right.MANAGE_ORGANIZATION)
    now, organization = timezone.now(), actor.organization
    # Alone, because two people may decide about one pair at once.
    organization_lock(organization.pk, exclusive=True)
    events = [_event(organization.pk, key) for key in (first, second)]
    if events[0] == events[1]:
        raise Conflict("The two are one call already.")
    keys = [_keys(organization.pk, event[1]) for event in events]
    stays = join(
        organization=organization, actor=actor, first=events[0], second=events[1], how=EventSighting.How.BY_HAND,
        reason=_because("Joined by hand", reason), now=now,
    )  # fmt: skip
    _pairs_decide(actor, keys[0], keys[1], state=SightingPair.State.JOINED, now=now)
    audit_record(
        actor=actor, action="calls.joined", target=("call", stays[1]), old={"calls": [str(event[1]) for event in events]},
        new={"call": str(stays[1]), "reason": reason},
    )  # fmt: skip
    return stays


@transaction.atomic
def call_split(*, actor: Actor, event_id: UUID, sighting_id: int, reason: str = "") -> Event:
    """Makes a call of its own of a report, with those that share an id with it. Returns the new call, as (time, id). The two stay apart.

    Raises NotFound for a report that is not there, and Conflict for the only one of a call.
    """
    access.require(actor, Right.MANAGE_ORGANIZATION)
    now, organization = timezone.now(), actor.organization
    organization_lock(organization.pk, exclusive=True)
    sightings = sightings_of(organization.pk, [event_id]).get(event_id, [])
    chosen = next((one for one in sightings if one.pk == sighting_id), None)
    if chosen is None:
        raise NotFound("The call has no such report.")
    if len(sightings) < 2:
        raise Conflict("The call has no other report.")
    leaving = part_with(sightings, chosen)
    gone = {one.pk for one in leaving}
    keys = {event_id, *(one.own_key for one in sightings if one.pk not in gone)}
    new = part(
        organization=organization,
        event=(sightings[0].event_at, event_id),
        leaving=leaving,
        now=now,
        reason=_because("Split by hand", reason),
        actor=actor,
    )
    _pairs_decide(actor, keys, {new[1], *(one.own_key for one in leaving)}, state=SightingPair.State.APART, now=now)
    audit_record(
        actor=actor, action="call.split", target=("call", event_id), old={"call": str(event_id), "reports": len(sightings)},
        new={"calls": [str(event_id), str(new[1])], "reports": [one.own_id for one in leaving], "reason": reason},
    )  # fmt: skip
    return new


@transaction.atomic
def pair_keep_apart(*, actor: Actor, pair_id: int) -> SightingPair:
    """Says that two calls are two, so that nothing joins them. Raises NotFound for a pair that is not there."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    pair = access.scoped(actor, SightingPair.objects.select_for_update().filter(pk=pair_id)).first()
    if pair is None:
        raise NotFound("There is no such pair.")
    if pair.state == SightingPair.State.APART:
        return pair
    if pair.state == SightingPair.State.JOINED:
        raise Conflict("The two are one call by now. Split it where it is shown.")
    old, pair.state, pair.decided_at, pair.decided_by = pair.state, SightingPair.State.APART, timezone.now(), actor.label[:200]
    pair.save(update_fields=["state", "decided_at", "decided_by"])
    audit_record(actor=actor, action="calls.kept-apart", target=("sighting-pair", pair.pk), old={"state": old}, new={"state": pair.state})
    return pair


def pair_join_by_hand(*, actor: Actor, pair_id: int) -> Event:
    """Joins the calls of a pair. Raises NotFound for a pair that is not there; else as `calls_join`."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    pair = access.scoped(actor, SightingPair.objects.filter(pk=pair_id)).first()
    if pair is None:
        raise NotFound("There is no such pair.")
    return calls_join(actor=actor, first=pair.first_key, second=pair.second_key)


@transaction.atomic
def trust_order(*, actor: Actor, kinds: Sequence[str]) -> tuple[str, ...]:
    """Says whose figures stand when reports differ, for calls that come from now on. Raises Invalid unless each kind is named once."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    if sorted(kinds) != sorted(TRUST):
        raise Invalid(f"Each of {', '.join(TRUST)} is named once.", field="kinds")
    old = trust_of(actor.organization.pk)
    if tuple(kinds) == old:
        return old
    OrderOfTrust.objects.update_or_create(organization=actor.organization, defaults={"kinds": list(kinds), "changed_at": timezone.now()})
    audit_record(
        actor=actor,
        action="sources.trust-ordered",
        target=("organization", actor.organization.pk),
        old={"kinds": old},
        new={"kinds": list(kinds)},
    )
    return tuple(kinds)


def _event(organization_id: int, key: UUID) -> Event:
    found = event_of(organization_id, key)
    if found is None or not UsageEvent.objects.filter(organization=organization_id, occurred_at=found[0], id=found[1]).exists():
        raise NotFound("There is no such call.")
    return found


def _keys(organization_id: int, event_id: UUID) -> set[UUID]:
    own = EventSighting.objects.filter(organization=organization_id, event_id=event_id).values_list("own_key", flat=True)
    return {event_id, *own}


def _pairs_decide(actor: Actor, first: set[UUID], second: set[UUID], *, state: str, now: datetime) -> None:
    """Keeps what was decided about every pair of keys, so that whatever finds one of them again knows."""
    for one, other in product(sorted(first), sorted(second)):
        if one != other:
            SightingPair.objects.update_or_create(
                organization=actor.organization, first_key=min(one, other), second_key=max(one, other),
                defaults={"state": state, "decided_at": now, "decided_by": actor.label[:200]}, create_defaults={
                    "state": state, "decided_at": now, "decided_by": actor.label[:200], "session": "", "noted_at": now,
                },
            )  # fmt: skip


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}"[:300] if reason else f"{what}."

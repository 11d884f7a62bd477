"""Standing in for somebody who is away: who named whom until when, and whose place a person may take now."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from governance.approvals.models import Delegation
from governance.audit.services import audit_record
from governance.errors import Conflict, Forbidden, Invalid
from governance.notices.messages import instant_text
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member, Organization, Role, Scope
from governance.tenancy.services import organization_touch

LONGEST_DAYS = 366
MOST_REMEMBERED = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """One delegation as far as deciding needs it."""

    delegator_id: int
    delegate_id: int
    starts_at: datetime
    ends_at: datetime

    def holds_at(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at


_remembered: dict[tuple[int, int], tuple[Standing, ...]] = {}


@transaction.atomic
def delegation_create(*, actor: Actor, delegate: Member, starts_at: datetime, ends_at: datetime) -> Delegation:
    """The actor names somebody who decides in their stead from `starts_at` until `ends_at`.

    Raises Forbidden for a key or role that decides nothing of its own, Invalid for somebody who cannot stand in or an
    impossible time, and Conflict when the actor has named somebody for a part of that time, or the two would stand in for each other.
    """
    member = _own_person(actor)
    now = timezone.now()
    organization_touch(actor.organization)  # its lock comes before all others
    people = (
        Member.objects.select_for_update(no_key=True)
        .select_related("user")
        .filter(organization=actor.organization, pk__in=(member.pk, delegate.pk))
    )
    locked = {person.pk: person for person in people.order_by("pk")}
    if delegate.pk not in locked:
        raise Invalid("There is no such member here.", field="delegate")
    _check_person(member, locked[delegate.pk])
    _check_time(starts_at, ends_at, now)
    running = _in_force(actor.organization, now).filter(starts_at__lt=ends_at, ends_at__gt=starts_at).select_related("delegate__user")
    for other in running.filter(delegator=member):
        until = instant_text(other.ends_at, actor.organization.zone)
        raise Conflict(f"You have named {other.delegate} until {until} already. Take that back first.", delegation=other.pk)
    edges: dict[int, set[int]] = defaultdict(set)
    for other in running:
        edges[other.delegator_id].add(other.delegate_id)
    if member.pk in _reached(edges, delegate.pk):
        raise Conflict(f"{locked[delegate.pk]} has named you, or somebody who named you, for that time: nobody would be left to decide.")
    made = Delegation.objects.create(
        organization=actor.organization, delegator=member, delegate=locked[delegate.pk], starts_at=starts_at, ends_at=ends_at
    )
    facts = {"delegate": delegate.pk, "starts_at": starts_at, "ends_at": ends_at}
    audit_record(actor=actor, action="delegation.created", target=("delegation", made.pk), new=facts)
    return made


@transaction.atomic
def delegation_end(*, actor: Actor, delegation_id: int) -> Delegation:
    """Takes a delegation back at once. The delegator's own to do, or an admin's. Raises NotFound, Forbidden; once is enough."""
    organization_touch(actor.organization)
    found = access.get_scoped(
        actor, Delegation.objects.select_for_update(of=("self",)).select_related("delegate__user", "delegator__user"), pk=delegation_id
    )
    is_own = actor.member is not None and actor.member.pk == found.delegator_id
    if not is_own:
        access.require(actor, Right.MANAGE_ORGANIZATION)
    if found.ended_at is not None:
        return found
    found.ended_at = timezone.now()
    found.save(update_fields=["ended_at"])
    audit_record(
        actor=actor,
        action="delegation.ended",
        target=("delegation", found.pk),
        old={"ends_at": found.ends_at},
        new={"ended_at": found.ended_at},
    )
    return found


def delegations_of(actor: Actor) -> QuerySet[Delegation]:
    """What the actor has named, and who has named the actor, as far as it is not over; next first."""
    rows = _in_force(actor.organization, timezone.now()).select_related("delegator__user", "delegate__user")
    return rows.filter(Q(delegator=actor.member) | Q(delegate=actor.member)).order_by("starts_at", "id")


def delegations_seen(actor: Actor) -> QuerySet[Delegation]:
    """As `delegations_of`; everybody's for whoever manages the organization. Raises Forbidden for a key that belongs to nobody and may not."""
    if actor.can(Right.MANAGE_ORGANIZATION):
        rows = _in_force(actor.organization, timezone.now()).select_related("delegator__user", "delegate__user")
        return rows.order_by("starts_at", "id")
    if actor.member is None:
        access.require(actor, Right.MANAGE_ORGANIZATION)
    return delegations_of(actor)


def may_stand_in(member: Member) -> bool:
    """Whether the member could decide in somebody's stead: auditors only read."""
    return member.is_active and member.role != Role.AUDITOR


def standings(organization: Organization, *, is_fresh: bool = False) -> tuple[Standing, ...]:
    """The delegations that are not over. Remembered until the organization's configuration changes; `is_fresh` asks the database."""
    key = (organization.pk, organization.config_version)
    if is_fresh or key not in _remembered:
        rows = (
            _in_force(organization, timezone.now())
            .filter(delegate__is_active=True, delegate__user__is_active=True)
            .exclude(delegate__role=Role.AUDITOR)
        )
        found = tuple(Standing(*row) for row in rows.order_by("id").values_list("delegator_id", "delegate_id", "starts_at", "ends_at"))
        if is_fresh:
            return found
        if len(_remembered) >= MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = found
    return _remembered[key]


def delegates_of(delegator_id: int, known: Iterable[Standing], *, now: datetime, barred: Collection[int] = ()) -> set[int]:
    """Who may stand in for a member now: whom it named, and whom those named in turn, each of them once however they name each other.

    Nobody who is barred stands in, nor anybody whom a barred person named: a requester does not choose who decides.
    """
    edges: dict[int, set[int]] = defaultdict(set)
    for standing in known:
        if standing.holds_at(now) and standing.delegator_id not in barred and standing.delegate_id not in barred:
            edges[standing.delegator_id].add(standing.delegate_id)
    return _reached(edges, delegator_id) - {delegator_id}


def stood_in_for(member_id: int, known: Iterable[Standing], *, now: datetime, barred: Collection[int] = ()) -> list[int]:
    """Those in whose stead the member may decide now, by id."""
    known = list(known)
    delegators = {standing.delegator_id for standing in known}
    return sorted(one for one in delegators if member_id in delegates_of(one, known, now=now, barred=barred))


def _reached(edges: dict[int, set[int]], start: int) -> set[int]:
    """Whom one comes to from a member, the member included; every member is visited once, so loops end."""
    found, pending = set(), [start]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending.extend(edges.get(one, ()))
    return found


def _in_force(organization: Organization, now: datetime) -> QuerySet[Delegation]:
    return Delegation.objects.filter(organization=organization, ended_at=None, ends_at__gt=now)


def _own_person(actor: Actor) -> Member:
    access.require(actor, Right.REQUEST)
    if actor.member is None or (actor.api_key is not None and Scope.ADMIN not in actor.api_key.scopes):
        raise Forbidden("A delegate is named by the person who is signed in, or with a key of theirs that has the scope admin.")
    return actor.member


def _check_person(member: Member, delegate: Member) -> None:
    if delegate.pk == member.pk:
        raise Invalid("Name somebody else than yourself.", field="delegate")
    if not may_stand_in(delegate):
        raise Invalid(f"{delegate} cannot decide: auditors only read, and who has left cannot either.", field="delegate")


def _check_time(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    if ends_at <= starts_at or ends_at <= now:
        raise Invalid("The end lies after the start, and in the future.", field="ends_at")
    if (ends_at - starts_at).days > LONGEST_DAYS:
        raise Invalid("Name somebody for at most a year at a time.", field="ends_at")

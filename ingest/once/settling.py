"""Lets the better figures stand where a call was reported more than once: one transaction that moves every sum by the difference.

What a call is follows from its reports alone, whatever order they came in: the figures of the most trusted, and of labels those that the
most trusted knows. Only what the reports change is changed, so that what a person corrected by hand stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.attribution.rules import attribution_rules_of
from governance.audit.services import audit_record
from governance.pricing.book import current_book
from governance.pricing.terms import terms_of
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey, Organization
from governance.tenancy.services import organization_lock
from ingest.amending.models import AmendmentCause
from ingest.attributing.facts import KeyFacts
from ingest.once.merging import Report, merged
from ingest.once.models import EventSighting, OrderOfTrust
from ingest.once.sources import TRUST, door_of, reporter_of
from ingest.services import amend_statements
from ingest.services.amend import Amended, Amendment, Cause, cause_record, keys_amend
from ingest.services.prepare import Claim, Prepared, Preparer
from ingest.services.recording import report_decoded
from ingest.services.statements import EVENT_COLUMNS
from ingest.services.store import event_row

Event = tuple[datetime, UUID]
# Of a stored event these say how it came, or are settled by what named them first.
STAYING = ("api_key_id", "authorization_id", "is_after_freeze")
CHANGEABLE = tuple(name for name in amend_statements.AMENDABLE if name not in STAYING)


def trust_of(organization_id: int) -> tuple[str, ...]:
    """Whose figures stand, the most trusted kind of source first."""
    found = OrderOfTrust.objects.filter(organization=organization_id).first()
    return tuple(found.kinds) if found is not None else TRUST


def figures_settle(*, organization: Organization, events: Sequence[Event], now: datetime | None = None) -> tuple[Amended, list[Event]]:
    """Puts what the further reports of these calls say into them. Returns what was done, and the calls that were taken for one and are several."""
    with transaction.atomic():
        return _settle(organization, events, now or timezone.now())


def _settle(organization: Organization, events: Sequence[Event], now: datetime) -> tuple[Amended, list[Event]]:
    organization_lock(organization.pk, exclusive=False)
    stored = {row.id: row for row in rows_locked(organization.pk, events)}
    torn: list[Event] = []
    amendments: list[Amendment] = []
    workbench = Workbench(organization, now)
    by_event = sightings_of(organization.pk, list(stored))
    for key, sightings in by_event.items():
        if is_torn(sightings):
            torn.append((stored[key].occurred_at, key))
            continue
        before = [one for one in sightings if one.is_settled]
        if len(before) < len(sightings) and (changes := workbench.difference(stored[key], before, sightings)):
            amendments.append(Amendment(key, stored[key].occurred_at, changes))
    done = amended(organization=organization, amendments=amendments, reason="Another source reported the calls as well.", now=now)
    settled = [
        one.pk
        for key, sightings in by_event.items()
        if (stored[key].occurred_at, key) not in torn
        for one in sightings
        if not one.is_settled
    ]
    EventSighting.objects.filter(organization=organization, pk__in=settled).update(is_settled=True)
    return done, torn


def amended(
    *, organization: Organization, amendments: Sequence[Amendment], reason: str, now: datetime, actor: Actor | None = None
) -> Amended:
    """Changes the calls, with one cause and one audit row, in the caller's transaction."""
    if not amendments:
        return Amended()
    actor = actor or system_actor(organization)
    cause = cause_record(actor=actor, cause=Cause(AmendmentCause.Kind.IDENTITY, reason), now=now)
    ordered = sorted(amendments, key=lambda one: (one.occurred_at, one.key))
    done = keys_amend(organization=organization, actor=actor, amendments=ordered, cause=cause, now=now)
    if done.changed or done.removed:
        facts = {"kind": cause.kind, "reason": reason, "changed": done.changed, "removed": done.removed, "cost": done.cost_after}
        audit_record(actor=actor, action="events.amended", target=("amendment", cause.pk), old={"cost": done.cost_before}, new=facts)
    return done


def rows_locked(organization_id: int, events: Sequence[Event]) -> list[Any]:
    """The stored events with all their columns, locked in the order of everybody."""
    if not events:
        return []
    ordered = sorted(events)
    return sql.rows(amend_statements.by_keys(EVENT_COLUMNS), {
        "organization": organization_id, "key": [key for _, key in ordered], "occurred_at": [at for at, _ in ordered],
        "first": ordered[0][0], "last": ordered[-1][0],
    })  # fmt: skip


def sightings_of(organization_id: int, keys: Sequence[UUID]) -> dict[UUID, list[EventSighting]]:
    """The reports of these calls, locked; of each call the first report first, then in an order that does not depend on when they came."""
    found: dict[UUID, list[EventSighting]] = {}
    rows = EventSighting.objects.filter(organization=organization_id, event_id__in=keys).select_for_update().order_by("id")
    for row in rows:
        found.setdefault(row.event_id, []).append(row)
    return {key: sorted(rows, key=lambda one: (one.how != EventSighting.How.FIRST, one.body_hash)) for key, rows in found.items()}


def parts_of(sightings: Sequence[EventSighting]) -> list[list[EventSighting]]:
    """The reports by what ids link them: those of one part are certainly one call."""
    parts: list[tuple[set[UUID], list[EventSighting]]] = []
    for one in sightings:
        keys, members = set(one.keys), [one]
        for part in [part for part in parts if part[0] & keys]:
            parts.remove(part)
            keys |= part[0]
            members = [*part[1], *members]
        parts.append((keys, members))
    return [members for _, members in parts]


def groups_of(sightings: Sequence[EventSighting]) -> list[list[EventSighting]]:
    """The calls that the reports are of, the event's own first: what ids link stays together, and no reporter tells of a call under two ids."""
    groups: list[list[EventSighting]] = []
    parts = sorted(parts_of(sightings), key=lambda part: sightings[0] not in part)
    for part in parts:
        fitting = next((group for group in groups if not is_torn([*group, *part])), None)
        if fitting is None:
            groups.append(list(part))
        else:
            fitting += part
    return groups


def is_torn(sightings: Sequence[EventSighting]) -> bool:
    """Whether one reporter tells of it under two ids, so that it was taken for one call and is several."""
    keys: dict[str, set[UUID]] = {}
    for one in sightings:
        keys.setdefault(reporter_of(one.source), set()).add(one.own_key)
    return any(len(found) > 1 for found in keys.values()) and len(parts_of(sightings)) > 1


class Workbench:
    """Works out what calls are by their reports: prices, names and trust as they are now."""

    def __init__(self, organization: Organization, now: datetime) -> None:
        self.organization = organization
        self.directory = directory_of(organization, sql.rows(amend_statements.VERSION, [organization.pk])[0].config_version)
        self.trust = trust_of(organization.pk)
        self.preparer = Preparer(
            directory=self.directory,
            rules=attribution_rules_of(self.directory),
            door="",
            now=now,
            book=current_book(),
            terms=terms_of(self.directory),
            key=KeyFacts(),
            attributions={},
        )
        self.key_names: dict[int, str] = {}
        self.now = now

    def prepared(self, key: UUID, at: datetime, sightings: Sequence[EventSighting]) -> Prepared:
        """The call of these reports, as it would be stored."""
        reports = [Report(one.source, report_decoded(one.reported), one.body_hash, one.key_member_id) for one in sightings]
        event, member = merged(reports, self.trust)
        # Of members by key none is remembered: each key has its own.
        came_with = KeyFacts(self._key_name(sightings[0].api_key_id), member)
        preparer = replace(self.preparer, door=door_of(sightings[0].source), key=came_with, attributions={})
        return preparer.prepare(
            Claim(0, msgspec.structs.replace(event, occurred_at=at), key, sightings[0].body_hash, source=sightings[0].source)
        )

    def _key_name(self, api_key_id: int | None) -> str:
        if api_key_id is None:
            return ""
        if api_key_id not in self.key_names:
            name = ApiKey.objects.filter(organization=self.organization, pk=api_key_id).values_list("name", flat=True).first()
            self.key_names[api_key_id] = name or ""
        return self.key_names[api_key_id]

    def columns(self, prepared: Prepared) -> dict[str, Any]:
        row = event_row(prepared, organization_id=self.organization.pk, received_at=self.now, door="", api_key_id=None)
        found = dict(zip(EVENT_COLUMNS, row, strict=True))
        return {name: found[name] for name in CHANGEABLE}

    def difference(
        self, stored: Any, before: Sequence[EventSighting], after: Sequence[EventSighting], *, at: datetime | None = None
    ) -> Mapping[str, Any]:
        """The columns in which the call is another by the reports after, and at another time if that is given, than by those before."""
        old = self.columns(self.prepared(stored.id, stored.occurred_at, before))
        new = self.columns(self.prepared(stored.id, at or stored.occurred_at, after))
        return {name: value for name, value in new.items() if value != old[name] and value != getattr(stored, name)}

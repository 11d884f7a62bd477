"""Changes stored events, and every sum they are part of by the difference, in one transaction: truth 3 holds at every commit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services import charge_follow, period_totals, periods_review, totals_send
from governance.errors import Invalid
from governance.tenancy.access import Actor
from governance.tenancy.directory import Directory, directory_of, month_of
from governance.tenancy.models import Organization
from governance.tenancy.services import organization_lock
from ingest.amending.models import Adjustment, AmendmentCause
from ingest.services import amend_statements as statements
from ingest.services.amend_statements import AMENDABLE
from ingest.services.differences import ADJUSTED, Differences, keys_losing, label_rows, session_rows
from ingest.services.statements import ADD
from ingest.services.store import json_rows, rollup_rows
from ingest.services.sums import DIMENSIONS

ZERO = Decimal(0)
# So many events are changed in one transaction: few enough that nobody waits for it long.
CHUNK = 2000
# What the removal of a call comes to that stays where it was counted.
UNCOUNTED = {"cost": None}
# What becomes of an event: its columns that change, or None where it stays as it is.
Revise = Callable[[Any], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Amendment:
    """One stored event and what it becomes: the columns of usage_event that change, or its removal.

    An event whose removal `is_forgotten` counts anew when it is reported again; otherwise a report of it stays a repeat.
    """

    key: UUID
    occurred_at: datetime
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_removed: bool = False
    is_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """Why events are changed: a kind of `AmendmentCause`, a sentence, and the run, import or rule behind it."""

    kind: str
    reason: str
    reference: str = ""


@dataclass(slots=True)
class Amended:
    """What was done. Costs are those of the events that changed, as far as known; `missing` were not there. Periods are named by id.

    For `posted` events, whose month is closed, adjustments were made instead; they are among `changed` and `removed`.
    """

    cause_id: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    posted: int = 0
    cost_before: Decimal = ZERO
    cost_after: Decimal = ZERO
    missing: list[UUID] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)
    thawed: list[int] = field(default_factory=list)
    gone: list[UUID] = field(default_factory=list)

    def add(self, other: "Amended") -> None:
        self.cause_id = other.cause_id
        self.changed += other.changed
        self.removed += other.removed
        self.unchanged += other.unchanged
        self.posted += other.posted
        self.cost_before += other.cost_before
        self.cost_after += other.cost_after
        self.missing += other.missing
        self.frozen += other.frozen
        self.thawed += other.thawed


def cause_record(*, actor: Actor, cause: Cause, now: datetime | None = None) -> AmendmentCause:
    """The row that changes of events name as their reason."""
    return AmendmentCause.objects.create(
        organization=actor.organization, kind=cause.kind, reason=cause.reason[:300], reference=cause.reference[:80], actor_kind=actor.kind,
        actor_id=actor.id, actor_label=actor.label[:200], at=now or timezone.now(),
    )


def events_amend(
    *, organization: Organization, actor: Actor, amendments: Sequence[Amendment], cause: Cause | AmendmentCause, now: datetime | None = None
) -> Amended:
    """Changes stored events, in transactions of at most CHUNK, or in the caller's. Returns what was done.

    Raises Invalid, with nothing changed, for an event that is named twice or a column that is not an event's to change. Who calls
    checks the actor's right. A lower cost thaws what has room again, a higher one freezes and passes thresholds.
    """
    now = now or timezone.now()
    _check(amendments)
    done = Amended()
    for chunk in _chunks(sorted(amendments, key=lambda one: (one.occurred_at, one.key))):
        with transaction.atomic():
            if isinstance(cause, Cause):
                cause = cause_record(actor=actor, cause=cause, now=now)
            found = keys_amend(organization=organization, actor=actor, amendments=chunk, cause=cause, now=now)
            if found.changed or found.removed:
                facts = {"kind": cause.kind, "reason": cause.reason, "changed": found.changed, "removed": found.removed, "cost": found.cost_after}
                audit_record(actor=actor, action="events.amended", target=("amendment", cause.pk), old={"cost": found.cost_before}, new=facts)
        done.add(found)
    return done


def keys_amend(*, organization: Organization, actor: Actor, amendments: Sequence[Amendment], cause: AmendmentCause, now: datetime) -> Amended:
    """One chunk of named events, within the caller's transaction and without an audit row: that is the caller's."""
    chunk = Chunk(organization, actor, cause, now=now, is_alone=any(one.is_forgotten for one in amendments))
    chunk.keys_know({one.changes["api_key_id"] for one in amendments if "api_key_id" in one.changes})
    by_key = {one.key: one for one in amendments}
    columns = {name for one in amendments for name in one.changes}
    rows = chunk.rows(statements.by_keys(columns), {
        "key": [one.key for one in amendments], "occurred_at": [one.occurred_at for one in amendments],
        "first": min(one.occurred_at for one in amendments), "last": max(one.occurred_at for one in amendments),
    })
    done = chunk.amend(rows, lambda row: by_key[row.id].changes, removed={one.key for one in amendments if one.is_removed})
    if forgotten := sorted(key for key in done.gone if by_key[key].is_forgotten):
        # Nobody else stores anything meanwhile, so that the order of locks does not matter.
        sql.execute(statements.FORGET, {"organization": organization.pk, "key": forgotten})
        sql.execute(statements.FORGET_SIGHTINGS, {"organization": organization.pk, "key": forgotten})
    found = {row.id for row in rows}
    done.missing = [key for key in by_key if key not in found]
    return done


def rows_amend(
    *, organization: Organization, actor: Actor, cause: AmendmentCause, statement: str, parameters: Mapping[str, Any], revise: Revise, now: datetime
) -> tuple[Amended, list[Any]]:
    """One chunk of the events that a statement finds and locks, within the caller's transaction. Returns what was done, and the rows as they were.

    The statement selects what `amend_statements.selected` names, in the order of (occurred_at, id), FOR NO KEY UPDATE.
    """
    chunk = Chunk(organization, actor, cause, now=now)
    rows = chunk.rows(statement, parameters)
    return chunk.amend(rows, revise), rows


def _check(amendments: Sequence[Amendment]) -> None:
    if len({one.key for one in amendments}) < len(amendments):
        raise Invalid("An event is named twice.", field="amendments")
    if strange := {name for one in amendments for name in one.changes} - AMENDABLE.keys():
        raise Invalid(f"{', '.join(sorted(strange))} of an event cannot be changed.", field="amendments")


def _chunks(amendments: Sequence[Amendment]) -> Iterator[Sequence[Amendment]]:
    for start in range(0, len(amendments), CHUNK):
        yield amendments[start : start + CHUNK]


def posted_rows(directory: Directory, rows: Sequence[Any]) -> dict[UUID, Any]:
    """Of the events those whose changes are posted, as what was posted before makes them: their month is closed, or was when they changed last."""
    if not rows:
        return {}
    organization = {"organization": directory.organization_id}
    found = {row.id: row for row in rows if directory.is_closed(row.counted_at or row.occurred_at)}
    if not sql.rows(statements.HAS_POSTED, organization)[0].has_posted:
        return found
    by_id = {row.id: row for row in rows}
    for latest in sql.rows(statements.LATEST, {**organization, "id": list(by_id), "occurred_at": [row.occurred_at for row in rows]}):
        if latest.is_posted:
            found[latest.event_id] = statements.as_posted(by_id[latest.event_id], latest)
    return found


class Chunk:
    """One transaction's changes, added up in `differences` and done at the end. The configuration is held still from the start to the commit."""

    def __init__(self, organization: Organization, actor: Actor, cause: AmendmentCause, *, now: datetime, is_alone: bool = False) -> None:
        self.organization, self.actor, self.cause, self.now = organization, actor, cause, now
        organization_lock(organization.pk, exclusive=is_alone)
        version = sql.rows(statements.VERSION, [organization.pk])[0].config_version
        self.rules: Rules = rules_of(directory_of(organization, version))
        self.cursor = sql.cursor()
        self.head = f"{organization.pk}\t{cause.pk}"
        self.differences = Differences(rules=self.rules, service_accounts={})
        # Since when, on the monotonic clock, sums are locked that other calls are added to.
        self.held_from: float | None = None

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
        return sql.rows(statement, {"organization": self.organization.pk, **parameters})

    def amend(self, rows: Sequence[Any], revise: Revise, *, removed: set[UUID] | frozenset[UUID] = frozenset()) -> Amended:
        """Changes the locked rows and all that they are part of. Those of closed months stay: what changes is posted."""
        done = self.take(rows, revise, removed=removed)
        if done.changed or done.removed:
            self.move(done)
        return done

    def take(self, rows: Sequence[Any], revise: Revise, *, removed: set[UUID] | frozenset[UUID] = frozenset()) -> Amended:
        """Changes the locked rows; what they are part of moves when `move` is called."""
        directory, differences = self.rules.directory, self.differences
        self.keys_know({row.api_key_id for row in rows})
        done, posted = Amended(self.cause.pk), posted_rows(directory, rows)
        changed: list[tuple[Any, Mapping[str, Any]]] = []
        gone, lines = [], []
        for stored in rows:
            row, is_posted, is_removed = posted.get(stored.id, stored), stored.id in posted, stored.id in removed
            if is_removed and not is_posted:
                differences.remove(row)
                gone.append(row)
                done.cost_before += row.cost or ZERO
                continue
            changes = real_changes(row, UNCOUNTED if is_removed else revise(row))
            if not changes:
                continue
            done.cost_before += row.cost or ZERO
            done.cost_after += changes.get("cost", row.cost) or ZERO
            if is_posted:
                differences.post(row, changes, now=self.now, month=month_of(row.counted_at or row.occurred_at, directory.zone))
            else:
                differences.change(row, changes)
                changed.append((row, changes))
            lines.append(statements.amendment_line(self.head, self.now, row, changes, is_removed=is_removed, is_posted=is_posted))
        done.changed, done.removed, done.posted, done.gone = len(lines), len(gone), len(lines) - len(changed), [row.id for row in gone]
        done.unchanged = len(rows) - len(lines) - len(gone)
        self._write(changed, gone, lines)
        return done

    def _write(self, changed: Sequence[tuple[Any, Mapping[str, Any]]], gone: Sequence[Any], lines: Sequence[str]) -> None:
        if changed:
            self._change(changed)
        if lines:
            with self.cursor.copy(statements.COPY_AMENDMENTS) as copy:
                copy.write("".join(lines))
        if gone:
            self._remove(gone)

    def keys_know(self, keys: AbstractSet[int | None]) -> None:
        """Looks up whose the API keys are that events came with."""
        wanted = sorted(key for key in keys if key is not None)
        if wanted:
            found = {row.id: row.service_account_id for row in self.rows(statements.SERVICE_ACCOUNTS, {"key": wanted})}
            # A key that is no more is nobody's.
            self.differences.keys_know({key: found.get(key) for key in wanted})

    def _change(self, changed: Sequence[tuple[Any, Mapping[str, Any]]]) -> None:
        """Writes the events' new values."""
        names = sorted({name for _, changes in changed for name in changes})
        parameters: dict[str, Any] = {
            "organization": self.organization.pk, "id": [row.id for row, _ in changed], "occurred_at": [row.occurred_at for row, _ in changed],
            "first": changed[0][0].occurred_at, "last": changed[-1][0].occurred_at,
        }
        for name in names:
            values = [changes[name] if name in changes else getattr(row, name) for row, changes in changed]
            parameters[f"new_{name}"] = [statements.json_text(value) for value in values] if AMENDABLE.get(name) == "jsonb" else values
        self.cursor.execute(statements.change(names), parameters)

    def _remove(self, gone: Sequence[Any]) -> None:
        self.cursor.execute(statements.REMOVE, {
            "organization": self.organization.pk, "cause": self.cause.pk, "at": self.now, "id": [row.id for row in gone],
            "occurred_at": [row.occurred_at for row in gone], "first": gone[0].occurred_at, "last": gone[-1].occurred_at,
        })

    def move(self, done: Amended) -> None:
        """Moves what the events are part of: authorizations, sessions, rollups and labels, budgets last, by the order of locks."""
        differences = self.differences
        batch, organization_id = differences.batch(), self.organization.pk
        hours, days = rollup_rows(batch.hours, "hour", DIMENSIONS), rollup_rows(batch.days, "day", (*DIMENSIONS, "member_id"))
        labels = label_rows(differences.labels)
        self._adjust(differences)
        authorizations = {place: amount for place, amount in differences.authorizations.items() if amount}
        added = {
            "organization": organization_id, "events": "[]", "sessions": json_rows(session_rows(differences.sessions)),
            "hours": json_rows(hours), "days": json_rows(days), "labels": json_rows(labels),
        }  # fmt: skip
        totals = period_totals(self.rules, batch.spends)
        self.held_from = time.monotonic()
        with self.cursor.connection.pipeline():
            if authorizations:
                sql.execute(statements.AUTHORIZATIONS, statements.authorization_parameters(organization_id, authorizations))
            sql.execute(ADD, added)
            self._tidy(differences, hours=hours, days=days, labels=labels)
            moving = totals_send(actor=self.actor, rules=self.rules, totals=totals, released={}, now=self.now)
        if moving is None:
            return
        moved = moving.fetchall()
        charge_follow(actor=self.actor, rules=self.rules, moved=moved, now=self.now)
        done.frozen = [row.id for row in moved if row.froze]
        # The first 300 characters are kept of a reason.
        frozen, done.thawed = periods_review(actor=self.actor, ids=[row.id for row in moved], reason=str(self.cause), now=self.now)
        done.frozen += frozen

    def _adjust(self, differences: Differences) -> None:
        """Keeps what was posted, by the month and the names it is about."""
        Adjustment.objects.bulk_create(
            Adjustment(
                organization=self.organization, at=self.now, month=month, cause=self.cause, calls=calls, cost=cost, list_cost=list_cost, tags=None if tags is None else dict(tags),
                **dict(zip(ADJUSTED, names, strict=True)),
            )
            for (month, tags, *names), (calls, cost, list_cost) in differences.adjustments.items() if cost or list_cost
        )

    def _tidy(self, differences: Differences, **rows: Sequence[Mapping[str, Any]]) -> None:
        """Takes away rows that are left without a call, and reads anew what sessions say beyond sums."""
        organization = {"organization": self.organization.pk}
        for bucket in ("hour", "day"):
            if losing := keys_losing(rows[f"{bucket}s"]):
                hashes = [row["dimensions_hash"] for row in losing]
                sql.execute(statements.EMPTY[bucket], {**organization, "at": [row[bucket] for row in losing], "hash": hashes})
        if losing := keys_losing(rows["labels"]):
            values = [row["value"] for row in losing]
            sql.execute(statements.EMPTY_LABELS, {**organization, "kind": [row["kind"] for row in losing], "value": values})
        if differences.recounted or differences.rehomed:
            sql.execute(statements.EMPTY_SESSIONS, {**organization, "key": sorted(differences.recounted | differences.rehomed)})
        if differences.recounted:
            sql.execute(statements.RECOUNT, {**organization, "key": sorted(differences.recounted)})
        if differences.rehomed:
            sql.execute(statements.REHOME, {**organization, "key": sorted(differences.rehomed)})


def real_changes(row: Any, changes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The changes that change something."""
    if not changes:
        return None
    return {name: value for name, value in changes.items() if value != getattr(row, name)}

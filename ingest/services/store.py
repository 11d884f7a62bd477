"""The storing transaction: identity, events, sessions, rollups and budgets move together or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from governance import sql
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services import charge, holds_settle, holds_settle_counted
from governance.pricing.book import current_book
from governance.tenancy.access import Actor
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey
from ingest.formats.event import Outcome, UsageEvent
from ingest.services import statements
from ingest.services.prepare import Prepared, Preparer, out_of_range, unresolved_labels
from ingest.services.sums import AMOUNTS, COUNTS, DIMENSIONS, Batch, SessionSums, Sums, batch_sums, dimensions_hash, settled_costs

# From this many events on, COPY is quicker than one INSERT each.
COPY_FROM = 8


def events_store(
    *, actor: Actor, api_key: ApiKey | None, source: str, events: Sequence[UsageEvent], now: datetime | None = None
) -> list[Outcome]:
    """Counts each event once. Returns an outcome for each, in order; when it returns, the accepted ones are committed.

    `source` names the door; it scopes ids that clients make up themselves. Inside an outer transaction the commit is
    that transaction's.
    """
    if not events:
        return []
    now = now or timezone.now()
    with transaction.atomic():
        return _Storing(actor, api_key, source, now).store(events)


class _Storing:
    """One run of the storing transaction."""

    def __init__(self, actor: Actor, api_key: ApiKey | None, source: str, now: datetime) -> None:
        self.actor, self.api_key, self.source, self.now = actor, api_key, source, now
        self.organization_id: int = actor.organization.pk
        self.cursor = sql.cursor()

    def store(self, events: Sequence[UsageEvent]) -> list[Outcome]:
        rules, preparer = self._configuration()
        outcomes: list[Outcome | None] = [None] * len(events)
        prepared: list[Prepared] = []
        for index, event in enumerate(events):
            if reason := out_of_range(event, self.now):
                outcomes[index] = _rejected(index, event, reason)
            else:
                prepared.append(preparer.prepare(index, event))
        accepted = self._identify(prepared, outcomes)
        counted_before = _authorizations_seen_again(prepared, accepted)
        if accepted:
            self._write(accepted, rules, counted_before)
        elif counted_before:
            holds_settle_counted(organization_id=self.organization_id, authorization_ids=counted_before, now=self.now)
        return [outcome for outcome in outcomes if outcome is not None]

    def _configuration(self) -> tuple[Rules, Preparer]:
        """The organization's names, budgets and prices, held still until the transaction ends."""
        # The version is read by a statement of its own: its snapshot must not predate the lock.
        with self.cursor.connection.pipeline():
            self.cursor.execute(statements.LOCK_CONFIGURATION, [self.organization_id])
            reading = sql.cursor().execute(statements.CONFIGURATION, [self.organization_id])
        version = reading.fetchone()[0]
        directory = directory_of(self.actor.organization, version)
        preparer = Preparer(
            directory=directory,
            book=current_book(),
            defaults=self.api_key.defaults if self.api_key is not None else {},
            key_member_id=self.api_key.member_id if self.api_key is not None else None,
            source=self.source,
            attributions={},
        )
        return rules_of(directory), preparer

    def _identify(self, prepared: Sequence[Prepared], outcomes: list[Outcome | None]) -> list[Prepared]:
        """Claims the events' keys and says what becomes of each; returns those that are counted."""
        first: dict[UUID, Prepared] = {}
        again: list[Prepared] = []
        for row in prepared:
            if first.setdefault(row.key, row) is not row:
                again.append(row)  # noqa: PERF401
        if not first:
            return []
        ordered = [first[key] for key in sorted(first)]
        self.cursor.execute(statements.INSERT_IDENTITIES, {
            "organization": self.organization_id,
            "key": [row.key for row in ordered],
            "body_hash": [row.body_hash for row in ordered],
            "occurred_at": [row.event.occurred_at for row in ordered],
        })
        fresh = {key for (key,) in self.cursor}
        accepted = [row for row in first.values() if row.key in fresh]
        for row in accepted:
            outcomes[row.index] = Outcome(row.index, "accepted", str(row.key))
        known = {row.key: row.body_hash for row in accepted}
        seen_before = [row for row in first.values() if row.key not in fresh]
        if seen_before:
            known |= self._note_sightings([row.key for row in seen_before])
        for row in (*seen_before, *again):
            outcomes[row.index] = _seen_again(row, known[row.key])
        return accepted

    def _note_sightings(self, keys: list[UUID]) -> dict[UUID, UUID]:
        """Counts another sighting of calls that are stored; returns their body hashes by key."""
        self.cursor.execute(statements.COUNT_SIGHTINGS, {"organization": self.organization_id, "key": keys})
        return dict(self.cursor.fetchall())

    def _write(self, accepted: Sequence[Prepared], rules: Rules, counted_before: Sequence[UUID]) -> None:
        self._mark_after_freeze(accepted, rules)
        self._insert_events(accepted)
        costs = settled_costs(accepted) | dict.fromkeys(counted_before)
        released = holds_settle(organization_id=self.organization_id, costs=costs, now=self.now)
        batch = batch_sums(accepted, rules.directory.zone)
        with self.cursor.connection.pipeline():
            self._add_sessions(batch.sessions)
            self._add_rollups(batch)
            self._add_labels(accepted)
        charge(actor=self.actor, rules=rules, spends=batch.spends, released=released, now=self.now)

    def _mark_after_freeze(self, accepted: Sequence[Prepared], rules: Rules) -> None:
        """Marks events whose session, or a budget over it, stood frozen when they came."""
        sessions = sorted({row.event.session for row in accepted if row.event.session})
        self.cursor.execute(statements.FROZEN, {"organization": self.organization_id, "sessions": sessions, "now": self.now})
        frozen = {(budget_id, session_key) for budget_id, session_key in self.cursor}
        if not frozen:
            return
        by_hand = {session_key for budget_id, session_key in frozen if budget_id is None}
        for row in accepted:
            session = row.event.session
            row.is_after_freeze = session in by_hand or any(
                (rule.id, session if rule.scope_kind == "session" else "") in frozen for rule in rules.matching(row.who, session)
            )

    def _insert_events(self, accepted: Sequence[Prepared]) -> None:
        rows = (self._event_row(row) for row in accepted)
        if len(accepted) < COPY_FROM:
            self.cursor.executemany(statements.INSERT_EVENT, list(rows))
            return
        with self.cursor.copy(statements.COPY_EVENTS) as copy:
            for row in rows:
                copy.write_row(row)

    def _event_row(self, row: Prepared) -> tuple[Any, ...]:
        event, rating, who = row.event, row.rating, row.who
        return (
            self.organization_id, event.occurred_at, row.key, self.now, self.source, self.api_key.pk if self.api_key else None,
            event.id, event.request_id, rating.provider, rating.model, rating.maker, rating.tier, event.model,
            row.harness, event.harness_version, row.gateway, who.team_id, who.project_id, who.member_id,
            row.team_label, row.project_label, row.member_label, event.session, event.parent_session, event.task,
            event.trace, event.parent, row.role, row.task_class, row.environment, event.input_tokens,
            event.cache_read_tokens, event.cache_write_5m_tokens, event.cache_write_1h_tokens, event.output_tokens,
            event.reasoning_tokens, _json(event.units), event.latency_ms, event.ttft_ms, event.status, event.reported_cost,
            event.currency, row.billing_mode, rating.cost, rating.currency, rating.price_id, event.authorization,
            row.is_after_freeze, _json(event.tags),
        )

    def _add_sessions(self, sessions: Mapping[str, SessionSums]) -> None:
        if not sessions:
            return
        rows = [_session_row(key, sessions[key]) for key in sorted(sessions)]
        self._send(statements.ADD_SESSIONS, dict(zip(statements.SESSION_KINDS, map(list, zip(*rows, strict=True)), strict=True)))

    def _add_rollups(self, batch: Batch) -> None:
        self._send(statements.ADD_HOURS, _rollup_arrays(batch.hours, "hour", DIMENSIONS))
        self._send(statements.ADD_DAYS, _rollup_arrays(batch.days, "day", (*DIMENSIONS, "member_id")))

    def _add_labels(self, accepted: Sequence[Prepared]) -> None:
        labels = unresolved_labels(accepted)
        if not labels:
            return
        ordered = sorted(labels)
        self._send(statements.ADD_LABELS, {
            "kind": [kind for kind, _ in ordered],
            "value": [value for _, value in ordered],
            "calls": [labels[key][0] for key in ordered],
            "first_at": [labels[key][1] for key in ordered],
            "last_at": [labels[key][2] for key in ordered],
        })

    def _send(self, statement: str, arrays: dict[str, list[Any]]) -> psycopg.Cursor[Any]:
        return sql.cursor().execute(statement, {"organization": self.organization_id, **arrays})


def _authorizations_seen_again(prepared: Sequence[Prepared], accepted: Sequence[Prepared]) -> list[UUID]:
    """The authorizations named only by calls that were counted before, through another report of them."""
    if len(prepared) == len(accepted):
        return []
    named = {row.event.authorization for row in prepared} - {row.event.authorization for row in accepted}
    return sorted(found for found in named if found is not None)


def _rejected(index: int, event: UsageEvent, reason: str) -> Outcome:
    return Outcome(index, "rejected", event.id or event.request_id, "out_of_range", reason, "occurred_at")


def _seen_again(row: Prepared, stored_hash: UUID) -> Outcome:
    if row.body_hash == stored_hash:
        return Outcome(row.index, "duplicate", str(row.key))
    reason = "An event with this id was counted with other content; this one is kept aside."
    return Outcome(row.index, "conflict", str(row.key), "identity_conflict", reason, "request_id" if row.event.request_id else "id")


def _json(value: Any) -> Jsonb | None:
    if value is None:
        return None
    return Jsonb({name: item if isinstance(item, str) else str(item) for name, item in value.items()})


def _session_row(key: str, found: SessionSums) -> tuple[Any, ...]:
    latest, counts = found.latest, found.sums.counts
    return (
        key, latest.event.parent_session, latest.who.team_id, latest.who.project_id, latest.who.member_id, latest.harness, latest.gateway,
        latest.rating.model, latest.event.task, found.first_at, latest.event.occurred_at, counts[0], counts[1], counts[2], found.tokens,
        found.sums.cost, found.sums.notional_cost, found.context_tokens, found.context_tokens_max,
    )


def _rollup_arrays(sums: Mapping[tuple[Any, tuple[Any, ...]], Sums], bucket: str, names: Iterable[str]) -> dict[str, list[Any]]:
    """The sums as arrays by column, in the order of their keys."""
    ordered = sorted(((at, dimensions_hash(values), values, found) for (at, values), found in sums.items()), key=lambda row: row[:2])
    arrays: dict[str, list[Any]] = {bucket: [row[0] for row in ordered], "dimensions_hash": [row[1] for row in ordered]}
    for place, name in enumerate(names):
        arrays[name] = [row[2][place] for row in ordered]
    for place, name in enumerate(COUNTS):
        arrays[name] = [row[3].counts[place] for row in ordered]
    for name in AMOUNTS:
        arrays[name] = [getattr(row[3], name) for row in ordered]
    return arrays

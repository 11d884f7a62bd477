"""The storing transaction: identity, events, sessions, rollups and budgets move together or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from governance import sql
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services import CLOCK_SKEW, AuthorizedCall, charge_follow, charge_send, holds_settle, holds_settle_counted
from governance.pricing.book import current_book
from governance.tenancy.access import Actor
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey
from ingest.formats.event import Outcome, UsageEvent
from ingest.services import statements
from ingest.services.prepare import Claim, Prepared, Preparer, claim_of, out_of_range, unresolved_labels
from ingest.services.sums import (
    AMOUNTS,
    COUNTS,
    DIMENSIONS,
    Batch,
    Origin,
    SessionSums,
    Sums,
    authorized_call_stored,
    authorized_calls,
    batch_sums,
    dimensions_hash,
)

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


class _Opened(NamedTuple):
    """What the first round trip found: the configuration's version, the keys that are new, and the freezes in force (budget, session, task)."""

    version: int
    fresh: AbstractSet[UUID]
    frozen: AbstractSet[tuple[int | None, str, str]]


class _Storing:
    """One run of the storing transaction."""

    def __init__(self, actor: Actor, api_key: ApiKey | None, source: str, now: datetime) -> None:
        self.actor, self.api_key, self.source, self.now = actor, api_key, source, now
        self.organization_id: int = actor.organization.pk
        self.cursor = sql.cursor()

    def store(self, events: Sequence[UsageEvent]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(events)
        claims: list[Claim] = []
        provider = self.api_key.defaults.get("provider", "") if self.api_key is not None else ""
        for index, event in enumerate(events):
            if reason := out_of_range(event, self.now):
                outcomes[index] = _rejected(index, event, reason)
            else:
                claims.append(claim_of(index, event, self.source, default_provider=provider))
        if claims:
            self._store(claims, outcomes)
        return [outcome for outcome in outcomes if outcome is not None]

    def _store(self, claims: Sequence[Claim], outcomes: list[Outcome | None]) -> None:
        first: dict[UUID, Claim] = {}
        for claim in claims:
            first.setdefault(claim.key, claim)
        opened = self._open(first)
        fresh = self._identify(claims, first=first, fresh=opened.fresh, outcomes=outcomes)
        repeated = _named_again(claims, outcomes)
        fresh = [_naming(claim, repeated) for claim in fresh]
        counted_before = self._name_authorizations([claim for claim in repeated.values() if claim.key not in opened.fresh])
        if fresh:
            rules, preparer = self._configuration(opened.version)
            accepted = [preparer.prepare(claim) for claim in fresh]
            _mark_after_freeze(accepted, rules, opened.frozen, self._origin(rules))
            self._write(accepted, rules, counted_before)
        elif counted_before:
            rules, _ = self._configuration(opened.version)
            holds_settle_counted(organization_id=self.organization_id, rules=rules, calls=counted_before, now=self.now)

    def _open(self, first: Mapping[UUID, Claim]) -> _Opened:
        """Holds the configuration still, claims the keys and looks for freezes, in one round trip."""
        ordered = [first[key] for key in sorted(first)]
        sessions = sorted({claim.event.session for claim in ordered if claim.event.session})
        tasks = sorted({claim.event.task for claim in ordered if claim.event.task})
        # The version is read by a statement of its own: its snapshot must not predate the lock.
        with self.cursor.connection.pipeline():
            self.cursor.execute(statements.LOCK_CONFIGURATION, [self.organization_id])
            reading = sql.cursor().execute(statements.CONFIGURATION, [self.organization_id])
            claiming = self._send(statements.INSERT_IDENTITIES, {
                "key": [claim.key for claim in ordered],
                "body_hash": [claim.body_hash for claim in ordered],
                "occurred_at": [claim.event.occurred_at for claim in ordered],
            })
            looking = sql.cursor().execute(
                statements.FROZEN, {"organization": self.organization_id, "sessions": sessions, "tasks": tasks, "now": self.now}
            )
        return _Opened(reading.fetchall()[0][0], {key for (key,) in claiming}, {(row[0], row[1], row[2]) for row in looking})

    def _configuration(self, version: int) -> tuple[Rules, Preparer]:
        """The organization's names, budgets and prices, held still until the transaction ends."""
        directory = directory_of(self.actor.organization, version)
        preparer = Preparer(
            directory=directory,
            book=current_book(),
            defaults=self.api_key.defaults if self.api_key is not None else {},
            key_member_id=self.api_key.member_id if self.api_key is not None else None,
            attributions={},
        )
        return rules_of(directory), preparer

    def _identify(
        self, claims: Sequence[Claim], *, first: Mapping[UUID, Claim], fresh: AbstractSet[UUID], outcomes: list[Outcome | None]
    ) -> list[Claim]:
        """Says what becomes of each event; returns those that are counted now."""
        accepted = [claim for claim in first.values() if claim.key in fresh]
        for claim in accepted:
            outcomes[claim.index] = Outcome(claim.index, "accepted", str(claim.key))
        if len(accepted) == len(claims):
            return accepted
        known = {claim.key: claim.body_hash for claim in accepted}
        seen_before = [key for key in first if key not in fresh]
        if seen_before:
            known |= self._note_sightings(seen_before)
        for claim in claims:
            if outcomes[claim.index] is None:
                outcomes[claim.index] = _seen_again(claim, known[claim.key])
        return accepted

    def _note_sightings(self, keys: list[UUID]) -> dict[UUID, UUID]:
        """Counts another sighting of calls that are stored; returns their body hashes by key."""
        self.cursor.execute(statements.COUNT_SIGHTINGS, {"organization": self.organization_id, "key": keys})
        return dict(self.cursor.fetchall())

    def _name_authorizations(self, repeated: Sequence[Claim]) -> list[AuthorizedCall]:
        """Lets stored events that named no authorization name the one of their repeat. Returns their calls."""
        if not repeated:
            return []
        instants = [claim.event.occurred_at for claim in repeated]
        self.cursor.execute(statements.NAME_AUTHORIZATIONS, {
            "organization": self.organization_id,
            "key": [claim.key for claim in repeated],
            "at": instants,
            "named": [claim.event.authorization for claim in repeated],
            "first": min(instants),
            "last": max(instants),
            "skew": CLOCK_SKEW,
        })
        return [authorized_call_stored(row) for row in self.cursor.fetchall()]

    def _write(self, accepted: Sequence[Prepared], rules: Rules, counted_before: Sequence[AuthorizedCall]) -> None:
        origin = self._origin(rules)
        calls = [*authorized_calls(accepted, origin), *counted_before]
        released = holds_settle(organization_id=self.organization_id, rules=rules, calls=calls, now=self.now)
        batch = batch_sums(accepted, rules.directory.zone, origin)
        rows = [self._event_row(row) for row in accepted]
        if len(rows) >= COPY_FROM:
            with self.cursor.copy(statements.COPY_EVENTS) as copy:
                for row in rows:
                    copy.write_row(row)
        with self.cursor.connection.pipeline():
            if len(rows) < COPY_FROM:
                for row in rows:
                    sql.cursor().execute(statements.INSERT_EVENT, row)
            self._add_sessions(batch.sessions)
            self._add_rollups(batch)
            self._add_labels(accepted)
            moving = charge_send(actor=self.actor, rules=rules, spends=batch.spends, released=released, now=self.now)
        if moving is not None:
            charge_follow(actor=self.actor, rules=rules, moved=moving.fetchall(), now=self.now)

    def _origin(self, rules: Rules) -> Origin:
        key = self.api_key
        return Origin(rules.looks, key.pk if key is not None else None, key.service_account_id if key is not None else None)

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


def _named_again(claims: Sequence[Claim], outcomes: Sequence[Outcome | None]) -> dict[UUID, Claim]:
    """The first true repeat of each call that names an authorization, by the call's key. A conflict repeats nothing."""
    repeated: dict[UUID, Claim] = {}
    for claim in claims:
        outcome = outcomes[claim.index]
        if claim.event.authorization is not None and outcome is not None and outcome.status == "duplicate":
            repeated.setdefault(claim.key, claim)
    return repeated


def _naming(claim: Claim, repeated: Mapping[UUID, Claim]) -> Claim:
    """The claim, naming the authorization of its repeat in the same request where it names none itself."""
    again = repeated.get(claim.key)
    return claim if again is None or claim.event.authorization is not None else replace(claim, event=again.event)


def _mark_after_freeze(accepted: Sequence[Prepared], rules: Rules, frozen: AbstractSet[tuple[int | None, str, str]], origin: Origin) -> None:
    """Marks events whose session, or a budget over it, stood frozen when they came."""
    if not frozen:
        return
    by_hand = {session_key for budget_id, session_key, _ in frozen if budget_id is None}
    for row in accepted:
        session = row.event.session
        row.is_after_freeze = session in by_hand or any(
            (rule.id, session if rule.scope_kind == "session" else "", row.event.task if rule.scope_kind == "task" else "") in frozen
            for rule in rules.matching(origin.call(row))
        )


def _rejected(index: int, event: UsageEvent, reason: str) -> Outcome:
    return Outcome(index, "rejected", event.id or event.request_id, "out_of_range", reason, "occurred_at")


def _seen_again(row: Claim, stored_hash: UUID) -> Outcome:
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

"""The storing transaction: identity, events, sessions, rollups and budgets move together or not at all."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from governance import sql
from governance.attribution.rules import attribution_rules_of
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services import CLOCK_SKEW, AuthorizedCall, charge_follow, charge_send, holds_settle, holds_settle_counted
from governance.pricing.book import current_book
from governance.pricing.terms import terms_of
from governance.tenancy.access import Actor
from governance.tenancy.authentication import KeyMoved, Remembered
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey
from governance.tenancy.services import LOCK_CONFIGURATION
from ingest.attributing.facts import KeyFacts
from ingest.formats.event import Outcome, UsageEvent
from ingest.guard import looking as guard
from ingest.services import statements
from ingest.services.arrivals import arrivals_of
from ingest.services.prepare import Claim, Prepared, Preparer, claim_of, out_of_range, unresolved_labels
from ingest.services.sums import (
    AMOUNTS,
    COUNTS,
    DIMENSIONS,
    Origin,
    SessionSums,
    Sums,
    authorized_call_stored,
    authorized_calls,
    batch_sums,
    dimensions_hash,
)

# Measured: up to 64 events COPY's own round trips cost up to a fifth more, from 128 to 256 it is the same, with 1,000 COPY saves an eighth.
COPY_FROM = 128
_encoder = msgspec.json.Encoder()


def events_store(
    *,
    actor: Actor,
    api_key: ApiKey | None,
    source: str,
    events: Sequence[UsageEvent],
    now: datetime | None = None,
    unconfirmed: Remembered | None = None,
) -> list[Outcome]:
    """Counts each event once. Returns an outcome for each, in order; when it returns, the accepted ones are committed.

    `source` names the door; it scopes ids that clients make up themselves. Inside an outer transaction the commit is
    that transaction's. A key that is `unconfirmed` is compared first: raises KeyMoved, with nothing stored, when it changed.
    """
    if not events:
        return []
    now = now or timezone.now()
    sql.check_health()
    with transaction.atomic():
        return _Storing(actor, api_key, source, now=now, unconfirmed=unconfirmed).store(events)


class _Opened(NamedTuple):
    """What the first round trip found: the configuration's version, the keys that are new, and the freezes in force (budget, session, task)."""

    version: int
    fresh: AbstractSet[UUID]
    frozen: AbstractSet[tuple[int | None, str, str]]


class _Storing:
    """One run of the storing transaction."""

    def __init__(self, actor: Actor, api_key: ApiKey | None, source: str, *, now: datetime, unconfirmed: Remembered | None) -> None:
        self.actor, self.api_key, self.source, self.now, self.unconfirmed = actor, api_key, source, now, unconfirmed
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
        if claims or self.unconfirmed is not None:
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
        again = [claim.event for claim in claims if (outcome := outcomes[claim.index]) is not None and outcome.status != "accepted"]
        if fresh:
            rules, preparer = self._configuration(opened.version)
            accepted = [preparer.prepare(claim) for claim in fresh]
            _mark_after_freeze(accepted, rules, opened.frozen, self._origin(rules))
            self._write(accepted, rules, counted_before, again=again)
        elif again:
            self.cursor.execute(statements.ARRIVE, self._arrived((), again))
            if counted_before:
                rules, _ = self._configuration(opened.version)
                holds_settle_counted(organization_id=self.organization_id, rules=rules, calls=counted_before, now=self.now)

    def _open(self, first: Mapping[UUID, Claim]) -> _Opened:
        """Holds the configuration still, claims the keys and looks for freezes, in one round trip."""
        ordered = [first[key] for key in sorted(first)]
        sessions = sorted({claim.event.session for claim in ordered if claim.event.session})
        tasks = sorted({claim.event.task for claim in ordered if claim.event.task})
        above = lines_above(ordered)
        with self.cursor.connection.pipeline():
            self.cursor.execute(LOCK_CONFIGURATION, [self.organization_id])
            # One cursor for both: it ends up with what the last one found.
            self.cursor.execute(statements.OPEN, {
                "organization": self.organization_id,
                "key": [claim.key for claim in ordered],
                "body_hash": [claim.body_hash for claim in ordered],
                "occurred_at": [claim.event.occurred_at for claim in ordered],
                "sessions": sessions,
                "tasks": tasks,
                "child": [child for child, _ in above],
                "parent": [parent for _, parent in above],
                "now": self.now,
                "secret_hash": None if self.unconfirmed is None else self.unconfirmed.secret_hash,
            })
        found = self.cursor.fetchall()[0]
        if self.unconfirmed is not None and self.unconfirmed.stamp != found.stamp:
            raise KeyMoved
        return _Opened(found.version, set(found.fresh), {(row[0], row[1], row[2]) for row in found.frozen or ()})

    def _configuration(self, version: int) -> tuple[Rules, Preparer]:
        """The organization's names, budgets and prices, held still until the transaction ends."""
        directory = directory_of(self.actor.organization, version)
        preparer = Preparer(
            directory=directory,
            now=self.now,
            book=current_book(),
            terms=terms_of(directory),
            rules=attribution_rules_of(directory),
            door=self.source,
            key=KeyFacts(self.api_key.name, self.api_key.member_id, self.api_key.defaults) if self.api_key is not None else KeyFacts(),
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

    def _arrived(self, accepted: Sequence[Prepared], again: Sequence[UsageEvent]) -> dict[str, Any]:
        key = self.api_key
        rows = arrivals_of(accepted, again, defaults=key.defaults if key is not None else {}, now=self.now)
        origin = {"organization": self.organization_id, "source": self.source, "api_key": key.pk if key is not None else 0, "now": self.now}
        return {**origin, "arrivals": json_rows(rows)}

    def _write(self, accepted: Sequence[Prepared], rules: Rules, counted_before: Sequence[AuthorizedCall], *, again: Sequence[UsageEvent]) -> None:
        origin = self._origin(rules)
        calls = [*authorized_calls(accepted, origin), *counted_before]
        released = holds_settle(organization_id=self.organization_id, rules=rules, calls=calls, now=self.now)
        batch = batch_sums(accepted, rules.directory.zone, origin)
        rows = [self._event_row(row) for row in accepted]
        api_key_id = self.api_key.pk if self.api_key is not None else None
        if len(rows) >= COPY_FROM:
            with self.cursor.copy(statements.COPY_EVENTS) as copy:
                for row in rows:
                    copy.write_row([Jsonb(value) if type(value) is dict else value for value in row])
            rows = []
        with self.cursor.connection.pipeline():
            self.cursor.execute(statements.STORE, {
                **self._arrived(accepted, again),
                "events": json_rows([dict(zip(statements.EVENT_COLUMNS, row, strict=True)) for row in rows]),
                "sessions": json_rows([_session_row(key, batch.sessions[key], api_key_id) for key in sorted(batch.sessions)]),
                "hours": json_rows(rollup_rows(batch.hours, "hour", DIMENSIONS)),
                "days": json_rows(rollup_rows(batch.days, "day", (*DIMENSIONS, "member_id"))),
                "labels": json_rows(_label_rows(accepted)),
            })
            moving = charge_send(actor=self.actor, rules=rules, spends=batch.spends, released=released, now=self.now)
        if moving is not None:
            charge_follow(actor=self.actor, rules=rules, moved=moving.fetchall(), now=self.now)
        guard.stored(organization=self.actor.organization, version=rules.directory.version, sessions=batch.sessions)

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
            event.reasoning_tokens, _in_words(event.units), event.latency_ms, event.ttft_ms, event.status, event.reported_cost,
            event.currency, row.billing_mode, rating.cost, rating.currency, rating.price_id, event.authorization,
            row.is_after_freeze, _in_words(event.tags), rating.list_cost, rating.price_currency, rating.exchange_rate, rating.term_id,
            row.counted_at, row.ruled,
        )


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


def lines_above(claims: Sequence[Claim]) -> list[tuple[str, str]]:
    """(session, session above it) for each that the events say, at any depth within them."""
    parents: dict[str, set[str]] = {}
    for claim in claims:
        if claim.event.session and claim.event.parent_session:
            parents.setdefault(claim.event.session, set()).add(claim.event.parent_session)
    lines: list[tuple[str, str]] = []
    for session in sorted(parents):
        above: set[str] = set()
        pending = [session]
        while pending:
            new = parents.get(pending.pop(), set()) - above
            above |= new
            pending.extend(new)
        lines.extend((session, key) for key in sorted(above))
    return lines


def _mark_after_freeze(accepted: Sequence[Prepared], rules: Rules, frozen: AbstractSet[tuple[int | None, str, str]], origin: Origin) -> None:
    """Marks events that came while their session, one above it, a budget over it or a wider scope of theirs stood frozen."""
    if not frozen and not rules.switches:
        return
    sessions = {session_key for budget_id, session_key, _ in frozen if budget_id is None}
    for row in accepted:
        session, call = row.event.session, origin.call(row)
        row.is_after_freeze = session in sessions or rules.switch_over(call, named_model=row.event.model) is not None or any(
            (rule.id, session if rule.scope_kind == "session" else "", row.event.task if rule.scope_kind == "task" else "") in frozen
            for rule in rules.matching(call)
        )


def _rejected(index: int, event: UsageEvent, reason: str) -> Outcome:
    return Outcome(index, "rejected", event.id or event.request_id, "out_of_range", reason, "occurred_at")


def _seen_again(row: Claim, stored_hash: UUID) -> Outcome:
    if row.body_hash == stored_hash:
        return Outcome(row.index, "duplicate", str(row.key))
    reason = "An event with this id was counted with other content; this one is kept aside."
    return Outcome(row.index, "conflict", str(row.key), "identity_conflict", reason, "request_id" if row.event.request_id else "id")


def _in_words(values: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Units or tags as they are kept: all values as text."""
    return None if values is None else {name: item if isinstance(item, str) else str(item) for name, item in values.items()}


def json_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as the JSON list that the statement reads; decimals are written out, so that none is rounded."""
    return _encoder.encode(rows).decode()


def _session_row(key: str, found: SessionSums, api_key_id: int | None) -> dict[str, Any]:
    latest, counts = found.latest, found.sums.counts
    return {
        "key": key, "parent_key": latest.event.parent_session, "team_id": latest.who.team_id, "project_id": latest.who.project_id,
        "member_id": latest.who.member_id, "harness": latest.harness, "gateway": latest.gateway, "model": latest.rating.model,
        "task": latest.event.task, "first_at": found.first_at, "last_at": latest.event.occurred_at, "calls": counts[0], "errors": counts[1],
        "unpriced_calls": counts[2], "tokens": found.tokens, "cost": found.sums.cost, "notional_cost": found.sums.notional_cost,
        "context_tokens": found.context_tokens, "context_tokens_max": found.context_tokens_max, "provider": latest.rating.provider, "api_key_id": api_key_id,
        "provider_least": found.provider_least, "provider_greatest": found.provider_greatest,
    }


def rollup_rows(sums: Mapping[tuple[Any, tuple[Any, ...]], Sums], bucket: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The sums as rows, in the order of their keys."""
    columns = (bucket, "dimensions_hash", *names, *COUNTS, *AMOUNTS)
    ordered = sorted(((at, dimensions_hash(values), values, found) for (at, values), found in sums.items()), key=lambda row: row[:2])
    return [
        dict(zip(columns, (at, hashed, *values, *found.counts, *found.amounts), strict=True))
        for at, hashed, values, found in ordered
    ]


def _label_rows(accepted: Sequence[Prepared]) -> list[dict[str, Any]]:
    labels = unresolved_labels(accepted)
    return [
        {"kind": kind, "value": value, "calls": calls, "first_at": first_at, "last_at": last_at}
        for (kind, value), (calls, first_at, last_at) in sorted(labels.items())
    ]

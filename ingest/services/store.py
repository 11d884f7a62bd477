"""The storing transaction: identity, events, sessions, rollups and budgets move together or not at all."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from governance import sql
from governance.attribution.rules import attribution_rules_of
from governance.budgets.rules import Rules, rules_of
from governance.budgets.services import CLOCK_SKEW, AuthorizedCall, charge_follow, charge_send, holds_settle, holds_settle_counted
from governance.pricing.book import current_book
from governance.pricing.terms import terms_of
from governance.tenancy.access import Actor
from governance.tenancy.authentication import KeyMoved, Remembered
from governance.tenancy.directory import Directory, directory_of
from governance.tenancy.models import ApiKey
from governance.tenancy.services import LOCK_CONFIGURATION, organization_lock
from ingest.attributing.facts import KeyFacts
from ingest.formats.event import Outcome, UsageEvent
from ingest.guard import looking as guard
from ingest.once.sources import reporter_of
from ingest.services import statements
from ingest.services.arrivals import arrivals_of
from ingest.services.conflicts import conflicts_told
from ingest.services.prepare import Claim, Prepared, Preparer, claim_of, out_of_range, unresolved_labels
from ingest.services.recognition import Known, Matched, Overtaken, Second, Sorted, matched, shared_sessions, sorted_by_id
from ingest.services.recording import pairs_note, seconds_record
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

# Measured: up to 64 events COPY's own round trips cost up to a fifth more, from 128 to 256 it is the same, with 1,000 COPY saves an eighth.
COPY_FROM = 128
MOST_ATTEMPTS = 5
_encoder = msgspec.json.Encoder()


def events_keep(
    *,
    actor: Actor,
    api_key: ApiKey | None,
    source: str,
    events: Sequence[UsageEvent],
    now: datetime,
    unconfirmed: Remembered | None = None,
) -> tuple[list[Outcome], set[tuple[datetime, UUID]]]:
    """The storing transaction. Returns an outcome for each event, in order, and the stored calls that got further reports, as (time, id).

    It begins anew when others stored calls of a session meanwhile that several sources report; the last time it keeps everybody else out.
    """
    for attempt in range(MOST_ATTEMPTS):
        storing = Storing(actor, api_key, source, now=now, unconfirmed=unconfirmed, attempt=attempt)
        try:
            with transaction.atomic():
                outcomes = storing.store(events)
                sql.check_transaction()
        except Overtaken:
            continue
        return outcomes, storing.touched
    raise RuntimeError("Calls that nobody else could store were overtaken.")


def prepared_store(*, actor: Actor, api_key: ApiKey | None, door: str, rows: Sequence[Prepared], now: datetime) -> None:
    """Stores calls whose identity is settled, in the caller's transaction, which holds the organization's configuration alone."""
    storing = Storing(actor, api_key, door, now=now, unconfirmed=None, attempt=MOST_ATTEMPTS)
    version = sql.rows("SELECT config_version FROM organization WHERE id = %s", [actor.organization.pk])[0].config_version
    rules = rules_of(directory_of(actor.organization, version))
    storing.write(Matched(new=list(rows)), rules, [])


class _Opened(NamedTuple):
    """What the first round trip found.

    The configuration's version, the keys that are new, the freezes in force (budget, session, task), and the sessions that others report too.
    """

    version: int
    fresh: AbstractSet[UUID]
    frozen: AbstractSet[tuple[int | None, str, str]]
    shared: AbstractSet[str]


class Storing:
    """One run of the storing transaction, for all that `at_once` does not take."""

    def __init__(
        self, actor: Actor, api_key: ApiKey | None, source: str, *, now: datetime, unconfirmed: Remembered | None, attempt: int = 0
    ) -> None:
        self.actor, self.api_key, self.source, self.now, self.unconfirmed = actor, api_key, source, now, unconfirmed
        self.organization_id: int = actor.organization.pk
        self.attempt = attempt
        # Calls that got further reports, by time and id.
        self.touched: set[tuple[datetime, UUID]] = set()

    def store(self, events: Sequence[UsageEvent]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(events)
        claims: list[Claim] = []
        defaults = self.api_key.defaults if self.api_key is not None else {}
        api_key_id = self.api_key.pk if self.api_key is not None else None
        for index, event in enumerate(events):
            if reason := out_of_range(event, self.now):
                outcomes[index] = _rejected(index, event, reason)
            else:
                claims.append(claim_of(index, event, self.source, defaults=defaults, api_key_id=api_key_id))
        if claims or self.unconfirmed is not None:
            self._store(claims, outcomes)
        return [outcome for outcome in outcomes if outcome is not None]

    def _store(self, claims: Sequence[Claim], outcomes: list[Outcome | None]) -> None:
        opened = self._open(claims)
        found = sorted_by_id(claims, self._known(claims, opened.fresh))
        for claim, stored in found.repeats:
            outcomes[claim.index] = Outcome(claim.index, "duplicate", str(stored.event_id))
        if found.conflicts:
            for told in conflicts_told(organization_id=self.organization_id, api_key=self.api_key, conflicts=found.conflicts, claims=claims):
                outcomes[told.index] = told
        again = _named_again(found)
        new = [_naming(claim, again) for claim in found.new]
        if not new:
            self._seconds(found, Matched(new=[]), opened, outcomes)
            counted_before = self._name_authorizations(found, frozenset())
            self._arrive(claims, outcomes)
            if counted_before:
                rules, _ = self._configuration(opened.version)
                holds_settle_counted(organization_id=self.organization_id, rules=rules, calls=counted_before, now=self.now)
            return
        rules, preparer = self._configuration(opened.version)
        rows = [preparer.prepare(claim) for claim in new]
        made = self._matched(rows, claims, opened, found.seconds)
        self._seconds(found, made, opened, outcomes)
        counted_before = self._name_authorizations(found, {row.key for row in made.new})
        for row in made.new:
            outcomes[row.index] = Outcome(row.index, "accepted", str(row.key))
        if made.new:
            mark_after_freeze(made.new, rules, opened.frozen, self.origin(rules))
            self.write(made, rules, counted_before, again=_again(claims, outcomes))
            return
        self._arrive(claims, outcomes)
        if counted_before:
            holds_settle_counted(organization_id=self.organization_id, rules=rules, calls=counted_before, now=self.now)

    def _open(self, claims: Sequence[Claim]) -> _Opened:
        """Holds the configuration still, claims the keys and looks for freezes, in one round trip."""
        if self.attempt == MOST_ATTEMPTS - 1:
            organization_lock(self.organization_id, exclusive=True)
        with sql.pipeline():
            sql.send(LOCK_CONFIGURATION, [self.organization_id])
            opening = sql.send(statements.OPEN, {
                "organization": self.organization_id,
                **opening_parameters(claims),
                "now": self.now,
                "secret_hash": None if self.unconfirmed is None else self.unconfirmed.secret_hash,
            })
        found = opening.fetchall()[0]
        if self.unconfirmed is not None and self.unconfirmed.stamp != found.stamp:
            raise KeyMoved
        return _Opened(found.version, set(found.fresh), {(row[0], row[1], row[2]) for row in found.frozen or ()}, set(found.shared))

    def _known(self, claims: Sequence[Claim], fresh: AbstractSet[UUID]) -> dict[UUID, Known]:
        """The keys that were taken before, of which another sighting is counted."""
        taken = {key for claim in claims for key in (claim.key, *claim.others)} - fresh
        if not taken:
            return {}
        seen = sql.rows(statements.COUNT_SIGHTINGS, {"organization": self.organization_id, "key": sorted(taken)})
        return {row.key: Known(row.event_id, row.occurred_at, row.body_hash, row.source) for row in seen}

    def _matched(self, rows: Sequence[Prepared], claims: Sequence[Claim], opened: _Opened, by_id: Sequence[Second]) -> Matched:
        """The new calls, without those that another source of their session told of under another id."""
        own = shared_sessions(claims)
        sessions = {claim.event.session for claim in claims} - {""} if self.attempt else opened.shared | own
        if not sessions:
            return Matched(new=list(rows))
        keyed = {claim.key: claim for claim in reversed(claims)}
        return matched(organization_id=self.organization_id, rows=rows, claims=keyed, sessions=sessions, by_id=by_id)

    def _seconds(self, found: Sorted, made: Matched, opened: _Opened, outcomes: list[Outcome | None]) -> None:
        """Keeps the further reports of calls, and says that they repeat them."""
        into = {second.claim.key: second for second in made.seconds}
        found.seconds = [_followed(second, into) for second in found.seconds] + made.seconds
        found.repeats = [(claim, _followed_known(stored, into)) for claim, stored in found.repeats]
        if not found.seconds and not made.undecided:
            return
        new = {claim.key: claim for claim in found.new if claim.key not in into}
        places = seconds_record(
            organization_id=self.organization_id, api_key=self.api_key, seconds=found.seconds, new=new, fresh_keys=opened.fresh, now=self.now
        )
        for second in found.seconds:
            outcomes[second.claim.index] = Outcome(second.claim.index, "duplicate", str(places[second.claim.index]))
            self.touched.add((second.at, second.event_id))
        pairs = [(one, other, "", "linked") for one, other in found.links] + [(*pair, "undecided") for pair in made.undecided]
        follow = {key: second.event_id for key, second in into.items()}
        pairs = [(follow.get(one, one), follow.get(other, other), session, state) for one, other, session, state in pairs]
        pairs_note(organization_id=self.organization_id, pairs=pairs, now=self.now)

    def _configuration(self, version: int) -> tuple[Rules, Preparer]:
        """The organization's names, budgets and prices, held still until the transaction ends."""
        directory = directory_of(self.actor.organization, version)
        return rules_of(directory), self.preparer(directory)

    def preparer(self, directory: Directory) -> Preparer:
        return Preparer(
            directory=directory,
            now=self.now,
            book=current_book(),
            terms=terms_of(directory),
            rules=attribution_rules_of(directory),
            door=self.source,
            key=KeyFacts(self.api_key.name, self.api_key.member_id, self.api_key.defaults) if self.api_key is not None else KeyFacts(),
            attributions={},
        )

    def _name_authorizations(self, found: Sorted, stored_now: AbstractSet[UUID]) -> list[AuthorizedCall]:
        """Lets events stored before that named no authorization name the one of their repeat. Returns their calls."""
        named: dict[UUID, tuple[datetime, UUID]] = {}
        again = [(claim, stored.event_id, stored.at) for claim, stored in found.repeats]
        again += [(second.claim, second.event_id, second.at) for second in found.seconds]
        for claim, event_id, at in again:
            if claim.event.authorization is not None and event_id not in stored_now:
                named.setdefault(event_id, (at, claim.event.authorization))
        if not named:
            return []
        instants = [at for at, _ in named.values()]
        rows = sql.rows(statements.NAME_AUTHORIZATIONS, {
            "organization": self.organization_id,
            "key": list(named),
            "at": instants,
            "named": [authorization for _, authorization in named.values()],
            "first": min(instants),
            "last": max(instants),
            "skew": CLOCK_SKEW,
        })
        return [authorized_call_stored(row) for row in rows]

    def _arrive(self, claims: Sequence[Claim], outcomes: Sequence[Outcome | None]) -> None:
        """Notes what came in without a call that is new."""
        if again := _again(claims, outcomes):
            sql.execute(statements.ARRIVE, self._arrived((), again))

    def _arrived(self, accepted: Sequence[Prepared], again: Sequence[UsageEvent]) -> dict[str, Any]:
        key = self.api_key
        rows = arrivals_of(accepted, again, defaults=key.defaults if key is not None else {}, now=self.now)
        origin = {"organization": self.organization_id, "source": self.source, "api_key": key.pk if key is not None else 0, "now": self.now}
        return {**origin, "arrivals": json_rows(rows)}

    def write(self, made: Matched, rules: Rules, counted_before: Sequence[AuthorizedCall], *, again: Sequence[UsageEvent] = ()) -> None:
        origin, accepted = self.origin(rules), made.new
        calls = [*authorized_calls(accepted, origin), *counted_before]
        released = holds_settle(organization_id=self.organization_id, rules=rules, calls=calls, now=self.now)
        batch = batch_sums(accepted, rules.directory.zone, origin)
        rows = self.event_rows(accepted)
        if len(rows) >= COPY_FROM:
            with sql.cursor().copy(statements.COPY_EVENTS) as copy:
                for row in rows:
                    copy.write_row(row)
            rows = []
        with sql.pipeline():
            storing = sql.send(statements.STORE, self.stored_parameters(accepted, again, batch=batch, rows=rows))
            moving = charge_send(actor=self.actor, rules=rules, spends=batch.spends, released=released, now=self.now)
        grown = storing.fetchall()
        # Of a session that several sources report, nobody else may have stored a call since it was looked through.
        if self.attempt < MOST_ATTEMPTS and any(made.calls.get(row.key, -1) + batch.sessions[row.key].sums.counts[0] != row.calls for row in grown):
            raise Overtaken
        if moving is not None:
            charge_follow(actor=self.actor, rules=rules, moved=moving.fetchall(), now=self.now)
        guard.stored(organization=self.actor.organization, version=rules.directory.version, sessions=batch.sessions)

    def event_rows(self, accepted: Sequence[Prepared]) -> list[tuple[Any, ...]]:
        """The events as rows of usage_event."""
        api_key_id = self.api_key.pk if self.api_key is not None else None
        return [
            event_row(row, organization_id=self.organization_id, received_at=self.now, door=self.source, api_key_id=api_key_id) for row in accepted
        ]

    def stored_parameters(
        self, accepted: Sequence[Prepared], again: Sequence[UsageEvent], *, batch: Batch, rows: Sequence[tuple[Any, ...]]
    ) -> dict[str, Any]:
        """What STORE is told: `rows` of events, those that came again, and what all of them add up to."""
        api_key_id = self.api_key.pk if self.api_key is not None else None
        return {
            **self._arrived(accepted, again),
            "events": json_rows([dict(zip(statements.EVENT_COLUMNS, row, strict=True)) for row in rows]),
            "sessions": json_rows([_session_row(key, batch.sessions[key], api_key_id) for key in sorted(batch.sessions)]),
            "hours": json_rows(rollup_rows(batch.hours, "hour", DIMENSIONS)),
            "days": json_rows(rollup_rows(batch.days, "day", (*DIMENSIONS, "member_id"))),
            "labels": json_rows(_label_rows(accepted)),
        }

    def origin(self, rules: Rules) -> Origin:
        key = self.api_key
        return Origin(rules.looks, key.pk if key is not None else None, key.service_account_id if key is not None else None)


def event_row(row: Prepared, *, organization_id: int, received_at: datetime, door: str, api_key_id: int | None) -> tuple[Any, ...]:
    """The event as a row of usage_event, in the order of EVENT_COLUMNS."""
    event, rating, who = row.event, row.rating, row.who
    return (
        organization_id, event.occurred_at, row.key, received_at, door, api_key_id,
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


def _again(claims: Sequence[Claim], outcomes: Sequence[Outcome | None]) -> list[UsageEvent]:
    """The events that are no new calls."""
    return [claim.event for claim in claims if (outcome := outcomes[claim.index]) is not None and outcome.status != "accepted"]


def _named_again(found: Sorted) -> dict[UUID, UUID]:
    """The authorization that the first repeat of each call names, by the call's id. A conflict repeats nothing."""
    named: dict[UUID, UUID] = {}
    again = [(claim, stored.event_id) for claim, stored in found.repeats] + [(second.claim, second.event_id) for second in found.seconds]
    for claim, event_id in again:
        if claim.event.authorization is not None:
            named.setdefault(event_id, claim.event.authorization)
    return named


def _naming(claim: Claim, again: Mapping[UUID, UUID]) -> Claim:
    """The claim, naming the authorization of its repeat in the same request where it names none itself."""
    if claim.event.authorization is not None or claim.key not in again:
        return claim
    return replace(claim, event=msgspec.structs.replace(claim.event, authorization=again[claim.key]))


def _followed(second: Second, into: Mapping[UUID, Second]) -> Second:
    """A report of a call that turned out to be one with another: a report of that."""
    target = into.get(second.event_id)
    return second if target is None else second._replace(event_id=target.event_id, at=target.at, is_stored=target.is_stored)


def _followed_known(stored: Known, into: Mapping[UUID, Second]) -> Known:
    target = into.get(stored.event_id)
    return stored if target is None else stored._replace(event_id=target.event_id, at=target.at)


def opening_parameters(claims: Sequence[Claim]) -> dict[str, list[Any] | str]:
    """The keys that are claimed, in order, and what is looked for of the sessions and tasks."""
    first: dict[UUID, tuple[Claim, UUID | None]] = {}
    for claim in claims:
        first.setdefault(claim.key, (claim, None))
        for key in claim.others:
            first.setdefault(key, (claim, claim.key))
    ordered = [(key, *first[key]) for key in sorted(first)]
    reporters = {reporter_of(claim.source) for claim in claims if claim.event.session}
    above = lines_above(claims)
    return {
        "key": [key for key, _, _ in ordered],
        "body_hash": [claim.body_hash for _, claim, _ in ordered],
        "occurred_at": [claim.event.occurred_at for _, claim, _ in ordered],
        "told_by": [claim.source for _, claim, _ in ordered],
        "event_id": [event_id for _, _, event_id in ordered],
        "session_keys": sorted({claim.event.session for claim in claims if claim.event.session}),
        "reporter": min(reporters) if len(reporters) == 1 else "",
        "tasks": sorted({claim.event.task for claim in claims if claim.event.task}),
        "child": [child for child, _ in above],
        "parent": [parent for _, parent in above],
    }


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


def mark_after_freeze(accepted: Sequence[Prepared], rules: Rules, frozen: AbstractSet[tuple[int | None, str, str]], origin: Origin) -> None:
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
        "source_least": found.source_least, "source_greatest": found.source_greatest,
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

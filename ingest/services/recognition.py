"""Finds, inside the storing transaction, what is a second report of a call: by any id it is known by, else by session, tokens and time."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from governance import sql
from governance.ids import hash16
from ingest.once.fingerprint import FAR, Found, Print, recognise, total
from ingest.once.sources import HARNESS, kind_of, reporter_of, source_of
from ingest.services.prepare import Claim, Prepared

INPUTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
# The gateway's own name for a model, which is what its callers ask for.
GROUP_TAG = "model_group"
# One transaction at a time looks through a session that several sources report: the next sees what this one found.
LOCK = "SELECT pg_advisory_xact_lock(key) FROM (SELECT key FROM unnest(%(keys)s::bigint[]) AS x (key) ORDER BY key) sessions"
# A session without calls near the batch's times is one row without a call.
CALLS = """
SELECT x.session AS key, coalesce(s.calls, 0) AS calls, e.id, e.occurred_at, e.provider, e.maker, e.model, e.model_reported, e.tags, e.input_tokens,
    e.cache_read_tokens, e.cache_write_5m_tokens, e.cache_write_1h_tokens, e.output_tokens, e.status, e.latency_ms, e.source, e.gateway, e.api_key_id, e.request_id, e.external_id,
    i.source AS told_by, i.body_hash,
    (SELECT json_agg(json_build_array(g.source, extract(epoch FROM g.reported_at - e.occurred_at), g.own_id)) FROM event_sighting g
        WHERE g.organization_id = %(organization)s AND g.event_id = e.id) AS seen
FROM unnest(%(sessions)s::text[]) AS x (session)
LEFT JOIN session s ON s.organization_id = %(organization)s AND s.key = x.session
LEFT JOIN (
    usage_event e JOIN event_identity i ON i.organization_id = %(organization)s AND i.key = e.id AND i.event_id IS NULL
) ON e.organization_id = %(organization)s AND e.session = x.session AND e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
ORDER BY x.session, e.occurred_at, e.id
"""


class Overtaken(Exception):
    """Others stored calls of the same session meanwhile: what was found may not be true any more, so the transaction begins anew."""


class Known(NamedTuple):
    """A key that is taken: by which event, reported with what body, by whom."""

    event_id: UUID
    at: datetime
    body_hash: UUID
    source: str


class Second(NamedTuple):
    """A report of a call that is counted: of a stored one at `at`, or of one of the same batch."""

    claim: Claim
    event_id: UUID
    at: datetime
    how: str
    is_stored: bool = True


@dataclass(slots=True)
class Sorted:
    """What a batch's reports are. `links` are pairs of events that one report's ids both name."""

    new: list[Claim] = field(default_factory=list)
    repeats: list[tuple[Claim, Known]] = field(default_factory=list)
    conflicts: list[tuple[Claim, Known]] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    links: list[tuple[UUID, UUID]] = field(default_factory=list)


def sorted_by_id(claims: Sequence[Claim], known: Mapping[UUID, Known]) -> Sorted:
    """What each report is by the ids it has. `known` are the keys that were taken before this batch.

    Two reports of one reporter with different ids are two calls, whatever else they share.
    """
    found = Sorted()
    taken: dict[UUID, Known] = dict(known)
    fresh: set[UUID] = set()
    for claim in claims:
        own = taken.get(claim.key)
        named = [taken[key] for key in claim.others if key in taken and are_two_reporters(taken[key].source, claim.source)]
        if own is None and not named:
            found.new.append(claim)
            fresh.add(claim.key)
            mine = Known(claim.key, claim.event.occurred_at, claim.body_hash, claim.source)
            taken |= {key: mine for key in (claim.key, *claim.others) if key not in taken}
            continue
        target = own or named[0]
        if own is not None and own.body_hash == claim.body_hash:
            found.repeats.append((claim, own))
        elif own is not None and not are_two_reporters(own.source, claim.source):
            found.conflicts.append((claim, own))
        else:
            found.seconds.append(Second(claim, target.event_id, target.at, "same-id", is_stored=target.event_id not in fresh))
            mine = Known(target.event_id, target.at, claim.body_hash, claim.source)
            taken |= {key: mine for key in (claim.key, *claim.others) if key not in taken}
        found.links += [(target.event_id, other.event_id) for other in named if other.event_id != target.event_id]
    return found


def are_two_reporters(first: str, second: str) -> bool:
    """Whether two sources are not one. Who told of what was stored before sources were kept may be anybody."""
    return not first or reporter_of(first) != reporter_of(second)


@dataclass(slots=True)
class Matched:
    """What recognition made of the new calls: those that stay new, second reports, and pairs that may be one (event, event, session).

    `calls` is how many calls each session looked at had.
    """

    new: list[Prepared]
    seconds: list[Second] = field(default_factory=list)
    undecided: list[tuple[UUID, UUID, str]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


def matched(
    *, organization_id: int, rows: Sequence[Prepared], claims: Mapping[UUID, Claim], sessions: AbstractSet[str], by_id: Sequence[Second] = ()
) -> Matched:
    """Looks for the calls of these sessions that were reported before, under another id. Waits for others who look through the same sessions.

    `by_id` are the batch's further reports that ids told: who reports a call there reports no other as the same.
    """
    found = Matched(new=[])
    looked = [row for row in rows if row.event.session in sessions]
    if not looked:
        found.new = list(rows)
        return found
    pool = _calls(organization_id, looked, found)
    told: dict[UUID, list[Claim]] = {}
    for second in by_id:
        told.setdefault(second.event_id, []).append(second.claim)
    for seen in chain.from_iterable(pool.values()):
        seen.hear(told.get(seen.call.key, ()))
    fresh: set[UUID] = set()
    for row in sorted(rows, key=lambda one: (one.event.occurred_at, one.key)):
        if row.event.session not in sessions:
            continue
        call = print_of(row)
        near = pool.setdefault(row.event.session, [])
        thought = recognised(call, near)
        if thought.same is None:
            found.undecided += [(call.key, other.key, call.session) for other in thought.undecided]
            near.append(Seen(call, {reporter: timedelta(0) for reporter in call.reporters}))
            near[-1].hear(told.get(row.key, ()))
            fresh.add(row.key)
            continue
        same = next(one for one in near if one.call.key == thought.same.key)
        same.add(call)
        found.seconds.append(Second(claims[row.key], same.call.key, same.at, "matched", is_stored=same.call.key not in fresh))
    gone = {second.claim.key for second in found.seconds}
    found.new = [row for row in rows if row.key not in gone]
    return found


class Seen:
    """A call of a session, and by how much each reporter's time of it differs from the event's."""

    def __init__(self, call: Print, offsets: dict[str, timedelta]) -> None:
        self.call, self.at, self.offsets = call, call.at, offsets

    def add(self, report: Print) -> None:
        """Takes note that the report is another of this call."""
        for reporter in report.reporters:
            self.offsets[reporter] = report.at - self.at
        self.call = replace(self.call, reporters=frozenset(self.offsets), ids=self.call.ids | report.ids)

    def hear(self, claims: Iterable[Claim]) -> None:
        """Takes note of reports that ids show to be of this call."""
        for claim in claims:
            self.offsets.setdefault(reporter_of(claim.source), claim.event.occurred_at - self.at)
            ids = ids_of(claim.source, claim.event.request_id, claim.event.id)
            self.call = replace(self.call, reporters=frozenset(self.offsets), ids=self.call.ids | ids)


def ids_of(source: str, *ids: str) -> frozenset[str]:
    """The ids by which a harness or an SDK tells of a call. A gateway may have put its own in the vendor's place."""
    return frozenset(one for one in ids if one) if kind_of(source) == HARNESS else frozenset()


def recognised(report: Print, near: Sequence[Seen]) -> Found:
    """Judges the report by the clocks of those who told of the calls, as far as earlier pairs have shown how they differ."""
    found = recognise(report, [one.call for one in near])
    if found.same is not None:
        return found
    if not found.undecided:
        return found
    (reporter,) = report.reporters
    # Whose clock the undecided calls go by.
    other = min(found.undecided[0].reporters)
    ahead = sorted(one.offsets[reporter] - one.offsets[other] for one in near if {reporter, other} <= one.offsets.keys())
    return recognise(report, [one.call for one in near], -ahead[len(ahead) // 2]) if len(ahead) > 1 else found


def _calls(organization_id: int, rows: Sequence[Prepared], found: Matched) -> dict[str, list[Seen]]:
    """The calls near the rows in their sessions; notes how many calls each session has."""
    instants, sessions = [row.event.occurred_at for row in rows], sorted({row.event.session for row in rows})
    keys = [hash16("session", str(organization_id), session).int >> 65 for session in sessions]
    sql.execute(LOCK, {"keys": keys})
    pool: dict[str, list[Seen]] = {}
    window = {"first": min(instants) - FAR, "last": max(instants) + FAR}
    for row in sql.rows(CALLS, {"organization": organization_id, "sessions": sessions, **window}):
        found.calls[row.key] = row.calls
        if row.id is not None:
            pool.setdefault(row.key, []).append(seen_of(row, row.key))
    return pool


def seen_of(row: Any, session: str) -> Seen:
    """A stored call as CALLS has it."""
    offsets = {reporter_of(source): timedelta(seconds=float(seconds)) for source, seconds, _ in row.seen or ()}
    offsets = offsets or {reporter_of(told_by(row)): timedelta(0)}
    ids = ids_of(told_by(row), row.request_id, row.external_id).union(*(ids_of(source, own_id) for source, _, own_id in row.seen or ()))
    tags = row.tags or {}
    call = Print(
        row.id,
        session,
        row.occurred_at,
        row.provider,
        row.maker,
        (row.model, row.model_reported, tags.get(GROUP_TAG, "")),
        total([getattr(row, name) for name in INPUTS]),
        row.output_tokens,
        row.status == "ok",
        timedelta(milliseconds=row.latency_ms or 0),
        frozenset(offsets),
        ids,
    )
    return Seen(call, offsets)


def told_by(row: Any) -> str:
    """Who reported a stored event; of one stored before sources were kept, as its door and gateway tell."""
    return row.told_by or source_of(row.source, gateway=row.gateway, api_key_id=row.api_key_id)


def print_of(row: Prepared) -> Print:
    event, rating = row.event, row.rating
    return Print(
        row.key,
        event.session,
        event.occurred_at,
        rating.provider,
        rating.maker,
        (rating.model, event.model, (event.tags or {}).get(GROUP_TAG, "")),
        total([getattr(event, name) for name in INPUTS]),
        event.output_tokens,
        event.status == "ok",
        timedelta(milliseconds=event.latency_ms or 0),
        frozenset({reporter_of(row.source)}),
        ids_of(row.source, event.request_id, event.id),
    )


def shared_sessions(claims: Iterable[Claim]) -> set[str]:
    """The sessions that several sources of the batch itself report."""
    reporters: dict[str, str] = {}
    shared: set[str] = set()
    for claim in claims:
        if session := claim.event.session:
            reporter = reporter_of(claim.source)
            if reporters.setdefault(session, reporter) != reporter:
                shared.add(session)
    return shared

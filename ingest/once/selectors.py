"""Reads of calls that several sources report: a call's reports, pairs that wait for a person, and what share of calls which source saw."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from governance import sql
from governance.errors import NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from ingest.models import EventIdentity, UsageEvent
from ingest.once.models import EventSighting, SightingPair
from ingest.once.sources import KIND_LABELS, door_of, kind_of, shown_of, source_of

# The calls that keys are of now, whatever they were joined to since.
CALLS = """
SELECT x.key, e.id, e.occurred_at, e.provider, e.model, e.input_tokens, e.cache_read_tokens, e.cache_write_5m_tokens, e.cache_write_1h_tokens, e.output_tokens,
    e.cost, e.source, e.gateway, e.harness, e.session, own.source AS told_by
FROM unnest(%(keys)s::uuid[]) AS x (key)
JOIN event_identity i ON i.organization_id = %(organization)s AND i.key = x.key
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = i.occurred_at AND e.id = coalesce(i.event_id, i.key)
JOIN event_identity own ON own.organization_id = %(organization)s AND own.key = e.id
"""
# What coverage can be told by.
BY = {
    "door": "''",
    "harness": "e.harness",
    "gateway": "e.gateway",
    "session": "e.session",
    "team": "e.team_id::text",
    "project": "e.project_id::text",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """The calls of one group by the sources that told of them: `sources` are all of them, written `kind:door`."""

    group: str
    sources: tuple[str, ...]
    calls: int

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind_of(source) for source in self.sources)

    @property
    def doors(self) -> frozenset[str]:
        return frozenset(door_of(source) for source in self.sources)


def coverage(
    actor: Actor, *, since: datetime, until: datetime, by: str = "door", session: str | None = None, door: str | None = None
) -> list[Coverage]:
    """Which sources told of how many calls from `since` to before `until`, by group: one row for each set of sources, the most calls first.

    `by` is one of BY ("door": everything is one group, named ""); `session` and `door` narrow it. It reads the calls of the window: ask for a day
    or a week. Calls of teams that the actor does not see are left out.
    """
    access.require(actor, Right.VIEW_SPEND)
    rows = sql.rows(_coverage(by, session=session, teams=actor.team_ids), {
        "organization": actor.organization.pk, "since": since, "until": until, "session": session or "",
        "teams": sorted(actor.team_ids or ()),
    })  # fmt: skip
    found: dict[tuple[str, tuple[str, ...]], int] = {}
    for row in rows:
        sources = row.seen or [source_of(row.source, gateway=row.gateway, api_key_id=None)]
        key = (row.label or "", tuple(sorted(set(map(shown_of, sources)))))
        found[key] = found.get(key, 0) + row.calls
    listed = [Coverage(label, sources, calls) for (label, sources), calls in found.items()]
    listed = [one for one in listed if door is None or door in one.doors]
    return sorted(listed, key=lambda one: (-one.calls, one.group, one.sources))


def _coverage(by: str, *, session: str | None, teams: frozenset[int] | None) -> str:
    narrowed = " AND e.session = %(session)s" if session is not None else ""
    narrowed += " AND e.team_id = ANY(%(teams)s::bigint[])" if teams is not None else ""
    return f"""
SELECT {BY[by]} AS label, e.source, CASE WHEN e.gateway = '' THEN '' ELSE 'yes' END AS gateway, g.seen, count(*) AS calls
FROM usage_event e LEFT JOIN (
    SELECT event_id, array_agg(DISTINCT split_part(source, '#', 1) ORDER BY split_part(source, '#', 1)) AS seen FROM event_sighting
    WHERE organization_id = %(organization)s AND event_at >= %(since)s AND event_at < %(until)s GROUP BY event_id
) g ON g.event_id = e.id
WHERE e.organization_id = %(organization)s AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s{narrowed}
GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True)
class Shares:
    """How many calls gateways alone, harnesses alone and both told of, and which told of the rest (a vendor's answer alone)."""

    both: int = 0
    gateway_only: int = 0
    harness_only: int = 0
    other: int = 0

    @property
    def calls(self) -> int:
        return self.both + self.gateway_only + self.harness_only + self.other


def shares_of(found: Sequence[Coverage]) -> Shares:
    """What the rows of a coverage come to."""
    sums = {"both": 0, "gateway_only": 0, "harness_only": 0, "other": 0}
    for one in found:
        if {"gateway", "harness"} <= one.kinds:
            name = "both"
        elif "gateway" in one.kinds:
            name = "gateway_only"
        else:
            name = "harness_only" if "harness" in one.kinds else "other"
        sums[name] += one.calls
    return Shares(**sums)


def call_now(actor: Actor, call_id: UUID) -> UsageEvent:
    """The call that the id is of now, if the actor may see it: an id whose call was joined to another leads to that one. Raises NotFound."""
    known = access.scoped(actor, EventIdentity.objects.filter(key=call_id)).first()
    rows = access.visible(actor, UsageEvent.objects.all())
    call = rows.filter(occurred_at=known.occurred_at, id=known.event_id or call_id).first() if known is not None else None
    if call is None:
        raise NotFound("There is no such call here, or it belongs to somebody else.")
    return call


def sightings_of_call(actor: Actor, event_id: UUID) -> QuerySet[EventSighting]:
    """Every report of a call that has several, the first one first. Who may see the call is for its page to say."""
    return access.scoped(actor, EventSighting.objects.filter(event_id=event_id)).order_by("id")


def source_of_call(actor: Actor, call: UsageEvent) -> str:
    """Who reported a call that has one report."""
    known = access.scoped(actor, EventIdentity.objects.filter(key=call.id)).values_list("source", flat=True).first()
    return known or source_of(call.source, gateway=call.gateway, api_key_id=None)


def sources_of_calls(actor: Actor, event_ids: Sequence[UUID]) -> dict[UUID, tuple[str, ...]]:
    """Of each of these calls that several sources told of, which."""
    rows = access.scoped(actor, EventSighting.objects.filter(event_id__in=event_ids)).order_by("id").values_list("event_id", "source")
    found: dict[UUID, dict[str, None]] = {}
    for event_id, source in rows:
        found.setdefault(event_id, {})[source] = None
    return {key: tuple(sources) for key, sources in found.items()}


def pairs_undecided(actor: Actor, *, session: str | None = None) -> QuerySet[SightingPair]:
    """The pairs of calls that may be one and that nobody has decided, the latest first."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    found = access.scoped(actor, SightingPair.objects.filter(state=SightingPair.State.UNDECIDED))
    return (found if session is None else found.filter(session=session)).order_by("-noted_at", "-id")


@dataclass(frozen=True, slots=True)
class Described:
    """An undecided pair with its two calls as they count, the earlier first, and who told of each."""

    pair: SightingPair
    calls: tuple[Any, Any]
    sources: tuple[tuple[str, ...], tuple[str, ...]]


def pairs_described(actor: Actor, pairs: Iterable[SightingPair]) -> list[Described]:
    """These pairs with their calls, without those whose calls are gone or one by now."""
    listed = list(pairs)
    keys = sorted({key for pair in listed for key in (pair.first_key, pair.second_key)})
    if not keys:
        return []
    rows = {row.key: row for row in sql.rows(CALLS, {"organization": actor.organization.pk, "keys": keys})}
    told = sources_of_calls(actor, sorted({row.id for row in rows.values()}))
    found = []
    for pair in listed:
        calls = [rows[key] for key in (pair.first_key, pair.second_key) if key in rows]
        if len({call.id for call in calls}) == 2:
            first, second = sorted(calls, key=lambda row: (row.occurred_at, row.id))
            found.append(Described(pair, (first, second), (_told_by(first, told), _told_by(second, told))))
    return found


def _told_by(row: Any, told: Mapping[UUID, tuple[str, ...]]) -> tuple[str, ...]:
    return told.get(row.id) or (row.told_by or source_of(row.source, gateway=row.gateway, api_key_id=None),)


def source_name(source: str) -> str:
    """A source in words: "Gateway, through litellm"."""
    return f"{KIND_LABELS.get(kind_of(source), kind_of(source))}, through {door_of(source)}"


def differences(sighting: EventSighting, stored: Any) -> list[tuple[str, Any, Any]]:
    """In what a report differs from the call as it counts: (name, reported, counted) of its figures and its model."""
    names = {"model": "model_reported"} | {name: name for name in TOKENS} | {"status": "status", "reported_cost": "reported_cost"}
    found = []
    for name, column in names.items():
        said, counted = sighting.reported.get(name), getattr(stored, column)
        # What was paid is stored with more digits than it was reported with.
        is_same = str(said) == str(counted) if name != "reported_cost" else counted is None or Decimal(str(said or 0)) == counted
        if said is not None and not is_same:
            found.append((name, said, counted))
    return found


TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")

"""The later pass: settles reports that were left, and pairs of calls that only the whole of their session tells of. Finds them by what storing noted."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from django.db import transaction

from governance import sql
from governance.tenancy.models import Organization
from ingest.once.fingerprint import Print, agreed, pairs_settled
from ingest.once.models import EventSighting, SightingPair
from ingest.once.settled import event_of, links_join, pair_join, sightings_settle
from ingest.services.recognition import CALLS, Seen, seen_of
from ingest.services.recording import pairs_note

# The storing transaction's own second step has had its chance by then.
LEFT = timedelta(seconds=15)
# One turn's work, so that a turn ends.
MOST_CALLS, MOST_SESSIONS = 2_000, 200
# A pair that nothing has settled for so long waits for a person.
HOPELESS = timedelta(days=2)
# Further than a session's calls are ever looked for together.
AROUND = timedelta(hours=12)
REASON = "The whole session shows them to be one call: the same tokens, in the same order, by clocks that differ alike."


def pass_run(*, organization: Organization, now: datetime) -> int:
    """Does what is to be done for the organization. Returns how many pairs were joined."""
    left_settle(organization=organization, now=now)
    joined = links_join(organization=organization, now=now)
    recent = SightingPair.objects.filter(organization=organization, state=SightingPair.State.UNDECIDED, noted_at__gte=now - HOPELESS)
    sessions = recent.exclude(session="").order_by("session").values_list("session", flat=True).distinct()[:MOST_SESSIONS]
    return joined + sum(session_settle(organization=organization, session=session, now=now) for session in list(sessions))


def left_settle(*, organization: Organization, now: datetime) -> int:
    """Settles the calls whose further reports were stored and not put into effect. Returns how many."""
    left = EventSighting.objects.filter(organization=organization, is_settled=False, seen_at__lt=now - LEFT)
    events = sorted(set(left.values_list("event_at", "event_id")[:MOST_CALLS]))
    if events:
        sightings_settle(organization=organization, events=events, now=now)
    return len(events)


def session_settle(*, organization: Organization, session: str, now: datetime) -> int:
    """Joins the calls of a session that two reporters tell of, as far as the session as a whole shows which they are. Returns how many pairs."""
    calls = _calls(organization.pk, session)
    if not calls:
        return 0
    apart = set(
        SightingPair.objects.filter(organization=organization, state=SightingPair.State.APART).values_list("first_key", "second_key")
    )
    joined = 0
    reporters = sorted({reporter for call in calls for reporter in call.call.reporters})
    for first, second in combinations(reporters, 2):
        pairs = [
            pair
            for pair in pairs_settled(_only(calls, first, second), _only(calls, second, first), _offsets(calls, first, second))
            if _key(*pair) not in apart
        ]
        joined += sum(_join(organization, pair, now) for pair in pairs)
        if pairs:
            calls = _calls(organization.pk, session)
    _tidy(organization.pk, session, now)
    return joined


def _tidy(organization_id: int, session: str, now: datetime) -> None:
    """Takes off the list what is decided by now: pairs that are one, and pairs of which each has found another."""
    seen = {one.call.key: one.call.reporters for one in _calls(organization_id, session)}
    for pair in SightingPair.objects.filter(organization=organization_id, session=session, state=SightingPair.State.UNDECIDED):
        first, second = (event_of(organization_id, key) for key in (pair.first_key, pair.second_key))
        if first == second:
            SightingPair.objects.filter(pk=pair.pk).update(state=SightingPair.State.JOINED, decided_at=now)
        elif first is None or second is None or seen.get(first[1], frozenset()) & seen.get(second[1], frozenset()):
            pair.delete()


def _calls(organization_id: int, session: str) -> list[Seen]:
    """The calls of the session around those that are undecided."""
    found = SightingPair.objects.filter(organization=organization_id, session=session, state=SightingPair.State.UNDECIDED)
    places = sql.rows(
        "SELECT min(occurred_at) AS first, max(occurred_at) AS last FROM event_identity WHERE organization_id = %s AND key = ANY(%s::uuid[])",
        [organization_id, sorted({key for pair in found.values_list("first_key", "second_key") for key in pair})],
    )
    if places[0].first is None:
        return []
    window = {"first": places[0].first - AROUND, "last": places[0].last + AROUND}
    rows: list[Any] = sql.rows(CALLS, {"organization": organization_id, "sessions": [session], **window})
    return [seen_of(row, session) for row in rows if row.id is not None]


def _only(calls: list[Seen], reporter: str, other: str) -> list[Print]:
    """The calls that one told of and not the other."""
    return [one.call for one in calls if reporter in one.call.reporters and other not in one.call.reporters]


def _offsets(calls: list[Seen], first: str, second: str) -> list[timedelta]:
    """How far the second's clock was ahead in the calls that both told of."""
    found = [one.offsets[second] - one.offsets[first] for one in calls if {first, second} <= one.offsets.keys()]
    return found if agreed(found) is not None or len(found) < 2 else []


def _key(first: Print, second: Print) -> tuple[Any, Any]:
    return min(first.key, second.key), max(first.key, second.key)


def _join(organization: Organization, pair: tuple[Print, Print], now: datetime) -> bool:
    first, second = _key(*pair)
    with transaction.atomic():
        pairs_note(organization_id=organization.pk, pairs=[(first, second, pair[0].session, "undecided")], now=now)
        found = SightingPair.objects.get(organization=organization, first_key=first, second_key=second)
        if found.state == SightingPair.State.APART:
            return False
        return pair_join(pair=found, how=EventSighting.How.SETTLED, reason=REASON, now=now)


def pass_run_all(*, now: datetime) -> int:
    """Runs the pass for every organization that has something to settle."""
    return sum(pass_run(organization=organization, now=now) for organization in _waiting(now))


def _waiting(now: datetime) -> Iterator[Organization]:
    states = (SightingPair.State.UNDECIDED, SightingPair.State.LINKED)
    pairs = SightingPair.objects.filter(state__in=states, noted_at__gte=now - HOPELESS).values_list("organization", flat=True)
    left = EventSighting.objects.filter(is_settled=False, seen_at__lt=now - LEFT).values_list("organization", flat=True)
    yield from Organization.objects.filter(pk__in={*pairs, *left}).order_by("pk")

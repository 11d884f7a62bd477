"""Keeps a call from counting twice when the span around it comes in another request than its own.

Within a request the spans tell (ingest/formats/nesting.py). Across requests a call leaves a mark on its own span and one on the
first span above that its request did not hold; whoever comes later finds them. Two calls of which both have a
vendor's id are told apart by these alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from governance import sql
from governance.ids import hash16
from ingest.formats.nesting import SpanKey
from ingest.formats.otlp import Sighting
from ingest.signals.models import SpanSeen

# Spans of one trace are exported within minutes of each other; retries go on for an hour or so.
REMEMBERED = timedelta(days=1)
CALL, BENEATH = "call", "beneath"
# One request of a trace at a time, in one order, so that of a wrapper and its call that come at once the second sees the first.
LOCK = "SELECT pg_advisory_xact_lock(key) FROM (SELECT key FROM unnest(%(keys)s::bigint[]) AS x (key) ORDER BY key) traces"
SEEN = "SELECT key, is_named FROM span_seen WHERE organization_id = %(organization)s AND key = ANY(%(keys)s::uuid[])"
NOTE = """
INSERT INTO span_seen (organization_id, key, is_named, seen_at)
SELECT %(organization)s, key, is_named, %(now)s FROM unnest(%(keys)s::uuid[], %(named)s::boolean[]) AS x (key, is_named)
ON CONFLICT (organization_id, key) DO UPDATE SET is_named = span_seen.is_named AND excluded.is_named, seen_at = excluded.seen_at
WHERE span_seen.is_named AND NOT excluded.is_named
"""


def mark(kind: str, span: SpanKey) -> UUID:
    return hash16(kind, *span)


def is_whole(sightings: Sequence[Sighting]) -> bool:
    """Whether the request tells everything of its calls: each has a vendor's id and no span around it is elsewhere."""
    return all(one.is_named and not one.beyond for one in sightings)


def told_before(*, organization_id: int, sightings: Sequence[Sighting]) -> list[str]:
    """Of each call whether an earlier request counted it by a span around it (CALL) or in it (BENEATH), else "".

    To be asked in the storing transaction.
    """
    traces = sorted({hash16("trace", str(organization_id), span[0]).int >> 65 for one in sightings for span in one.spans})
    wanted = [mark(BENEATH, span) for one in sightings for span in one.spans] + [
        mark(CALL, span) for one in sightings for span in one.above
    ]
    if not wanted:
        return [""] * len(sightings)
    sql.execute(LOCK, {"keys": traces})
    seen = {row.key: row.is_named for row in sql.rows(SEEN, {"organization": organization_id, "keys": wanted})}
    return [told(one, seen) for one in sightings]


def told(one: Sighting, seen: Mapping[UUID, bool]) -> str:
    def is_same(key: UUID) -> bool:
        return key in seen and not (one.is_named and seen[key])

    if any(is_same(mark(CALL, span)) for span in one.above):
        return CALL
    return BENEATH if any(is_same(mark(BENEATH, span)) for span in one.spans) else ""


def told_note(*, organization_id: int, sightings: Sequence[Sighting], told: Sequence[str], now: datetime) -> None:
    """Leaves the marks of calls, those that were passed over too, since what lies in them or around them may still come.

    Of a wrapper whose call was counted beneath it nothing is said of what else lies in it: that may be another call.
    """
    marks: dict[UUID, bool] = {}
    for one, how in zip(sightings, told, strict=True):
        for key in [*(mark(CALL, span) for span in one.spans if how != BENEATH), *(mark(BENEATH, span) for span in one.beyond)]:
            marks[key] = marks.get(key, True) and one.is_named
    if marks:
        ordered = sorted(marks)
        sql.execute(NOTE, {"organization": organization_id, "keys": ordered, "named": [marks[key] for key in ordered], "now": now})


def spans_forget() -> int:
    """Forgets spans of yesterday. Returns how many."""
    return SpanSeen.objects.filter(seen_at__lt=timezone.now() - REMEMBERED).delete()[0]

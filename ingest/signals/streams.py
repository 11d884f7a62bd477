"""Turns cumulative metrics into what was added since they were last seen, each stream by itself, whatever comes twice, late or at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from governance import sql
from ingest.formats.points import Meter
from ingest.signals.models import MetricStream

# A process that says nothing for so long has ended; should it speak again, its stream counts from its beginning.
REMEMBERED = timedelta(days=90)
LOCK = """
WITH ordered AS (SELECT key FROM unnest(%(keys)s::uuid[]) AS x (key) ORDER BY key)
INSERT INTO metric_stream (organization_id, key, time_unix_nano, value, seen_at)
SELECT %(organization)s, key, 0, 0, %(now)s FROM ordered
ON CONFLICT (organization_id, key) DO UPDATE SET seen_at = excluded.seen_at
RETURNING key, time_unix_nano, value
"""
MOVE = """
UPDATE metric_stream s SET time_unix_nano = x.at, value = x.value
FROM unnest(%(keys)s::uuid[], %(at)s::numeric[], %(values)s::numeric[]) AS x (key, at, value)
WHERE s.organization_id = %(organization)s AND s.key = x.key
"""


def added(*, organization_id: int, meters: Sequence[Meter], now: datetime) -> list[tuple[Meter, int]]:
    """What each point adds, those that add nothing left out. Call it in the transaction that stores the events.

    A cumulative point adds what its stream grew by since its latest point; one that is not newer was counted already. A stream that
    begins anew has a name of its own, and where a client does not say so its value falls: then all of it is new. A delta
    point adds what it says; that it comes twice is told by its id.
    """
    cumulative = sorted((one for one in meters if one.point.is_cumulative), key=lambda one: (one.stream, one.point.time_unix_nano))
    found = [(one, whole(one.value)) for one in meters if not one.point.is_cumulative]
    keys = sorted({UUID(one.stream) for one in cumulative})
    if keys:
        rows = sql.rows(LOCK, {"organization": organization_id, "keys": keys, "now": now})
        state: dict[UUID, tuple[int, Decimal]] = {row.key: (int(row.time_unix_nano), row.value) for row in rows}
        for one in cumulative:
            at, value = state[UUID(one.stream)]
            if one.point.time_unix_nano > at:
                # Rounded before it is subtracted, so that all that is added comes to the value.
                found.append((one, whole(one.value) - (whole(value) if one.value >= value else 0)))
                state[UUID(one.stream)] = (one.point.time_unix_nano, one.value)
        sql.execute(MOVE, {
            "organization": organization_id, "keys": keys, "at": [state[key][0] for key in keys], "values": [state[key][1] for key in keys],
        })  # fmt: skip
    return [(one, tokens) for one, tokens in found if tokens > 0]


def whole(value: Decimal) -> int:
    return round(value)


def streams_forget() -> int:
    """Forgets streams that ended long ago. Returns how many."""
    return MetricStream.objects.filter(seen_at__lt=timezone.now() - REMEMBERED).delete()[0]

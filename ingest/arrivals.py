"""How connections do: what came in by which door, with which key, of which harness and gateway, and what of it was refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from governance import sql
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from ingest.models import RejectedInput
from ingest.rejections import STANDS_FOR

DAY = timedelta(days=1)
HOURS = 24
KEPT = timedelta(days=9)
# Of each connection: all its hours in one row, those of the last day one by one.
CONNECTIONS = """
SELECT source, api_key_id, harness, gateway, max(last_at) AS last_at,
    coalesce(sum(calls) FILTER (WHERE hour > %(since)s), 0)::bigint AS calls, coalesce(sum(errors) FILTER (WHERE hour > %(since)s), 0)::bigint AS errors,
    coalesce(sum(repeats) FILTER (WHERE hour > %(since)s), 0)::bigint AS repeats,
    coalesce(json_object_agg(floor(extract(epoch FROM hour) / 3600)::bigint, calls + repeats) FILTER (WHERE hour > %(since)s), '{}') AS by_hour
FROM arrival_hour WHERE organization_id = %(organization)s AND (%(api_key)s::bigint IS NULL OR api_key_id = %(api_key)s) GROUP BY 1, 2, 3, 4
"""
FORGET = """
DELETE FROM arrival_hour a WHERE a.hour < %(before)s AND EXISTS (
    SELECT FROM arrival_hour b WHERE b.organization_id = a.organization_id AND b.source = a.source AND b.api_key_id = a.api_key_id AND b.harness = a.harness
        AND b.gateway = a.gateway AND b.hour > a.hour AND b.last_at >= a.last_at)
"""


REFUSALS = f"""
SELECT door, coalesce(api_key_id, 0) AS api_key_id, harness, gateway, max(received_at) AS last_at, (array_agg(reason ORDER BY received_at DESC, id DESC))[1] AS reason,
    sum({STANDS_FOR})::bigint AS count
FROM rejected_input
WHERE organization_id = %(organization)s AND received_at > %(since)s AND replayed_at IS NULL AND kind <> %(conflict)s
    AND (%(api_key)s::bigint IS NULL OR api_key_id = %(api_key)s)
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came by one door with one key of one harness and gateway; `calls`, `errors`, `repeats` and `by_hour` (oldest first) are of the last day."""

    source: str
    api_key_id: int
    harness: str
    gateway: str
    last_at: datetime
    calls: int
    errors: int
    repeats: int
    by_hour: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """What came by one door with one key in the last day, naming one harness and gateway or none, and was not counted."""

    source: str
    api_key_id: int
    harness: str
    gateway: str
    count: int
    last_at: datetime
    reason: str


def arrivals(actor: Actor, *, now: datetime, api_key_id: int | None = None) -> Sequence[Arrived]:
    """All that ever came in, the latest first; with `api_key_id` only what came with that key."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    rows = sql.rows(CONNECTIONS, {"organization": actor.organization.pk, "since": now - DAY, "api_key": api_key_id})
    last = int(now.timestamp()) // 3600
    found = [
        Arrived(
            row.source,
            row.api_key_id,
            row.harness,
            row.gateway,
            row.last_at,
            row.calls,
            row.errors,
            row.repeats,
            tuple(row.by_hour.get(str(hour), 0) for hour in range(last - HOURS + 1, last + 1)),
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.last_at, one.source, one.harness), reverse=True)


def refusals(actor: Actor, *, now: datetime, api_key_id: int | None = None) -> Sequence[Refused]:
    """What of the last day was not counted, by door, key, harness and gateway, the latest first. What is the same call in other words is no refusal."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    rows = sql.rows(
        REFUSALS,
        {"organization": actor.organization.pk, "since": now - DAY, "api_key": api_key_id, "conflict": RejectedInput.Kind.CONFLICT},
    )
    return [Refused(row.door, row.api_key_id, row.harness, row.gateway, row.count, row.last_at, row.reason) for row in rows]


def arrivals_forget() -> int:
    """Lets go of hours that are long over, but for the last one of each connection. Returns how many."""
    return sql.execute(FORGET, {"before": timezone.now() - KEPT})

"""What came in, by the hour in which it was called: the rows that say how a connection does. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.formats.event import UsageEvent
from ingest.services.prepare import Prepared

# Hours before this are one: nobody looks at the rate of a month ago, and a transcript of a year shall not leave a row for each of its hours.
COUNTED_BY_HOUR = timedelta(days=8)
HOUR_S = 3600
CALLS, ERRORS, REPEATS = range(3)


def arrivals_of(
    accepted: Iterable[Prepared], again: Iterable[UsageEvent], *, defaults: Mapping[str, str], now: datetime
) -> list[dict[str, Any]]:
    """Rows of hour, harness and gateway with calls, errors among them, and repeats, in the order of their keys.

    `again` are events that were counted before, or are at odds with what was.
    """
    found: dict[tuple[int, str, str], list[int]] = {}
    oldest, newest = ((now - span).timestamp() // HOUR_S for span in (COUNTED_BY_HOUR, timedelta(0)))

    def counts(at: datetime, harness: str, gateway: str) -> list[int]:
        hour = int(min(max(at.timestamp() // HOUR_S, oldest), newest))
        return found.setdefault((hour, harness, gateway), [0, 0, 0])

    for row in accepted:
        sums = counts(row.event.occurred_at, row.harness, row.gateway)
        sums[CALLS] += 1
        sums[ERRORS] += row.event.status != "ok"
    for event in again:
        harness, gateway = (getattr(event, name) or defaults.get(name, "") for name in ("harness", "gateway"))
        counts(event.occurred_at, harness.lower(), gateway.lower())[REPEATS] += 1
    return [
        {
            "hour": datetime.fromtimestamp(hour * HOUR_S, UTC),
            "harness": harness,
            "gateway": gateway,
            "calls": sums[CALLS],
            "errors": sums[ERRORS],
            "repeats": sums[REPEATS],
        }
        for (hour, harness, gateway), sums in sorted(found.items())
    ]

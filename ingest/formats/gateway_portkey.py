"""Portkey's log exports and logs API: one record for each request. Written from its documentation; cost is in cents.

`req_units` and `res_units` are the vendor's input and output tokens; what caches served is not said, so it is priced as plain input
unless the record brings the vendor's answer.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, amount, identifier, instant, known, mapping, text
from ingest.formats import any_vendor
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds

NAME = "portkey"
FIELDS = {
    "_user": "member",
    "environment": "environment",
    "_environment": "environment",
    "team": "team",
    "project": "project",
    "session": "session",
    "session_id": "session",
}
CACHED = ("HIT", "SEMANTIC HIT")


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if str(record.get("cache_status", "")).upper() in CACHED:
            return
        words = {text(name, 120): text(value) for name, value in mapping(record.get("metadata")).items()}
        is_ok = record.get("is_success") is not False and not failed(record.get("response_status_code"))
        yield known(
            {
                **{FIELDS[name]: value for name, value in words.items() if name in FIELDS},
                "id": identifier(record.get("id")),
                "occurred_at": instant(record.get("created_at") or record.get("time_of_generation")),
                "provider": text(record.get("ai_org") or record.get("ai_provider"), 80),
                "model": text(record.get("ai_model")),
                "gateway": "portkey",
                "trace": identifier(record.get("trace_id")),
                "status": "ok" if is_ok else "error",
                **(tokens(record) if is_ok else {}),
                "latency_ms": milliseconds(record.get("response_time")),
                "reported_cost": in_dollars(record.get("cost")) if is_ok else None,
                "currency": "USD",
                "tags": {name: value for name, value in words.items() if name not in FIELDS and value},
            }
        )


def tokens(record: Mapping[str, Any]) -> Fields:
    if found := any_vendor.tokens(mapping(record.get("response"))):
        return found
    reported = Reported(input=record.get("req_units"), output=record.get("res_units"), total=record.get("total_units"))
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def failed(status: Any) -> bool:
    return isinstance(status, int) and status >= 400


def in_dollars(cents: Any) -> str | None:
    exact = amount(cents)
    return None if exact is None else f"{Decimal(exact).scaleb(-2):f}"

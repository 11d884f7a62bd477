"""Cloudflare AI Gateway's logs, as its API lists them: one record for each request. Written from its documentation.

What caches of the vendor served is not said, so all input is priced as plain input. An answer from the gateway's own cache is no call.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, amount, identifier, instant, known, listed, mapping, text
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.scalars import milliseconds

NAME = "cloudflare"
FIELDS = {
    "team": "team",
    "project": "project",
    "environment": "environment",
    "user": "member",
    "user_id": "member",
    "email": "member",
    "session": "session",
    "session_id": "session",
}


class Reader(Stateless):
    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        for row in listed(record.get("result")) or [record]:
            if row.get("cached") is not True:
                yield call(row)


def call(row: Mapping[str, Any]) -> Fields:
    words = {text(name, 120): text(value) for name, value in labels(row.get("metadata")).items()}
    is_ok = row.get("success") is not False
    reported = Reported(input=row.get("tokens_in"), output=row.get("tokens_out"))
    return known(
        {
            **{FIELDS[name]: value for name, value in words.items() if name in FIELDS},
            "id": identifier(row.get("id")),
            "occurred_at": instant(row.get("created_at")),
            "provider": text(row.get("provider"), 80),
            "model": text(row.get("model")),
            "gateway": "cloudflare",
            "status": "ok" if is_ok else "error",
            **(disjoint(reported, cache_in_input=True, reasoning_in_output=True) if is_ok else {}),
            "latency_ms": milliseconds(row.get("duration")),
            "reported_cost": amount(row.get("cost")) if is_ok else None,
            "tags": {name: value for name, value in words.items() if value and name not in FIELDS},
        }
    )


def labels(metadata: Any) -> Mapping[str, Any]:
    """The caller's own metadata, which the API gives as JSON in a text."""
    if not isinstance(metadata, str):
        return mapping(metadata)
    try:
        return mapping(json.loads(metadata))
    except (ValueError, RecursionError):
        return {}

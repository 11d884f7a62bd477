"""What a format read of a call becomes an event, or a refusal that says why and keeps no text that somebody wrote."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from ingest.formats.batch import Refusal, fault_of
from ingest.formats.event import MAX_TAGS, Fault, UsageEvent, fault_in_full

DURATIONS = ("latency_ms", "ttft_ms")
NUMERIC = re.compile(r"[-+0-9.:eETZ ]{1,40}")


def event_of(fields: Mapping[str, Any], index: int) -> UsageEvent | Refusal:
    """The event with these fields, named as UsageEvent names them, or why it is refused.

    Of tags beyond MAX_TAGS the first are kept: telemetry carries whatever its resource was labelled with.
    """
    if isinstance(tags := fields.get("tags"), dict) and len(tags) > MAX_TAGS:
        fields = {**fields, "tags": dict(list(tags.items())[:MAX_TAGS])}
    if split := {name: round(value) for name in DURATIONS if isinstance(value := fields.get(name), float) and isfinite(value)}:
        # A call is not lost for a part of a millisecond.
        fields = {**fields, **split}
    try:
        event = msgspec.convert(fields, UsageEvent)
    except msgspec.ValidationError as error:
        return refusal(fields, index, fault_of(error))
    broken = fault_in_full(event)
    return refusal(fields, index, broken) if broken else event


def refusal(fields: Mapping[str, Any], index: int, broken: Fault) -> Refusal:
    """What is kept of a refused call is the fields, never the record that they were read from."""
    reported = str(fields.get("request_id") or fields.get("id") or "")[:200]
    kept = {name: value for name, value in fields.items() if is_keepable(name, value)}
    return Refusal(index, broken, reported, msgspec.json.encode(kept))


def is_keepable(name: str, value: Any) -> bool:
    """Whether a refused call's field may be kept: text that stands where a number or a time belongs may be what somebody wrote."""
    if not name.endswith(("_tokens", "_ms", "_cost", "_at")) or not isinstance(value, str):
        return True
    return NUMERIC.fullmatch(value) is not None

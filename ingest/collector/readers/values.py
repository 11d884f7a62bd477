"""Values of foreign records as an event's fields: numbers, times, labels. A value that is none of them is named, not guessed."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

Scalar = str | int | float | bool
# The fields of a usage event as the REST door takes them: JSON values only.
Fields = dict[str, Any]
NUMBER = re.compile(r"-?[0-9]{1,20}(\.0+)?")
# Halves of a sign beyond 16 bits are in what JavaScript cut a text to, and in no UTF-8.
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
MILLISECONDS_FROM = 100_000_000_000
# The end of the year 2260 in nanoseconds; in a coarser unit no time that anybody writes comes near the next one.
LARGEST_INSTANT = 9_200_000_000_000_000_000
MOST_PLACES = Decimal("1e-15")


class Misread(ValueError):
    """A record whose usage cannot be read. `field` is the event's field it would have been."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one where something else stands."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """The list, or an empty one where something else stands."""
    return value if isinstance(value, list) else []


def text(value: object, size: int = 200) -> str:
    """A label on one line, cut to size; "" for what is no label."""
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        return ""
    written = str(value)
    return (written if written.isprintable() else CONTROL.sub(" ", written)).strip()[:size]


def identifier(value: object) -> str:
    """An id as it came, whole: cutting one could make two into one."""
    return CONTROL.sub(" ", str(value)).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def whole(value: str) -> int | str:
    """The integer in a text; text that is none stays, so that whoever reads the field can say so."""
    if value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 30:
        return int(value)
    return value


def count(value: Scalar | None) -> Scalar | None:
    """A count sent as integer, float or text, None for an empty text; what is none of these is left for the event's own rules to refuse."""
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return whole(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def amount(value: object) -> str | None:
    """Money as text with at most 15 places, which undoes the noise of a client's floating point; None where there is none."""
    if value is None or value == "" or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        exact = Decimal(str(value)).quantize(MOST_PLACES)
    except InvalidOperation:
        return None
    return f"{exact.normalize():f}" if exact.is_finite() and exact >= 0 else None


def since_1970_s(value: float) -> float:
    """Seconds since 1970, of seconds, milliseconds, microseconds or nanoseconds."""
    seconds = float(value)
    while MILLISECONDS_FROM <= seconds < math.inf:
        seconds /= 1000
    return seconds


def instant(value: object, field: str = "occurred_at") -> str:
    """A time as RFC 3339: of a text as it stands, of a number as seconds, milliseconds, microseconds or nanoseconds since 1970. Raises Misread."""
    if isinstance(value, str) and value.strip():
        stamp = value.strip()
        if not stamp.replace(".", "", 1).isdigit():
            return stamp if stamp[10:11] != " " else f"{stamp[:10]}T{stamp[11:]}"
        value = float(stamp)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST_INSTANT:
        raise Misread(field, "The record says no time at which the call ended.")
    return datetime.fromtimestamp(since_1970_s(value), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def elapsed_ms(start: object, end: object) -> int | None:
    """Milliseconds between two RFC 3339 times; None where one is missing or they are out of order."""
    try:
        between = datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))
    except (ValueError, TypeError):
        return None
    milliseconds = round(between.total_seconds() * 1000)
    return milliseconds if 0 <= milliseconds < 2_147_483_647 else None


def tags(**named: object) -> dict[str, str]:
    """Those that say something. `__` in a name stands for a dot."""
    found = {name.replace("__", "."): text(value, 1000) for name, value in named.items()}
    return {name: value for name, value in found.items() if value}


def folder(path: object) -> str:
    """The last part of a working directory: what people call the project, without whose machine it is on."""
    parts = [part for part in re.split(r"[/\\]", path) if part] if isinstance(path, str) else []
    return text(parts[-1]) if parts else ""


def is_sendable(fields: Mapping[str, Any]) -> bool:
    """Whether JSON has its numbers: it has no infinity and no NaN, which Python reads out of files all the same."""
    return all(
        is_sendable(value) if isinstance(value, dict) else not isinstance(value, float) or math.isfinite(value) for value in fields.values()
    )


def known(fields: Mapping[str, Any]) -> Fields:
    """The fields that say something: no None, no empty text, no empty tags."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", {})}

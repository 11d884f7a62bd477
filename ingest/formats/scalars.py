"""Single values of clients' reports made fit for an event: labels, ids, counts, amounts and instants. Pure."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from governance import money
from ingest.collector.readers.values import Scalar, count, whole

__all__ = ["EPOCH", "Scalar", "amount", "count", "instant", "json_of", "milliseconds", "raw_text", "text", "whole"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
LONGEST_JSON = 65_536


def text(value: Scalar | None, size: int) -> str | None:
    """A label on one line, cut to size: a long or odd label is no reason to lose a call."""
    if value is None:
        return None
    written = str(value).lower() if isinstance(value, bool) else str(value)
    return CONTROL.sub(" ", written).strip()[:size] or None


def raw_text(value: Scalar | None) -> str | None:
    """An id as it came: cutting one could make two into one."""
    return None if value is None else str(value) or None


def amount(value: Scalar | None, *, shift: int = 0) -> Decimal | Scalar | None:
    """An amount of money, times ten to the power of `shift`, to 15 places, which undoes the noise of floating point."""
    if value is None:
        return None
    try:
        return money.quantize(Decimal(str(value)).scaleb(shift))
    except (ArithmeticError, money.AmountTooLarge):
        return str(value)


def milliseconds(value: Scalar | None, *, shift: int = 0) -> Scalar | None:
    """A duration in whole milliseconds, from a number times ten to the power of `shift`; None for what is no duration."""
    try:
        found = None if value is None or isinstance(value, bool) else Decimal(str(value)).scaleb(shift)
    except ArithmeticError:
        return None
    return round(found) if found is not None and found.is_finite() and 0 <= found < 1 << 31 else None


def instant(nanoseconds: int) -> datetime | int | None:
    """The instant so many nanoseconds after 1970; None for 0, and a number beyond all calendars as it is, to be refused."""
    try:
        return EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds else None
    except OverflowError:
        return nanoseconds


def json_of(value: Scalar | None) -> dict[str, Any]:
    """A JSON object in a text; nothing for what is none."""
    if not isinstance(value, str) or len(value) > LONGEST_JSON:
        return {}
    try:
        found = msgspec.json.decode(value.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

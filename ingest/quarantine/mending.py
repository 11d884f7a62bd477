"""What rules make of a refused event's fields. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ingest.formats import native
from ingest.formats.event import UsageEvent
from ingest.importing import values
from ingest.importing.mapping import WHOLE
from ingest.redaction import REMOVED

MARK = REMOVED.partition("{")[0].encode()
TAGS = "tags."
fields_of = msgspec.json.Decoder(dict[str, Any])


class Fix(NamedTuple):
    """A rule as it is applied. `door` empty: at every one."""

    id: int
    door: str
    action: str
    field: str
    target: str = ""
    value: str = ""
    was: str = ""


class Mended(NamedTuple):
    """An event that was refused and can be counted now, and the rules that changed something."""

    event: UsageEvent
    by: tuple[int, ...]


def mended(payload: bytes, fixes: Sequence[Fix], door: str) -> Mended | None:
    """The event that the rules make of a refused one's JSON; None where they change nothing, or it is refused all the same."""
    found = changed(payload, fixes, door)
    if found is None:
        return None
    again, by = found
    if MARK in again:
        return None
    event = native.read(again, 0)
    return Mended(event, by) if isinstance(event, UsageEvent) else None


def changed(payload: bytes, fixes: Sequence[Fix], door: str) -> tuple[bytes, tuple[int, ...]] | None:
    """The JSON after the rules, and those that changed something; None where none did, or it is no event's JSON."""
    try:
        fields = fields_of.decode(payload)
    except native.NOT_DECODED:
        return None
    by = tuple(fix.id for fix in fixes if fix.door in ("", door) and applied(fields, fix))
    return (msgspec.json.encode(fields), by) if by else None


def applied(fields: dict[str, Any], fix: Fix) -> bool:
    """Applies one rule to an event's fields. Whether it changed something."""
    if fix.action == "default":
        return _defaulted(fields, fix)
    return fix.field in fields and CHANGES[fix.action](fields, fix)


def _defaulted(fields: dict[str, Any], fix: Fix) -> bool:
    if fields.get(fix.field) not in (None, "") or not fix.value:
        return False
    fields[fix.field] = typed(fix.field, fix.value)
    return True


def _dropped(fields: dict[str, Any], fix: Fix) -> bool:
    del fields[fix.field]
    return True


def _replaced(fields: dict[str, Any], fix: Fix) -> bool:
    if _text(fields[fix.field]) != fix.was:
        return False
    fields[fix.field] = typed(fix.field, fix.value)
    return True


def typed(field: str, value: str) -> Any:
    """A rule's value as the field takes it: counts are numbers, all else is text."""
    if field in WHOLE:
        try:
            return values.whole(value, ".")
        except values.Unclear:
            return value
    return value


def _renamed(fields: dict[str, Any], fix: Fix) -> bool:
    held = fields[fix.field]
    if fix.target.startswith(TAGS):
        tags = fields.get("tags") or {}
        if not isinstance(tags, dict) or isinstance(held, dict | list):
            return False
        del fields[fix.field]
        if held is not None:
            fields["tags"] = {**tags, fix.target.removeprefix(TAGS): _text(held)}
        return True
    if fields.get(fix.target) not in (None, ""):
        return False
    fields[fix.target] = fields.pop(fix.field)
    return True


def _as_number(fields: dict[str, Any], fix: Fix) -> bool:
    field, held = fix.field, fields[fix.field]
    if not isinstance(held, str | float):
        return False
    try:
        found = values.number(str(held), ".")
        fields[field] = int(found) if field in WHOLE and found == found.to_integral_value() else found
    except (values.Unclear, ArithmeticError):
        return False
    return True


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


CHANGES: Mapping[str, Callable[[dict[str, Any], Fix], bool]] = {
    "drop": _dropped,
    "rename": _renamed,
    "number": _as_number,
    "map": _replaced,
}

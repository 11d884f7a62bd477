"""Takes out of what was not counted what nobody needs in order to mend it: prompts, answers and secrets. Pure.

An event's own fields are kept up to their sizes, and single words under names that other clients give them or that are one slip of the pen from such a name.
Of anything else only numbers, true, false and null are kept, because text under a name that means nothing here may be what somebody wrote.
"""

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import msgspec

from ingest.formats.event import UsageEvent
from ingest.formats.secrets import NAMING, SECRET_WORD, beginning, without_secrets
from ingest.importing.layouts import BY_ALIAS
from ingest.importing.mapping import NUMERIC

LARGEST_LABEL = 254
LARGEST_TAG = 1000
LARGEST_NAME = 120
MOST_ITEMS = 1000
REMOVED = "[removed: {}]"
STRUCTURED = frozenset(("tags", "units"))
OWN_TEXT = frozenset(field.name for field in msgspec.structs.fields(UsageEvent)) - STRUCTURED
SHORTEST_SLIP = 5
NEIGHBOURS = 2
STRING = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)(?P<end>"|\\?\Z)(?P<is_name>\s*:)?', re.DOTALL)
WORD = re.compile(r"[^\s{}\[\]:,]+")
ONE_WORD = re.compile(r"[\w.@:/+-]{1,120}")
PLAIN_WORD = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null|NaN|-?Infinity")


def plain_name(name: str) -> str:
    """A name without case, spaces and signs."""
    return "".join(character for character in name.lower() if character.isalnum())


NAMES_OF_TEXT = frozenset(
    [plain_name(name) for name in OWN_TEXT - NUMERIC]
    + [name for name, field in BY_ALIAS.items() if field in OWN_TEXT and field not in NUMERIC]
)


class Redacted(msgspec.Struct, frozen=True):
    """What may be kept of a payload; `is_whole` when nothing was taken out of it, so that it can be sent again as it came."""

    payload: bytes
    is_whole: bool


def payload_redacted(payload: bytes) -> Redacted:
    """The payload without prompts and secrets: of JSON by its fields, of anything else by what looks like them."""
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return broken_redacted(payload)
    try:
        kept = document_redacted(document)
        return Redacted(payload, is_whole=True) if kept == document else Redacted(msgspec.json.encode(kept), is_whole=False)
    except RecursionError:
        return Redacted(b"", is_whole=False)


def document_redacted(document: Any) -> Any:
    if isinstance(document, dict) and isinstance(events := document.get("events"), list):
        others = {name: value for name, value in document.items() if name != "events"}
        return {"events": [document_redacted(event) for event in events], **event_redacted(others)}
    if isinstance(document, dict):
        return event_redacted(document)
    return number_or_removed(document)


def event_redacted(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event's own fields, and of all others only what cannot be text."""
    return {without_secrets(name[:LARGEST_NAME]): value_redacted(name, value) for name, value in list(event.items())[:MOST_ITEMS]}


def value_redacted(name: str, value: Any) -> Any:
    if name in STRUCTURED and isinstance(value, dict):
        kept = list(value.items())[:MOST_ITEMS]
        return {without_secrets(key[:LARGEST_NAME]): tag_redacted(key, found) for key, found in kept}
    return label_redacted(value, LARGEST_LABEL) if name in OWN_TEXT or is_name_of_field(name, value) else number_or_removed(value)


def is_name_of_field(name: str, value: Any) -> bool:
    """Whether a value may be kept under a name that is not a field's own, because a rule can read it as one: a single word under a usual name of a text field,
    or under such a name with one slip of the pen (`modle`).
    """
    if not isinstance(value, str) or ONE_WORD.fullmatch(value) is None or len(name) > LARGEST_NAME:
        return False
    said = plain_name(name)
    return said in NAMES_OF_TEXT or (len(said) >= SHORTEST_SLIP and any(is_slip_of(said, known) for known in NAMES_OF_TEXT))


def is_slip_of(said: str, known: str) -> bool:
    """Whether one letter was left out, put in, mistaken or swapped with its neighbour."""
    if abs(len(said) - len(known)) > 1:
        return False
    same = shared(said, known)
    said, known = said[same:], known[same:]
    same = shared(said[::-1], known[::-1])
    said, known = said[: len(said) - same], known[: len(known) - same]
    return max(len(said), len(known)) <= 1 or (len(said) == len(known) == NEIGHBOURS and said == known[::-1])


def shared(one: str, other: str) -> int:
    """With how many letters both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def tag_redacted(name: str, value: Any) -> Any:
    """The tag's value; a word under a name such as `aws_secret_access_key` is a secret whatever it looks like."""
    is_secret = isinstance(value, str) and NAMING.search(name) and SECRET_WORD.fullmatch(value)
    return beginning(value) if is_secret else label_redacted(value, LARGEST_TAG)


def label_redacted(value: Any, size: int) -> Any:
    if not isinstance(value, str):
        return number_or_removed(value)
    return without_secrets(value) if len(value) <= size else removed(value)


def number_or_removed(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) or value in ([], {}, "") else removed(value)


def removed(value: Any) -> str:
    if isinstance(value, str):
        return REMOVED.format(f"text of {len(value):,} characters")
    return REMOVED.format(f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}")


def broken_redacted(payload: bytes) -> Redacted:
    """A payload that is no JSON, or the beginning of one: the text of an event's own fields is kept, other text is not."""
    text = payload.decode("utf-8", "replace").replace("\x00", "\ufffd")
    pieces: list[str] = []
    position, name = 0, ""
    for found in STRING.finditer(text):
        pieces.extend((outside_redacted(text[position : found.start()]), string_redacted(found, name)))
        position = found.end()
        name = found["text"] if found["is_name"] else name
    kept = "".join((*pieces, outside_redacted(text[position:])))
    return Redacted(payload, is_whole=True) if kept == text and "\ufffd" not in kept else Redacted(kept.encode(), is_whole=False)


def string_redacted(found: re.Match[str], name: str) -> str:
    """One string of broken JSON: a name, the value of the field `name`, or something in it."""
    text = found["text"]
    is_kept = len(text) <= LARGEST_NAME if found["is_name"] else name in OWN_TEXT and len(text) <= LARGEST_LABEL
    inner = without_secrets(text) if is_kept or not text else removed(text)
    return f'"{inner}{found["end"]}{found["is_name"] or ""}'


def outside_redacted(text: str) -> str:
    """What stands between strings: JSON's own signs and numbers."""
    return WORD.sub(word_redacted, text)


def word_redacted(found: re.Match[str]) -> str:
    return found[0] if PLAIN_WORD.fullmatch(found[0]) else "[removed]"

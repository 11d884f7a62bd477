"""Reads Weighhouse's own event JSON: one event, {"events": […]}, or one event per line."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ingest.formats.batch import Parsed, Refusal, TooLarge, Unreadable, fault_of, json_reading, without_half_characters
from ingest.formats.event import Fault, UsageEvent, control_character_field, fault, fault_in_full

# What a body may hold per allowed event before it is refused unread: bounds the memory that decoding hostile JSON can take.
VALUES_PER_EVENT = 128
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
ENVELOPE = re.compile(rb'\s*\{\s*"events"\s*:')
# Stands for half a character, so that its event is refused and not the whole body.
NUL = b"\\u0000"
CONTROL_ESCAPE = re.compile(rb"\\(?:u00[01]|[bfnrt])")


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """Several events in one document."""

    events: list[UsageEvent]


class Ids(msgspec.Struct):
    """The ids of an event that could not be read otherwise."""

    id: Any = ""
    request_id: Any = ""


one_event = msgspec.json.Decoder(UsageEvent)
one_envelope = msgspec.json.Decoder(Envelope)
one_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
raw_list = msgspec.json.Decoder(list[msgspec.Raw])
some_ids = msgspec.json.Decoder(Ids)


def parse(body: bytes, *, limit: int, is_lines: bool = False) -> Parsed:
    """The events of a body of at most `limit` events; those that break a rule are refused one by one.

    Raises Unreadable (400) or TooLarge (413) when the body as a whole cannot be taken.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body or body.isspace():
        raise Unreadable("empty_body", "The body is empty; send an event as JSON.")
    if body.count(b",") > limit * VALUES_PER_EVENT:
        raise TooLarge("too_many_values", f"The body holds more than {limit * VALUES_PER_EVENT:,} values; send it in several requests.")
    is_lines = is_lines or looks_like_lines(body)
    is_single = not is_lines and ENVELOPE.match(body) is None
    events = all_good(body, is_lines=is_lines, is_single=is_single, limit=limit)
    if events is None:
        return one_by_one(without_half_characters(body, NUL), is_lines=is_lines, limit=limit)
    if len(events) > limit:
        raise too_many(limit)
    return Parsed(events, is_single=is_single)


def all_good(body: bytes, *, is_lines: bool, is_single: bool, limit: int) -> list[UsageEvent] | None:
    """Every event of the body, decoded in one call; None when anything at all is wrong and each has to be looked at."""
    if body.count(b'"occurred_at"') > limit:
        return None
    try:
        events = one_event.decode_lines(body) if is_lines else [one_event.decode(body)] if is_single else one_envelope.decode(body).events
    except NOT_DECODED:
        return None
    is_suspect = b"\\" in body and CONTROL_ESCAPE.search(body) is not None
    if any(fault(event) for event in events) or (is_suspect and any(control_character_field(event) for event in events)):
        return None
    return events


def one_by_one(body: bytes, *, is_lines: bool, limit: int) -> Parsed:
    """Reads each event by itself, so that a bad one harms no other."""
    pieces: Sequence[bytes | msgspec.Raw]
    pieces, is_single = (lines(body, limit), False) if is_lines else objects(body)
    if len(pieces) > limit:
        raise too_many(limit)
    events: list[UsageEvent] = []
    positions: list[int] = []
    refused: list[Refusal] = []
    for index, piece in enumerate(pieces):
        found = read(piece, index)
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            events.append(found)
            positions.append(index)
    return Parsed(events, refused, positions, is_single)


def lines(body: bytes, limit: int) -> list[bytes]:
    if body.count(b"\n") > 4 * limit:
        raise too_many(limit)
    return [line for line in body.split(b"\n") if line and not line.isspace()]


def objects(body: bytes) -> tuple[list[msgspec.Raw], bool]:
    """The documents of the events in a body, undecoded, and whether it is a single event."""
    with json_reading('An event object, {"events": […]} or one event per line is expected.'):
        body.decode()
        members = one_object.decode(body)
        if "events" not in members:
            return [msgspec.Raw(body)], True
        if len(members) > 1:
            stray = next(name for name in members if name != "events")
            raise Unreadable("wrong_shape", f"Beside `events` the body has `{stray[:80]}`, which means nothing here.")
        return raw_list.decode(members["events"]), False


def read(piece: bytes | msgspec.Raw, index: int) -> UsageEvent | Refusal:
    """The event in one JSON document, or why it is refused."""
    try:
        event = event_in(piece)
    except NOT_DECODED as error:
        return refusal(piece, index, fault_of(error))
    broken = fault_in_full(event)
    return refusal(piece, index, broken) if broken else event


def event_in(piece: bytes | msgspec.Raw) -> UsageEvent:
    """The event in one JSON document, where null says the same as an absent field. Raises what the decoder raises."""
    try:
        return one_event.decode(piece)
    except msgspec.ValidationError as error:
        if "got `null`" not in str(error):
            raise
    members = {name: value for name, value in one_object.decode(piece).items() if bytes(value) != b"null"}
    return one_event.decode(msgspec.json.encode(members))


def refusal(piece: bytes | msgspec.Raw, index: int, broken: Fault) -> Refusal:
    payload = bytes(piece)
    return Refusal(index, broken, reported_id(payload), payload)


def reported_id(payload: bytes) -> str:
    """The id by which the sender can find a refused event, when it can be read at all."""
    try:
        ids = some_ids.decode(payload)
    except NOT_DECODED:
        return ""
    return next((found[:200] for found in (ids.id, ids.request_id) if isinstance(found, str) and found), "")


def looks_like_lines(body: bytes) -> bool:
    """Whether a body sent as JSON is really one object per line: a whole object on the first line, and more after it."""
    end = body.find(b"\n", 0, 1_000_000)
    first = body[:end].strip() if end > 0 else b""
    if not first.startswith(b"{") or not first.endswith(b"}") or ENVELOPE.match(first):
        return False
    return any(not part.isspace() for part in pages(body, end)) and is_object(first)


def pages(body: bytes, start: int) -> Iterator[bytes]:
    for offset in range(start, len(body), 65_536):
        yield body[offset : offset + 65_536]


def is_object(text: bytes) -> bool:
    try:
        one_object.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def too_many(limit: int) -> TooLarge:
    return TooLarge("too_many_events", f"A request may hold {limit:,} events; nothing of this one was stored. Send it in several.")

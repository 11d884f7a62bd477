"""Counts the parts of a protobuf on its bytes, so that one made to be expensive is refused before anything is made of it."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
# What eight packed numbers of a byte each take is about what one part takes.
PACKED_PER_PART = 8
LONGEST_VARINT = 10


class Field(NamedTuple):
    """A field that has a length. `inside` is the message it holds, None for text and numbers."""

    is_repeated: bool
    is_packed: bool
    inside: Any


def parts_over(body: bytes, message: Any, *, limit: int) -> bool:
    """Whether a body of this message type has more than `limit` elements in repeated fields, at whatever depth.

    An element takes two bytes at least, so a small body is never looked at. Raises ValueError for what is no protobuf.
    """
    if len(body) <= 2 * limit:
        return False
    try:
        return _counted(body, message.DESCRIPTOR, limit) > limit
    except IndexError:
        raise ValueError("the body ends within a number") from None


def _counted(body: bytes, descriptor: Any, limit: int) -> int:
    """The elements, up to the first over the limit. Goes depth first, as decoders do."""
    count, waiting = 0, [(0, len(body), fields_of(descriptor))]
    while waiting:
        at, end, fields = waiting.pop()
        while at < end:
            # Most numbers are one byte; a call for each would double the time.
            tag, at = (body[at], at + 1) if body[at] < 0x80 else _varint(body, at)
            if tag & 7 != LENGTH:
                at = _after_number(body, at, tag & 7)
                continue
            size, at = (body[at], at + 1) if body[at] < 0x80 else _varint(body, at)
            stop = at + size
            if stop > end:
                raise ValueError("a field is longer than what holds it")
            field = fields.get(tag >> 3)
            if field is not None:
                count += size // PACKED_PER_PART if field.is_packed else field.is_repeated
                if count > limit:
                    return count
                if field.inside is not None and size:
                    waiting.append((stop, end, fields))
                    end, fields = stop, fields_of(field.inside)
                    continue
            at = stop
        if at > end:
            raise ValueError("a number is longer than what holds it")
    return count


@cache
def fields_of(descriptor: Any) -> Mapping[int, Field]:
    """The fields of a message type that can take more memory than bytes: messages, and whatever comes repeatedly."""
    return {
        field.number: Field(field.is_repeated, field.is_repeated and field.is_packed, field.message_type)
        for field in descriptor.fields
        if field.is_repeated or field.message_type is not None
    }


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins at this byte, and the byte after it. Raises IndexError at the body's end."""
    byte = body[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    for place in range(at + 1, at + LONGEST_VARINT):
        byte = body[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place + 1
        shift += 7
    raise ValueError("a number is too long")


def _after_number(body: bytes, at: int, kind: int) -> int:
    """The byte after a number of this wire type."""
    if kind == VARINT:
        return _varint(body, at)[1]
    if kind == FIXED64:
        return at + 8
    if kind == FIXED32:
        return at + 4
    raise ValueError("no exporter sends this wire type")

"""Reads a protobuf's parts on its bytes: counted, so that one made to be expensive is refused before anything is made of it; and one by one."""

from collections.abc import Iterator, Mapping
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


class Part(NamedTuple):
    """One field of a message as it stands in the bytes: `content` of one that has a length, `raw` all of it."""

    number: int
    kind: int
    content: bytes
    raw: bytes

    @property
    def number_value(self) -> int | None:
        """The number of a field without a length; None for one with a length, and for eight or four bytes, whose meaning the type says."""
        return _varint(self.raw, _varint(self.raw, 0)[1])[0] if self.kind == VARINT else None


class CutShort(ValueError):
    """The bytes end within a field that has a length: `content` is what there is of it."""

    def __init__(self, number: int, content: bytes) -> None:
        super().__init__("a field is longer than what holds it")
        self.number, self.content = number, content


def parts(body: bytes) -> Iterator[Part]:
    """The fields of a message, in their order. Raises ValueError where the bytes are no protobuf."""
    at = 0
    try:
        while at < len(body):
            start = at
            tag, at = _varint(body, at)
            size = 0
            if tag & 7 == LENGTH:
                size, at = _varint(body, at)
                at += size
            else:
                at = _after_number(body, at, tag & 7)
            if at > len(body) and tag & 7 == LENGTH:
                raise CutShort(tag >> 3, body[at - size :])
            if at > len(body):
                raise ValueError("a field is longer than what holds it")
            yield Part(tag >> 3, tag & 7, body[at - size : at] if size else b"", body[start:at])
    except IndexError:
        raise ValueError("it ends within a number") from None


def varint_bytes(number: int) -> bytes:
    """A number as a protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def parts_within(body: bytes, descriptor: Any, limit: int) -> int:
    """How many elements of repeated fields a message of this type has, counted up to the first over the limit. Raises ValueError for what is none."""
    try:
        return _counted(body, descriptor, limit)
    except IndexError:
        raise ValueError("it ends within a number") from None


def parts_over(body: bytes, message: Any, *, limit: int) -> bool:
    """Whether a body of this message type has more than `limit` elements in repeated fields, at whatever depth.

    An element takes two bytes at least, so a small body is never looked at. Raises ValueError for what is no protobuf.
    """
    if len(body) <= 2 * limit:
        return False
    return parts_within(body, message.DESCRIPTOR, limit) > limit


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

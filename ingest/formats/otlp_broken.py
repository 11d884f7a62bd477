"""Takes a telemetry protobuf that cannot be decoded as a whole apart, so that its other records are read, and outlines what cannot. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from ingest.formats.wire import LENGTH, CutShort, Part, parts, parts_within, varint_bytes

# Request, resource, scope: the number of the field that holds the next level, at each. Below are records, spans or metrics.
NEXT = (1, 2, 2)
# What the resource and the scope say of themselves.
OWN = 1
DEEPEST = 60
MOST_OUTLINED = 500
LONGEST_TEXT = 254


class Broken(msgspec.Struct):
    """What of a request could not be read: an outline of each such part, in JSON."""

    left: int
    outlines: list[bytes] = []


def salvaged(body: bytes, request: Any, *, most_parts: int) -> list[bytes] | None:
    """Puts into the empty request what of the body can be read. Returns outlines of what cannot; None when no record of it can.

    Raises OverflowError when the body has more parts than that.
    """
    broken = Broken(most_parts)
    _read(body, request, 0, broken)
    return broken.outlines if any(_records(request, 0)) else None


def _read(body: bytes, message: Any, level: int, broken: Broken) -> bool:
    """Fills the message as far as it goes. Whether there was anything in it to keep."""
    if _whole(body, message, broken):
        return True
    if level == len(NEXT):
        return _record(body, message, broken)
    fields = message.DESCRIPTOR.fields_by_number
    try:
        for part in parts(body):
            if part.kind != LENGTH or part.number not in (NEXT[level], OWN):
                continue
            if part.number == NEXT[level]:
                into = getattr(message, fields[part.number].name)
                if not _read(part.content, into.add(), level + 1, broken):
                    del into[-1]
            else:
                # What is odd about a resource or a scope is left out, and its records are read as if it said nothing of that.
                _whole(part.content, getattr(message, fields[OWN].name), broken)
    except ValueError as error:
        _ended(body, message, level, broken, error=error)
    return True


def _ended(body: bytes, message: Any, level: int, broken: Broken, *, error: ValueError) -> None:
    """Reads on where the sender was cut off within a part: what came before its end is whole. A record that is cut is not, even if what is left of it is one."""
    told = len(broken.outlines)
    if isinstance(error, CutShort) and error.number == NEXT[level]:
        field = message.DESCRIPTOR.fields_by_number[error.number]
        into = getattr(message, field.name)
        if level + 1 == len(NEXT):
            broken.outlines.append(outline(error.content, field.message_type))
        elif not _read(error.content, into.add(), level + 1, broken):
            del into[-1]
    if len(broken.outlines) == told:
        broken.outlines.append(outline(body, message.DESCRIPTOR))


def _whole(body: bytes, message: Any, broken: Broken) -> bool:
    """Whether the bytes are such a message; it is filled if they are, and empty if not."""
    try:
        count = parts_within(body, message.DESCRIPTOR, broken.left)
        if count > broken.left:
            raise OverflowError
        message.ParseFromString(body)
    except (DecodeError, ValueError):
        message.Clear()
        return False
    broken.left -= count
    return True


def _record(body: bytes, message: Any, broken: Broken) -> bool:
    """One record by itself. A text that is cut within a character costs no record: that character is replaced, as it is in JSON."""
    try:
        is_read = _whole(with_whole_text(body, message.DESCRIPTOR), message, broken)
    except ValueError:
        is_read = False
    if not is_read:
        broken.outlines.append(outline(body, message.DESCRIPTOR))
    return is_read


def _records(message: Any, level: int) -> Iterator[Any]:
    inside = getattr(message, message.DESCRIPTOR.fields_by_number[NEXT[level]].name)
    if level == len(NEXT) - 1:
        yield from inside
        return
    for one in inside:
        yield from _records(one, level + 1)


def with_whole_text(body: bytes, descriptor: Any, *, deep: int = 0) -> bytes:
    """The message with every half character in its texts replaced. Raises ValueError where it is no protobuf."""
    if deep > DEEPEST:
        raise ValueError("nested too deeply")
    found = bytearray()
    for part in parts(body):
        field = descriptor.fields_by_number.get(part.number)
        content = part.content
        if part.kind != LENGTH or field is None:
            found += part.raw
            continue
        if field.message_type is not None:
            content = with_whole_text(content, field.message_type, deep=deep + 1)
        elif field.type == field.TYPE_STRING:
            content = content.decode("utf-8", "replace").encode()
        found += varint_bytes(part.number << 3 | LENGTH) + varint_bytes(len(content)) + content
    return bytes(found)


def outline(body: bytes, descriptor: Any) -> bytes:
    """What can be made out of a broken message, as JSON for people: attributes by name, sizes of what is no text or too long for a label."""
    budget = [MOST_OUTLINED]
    return msgspec.json.encode(_outlined(body, descriptor, budget, 0))


def _outlined(body: bytes, descriptor: Any, budget: list[int], deep: int) -> Any:
    found: dict[str, Any] = {}
    try:
        for part in parts(body):
            budget[0] -= 1
            if budget[0] < 0 or deep > DEEPEST:
                found["..."] = "more"
                break
            field = descriptor.fields_by_number.get(part.number)
            if field is None:
                continue
            if field.message_type is not None and field.message_type.name == "KeyValue" and part.kind == LENGTH:
                found.update(_attribute(part.content))
            else:
                value = (
                    _outlined(part.content, field.message_type, budget, deep + 1) if field.message_type is not None else _value(part, field)
                )
                found.setdefault(field.name, []).append(value) if field.is_repeated else found.update({field.name: value})
    except ValueError as error:
        found["unreadable"] = f"{len(body):,} bytes: {error}"
    return found


def _attribute(body: bytes) -> dict[str, Any]:
    """A KeyValue as name and value, as far as it can be read."""
    name, value = "", None
    for part in parts(body):
        if part.number == 1 and part.kind == LENGTH:
            name = part.content.decode("utf-8", "replace")[:120]
        elif part.number == 2 and part.kind == LENGTH:
            try:
                first = next(parts(part.content), None)
                value = None
                if first is not None:
                    value = _text(first.content) if first.number == 1 and first.kind == LENGTH else first.number_value
            except ValueError:
                value = f"unreadable: {len(part.content):,} bytes"
    return {name: value} if name else {}


def _value(part: Part, field: Any) -> Any:
    if part.kind != LENGTH:
        return part.number_value
    return _text(part.content) if field.type == field.TYPE_STRING else f"{len(part.content):,} bytes"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace") if len(content) <= LONGEST_TEXT else f"text of {len(content):,} bytes"

"""Puts OTLP requests that name their parts otherwise into the names that are read here. Pure.

OTLP/JSON with names as the protobuf has them (`resource_spans`), which general encoders can be set to write, and requests of before OTLP 0.15, whose
scopes were instrumentation libraries: the same protobuf then, and a field of their own in the versions between.
"""

import re
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec.inspect import ListType, StructType, Type, UnionType, type_info

from ingest.formats.otlp_json import LEVELS
from ingest.formats.wire import LENGTH, parts_within

OLD = {
    "instrumentationLibraryLogs": "scopeLogs",
    "instrumentationLibraryMetrics": "scopeMetrics",
    "instrumentationLibrarySpans": "scopeSpans",
    "instrumentationLibrary": "scope",
    "logs": "logRecords",
}
TODAYS = tuple(f'"{middle}"'.encode() for _, middle, _, _ in LEVELS.values())
# Where OTLP 0.15 to 0.18 kept the groups of old senders, as it begins in the bytes.
OLD_GROUPS = 1000
OLD_GROUPS_TAG = bytes((OLD_GROUPS << 3 & 0x7F | LENGTH | 0x80, OLD_GROUPS >> 4))


def names_within(shape: Type) -> set[tuple[str, str]]:
    """(the protobuf's name, the name in JSON) of each field, at whatever depth."""
    if isinstance(shape, UnionType):
        return set().union(*(names_within(one) for one in shape.types))
    if isinstance(shape, ListType):
        return names_within(shape.item_type)
    if not isinstance(shape, StructType):
        return set()
    return {(field.name, field.encode_name) for field in shape.fields}.union(*(names_within(field.type) for field in shape.fields))


def key_of(names: dict[bytes, bytes]) -> re.Pattern[bytes]:
    """One of the names as the key of an object: quotes within a text have a backslash."""
    return re.compile(rb'(?<!\\)"(' + b"|".join(sorted(names)) + rb')"(?=\s*:)')


SNAKE = {snake.encode(): camel.encode() for shape in LEVELS for snake, camel in names_within(type_info(shape)) if snake != camel}
SNAKE |= {re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", old).encode(): old.encode() for old in OLD if old != old.lower()}
OLD_BYTES = {old.encode(): new.encode() for old, new in OLD.items()}
SNAKE_KEY, OLD_KEY = key_of(SNAKE), key_of(OLD_BYTES)


def with_todays_names(body: bytes) -> bytes:
    """The OTLP/JSON in today's names. Old ones beside today's repeat the same, as OTLP 0.15 has it, and are left as they are."""
    if b'"resource_' in body:
        body = SNAKE_KEY.sub(lambda found: b'"%b"' % SNAKE[found[1]], body)
    if b'"instrumentationLibrary' in body and not any(name in body for name in TODAYS):
        body = OLD_KEY.sub(lambda found: b'"%b"' % OLD_BYTES[found[1]], body)
    return body


def with_old_groups(body: bytes, request: Any, *, most_parts: int) -> None:
    """Puts what OTLP 0.15 kept in a field of its own where it is read, in each resource that has nothing there. Raises OverflowError for too many parts."""
    if OLD_GROUPS_TAG not in body:
        return
    for resource in getattr(request, request.DESCRIPTOR.fields_by_number[1].name):
        scopes = getattr(resource, resource.DESCRIPTOR.fields_by_number[2].name)
        if scopes:
            continue
        unknown: Any = UnknownFieldSet(resource)
        for field in unknown:
            if field.field_number == OLD_GROUPS and field.wire_type == LENGTH:
                scoped = scopes.add()
                try:
                    most_parts -= parts_within(field.data, scoped.DESCRIPTOR, most_parts)
                    if most_parts < 0:
                        raise OverflowError
                    scoped.ParseFromString(field.data)
                except (DecodeError, ValueError):
                    del scopes[-1]

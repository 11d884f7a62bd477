"""Lists as PostgreSQL reads arrays. Pure."""

from collections.abc import Sequence
from typing import Any

import psycopg


def array_text(values: Sequence[Any]) -> str:
    """The PostgreSQL literal of a one-dimensional array of text, numbers, instants, dates or UUIDs; None is NULL.

    Raises psycopg.DataError for text that PostgreSQL cannot hold.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        text = '","'.join(values)
        # Two quotes stand between each pair of values: any other is part of a value.
        if "\\" not in text and text.count('"') == 2 * (len(values) - 1):
            return holdable(f'{{"{text}"}}')
    if any(issubclass(kind, str) for kind in kinds):
        return holdable("{" + ",".join("NULL" if value is None else _quoted(value) for value in values) + "}")
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def holdable(text: str) -> str:
    """The text itself. Raises psycopg.DataError where PostgreSQL cannot hold it."""
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text cannot hold a NUL character")
    return text

"""Set-based SQL on Django's own connection, inside its transactions, with parameters bound and plans kept by the server."""

import select
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection
from psycopg.adapt import Dumper
from psycopg.rows import namedtuple_row
from psycopg.types.json import JsonbLoader
from psycopg.types.numeric import Int8Dumper


class ArrayDumper(Dumper):
    """Writes a list as an array whose kind the statement names (`%(ids)s::bigint[]`), many times quicker than item by item."""

    def dump(self, obj: list[Any]) -> bytes:
        return array_text(obj).encode()


def array_text(values: Sequence[Any]) -> str:
    """The PostgreSQL literal of a one-dimensional array of text, numbers, instants, dates or UUIDs; None is NULL.

    Raises psycopg.DataError for text that PostgreSQL cannot hold.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        text = '","'.join(values)
        # Two quotes stand between each pair of values: any other is part of a value.
        if "\\" not in text and text.count('"') == 2 * (len(values) - 1):
            return _holdable(f'{{"{text}"}}')
    if any(issubclass(kind, str) for kind in kinds):
        return _holdable("{" + ",".join("NULL" if value is None else _quoted(value) for value in values) + "}")
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _holdable(text: str) -> str:
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text cannot hold a NUL character")
    return text


def cursor() -> psycopg.Cursor[Any]:
    """A psycopg cursor on the current connection. Integers always travel as bigint, so that one plan serves all values."""
    check_health()
    connection.ensure_connection()
    made = psycopg.Cursor(connection.connection, row_factory=namedtuple_row)
    made.adapters.register_dumper(int, Int8Dumper)
    made.adapters.register_dumper(list, ArrayDumper)
    # Django's connection leaves jsonb as text, because its own fields read it.
    made.adapters.register_loader("jsonb", JsonbLoader)
    return made


def check_health() -> None:
    """Drops a kept connection that the server has ended, once a request; call it before `transaction.atomic` where that comes first.

    One on which nothing waits to be read is taken to live: to ask it, as Django does, costs a round trip.
    """
    if connection.connection is None or connection.health_check_done or connection.in_atomic_block:  # type: ignore[attr-defined]
        return
    if _is_silent(connection.connection):
        connection.health_check_done = True  # type: ignore[attr-defined]
    else:
        connection.close_if_health_check_failed()


def _is_silent(kept: psycopg.Connection[Any]) -> bool:
    """Whether the idle connection has neither ended nor been told anything."""
    if kept.closed:
        return False
    waiting = select.poll()
    waiting.register(kept.fileno(), select.POLLIN)
    return not waiting.poll(0)


def rows(statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> list[Any]:
    """Runs one statement and returns its rows as named tuples."""
    with cursor() as running:
        running.execute(statement, parameters)
        return running.fetchall() if running.description is not None else []


def execute(statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> int:
    """Runs one statement and returns how many rows it touched."""
    with cursor() as running:
        running.execute(statement, parameters)
        return running.rowcount


def unnest(alias: str, columns: Mapping[str, str]) -> str:
    """The text `unnest(%(a)s::bigint[], …) AS alias(a, …)` for arrays passed under the columns' names."""
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in columns.items())
    return f"unnest({arrays}) AS {alias}({', '.join(columns)})"

"""Set-based SQL on Django's own connection, inside its transactions, with parameters bound and plans kept by the server."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection
from psycopg.abc import Query
from psycopg.rows import namedtuple_row
from psycopg.types.numeric import Int8Dumper


def cursor() -> psycopg.Cursor[Any]:
    """A psycopg cursor on the current connection. Integers always travel as bigint, so that one plan serves all values."""
    connection.ensure_connection()
    made = psycopg.Cursor(connection.connection, row_factory=namedtuple_row)
    made.adapters.register_dumper(int, Int8Dumper)
    return made


def rows(statement: Query, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> list[Any]:
    """Runs one statement and returns its rows as named tuples."""
    with cursor() as running:
        running.execute(statement, parameters)
        return running.fetchall() if running.description is not None else []


def execute(statement: Query, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> int:
    """Runs one statement and returns how many rows it touched."""
    with cursor() as running:
        running.execute(statement, parameters)
        return running.rowcount


def unnest(alias: str, columns: Mapping[str, str]) -> str:
    """The text `unnest(%(a)s::bigint[], …) AS alias(a, …)` for arrays passed under the columns' names."""
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in columns.items())
    return f"unnest({arrays}) AS {alias}({', '.join(columns)})"

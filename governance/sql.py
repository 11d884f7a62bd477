"""Set-based SQL on Django's own connection, inside its transactions, with parameters bound and plans kept by the server."""

import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import namedtuple_row
from psycopg.types.json import JsonbDumper, JsonbLoader
from psycopg.types.numeric import Int8Dumper

from governance import pipelines
from governance.arrays import array_text
from governance.pipelines import Sent

# The database is away, ended our connection, or gave way to another transaction: the same may succeed a moment later.
PASSING = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)


class ArrayDumper(Dumper):
    """Writes a list as an array whose kind the statement names (`%(ids)s::bigint[]`), many times quicker than item by item."""

    def dump(self, obj: list[Any]) -> bytes:
        return array_text(obj).encode()


class QuickJsonbLoader(JsonbLoader):
    """Reads jsonb; an empty object, which is what most calls have for tags, without asking json."""

    def load(self, data: Buffer) -> Any:
        return {} if data == b"{}" else super().load(data)


@cache
def _adapters() -> AdaptersMap:
    """How our cursors write and read values: as Django's connections do, but for a few kinds. Made once, because making it costs as much as a small statement."""
    made = AdaptersMap(connection.connection.adapters)
    # Integers always travel as bigint, so that one plan serves all values.
    made.register_dumper(int, Int8Dumper)
    made.register_dumper(list, ArrayDumper)
    made.register_dumper(dict, JsonbDumper)
    # Django's connection leaves jsonb as text, because its own fields read it.
    made.register_loader("jsonb", QuickJsonbLoader)
    # Its connection is in UTC, and so are psycopg's own times, which are read in C.
    quick = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, Format.TEXT)
    if quick is not None:
        made.register_loader("timestamptz", quick)
    return made


class _Cursor(psycopg.Cursor[Any]):
    """One that shares its adapters with all others."""

    @property
    def adapters(self) -> AdaptersMap:
        return _adapters()


def cursor() -> psycopg.Cursor[Any]:
    """A psycopg cursor on the current connection."""
    if _pipeline.get() is not None:
        raise RuntimeError("This would be done before what was sent ahead of it; send it as well.")
    return _Cursor(_connected(), row_factory=namedtuple_row)


def _connected() -> psycopg.Connection[Any]:
    ours = connections[DEFAULT_DB_ALIAS]
    _check_health(ours)
    ours.ensure_connection()
    found: psycopg.Connection[Any] = ours.connection
    return found


Answer = Sent | psycopg.Cursor[Any]
_pipeline: ContextVar[list[Sent] | None] = ContextVar("pipeline", default=None)


@contextmanager
def pipeline(*, unlocks_early: bool = False) -> Iterator[None]:
    """What is sent in the block goes to the server when it ends, in order, in one message; then the rows are there.

    One transaction where none is open; for rows that everybody waits for it may unlock them early, before it returns.
    Raises what the first statement that fails raises; then none of them has happened.
    """
    sent: list[Sent] = []
    token = _pipeline.set(sent)
    try:
        yield
    finally:
        _pipeline.reset(token)
    if sent:
        pipelines.run(_connected(), sent, unlocks_early=unlocks_early)


def send(statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> Answer:
    """Has the open pipeline run the statement; without one it is run at once."""
    sent = _pipeline.get()
    if sent is None:
        return cursor().execute(statement, parameters)
    sent.append(Sent(statement, parameters))
    return sent[-1]


def check_health() -> None:
    """Drops a kept connection that the server has ended, once a request; call it before `transaction.atomic` where that comes first.

    One on which nothing waits to be read is taken to live: to ask it, as Django does, costs a round trip.
    """
    _check_health(connections[DEFAULT_DB_ALIAS])


def check_transaction() -> None:
    """Raises OperationalError where the transaction that is open, if one is, cannot be committed any more, though nobody has raised until here.

    Whoever catches an error in the midst of a transaction may have caught its end, such as that of the connection under a savepoint. Django
    takes it back then, and the server as well, without a word: ask before what was done is told to anybody.
    """
    ours = connections[DEFAULT_DB_ALIAS]
    kept = ours.connection
    if not ours.in_atomic_block:
        return
    if ours.needs_rollback or kept is None or kept.closed or kept.pgconn.transaction_status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        raise OperationalError("the transaction was ended in its midst")


def _check_health(ours: Any) -> None:
    if ours.connection is None or ours.health_check_done or ours.in_atomic_block:
        return
    if _is_silent(ours.connection):
        ours.health_check_done = True
    else:
        ours.close_if_health_check_failed()


def _is_silent(kept: psycopg.Connection[Any]) -> bool:
    """Whether the idle connection has neither ended nor been told anything."""
    if kept.closed:
        return False
    waiting = select.poll()
    waiting.register(kept.fileno(), select.POLLIN)
    return not waiting.poll(0)


def ensure_on_disk() -> None:
    """Returns once a crash cannot take what was read just now: it may have been unlocked early by a request that still waits for the disk itself."""
    execute(pipelines.ON_DISK)


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

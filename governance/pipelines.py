"""Statements that are sent together and answered together: one message to the server, one wait, one transaction where none is open.

psycopg's own pipeline sends each statement by itself, which wakes the server for each, and us once more between them. The plans
that are kept are psycopg's: it forgets them all with a rollback.
"""

import re
import select
import threading
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg._preparing import Prepare
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.json import JsonbLoader

from governance.arrays import array_text, holdable

Parameters = Mapping[str, Any] | Sequence[Any]
PLACE = re.compile(r"%(?:\((\w+)\)s|s|%)")

# A commit lets go of its locks only once the disk has it, so that those who wait for the same rows wait for one disk write after the other.
# A transaction that is not hurried to the disk unlocks as soon as it is decided; a second one, which locks nothing, writes a word to the log
# after it and is committed as the server commits (to disk, to standbys). The log goes to the disk in its order, so that once the second is
# there the first is, and whatever it was built on. Nobody is answered before. What a crash takes with it until then nobody was told of.
UNHURRIED = "SELECT set_config('synchronous_commit', 'off', true)"
ON_DISK = "SELECT pg_logical_emit_message(true, 'weighhouse', '') IS NOT NULL AS is_on_disk"


def _nothing(_: None) -> None:
    return None


# How a value of each kind is written, and the server's number of its kind; 0 lets the statement decide.
WRITTEN: dict[type, tuple[int, Callable[[Any], str | None]]] = {
    type(None): (0, _nothing),
    str: (0, holdable),
    bool: (16, str),
    int: (20, str),
    Decimal: (1700, str),
    UUID: (2950, str),
    datetime: (1184, str),
    date: (1082, str),
    timedelta: (1186, str),
    list: (0, array_text),
}


class _Text(NamedTuple):
    """A statement as the server reads it ($1, $2 …), and what puts its parameters in that order."""

    text: bytes
    ordered: Callable[[Any], tuple[Any, ...]]


class _Query(NamedTuple):
    """What a plan is kept by."""

    query: bytes
    types: tuple[int, ...]


class Sent:
    """A statement on its way. Its rows are there once the pipeline has ended."""

    __slots__ = ("is_new", "parameters", "rows", "statement")

    def __init__(self, statement: str, parameters: Parameters) -> None:
        self.statement, self.parameters = statement, parameters
        self.is_new = False
        self.rows: list[Any] = []

    def fetchall(self) -> list[Any]:
        """The rows, as named tuples."""
        return self.rows


class _Reading(threading.local):
    """How values come back: as psycopg reads them, jsonb too, which Django's connections leave as text. One for each thread."""

    def __init__(self) -> None:
        adapters = AdaptersMap(psycopg.adapters)
        adapters.register_loader("jsonb", JsonbLoader)
        self.transformer = Transformer(adapters)


_reading = _Reading()


def run(connection: psycopg.Connection[Any], sent: Sequence[Sent], *, unlocks_early: bool = False) -> None:
    """Sends them in this order, waits for all, and fills in their rows. Raises for the first that fails; then none of them has happened.

    Unlocking early, where they are a transaction of their own: see UNHURRIED.
    """
    server = connection.pgconn
    is_idle = server.transaction_status == TransactionStatus.IDLE
    begins = not connection.autocommit and is_idle
    transactions = [[Sent(UNHURRIED, ()), *sent], [Sent(ON_DISK, ())]] if unlocks_early and connection.autocommit and is_idle else [sent]
    written = [[(one, *_written(one)) for one in transaction] for transaction in transactions]
    server.enter_pipeline_mode()
    try:
        if begins:
            server.send_query_params(b"BEGIN", None)
        for transaction in written:
            for one, query, values in transaction:
                _send(connection, one, query, values)
            server.pipeline_sync()
        _flush(server)
        found = [_answer(server) for _ in range(begins)]
        for statements in transactions:
            found += [_answer(server) for one in statements for _ in range(1 + one.is_new)]
            _ended(server)
        server.exit_pipeline_mode()
    except BaseException:
        # Nobody would wait for the answers that are still under way.
        server.finish()
        raise
    for result in found:
        if result.status == ExecStatus.FATAL_ERROR:
            _forget(connection, chain.from_iterable(written))
            raise errors.error_from_result(result)
    _read([*chain.from_iterable(transactions)], found[begins:])


def _send(connection: psycopg.Connection[Any], one: Sent, query: _Query, values: list[bytes | None]) -> None:
    """By its plan where the server keeps one, or is to keep one from now on."""
    server, kept = connection.pgconn, connection._prepared
    # At first sight: to make a plan three times for the sake of statements that never come again would hold up requests of all new connections.
    what, name = kept.get(query, prepare=kept.prepare_threshold is not None)  # type: ignore[arg-type] # it looks at nothing else of a query
    if what is Prepare.NO:
        server.send_query_params(query.query, values, param_types=query.types)
    else:
        if what is Prepare.SHOULD:
            one.is_new = True
            server.send_prepare(name, query.query, param_types=query.types)
        server.send_query_prepared(name, values)
    kept.maybe_add_to_cache(query, what, name)  # type: ignore[arg-type]


def _forget(connection: psycopg.Connection[Any], written: Iterable[tuple[Sent, _Query, Any]]) -> None:
    """What was to be kept from here on may not be: it is kept, by another name, when it comes again."""
    for one, query, _ in written:
        if one.is_new:
            connection._prepared._names.pop((query.query, query.types), None)


def _written(one: Sent) -> tuple[_Query, list[bytes | None]]:
    found = _text(one.statement)
    types, values = [], []
    for value in found.ordered(one.parameters):
        kind, write = WRITTEN.get(type(value)) or _kind_of(value)
        text = write(value)
        types.append(kind)
        values.append(None if text is None else text.encode())
    return _Query(found.text, tuple(types)), values


def _kind_of(value: Any) -> tuple[int, Callable[[Any], str | None]]:
    """Of a value whose type is derived from one of those, such as a choice."""
    for kind, written in WRITTEN.items():
        if isinstance(value, kind):
            return written
    raise TypeError(f"{type(value).__name__} is nothing that a statement of a pipeline takes")


@lru_cache(maxsize=1024)
def _text(statement: str) -> _Text:
    names: list[str] = []

    def numbered(place: re.Match[str]) -> str:
        if place[0] == "%%":
            return "%"
        if place[1] is None or place[1] not in names:
            names.append(place[1])
        return f"${names.index(place[1]) + 1 if place[1] is not None else len(names)}"

    text = PLACE.sub(numbered, statement).encode()
    if None in names:
        return _Text(text, tuple)
    if len(names) < 2:
        return _Text(text, lambda parameters: tuple(parameters[name] for name in names))
    return _Text(text, itemgetter(*names))


def _flush(server: PGconn) -> None:
    """Sends what is left to send. The server may want to be heard meanwhile."""
    while server.flush():
        _wait(server, select.POLLIN | select.POLLOUT)
        server.consume_input()


def _answer(server: PGconn) -> PGresult:
    """The answer to one statement."""
    found = _next(server)
    _next(server)
    if found is None:
        raise psycopg.OperationalError("the server answered less than it was asked")
    return found


def _ended(server: PGconn) -> None:
    """Reads the end of a transaction. All its statements may have answered, and its commit fail or its server end."""
    found = _next(server)
    if found is None:
        raise psycopg.OperationalError("the server did not say how the transaction ended")
    if found.status != ExecStatus.PIPELINE_SYNC:
        raise errors.error_from_result(found)


def _next(server: PGconn) -> PGresult | None:
    while server.is_busy():
        _wait(server, select.POLLIN)
        server.consume_input()
    return server.get_result()


def _wait(server: PGconn, events: int) -> None:
    waiting = select.poll()
    waiting.register(server.socket, events)
    waiting.poll()


def _read(sent: Sequence[Sent], found: Iterable[PGresult]) -> None:
    transformer, results = _reading.transformer, iter(found)
    for one in sent:
        if one.is_new:
            next(results)
        result = next(results)
        if result.status == ExecStatus.TUPLES_OK and result.ntuples:
            transformer.set_pgresult(result)
            one.rows = transformer.load_rows(0, result.ntuples, _row(tuple([result.fname(column) for column in range(result.nfields)])))
    transformer.set_pgresult(None)


@lru_cache(maxsize=512)
def _row(names: tuple[bytes, ...]) -> Callable[[Sequence[Any]], Any]:
    made: Any = namedtuple("Row", [name.decode() for name in names])  # type: ignore[misc] # noqa: PYI024 - the names are the statement's
    make: Callable[[Sequence[Any]], Any] = made._make
    return make

"""Statements of a pipeline are answered together, and happen together or not at all."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from governance import sql
from governance.tenancy.models import Role

VALUES: dict[str, Any] = {
    "text": "a 'quoted' % \\ word", "bigint": 2**40, "numeric": Decimal("1E-15"), "uuid": UUID(int=7), "boolean": True, "date": datetime(2026, 3, 29, tzinfo=UTC).date(),
    "timestamptz": datetime(2026, 3, 29, 1, 0, 0, 1, UTC), "interval": timedelta(days=-1, seconds=3), "text[]": ["a", None, ',"'], "bigint[]": [1, None],
}  # fmt: skip
COUNT = "SELECT count(*) AS number FROM kept"


@pytest.fixture
def kept(transactional_db: None) -> Any:
    """A table of numbers above 0."""
    sql.execute("CREATE TABLE kept (number bigint PRIMARY KEY CHECK (number > 0))")
    yield
    sql.execute("DROP TABLE kept")


def keep(*numbers: int) -> None:
    with sql.pipeline():
        for one in numbers:
            sql.send("INSERT INTO kept VALUES (%s)", [one])


def number() -> int:
    return int(sql.rows(COUNT)[0].number)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_comes_back_as_it_went_however_often(kind: str) -> None:
    for _ in range(6):  # more often than until a plan is kept
        with sql.pipeline():
            first = sql.send(f"SELECT %(value)s::{kind} AS value, %(missing)s::{kind} AS missing", {"value": VALUES[kind], "missing": None})
            second = sql.send(f"SELECT %s::{kind} AS value, '100%%' AS share", [VALUES[kind]])
        assert [tuple(row) for row in first.fetchall()] == [(VALUES[kind], None)]
        assert [tuple(row) for row in second.fetchall()] == [(VALUES[kind], "100%")]


@pytest.mark.django_db
def test_a_choice_is_its_value_and_jsonb_is_read() -> None:
    with sql.pipeline():
        found = sql.send("""SELECT %s::text AS role, '{"a": [1]}'::jsonb AS facts""", [Role.ADMIN])
    assert tuple(found.fetchall()[0]) == ("admin", {"a": [1]})


def test_without_a_transaction_all_of_it_happens_or_nothing(kept: None) -> None:
    for _ in range(5):
        with pytest.raises(psycopg.errors.CheckViolation):
            keep(1, 0, 2)
        assert number() == 0
    keep(1, 2)
    assert number() == 2


def test_it_is_part_of_the_transaction_around_it(kept: None) -> None:
    for _ in range(5):
        with transaction.atomic():
            with sql.pipeline():
                sql.send("INSERT INTO kept VALUES (%s)", [1])
                found = sql.send(COUNT, [])
            assert found.fetchall()[0].number == 1
            transaction.set_rollback(True)
        assert number() == 0


@pytest.mark.django_db
def test_what_would_overtake_it_is_refused() -> None:
    with pytest.raises(RuntimeError), sql.pipeline():
        sql.rows("SELECT 1")


@pytest.mark.django_db
def test_nothing_is_sent_of_what_cannot_be_written() -> None:
    with pytest.raises(psycopg.DataError), sql.pipeline():
        sql.send("SELECT %s::text", ["a\0b"])
    with pytest.raises(TypeError), sql.pipeline():
        sql.send("SELECT %s::text", [object()])
    assert sql.rows("SELECT 1 AS one")[0].one == 1


def test_more_than_the_socket_takes_at_once_goes_both_ways(transactional_db: None) -> None:
    long = "x" * 3_000_000
    with sql.pipeline():
        found = [sql.send("SELECT %s::text AS text", [long]) for _ in range(4)]
    assert all(one.fetchall()[0].text == long for one in found)


def test_an_ended_connection_is_an_error_of_the_database(transactional_db: None) -> None:
    sql.rows("SELECT 1")
    with pytest.raises(psycopg.OperationalError), sql.pipeline():
        sql.send("SELECT pg_terminate_backend(pg_backend_pid())", [])
    connection.close()
    assert sql.rows("SELECT 1 AS one")[0].one == 1


@pytest.fixture
def disk(transactional_db: None) -> Iterator[None]:
    """Commits of this connection wait for the disk, as they do outside of tests."""
    sql.execute("SET synchronous_commit = on")
    yield
    sql.execute("RESET synchronous_commit")


def keep_unlocking(*numbers: int) -> tuple[str, str]:
    """Keeps them, unlocked early. Returns how the commit waits, and where the log was by then."""
    with sql.pipeline(unlocks_early=True):
        for one in numbers:
            sql.send("INSERT INTO kept VALUES (%s)", [one])
        told = sql.send("SELECT current_setting('synchronous_commit') AS waits, pg_current_wal_insert_lsn()::text AS place", [])
    found = told.fetchall()[0]
    return found.waits, found.place


def test_unlocked_early_it_is_on_disk_before_anybody_is_told(kept: None, disk: None) -> None:
    for start in (1, 3):  # with plans that are made, and kept ones
        waits, place = keep_unlocking(start, start + 1)
        assert waits == "off"
        assert sql.rows("SELECT pg_current_wal_flush_lsn() > %s::text::pg_lsn AS is_there", [place])[0].is_there
        assert sql.rows("SHOW synchronous_commit")[0].synchronous_commit == "on"
    assert number() == 4


def test_unlocked_early_all_of_it_happens_or_nothing(kept: None, disk: None) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.CheckViolation):
            keep_unlocking(1, -1)
        assert number() == 0
    keep_unlocking(1)
    assert number() == 1


def test_within_a_transaction_the_commit_waits_as_ever(kept: None, disk: None) -> None:
    with transaction.atomic():
        waits, _ = keep_unlocking(1)
        assert waits == "on"
    assert number() == 1


@pytest.fixture
def slow_to_commit(kept: None) -> Iterator[None]:
    """What is kept is looked at once more as it is committed, for half a second."""
    sql.execute("CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'")
    sql.execute("CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pause()")
    yield
    sql.execute("DROP FUNCTION pause CASCADE")


@pytest.mark.parametrize("unlocks_early", [False, True])
def test_ended_while_it_is_committed_it_is_not_taken_for_done(slow_to_commit: None, unlocks_early: bool) -> None:
    """All statements have answered by then, and the server says so before it ends."""
    backend = sql.rows("SELECT pg_backend_pid() AS id")[0].id
    ending = threading.Timer(0.2, _end, [backend, connection.connection.info.dsn])
    ending.start()
    with pytest.raises(psycopg.OperationalError), sql.pipeline(unlocks_early=unlocks_early):
        sql.send("INSERT INTO kept VALUES (%s)", [1])
    ending.join()
    connection.close()
    assert number() == 0


def _end(backend: int, address: str) -> None:
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend])


def test_what_its_commit_finds_wrong_is_raised(kept: None) -> None:
    sql.execute("CREATE TABLE above (number bigint REFERENCES kept DEFERRABLE INITIALLY DEFERRED)")
    try:
        with pytest.raises(psycopg.errors.ForeignKeyViolation), sql.pipeline():
            sql.send("INSERT INTO above VALUES (%s)", [7])
        connection.close()
        assert sql.rows("SELECT count(*) AS number FROM above")[0].number == 0
    finally:
        sql.execute("DROP TABLE above")

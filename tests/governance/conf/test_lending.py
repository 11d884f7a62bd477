"""Requests borrow connections: the one given back last, never one that is in use, none that is broken."""

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection, connections, transaction
from psycopg import errors

from governance import sql
from governance.conf import lending
from governance.conf.lending import connection_lent

BACKEND = "SELECT pg_backend_pid() AS id"


@pytest.fixture(autouse=True)
def none_lent_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections as a server keeps them."""
    for name, value in {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}.items():
        monkeypatch.setitem(connections.settings["default"], name, value)
    lending.connections_close()
    yield
    lending.connections_close()


def backend() -> int:
    with connection_lent():
        return int(sql.rows(BACKEND)[0].id)


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_threads_share_the_one_given_back_last() -> None:
    found: list[int] = []
    for _ in range(5):
        in_thread(lambda: found.append(backend()))
    assert len(set(found)) == 1
    assert len(lending._free) == 1


@pytest.mark.django_db(transaction=True)
def test_two_at_once_never_have_the_same() -> None:
    both = threading.Barrier(8, timeout=30)
    found: list[int] = []

    def hold() -> None:
        for _ in range(20):
            with connection_lent():
                both.wait()
                found.append(sql.rows(BACKEND)[0].id)
                both.wait()

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(len(set(found[turn : turn + 8])) == 8 for turn in range(0, 160, 8))
    assert len(lending._free) == 8


@pytest.mark.django_db(transaction=True)
def test_one_that_the_server_ended_is_replaced() -> None:
    ended = backend()
    sql.rows("SELECT pg_terminate_backend(%s::int, 10000)", [ended])
    assert backend() != ended


@pytest.mark.django_db(transaction=True)
def test_one_left_in_a_transaction_is_closed() -> None:
    with connection_lent():
        left = sql.rows(BACKEND)[0].id
        transaction.set_autocommit(False)
    assert backend() != left


@pytest.mark.django_db(transaction=True)
def test_unused_ones_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection_lent():
        sql.rows(BACKEND)
        in_thread(backend)
    # The one lent first was given back last; the other has not been used since.
    used, unused = lending._free[-1][1], lending._free[0][1]
    monkeypatch.setattr(lending, "IDLE_S", 0.0)
    backend()
    assert [one for _, one in lending._free] == [used]
    assert unused.connection is None


@pytest.mark.django_db
def test_what_is_in_a_transaction_goes_on_with_its_own() -> None:
    own = connection.connection
    with connection_lent():
        assert connection.connection is own
    assert not lending._free


@pytest.mark.django_db(transaction=True)
def test_failing_gives_back() -> None:
    with pytest.raises(errors.DivisionByZero), connection_lent():
        sql.rows("SELECT 1 / 0")
    assert len(lending._free) == 1

"""A connection that the server has ended is replaced before the next request uses it."""

import psycopg
import pytest
from django.db import connection

from governance import sql


@pytest.mark.django_db(transaction=True)
def test_connection_that_the_server_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    before = sql.rows("SELECT pg_backend_pid() AS id")[0].id
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [before])
        while other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [before]).fetchone():
            pass
    connection.close_if_unusable_or_obsolete()  # what Django does as a request begins
    assert sql.rows("SELECT pg_backend_pid() AS id")[0].id != before


@pytest.mark.django_db(transaction=True)
def test_connection_that_lives_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    sql.rows("SELECT 1")
    connection.close_if_unusable_or_obsolete()
    monkeypatch.setattr(connection, "is_usable", lambda: pytest.fail("a round trip for nothing"))
    assert sql.rows("SELECT 1 AS one")[0].one == 1

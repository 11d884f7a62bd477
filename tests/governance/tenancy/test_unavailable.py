"""The API while the database is away: every address asks to send again, none says that something broke."""

import psycopg
import pytest
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from governance.budgets.services import queueing
from tests.conftest import KeyInHand, client_with

pytestmark = pytest.mark.django_db
HOLD = {"session": "s1", "amount": "1"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError("gone"), psycopg.errors.AdminShutdown("gone"), psycopg.InterfaceError("closed")])
def test_authorization_is_asked_for_again(api: APIClient, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_way(**_: object) -> None:
        raise error

    monkeypatch.setattr(queueing, "authorization_hold", give_way)
    # The second would wait without end if the first had left the line of requests standing.
    for answer in (api.post("/api/v1/authorizations", HOLD), api.post("/api/v1/authorizations", HOLD)):
        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "unavailable", "2")
        assert answer["Content-Type"] == "application/problem+json"


ADDRESSES = ["authorizations/019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10", "sessions/s1", "approvals", "prices"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ADDRESSES)
def test_backend_that_dies_under_a_request_costs_one_answer(api: APIClient, api_key: KeyInHand, address: str) -> None:
    """The connection's server process is ended before the request's first statement; the next request finds another."""
    usual = client_with(api_key).get(f"/api/v1/{address}").status_code
    with psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
    connection.health_check_done = True  # as for a request during which it happens
    assert client_with(api_key).get(f"/api/v1/{address}").status_code == 503
    connection.close()
    assert client_with(api_key).get(f"/api/v1/{address}").status_code == usual

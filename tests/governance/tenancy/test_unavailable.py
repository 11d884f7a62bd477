"""The API and the pages while the database is away: every address asks to send again, none says that something broke."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from governance.budgets.services import queueing
from governance.tenancy.models import Member
from governance.tenancy.problems import server_error
from tests.backends import backend_end
from tests.conftest import KeyInHand, client_with

pytestmark = pytest.mark.django_db
HOLD = {"session": "s1", "amount": "1"}
PAGE = "/o/acme/settings/keys"


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


def end_backend() -> None:
    """Ends the server process of our connection, as for a request during which it happens."""
    backend_end()
    connection.health_check_done = True


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ADDRESSES)
def test_backend_that_dies_under_a_request_costs_one_answer(api: APIClient, api_key: KeyInHand, address: str) -> None:
    """The connection's server process is ended before the request's first statement; the next request finds another."""
    usual = client_with(api_key).get(f"/api/v1/{address}").status_code
    end_backend()
    assert client_with(api_key).get(f"/api/v1/{address}").status_code == 503
    connection.close()
    assert client_with(api_key).get(f"/api/v1/{address}").status_code == usual


@pytest.fixture
def admins(transactional_db: None, admin: Member, client: Client) -> Iterator[Client]:
    """The admin's browser, which shows what a person would see."""
    client.raise_request_exception = False
    client.force_login(admin.user)
    yield client
    connection.close()


def test_page_is_asked_for_again_by_itself_until_the_database_answers(admins: Client) -> None:
    assert admins.get(PAGE).status_code == 200
    end_backend()
    away = admins.get(PAGE)
    assert (away.status_code, away["Retry-After"]) == (503, "2")
    assert '<meta http-equiv="refresh" content="5">' in away.content.decode()
    connection.close()
    assert admins.get(PAGE).status_code == 200


def test_form_is_not_sent_again_by_itself(admins: Client) -> None:
    admins.get(PAGE)
    end_backend()
    away = admins.post(PAGE, {"name": "gateway"})
    assert away.status_code == 503
    assert "refresh" not in away.content.decode()
    assert "go back" in away.content.decode()


def test_address_of_the_api_answers_a_document_where_no_view_was_reached() -> None:
    request = RequestFactory().get("/api/v1/anything")
    try:
        raise OperationalError("gone")
    except OperationalError:
        answer = server_error(request)
    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (503, "application/problem+json", "2")

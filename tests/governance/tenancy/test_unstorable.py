"""NUL characters are refused with an answer wherever they come in, and dates at the ends of time do not break a page."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from governance.tenancy.models import Member

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("address", ["/api/v1/sessions/%00", "/api/v1/approvals?state=%00"])
def test_programs_get_a_problem(api: APIClient, address: str) -> None:
    answer = api.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")


@pytest.fixture
def page(admin: Member) -> Client:
    client = Client()
    client.force_login(admin.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_people_get_a_sentence(page: Client) -> None:
    assert page.get("/o/acme/approvals/new?session=%00").status_code == 400
    assert page.post("/o/acme/sessions/s1/freeze", {"reason": "a\x00b"}).status_code == 400


@pytest.mark.parametrize("name", ["overview", "spend", "routing", "lock-in"])
def test_range_at_the_beginning_of_time_shows_the_usual_one(page: Client, name: str) -> None:
    path = "" if name == "overview" else name
    assert page.get(f"/o/acme/{path}?range=custom&from=0001-01-01&to=0001-01-02", follow=True).status_code == 200

"""NUL characters are refused with an answer wherever they come in, and dates at the ends of time do not break a page."""

import msgspec
import pytest
from django.test import Client, RequestFactory
from rest_framework.request import Request
from rest_framework.test import APIClient

from governance.budgets.views import body_of
from governance.errors import Invalid
from governance.tenancy.models import Member, Organization, Scope
from tests.conftest import client_with, key_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("address", ["/api/v1/sessions/%00", "/api/v1/approvals?state=%00"])
def test_programs_get_a_problem(api: APIClient, address: str) -> None:
    answer = api.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    ("address", "body", "field"),
    [
        ("/api/v1/freezes", {"scope": "model", "name": "gpt-5", "reason": "a\x00b"}, "reason"),
        ("/api/v1/months/2026-01/close", {"reason": "a\x00b"}, "reason"),
        ("/api/v1/months/2026-01/reopen", {"reason": "a\x00b"}, "reason"),
        ("/api/v1/rerating-runs", {"reason": "a\x00b", "starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-02T00:00:00Z"}, "reason"),
        ("/api/v1/months/9999-12/close", {"reason": "because"}, "month"),
        ("/api/v1/months/0001-01/close", {"reason": "because"}, "month"),
    ],
)
def test_bodies_with_text_or_months_that_no_column_holds_get_a_problem(
    admin: Member, organization: Organization, address: str, body: dict[str, str], field: str
) -> None:
    client = client_with(key_of(organization, Scope.ADMIN, member=admin))
    answer = client.post(address, body, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_backslash_before_what_looks_like_a_nul_is_text() -> None:
    class Asked(msgspec.Struct):
        text: str
        tags: dict[str, str] = {}

    request = Request(RequestFactory().post("/", rb'{"text": "\\u0000"}', content_type="application/json"))
    assert body_of(request, Asked).text == "\\u0000"
    request = Request(RequestFactory().post("/", rb'{"text": "", "tags": {"a\u0000": ""}}', content_type="application/json"))
    with pytest.raises(Invalid) as refusal:
        body_of(request, Asked)
    assert refusal.value.extra["field"] == "tags"


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

"""Every address asks who is there, apart from the few that are for anybody."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from governance.tenancy.models import Member
from tests.architecture.addresses import filled, patterns

PUBLIC = {"healthz", "sign-in", "set-up", "api-schema", "api-docs", "collector-file"}
# Posting to them is all they are for; asking for them says so and nothing else.
POST_ONLY = {"demo-sign-in", "sign-out"}
GUARDED = [(name, route) for name, route, _ in patterns() if name not in PUBLIC | POST_ONLY]
PAGES = [(name, route) for name, route in GUARDED if route.startswith("o/")]
API = [(name, route) for name, route in GUARDED if route.startswith(("api/", "otlp/"))]


def test_lists_name_addresses_that_exist() -> None:
    assert {name for name, _, _ in patterns()} >= PUBLIC | POST_ONLY


@pytest.mark.parametrize(("name", "route"), GUARDED)
@pytest.mark.parametrize("method", ["get", "post"])
def test_anonymous_visitor_is_sent_away(client: Client, admin: Member, name: str, route: str, method: str) -> None:
    answer = getattr(client, method)(filled(route))
    assert answer.status_code in (301, 302, 401, 404, 405), name
    if answer.status_code in (301, 302):
        assert answer["Location"].startswith("/sign-in")


@pytest.mark.parametrize(("name", "route"), API)
def test_api_takes_no_session_for_a_key(client: Client, admin: Member, name: str, route: str) -> None:
    client.force_login(admin.user)
    assert client.post(filled(route)).status_code in (401, 405), name


@pytest.mark.parametrize(("name", "route"), PAGES)
def test_stranger_sees_404_on_every_page(client: Client, admin: Member, stranger: Member, name: str, route: str) -> None:
    client.force_login(stranger.user)
    assert client.get(filled(route)).status_code in (404, 405), name
    assert client.post(filled(route)).status_code in (404, 405), name


@pytest.mark.parametrize(("name", "route"), API)
def test_key_without_a_scope_opens_nothing(api: APIClient, api_key: object, name: str, route: str) -> None:
    api_key.row.scopes = []
    api_key.row.save()
    for method in (api.get, api.post, api.delete):
        assert method(filled(route)).status_code in (403, 405), name

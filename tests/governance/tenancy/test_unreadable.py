"""What Django itself refuses to read is refused in the form that the address answers in."""

import pytest
from django.test import Client

from tests.conftest import KeyInHand, client_with

pytestmark = pytest.mark.django_db
MANY = "&".join(f"p{number}=1" for number in range(1001))


def test_address_of_the_api_answers_a_document(api_key: KeyInHand) -> None:
    answer = client_with(api_key).get(f"/api/v1/check?{MANY}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["code"] == "unreadable"


def test_page_answers_a_page(client: Client) -> None:
    answer = client.get("/sign-in", headers={"host": "elsewhere.example"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")

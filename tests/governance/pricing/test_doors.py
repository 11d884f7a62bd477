"""The ways to look a price up: the API, and the operator's command."""

from datetime import UTC, datetime, time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from governance.pricing.book import current_book
from governance.pricing.services import prices_load
from governance.pricing.sources.rows import BEGINNING, SourceModel, SourceProvider, SourceRow
from governance.pricing.usage import Usage
from governance.tenancy.models import Organization, Scope
from tests.conftest import client_with, key_of

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 16, tzinfo=UTC)


def rates(amount: str) -> dict[str, dict[str, object]]:
    return {
        "output_tokens": {"per": 1_000_000, "base": amount},
        "input_tokens": {"per": 1_000_000, "base": amount, "tiers": [[200_000, "9"]]},
    }


@pytest.fixture
def prices() -> None:
    rows = [
        SourceRow(BEGINNING, MARCH, rates("1")),
        SourceRow(MARCH, None, rates("1.83")),
        SourceRow(MARCH, None, rates("0.9"), {"processing": "batch"}),
        SourceRow(MARCH, None, {}, daily_from=time(1), daily_to=time(4), precedence=1),
    ]
    models = [
        SourceModel("GLM-5", {"equals": "glm-5"}, rows, name="GLM 5"),
        SourceModel("GLM-6", {"equals": "glm-6"}, [SourceRow(MARCH, None, {})]),
        SourceModel("GLM-7", {"equals": "glm-7"}, [SourceRow(MARCH, None, rates("2")), SourceRow(MARCH, None, {}, {"service_tier": "default"})]),
    ]
    prices_load(providers=[SourceProvider("zhipuai", "Zhipu", None, {"starts_with": "glm-"}, [], models)])


def test_api_answers_with_the_price_at_an_instant_and_the_history(prices: None, api: APIClient) -> None:
    answer = api.get("/api/v1/prices", {"model": "glm-5", "at": "2026-03-15T23:59:59Z"})

    body = answer.json()
    assert answer.status_code == 200
    assert (body["provider"], body["model"], body["maker"], body["country"], body["tier"]) == ("zhipuai", "GLM-5", "zhipu", "CN", "economy")
    assert list(body["price"]["rates"].items())[0] == ("input_tokens", {"per": 1_000_000, "base": "1", "tiers": [[200_000, "9"]]})  # noqa: RUF015
    assert body["special"] == []
    assert len(body["history"]) == 4

    now = api.get("/api/v1/prices", {"model": "GLM-5", "provider": "zhipu", "at": "2026-04-01"}).json()
    assert now["price"]["rates"]["output_tokens"]["base"] == "1.83"
    assert [row["context"] for row in now["special"]] == [{"processing": "batch"}]


def test_api_answers_with_the_provider_that_a_call_is_stored_under(prices: None, api: APIClient) -> None:
    prices_load(providers=[SourceProvider("azure", "Azure", {"contains": "azure"}, None, ["zhipuai"], [])])
    query = {"model": "glm-5", "provider": "azure", "at": "2026-04-01"}
    body = api.get("/api/v1/prices", query).json()
    stored = current_book(refresh=True).rate(provider="azure", model="glm-5", at=MARCH, usage=Usage(input_tokens=1))
    assert body["provider"] == stored.provider == "azure"
    assert (body["price"]["id"], body["special"]) == (stored.price_id, [])


def test_api_answers_now_when_no_instant_is_given(prices: None, api: APIClient) -> None:
    assert api.get("/api/v1/prices", {"model": "glm-6"}).json()["price"]["rates"] == {}


def test_api_says_when_there_is_no_price(prices: None, api: APIClient) -> None:
    answer = api.get("/api/v1/prices", {"model": "mimo-v2-pro"})

    assert (answer.status_code, answer.json()["code"], answer.json()["model"]) == (404, "not_found", "mimo-v2-pro")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("query", [{}, {"model": ""}, {"model": "glm-5", "at": "yesterday"}, {"model": "x" * 201}, {"model": "glm\x00"}])
def test_api_refuses_what_it_cannot_read(prices: None, api: APIClient, query: dict[str, str]) -> None:
    assert api.get("/api/v1/prices", query).status_code == 422


def test_api_needs_a_key_with_the_scope(prices: None, organization: Organization) -> None:
    assert APIClient().get("/api/v1/prices", {"model": "glm-5"}).status_code == 401
    assert client_with(key_of(organization, Scope.INGEST)).get("/api/v1/prices", {"model": "glm-5"}).status_code == 403


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("prices", *arguments, stdout=out)
    return out.getvalue()


def test_command_loads_the_bundled_list_once() -> None:
    assert "providers" in shown("load")
    assert "up to date" in shown("load")


def test_command_shows_amounts_tiers_kinds_and_history(prices: None) -> None:
    text = shown("show", "glm-5", "--provider", "zhipu", "--at", "2026-03-16T12:00Z")

    assert "zhipuai / GLM-5" in text
    assert "1.83 per 1,000,000; 9 above 200,000 input tokens" in text
    assert "For processing=batch" in text
    assert "from the beginning to 2026-03-16 00:00" in text
    assert "daily 01:00 to 04:00 UTC" in text
    assert "free of charge" in shown("show", "glm-6")


def test_command_says_that_a_kind_of_call_without_amounts_costs_the_ordinary_ones(prices: None) -> None:
    text = shown("show", "glm-7")
    assert "For service_tier=default" in text
    assert "the ordinary price" in text
    assert "free of charge" not in text


def test_command_fails_when_there_is_no_price(prices: None) -> None:
    with pytest.raises(CommandError, match="no price for mimo-v2-pro from xiaomi"):
        shown("show", "mimo-v2-pro", "--provider", "xiaomi")
    with pytest.raises(CommandError, match="No price of GLM-6 is valid on 2026-01-01"):
        shown("show", "glm-6", "--at", "2026-01-01")
    with pytest.raises(CommandError, match="is not a date"):
        shown("show", "glm-5", "--at", "yesterday")
    with pytest.raises(CommandError, match="is not a date"):
        shown("show", "glm-5", "--at", "0001-01-01T00:00+14:00")


def test_api_finds_models_page_by_page(prices: None, api: APIClient) -> None:
    first = api.get("/api/v1/prices/models", {"q": "glm", "limit": "2", "at": "2026-04-01"}).json()
    second = api.get("/api/v1/prices/models", {"q": "glm", "limit": "2", "offset": str(first["next"])}).json()

    assert [item["model"] for item in first["items"]] == ["GLM-5", "GLM-6"]
    assert first["items"][0]["price"]["rates"]["output_tokens"]["base"] == "1.83"
    assert ([item["model"] for item in second["items"]], second["next"], first["total"]) == (["GLM-7"], None, 3)
    assert api.get("/api/v1/prices/models", {"tier": "huge"}).status_code == 422


def test_api_says_how_a_name_is_read_and_what_it_could_mean(prices: None, api: APIClient) -> None:
    read = api.get("/api/v1/prices/read", {"model": "glm-5:batch"}).json()
    unknown = api.get("/api/v1/prices/read", {"model": "somebody/glm-5"}).json()
    refused = api.get("/api/v1/prices", {"model": "somebody/glm-5"})

    assert (read["model"], read["kind"], read["reason"]) == ({"provider": "zhipuai", "model": "GLM-5"}, "batch", "")
    assert (unknown["model"], unknown["reason"]) == (None, "the name could mean several models")
    assert unknown["candidates"] == [{"provider": "zhipuai", "model": "GLM-5"}]
    assert (refused.status_code, refused.json()["reason"]) == (404, "the name could mean several models")


def test_api_maps_a_name_for_the_key_s_organization_and_ends_it(prices: None, organization: Organization, other_organization: Organization) -> None:
    admin, stranger = (client_with(key_of(row, Scope.ADMIN, Scope.READ)) for row in (organization, other_organization))
    given = {"name": "prod-chat", "reported_provider": "azure", "provider": "zhipuai", "model": "GLM-5", "valid_from": "2026-11-01T00:00:00Z"}

    made = admin.post("/api/v1/prices/names", given)
    mapping = made.json()

    assert (made.status_code, mapping["valid_to"]) == (201, None)
    assert [row["name"] for row in admin.get("/api/v1/prices/names").json()["items"]] == ["prod-chat"]
    assert stranger.get("/api/v1/prices/names").json() == {"items": []}
    assert stranger.delete(f"/api/v1/prices/names/{mapping['id']}").status_code == 404
    assert admin.delete(f"/api/v1/prices/names/{mapping['id']}").json()["valid_to"] is not None
    assert admin.post("/api/v1/prices/names", given | {"model": "GLM-99"}).status_code == 404
    upper = admin.post("/api/v1/prices/names", given | {"name": "prod-too", "model": f"{given['provider']}/{given['model'].upper()}"})
    assert (upper.status_code, upper.json()["model"]) == (201, mapping["model"])
    assert admin.post("/api/v1/prices/names", given | {"valid_from": "soon"}).status_code == 422

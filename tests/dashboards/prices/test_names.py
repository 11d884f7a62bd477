"""The pages where people say what a name means, and price what no list prices; and that stored calls follow."""

from decimal import Decimal

import pytest
from django.test import Client

from governance.pricing.models import NameMapping, PriceRow
from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import NOW, call, use

pytestmark = pytest.mark.usefixtures("prices", "at_now")


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def test_unpriced_name_says_why_and_leads_to_the_decision(visitor: Client, organization: Organization) -> None:
    use(organization, [call(provider="", model="mystery-chat"), call(provider="openai", model="gpt-5:nitro")])

    text = visitor.get("/o/acme/prices/unpriced").content.decode()

    assert "asks for the fastest seller" in text
    assert "/o/acme/prices/names?provider=openai&amp;name=gpt-5%3Anitro" in text


def test_decision_shows_what_the_name_could_mean(visitor: Client) -> None:
    answer = visitor.get("/o/acme/prices/names?provider=openai&name=gpt-5:nitro")

    assert [model.slug for model, _ in answer.context["could"]] == ["gpt-5"]
    assert "openai/gpt-5" in answer.content.decode()


def mapped(visitor: Client, **fields: str) -> int:
    given = {"action": "map", "name": "prod-chat", "provider": "azure", "model": "openai/gpt-5", "valid_from": "2026-11-01"}
    return visitor.post("/o/acme/prices/names", given | fields).status_code


def test_admin_maps_a_name_from_the_organization_s_own_midnight(visitor: Client, organization: Organization) -> None:
    assert mapped(visitor) == 302

    row = NameMapping.objects.get(organization=organization)
    assert (row.name, row.provider, row.model.slug, row.valid_from.isoformat()) == ("prod-chat", "azure", "gpt-5", "2026-10-31T23:00:00+00:00")
    assert "prod-chat" in visitor.get("/o/acme/prices/names").content.decode()


@pytest.mark.parametrize("fields", [{"model": "openai/gpt-999"}, {"model": "no-such"}, {"name": ""}, {"valid_from": "yesterday"}])
def test_mapping_that_cannot_be_is_refused_at_its_field(visitor: Client, fields: dict[str, str]) -> None:
    assert mapped(visitor, **fields) == 422
    assert not NameMapping.objects.exists()


def test_mapping_is_ended(visitor: Client) -> None:
    mapped(visitor)
    row = NameMapping.objects.get()

    assert visitor.post("/o/acme/prices/names", {"action": "end", "mapping": row.pk}).status_code == 302
    row.refresh_from_db()
    assert row.valid_to == NOW


@pytest.mark.parametrize("mapping", ["", "x", "99999999", "²"])
def test_mapping_that_is_not_there_is_not_ended(visitor: Client, mapping: str) -> None:
    assert visitor.post("/o/acme/prices/names", {"action": "end", "mapping": mapping}).status_code == 404


def priced(visitor: Client, **fields: str) -> int:
    given = {"provider": "our-gpu", "model": "llama-own", "valid_from": "2026-11-01", "currency": "usd", "input_tokens": "0.5", "output_tokens": "2", "holds_for": "all"}
    return visitor.post("/o/acme/prices/add", given | fields).status_code


def test_model_that_no_list_has_is_priced_and_its_calls_cost_that(visitor: Client, organization: Organization) -> None:
    assert priced(visitor, per_request="0.01") == 302

    row = PriceRow.objects.get(model__slug="llama-own")
    assert row.rates == {"input_tokens": {"per": 1_000_000, "base": "0.5"}, "output_tokens": {"per": 1_000_000, "base": "2"}, "requests": {"per": 1, "base": "0.01"}}
    assert (row.currency, row.source) == ("USD", "manual")
    answer = visitor.get("/o/acme/prices/models/our-gpu/llama-own")
    assert (answer.status_code, answer.context["offer"].input) == (200, Decimal("0.5"))


def test_model_that_a_list_prices_is_left_to_the_list(visitor: Client) -> None:
    before = PriceRow.objects.count()

    assert priced(visitor, provider="openai", model="gpt-5") == 422
    assert PriceRow.objects.count() == before


@pytest.mark.parametrize("fields", [{"input_tokens": "-1"}, {"input_tokens": "NaN"}, {"currency": "U$D"}, {"input_tokens": ""}, {"provider": ""}])
def test_price_that_cannot_be_is_refused(visitor: Client, fields: dict[str, str]) -> None:
    assert priced(visitor, **fields) == 422


def test_who_may_not_change_prices_sees_mappings_and_no_form(client: Client, lead: Member) -> None:
    client.force_login(lead.user)

    assert "Map the name" not in client.get("/o/acme/prices/names").content.decode()
    assert client.post("/o/acme/prices/names", {"action": "map"}).status_code == 403
    assert client.get("/o/acme/prices/add").status_code == 403

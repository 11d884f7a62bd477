"""The pages of the price book: finding a model by any of its names, and one model with its rows, steps, sellers and use."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from dashboards.components.figures import price_text
from dashboards.selectors.prices import price_day
from governance.pricing.book import current_book
from governance.pricing.models import Model
from governance.pricing.naming import family_key
from governance.pricing.services import price_row_add
from governance.tenancy.models import Member, Organization
from tests.dashboards.usage_made import call, use

pytestmark = pytest.mark.usefixtures("prices", "at_now")


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def slugs(visitor: Client, query: str) -> list[str]:
    return [offer.slug for offer in visitor.get(f"/o/acme/prices?{query}").context["table"].rows]


def test_model_is_found_by_a_name_without_its_signs(visitor: Client) -> None:
    assert slugs(visitor, "q=gpt5+mini")[:1] == ["gpt-5-mini"]
    assert "claude-opus-4-5" in slugs(visitor, "q=opus4.5")


def test_model_is_found_by_a_part_of_its_name_the_closest_first(visitor: Client) -> None:
    found = slugs(visitor, "q=claude-opus-4-5")

    assert found[0] == "claude-opus-4-5"
    assert slugs(visitor, "q=opus+anthropic")
    assert all("opus" in slug for slug in slugs(visitor, "q=opus+anthropic"))


def test_name_that_a_call_reported_leads_to_the_model_it_is_priced_as(visitor: Client) -> None:
    answer = visitor.get("/o/acme/prices?q=claude-sonnet-4-5-20250929")

    assert answer.context["table"].rows[0].slug == "claude-sonnet-4-5"
    assert "is priced as" in answer.content.decode()


def test_unknown_name_is_said_to_have_no_price(visitor: Client) -> None:
    answer = visitor.get("/o/acme/prices?q=our-own-llama")

    assert answer.context["table"].rows == []
    assert "stays unpriced: no price for this model." in answer.content.decode()


def test_list_is_narrowed_by_provider_maker_tier_and_weights(visitor: Client) -> None:
    def offers(query: str) -> list[object]:
        return visitor.get(f"/o/acme/prices?{query}").context["table"].every_row  # type: ignore[no-any-return]

    assert {offer.provider for offer in offers("provider=deepseek")} == {"deepseek"}
    assert {offer.model.tier for offer in offers("tier=flagship")} == {"flagship"}
    assert {offer.model.has_open_weights for offer in offers("weights=open")} == {True}
    assert {offer.model.maker for offer in offers("maker=anthropic")} == {"anthropic"}


def test_list_comes_as_a_file_with_exact_amounts_and_their_currency(visitor: Client) -> None:
    lines = visitor.get("/o/acme/prices?q=claude-sonnet-4-5&format=csv").content.decode().splitlines()

    assert lines[0] == "Model,Provider,Maker,Tier,Currency,Input,Output,From cache,Context,Depends on,Since"
    assert lines[1].startswith("claude-sonnet-4-5,Anthropic,Anthropic,standard,USD,3,15,0.3,")


def test_every_member_may_look_at_prices(client: Client, engineer: Member) -> None:
    client.force_login(engineer.user)

    assert client.get("/o/acme/prices").status_code == 200
    assert "Unpriced" not in client.get("/o/acme/prices").content.decode()


def test_model_shows_a_new_price_as_a_step_and_keeps_the_row_before(visitor: Client) -> None:
    model = Model.objects.get(provider__slug="anthropic", slug="claude-opus-4-5")
    begins = datetime(2026, 12, 1, tzinfo=UTC)
    row = price_row_add(actor=None, model=model, valid_from=begins, rates={"input_tokens": "7", "output_tokens": "35"}, source="typed", announced_at=datetime(2026, 11, 10, tzinfo=UTC))
    current_book(refresh=True)

    answer = visitor.get("/o/acme/prices/models/anthropic/claude-opus-4-5")

    assert answer.context["offer"].input == Decimal(5)
    steps = next(trace for trace in answer.context["chart"].figure.data if trace.name == "Input")
    assert list(steps.y) == [5, 5, 7, 7]
    shown = next(entry for entry in answer.context["tables"]["rows"].rows if entry.pk == row.pk)
    assert (shown.valid_from, shown.source, shown.announced_at) == (begins, "typed", datetime(2026, 11, 10, tzinfo=UTC))


def test_model_shows_what_each_kind_of_call_costs_beside_the_ordinary_one(visitor: Client) -> None:
    answer = visitor.get("/o/acme/prices/models/anthropic/claude-opus-4-6")

    kinds = [kind.label for kind in answer.context["kinds"]]
    assert kinds[:2] == ["Ordinary", "Batch"]
    amounts = dict(answer.context["lines"])["Input"]
    assert [amount.price for _, amount in amounts[:2]] == [Decimal(5), Decimal("2.5")]


def test_amounts_by_length_are_in_the_currency_of_the_others(visitor: Client) -> None:
    page = visitor.get("/o/acme/prices/models/anthropic/claude-sonnet-4-5").content.decode()
    assert "$6.00 above 200,000 input tokens" in page


def test_hours_of_the_day_stand_beside_the_ordinary_price(visitor: Client) -> None:
    answer = visitor.get("/o/acme/prices/models/deepseek/deepseek-v4-pro")

    assert {kind.hours for kind in answer.context["kinds"]} == {"", "01:00 to 04:00 UTC", "06:00 to 10:00 UTC"}


def test_use_in_the_organization_is_counted_and_leads_to_spend(visitor: Client, organization: Organization) -> None:
    use(organization, [call(input_tokens=1_000_000, output_tokens=0) for _ in range(2)])

    answer = visitor.get("/o/acme/prices/models/anthropic/claude-sonnet-4-5")

    assert (answer.context["used"].calls, answer.context["used"].billed) == (2, Decimal(12))
    assert answer.context["used_href"] == "/o/acme/spend?range=30d&by=team&provider=anthropic&model=claude-sonnet-4-5"


def test_model_that_is_not_in_the_book_is_not_found(visitor: Client) -> None:
    assert visitor.get("/o/acme/prices/models/anthropic/gpt-5").status_code == 404


@pytest.mark.parametrize(
    ("slug", "key"),
    [
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("regional.anthropic.claude-opus-4-6-v1:0", "claude-opus-4-6"),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("deepseek-ai/DeepSeek-V4-Pro", "deepseek-v4-pro"),
        ("openai/gpt-oss-120b:free", "gpt-oss-120b:free"),
        ("gpt-4.1", "gpt-4-1"),
    ],
)
def test_the_same_model_is_told_by_what_is_left_of_its_name(slug: str, key: str) -> None:
    assert family_key(slug) == key


@pytest.mark.parametrize(
    ("amount", "text"), [("25", "$25.00"), ("0.125", "$0.125"), ("3.125", "$3.125"), ("0.003625", "$0.003625"), ("1.23456789", "$1.23457"), ("1200", "$1,200.00"), ("0", "$0.00")]
)
def test_price_is_written_with_the_digits_it_has(amount: str, text: str) -> None:
    assert price_text(Decimal(amount)) == text


def test_day_of_a_price_is_the_one_that_was_said() -> None:
    new_york = ZoneInfo("America/New_York")
    listed, typed = datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=new_york)
    assert {price_day(listed, new_york), price_day(typed, new_york)} == {date(2026, 11, 10)}

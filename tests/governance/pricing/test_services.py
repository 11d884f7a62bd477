"""Prices and models typed by hand: who may, what is refused, and the trace they leave with every organization."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid
from governance.pricing import selectors
from governance.pricing.book import current_book
from governance.pricing.models import Model, PriceBook, PriceRow
from governance.pricing.services import model_add, price_row_add
from governance.pricing.usage import Usage
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def model(admin: Member) -> Model:
    return model_add(actor=member_actor(admin), provider="xiaomi", slug="mimo-v2-pro", aliases=["xiaomi/mimo-v2-pro"])


def test_added_model_is_found_by_its_names_and_has_no_price_yet(model: Model) -> None:
    found = current_book().find("xiaomi", "Xiaomi/MiMo-v2-pro", APRIL)

    assert found is not None and (found.model, found.maker, found.price_id) == ("mimo-v2-pro", "xiaomi", None)  # noqa: PT018
    assert (model.country, model.tier) == ("CN", "unknown")


def test_added_price_is_charged_from_its_first_instant_and_closes_the_one_before(model: Model, admin: Member) -> None:
    actor = member_actor(admin)
    before = price_row_add(actor=actor, model=model, valid_from=MARCH, rates={"input_tokens": "1", "output_tokens": "3"}, currency="CNY")
    after = price_row_add(actor=actor, model=model, valid_from=APRIL, rates={"input_tokens": Decimal(2)}, announced_at=MARCH)
    before.refresh_from_db()
    model.refresh_from_db()

    assert (before.valid_to, after.valid_to, after.source) == (APRIL, None, "manual")
    assert model.tier == "economy"
    book = current_book(refresh=True)
    rated = [book.rate(provider="xiaomi", model="mimo-v2-pro", at=at, usage=Usage(input_tokens=10**6)) for at in (MARCH, APRIL)]
    assert [(rating.cost, rating.currency, rating.price_id) for rating in rated] == [(1, "CNY", before.pk), (2, "USD", after.pk)]


def test_every_organization_s_record_tells_of_a_new_price(model: Model, admin: Member, stranger: Member) -> None:
    price_row_add(actor=member_actor(admin), model=model, valid_from=MARCH, rates={"input_tokens": "1"})

    records = AuditRecord.objects.filter(action="price.added").order_by("organization__slug")
    assert [(record.organization.slug, record.actor_kind) for record in records] == [("acme", "member"), ("globex", "system")]
    assert records[0].new["rates"] == {"input_tokens": {"per": 1_000_000, "base": "1"}}


def test_each_change_moves_the_version_by_one(model: Model) -> None:
    before = PriceBook.objects.get().version
    price_row_add(actor=None, model=model, valid_from=MARCH, rates={"input_tokens": "1"})

    assert PriceBook.objects.get().version == before + 1


def test_engineer_may_not_change_prices(model: Model, engineer: Member) -> None:
    with pytest.raises(Forbidden):
        price_row_add(actor=member_actor(engineer), model=model, valid_from=MARCH, rates={"input_tokens": "1"})
    with pytest.raises(Forbidden):
        model_add(actor=member_actor(engineer), provider="xiaomi", slug="other")


def test_past_is_not_changed(model: Model) -> None:
    price_row_add(actor=None, model=model, valid_from=APRIL, rates={"input_tokens": "1"})

    for day in (MARCH, APRIL):
        with pytest.raises(Conflict):
            price_row_add(actor=None, model=model, valid_from=day, rates={"input_tokens": "2"})


@pytest.mark.parametrize(
    "rates",
    [
        {"smell": "1"},
        {"input_tokens": 1.5},
        {"input_tokens": "-1"},
        {"input_tokens": "NaN"},
        {"input_tokens": "dear"},
        {"input_tokens": {"per": 0, "base": "1"}},
        {"input_tokens": {"tiers": []}},
        {"input_tokens": {"base": "1", "tiers": [[200_000]]}},
        {"input_tokens": None},
    ],
)
def test_amount_that_is_none_is_refused(model: Model, rates: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        price_row_add(actor=None, model=model, valid_from=MARCH, rates=rates)
    assert not PriceRow.objects.exists()


def test_instant_without_zone_is_refused(model: Model) -> None:
    with pytest.raises(Invalid):
        price_row_add(actor=None, model=model, valid_from=MARCH.replace(tzinfo=None), rates={"input_tokens": "1"})


def test_tiered_rate_is_stored_in_the_order_of_its_thresholds(model: Model) -> None:
    rate = {"base": "1", "tiers": [[400_000, "3"], [200_000, "2"]]}
    row = price_row_add(actor=None, model=model, valid_from=MARCH, rates={"input_tokens": rate})

    assert row.rates == {"input_tokens": {"per": 1_000_000, "base": "1", "tiers": [[200_000, "2"], [400_000, "3"]]}}


def test_model_is_added_once(model: Model) -> None:
    with pytest.raises(Conflict):
        model_add(actor=None, provider="Xiaomi", slug="mimo-v2-pro")
    with pytest.raises(Invalid):
        model_add(actor=None, provider="xiaomi", slug=" ")


def test_catalogue_is_searched_by_any_word_of_its_names(model: Model) -> None:
    model_add(actor=None, provider="openrouter", slug="anthropic/claude-opus-4.8")

    assert [found.slug for found in selectors.model_catalogue(search="openrouter OPUS")] == ["anthropic/claude-opus-4.8"]
    assert [found.slug for found in selectors.model_catalogue(provider="xiaomi")] == ["mimo-v2-pro"]
    assert [found.slug for found in selectors.model_catalogue(maker="anthropic")] == ["anthropic/claude-opus-4.8"]


def test_history_is_newest_first(model: Model) -> None:
    rows = [price_row_add(actor=None, model=model, valid_from=day, rates={"input_tokens": "1"}) for day in (MARCH, APRIL)]

    assert [row.pk for row in selectors.price_history(model)] == [row.pk for row in reversed(rows)]

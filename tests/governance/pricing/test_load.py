"""Loading: the same source twice does nothing, a changed one adds rows from their date and closes open ends, rows never change."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import InternalError, connection, transaction
from django.db.utils import DatabaseError, IntegrityError
from genai_prices import types

from governance.audit.models import AuditRecord
from governance.errors import Invalid
from governance.pricing.book import current_book
from governance.pricing.models import Model, PriceBook, PriceRow, Provider
from governance.pricing.services import model_add, price_row_add, prices_load
from governance.pricing.sources.genai import provider_read, rates_read
from governance.pricing.sources.rows import BEGINNING, SourceModel, SourceProvider, SourceRow
from governance.pricing.usage import Usage
from governance.tenancy.models import Organization

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 16, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def rates(amount: str) -> dict[str, dict[str, Any]]:
    return {"input_tokens": {"per": 1_000_000, "base": amount}, "output_tokens": {"per": 1_000_000, "base": amount}}


def row(amount: str, *, begins: datetime = BEGINNING, ends: datetime | None = None, **fields: Any) -> SourceRow:
    return SourceRow(begins, ends, rates(amount), **fields)


def source(*rows: SourceRow, slug: str = "glm-5") -> list[SourceProvider]:
    return [SourceProvider("zhipuai", "Zhipu", None, {"starts_with": "glm-"}, [], [SourceModel(slug, {"equals": slug}, list(rows))])]


def load(*rows: SourceRow, now: datetime = NOW) -> Any:
    return prices_load(providers=source(*rows), now=now)


def history() -> list[tuple[datetime, datetime | None, str]]:
    found = PriceRow.objects.filter(context={}, daily_from=None).order_by("valid_from", "id")
    return [(price.valid_from, price.valid_to, price.rates["input_tokens"]["base"]) for price in found]


def cost(at: datetime, context: dict[str, str] | None = None) -> Decimal | None:
    usage = Usage(input_tokens=1_000_000)
    return current_book(refresh=True).rate(provider="zhipuai", model="glm-5", at=at, usage=usage, context=context).cost


def test_first_load_takes_the_whole_list_and_the_second_does_nothing(organization: Organization) -> None:
    first = prices_load()
    second = prices_load()

    assert first.is_changed and not second.is_changed  # noqa: PT018
    assert first.version == second.version == PriceBook.objects.get().version
    assert (Provider.objects.count(), Model.objects.count(), PriceRow.objects.count()) == (first.providers, first.models, first.rows_added)
    assert first.models > 2000
    record = AuditRecord.objects.get(action="prices.loaded")
    assert (record.actor_kind, record.new["version"], record.old["version"]) == ("system", first.version, first.version - 1)


def test_undated_change_holds_from_the_load_and_leaves_the_past() -> None:
    load(row("1"))
    result = load(row("1.83"))

    assert (result.rows_added, result.rows_closed) == (1, 1)
    assert history() == [(BEGINNING, NOW, "1"), (NOW, None, "1.83")]
    assert (cost(NOW - timedelta.resolution), cost(NOW)) == (1, Decimal("1.83"))


def test_dated_change_holds_from_its_date_and_closes_the_open_end() -> None:
    load(row("1"))
    load(row("1", ends=APRIL), row("2", begins=APRIL))

    assert history() == [(BEGINNING, APRIL, "1"), (APRIL, None, "2")]


def test_several_dated_changes_follow_one_another() -> None:
    load(row("1"))
    load(row("1", ends=APRIL), row("2", begins=APRIL, ends=MAY), row("3", begins=MAY))

    assert history() == [(BEGINNING, APRIL, "1"), (APRIL, MAY, "2"), (MAY, None, "3")]


def test_source_that_says_the_same_in_other_words_adds_no_row() -> None:
    load(row("1", ends=APRIL), row("2", begins=APRIL))
    result = prices_load(providers=[*source(row("1", ends=APRIL), row("2", begins=APRIL)), *source()[:0]], source="genai-prices", now=MAY)
    other_name = source(row("1", ends=APRIL), row("2", begins=APRIL))
    renamed = prices_load(providers=[SourceProvider("zhipuai", "Zhipu AI", None, None, [], other_name[0].models)], now=MAY)

    assert not result.is_changed
    assert (renamed.is_changed, renamed.rows_added, renamed.rows_closed) == (True, 0, 0)


def test_undated_change_before_an_announced_one_ends_where_that_begins() -> None:
    load(row("1", ends=APRIL), row("2", begins=APRIL))
    load(row("1.5", ends=APRIL), row("2", begins=APRIL))

    assert (cost(NOW - timedelta.resolution), cost(NOW), cost(APRIL)) == (1, Decimal("1.5"), 2)


def test_announced_price_can_change_before_it_begins() -> None:
    load(row("1", ends=APRIL), row("2", begins=APRIL))
    load(row("1", ends=APRIL), row("3", begins=APRIL))

    assert (cost(NOW), cost(APRIL), cost(MAY)) == (1, 3, 3)


def test_announced_price_can_be_withdrawn() -> None:
    load(row("1", ends=APRIL), row("2", begins=APRIL))
    load(row("1"))

    assert (cost(NOW), cost(APRIL), cost(MAY)) == (1, 1, 1)


def test_announced_price_can_be_moved() -> None:
    load(row("1", ends=APRIL), row("2", begins=APRIL))
    load(row("1", ends=MAY), row("2", begins=MAY))

    assert (cost(NOW), cost(APRIL), cost(MAY - timedelta.resolution), cost(MAY)) == (1, 1, 1, 2)


def test_price_that_ended_in_the_source_begins_again_when_it_does() -> None:
    load(row("1", ends=NOW))
    assert cost(APRIL) is None

    load(row("1", ends=NOW), row("2", begins=APRIL), now=APRIL)

    assert (cost(NOW), cost(APRIL)) == (None, 2)


def test_special_and_daily_rows_are_chains_of_their_own() -> None:
    batch: dict[str, Any] = {"context": {"processing": "batch"}}
    night: dict[str, Any] = {"daily_from": time(1), "daily_to": time(4), "precedence": 1}
    load(row("4"), row("2", **batch), row("8", **night))
    load(row("4"), row("1", **batch), row("6", **night))

    assert (cost(NOW), cost(NOW, {"processing": "batch"}), cost(NOW.replace(hour=2) + timedelta(days=1))) == (4, 1, 6)
    assert cost(NOW - timedelta.resolution, {"processing": "batch"}) == 2
    assert cost(NOW.replace(hour=2)) == 8


def test_special_row_that_the_source_drops_ends_at_the_load() -> None:
    load(row("4"), row("2", context={"processing": "batch"}))
    load(row("4"))

    assert (cost(NOW - timedelta.resolution, {"processing": "batch"}), cost(NOW, {"processing": "batch"})) == (2, 4)


def test_model_that_the_source_drops_keeps_its_price() -> None:
    load(row("4"))
    prices_load(providers=source(row("9"), slug="glm-6"), now=NOW)

    assert cost(APRIL) == 4


def test_price_typed_by_hand_outlives_a_load() -> None:
    load(row("1"))
    price_row_add(actor=None, model=Model.objects.get(), valid_from=NOW, rates={"input_tokens": "5"})
    result = load(row("2"), now=APRIL)

    assert (result.held, cost(MAY)) == (1, 5)


def test_the_zhipu_rise_is_history_rows() -> None:
    """Cumulated 83 percent by 2026-03-16, as the market facts quote it, over an amount of 1 before."""
    model = model_add(actor=None, provider="zhipuai", slug="glm-5", tier="economy")
    for day, amount in [("2025-07-01", "1"), ("2026-02-12", "1.3"), ("2026-03-16", "1.83")]:
        price_row_add(actor=None, model=model, valid_from=datetime.fromisoformat(day).replace(tzinfo=UTC), rates={"input_tokens": amount})

    days = [datetime(2026, 2, 11, 23, 59, tzinfo=UTC), datetime(2026, 2, 12, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)]
    assert [cost(day) for day in days] == [1, Decimal("1.3"), Decimal("1.83")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE price_row SET rates = '{}'",
        "UPDATE price_row SET valid_from = valid_from - interval '1 day'",
        "UPDATE price_row SET valid_to = valid_from",
        "UPDATE price_row SET valid_to = now(), currency = 'EUR'",
        "DELETE FROM price_row",
    ],
)
def test_database_refuses_to_change_a_price_row(change: str) -> None:
    load(row("1"))

    with (
        pytest.raises((InternalError, IntegrityError, DatabaseError), match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)

    assert history() == [(BEGINNING, None, "1")]


def test_open_end_is_closed_only_once() -> None:
    load(row("1"))
    load(row("2"))

    with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE price_row SET valid_to = now() WHERE valid_to IS NOT NULL")


def test_list_with_a_meter_that_is_not_known_changes_nothing() -> None:
    with pytest.raises(Invalid, match="smell_mtok"):
        rates_read(types.ModelPrice(smell_mtok=Decimal(1)), None)


def oracle_provider(prices: Any, variants: Sequence[types.PriceVariant] = ()) -> types.Provider:
    model = types.ModelInfo(id="m", match=types.ClauseEquals("m"), prices=prices, price_variants=list(variants))
    return types.Provider(id="p", name="P", api_pattern="", models=[model])


def test_date_after_daily_hours_in_the_list_ends_them() -> None:
    """The last price whose condition holds is the valid one, so a dated price behind daily hours takes their place."""
    hours = types.TimeOfDateConstraint(time(22, tzinfo=UTC), time(4, tzinfo=UTC))
    prices = [
        types.ConditionalPrice(prices=types.ModelPrice(input_mtok=Decimal(1))),
        types.ConditionalPrice(hours, prices=types.ModelPrice(input_mtok=Decimal(2))),
        types.ConditionalPrice(types.StartDateConstraint(APRIL.date()), prices=types.ModelPrice(input_mtok=Decimal(3))),
    ]
    provider = oracle_provider(prices)
    prices_load(providers=[provider_read(provider)], now=NOW)

    for at in [NOW, NOW.replace(hour=22), NOW.replace(hour=3), NOW.replace(hour=4), APRIL, APRIL.replace(hour=23)]:
        rated = current_book().rate(provider="p", model="m", at=at, usage=Usage(input_tokens=1_000_000))
        assert rated.cost == provider.models[0].get_prices(at).input_mtok


def test_first_variant_that_holds_replaces_an_amount() -> None:
    april = types.StartDateConstraint(APRIL.date())
    variants = [
        types.PriceVariant({"processing": "batch"}, types.ModelPrice(input_mtok=Decimal(4)), april),
        types.PriceVariant({"processing": "batch"}, types.ModelPrice(input_mtok=Decimal(5), output_mtok=Decimal(50))),
        types.PriceVariant({"speed": "fast"}, types.ModelPrice(input_mtok=Decimal(60))),
    ]
    provider = oracle_provider(types.ModelPrice(input_mtok=Decimal(10), output_mtok=Decimal(100)), variants)
    prices_load(providers=[provider_read(provider)], now=NOW)

    for at in [NOW, APRIL]:
        for context in [{}, {"processing": "batch"}, {"speed": "fast"}, {"processing": "batch", "speed": "fast"}]:
            rated = current_book().rate(
                provider="p", model="m", at=at, usage=Usage(input_tokens=10**6, output_tokens=10**6), context=context
            )
            wanted = provider.models[0].get_prices(at, context)
            assert rated.cost == wanted.input_mtok + wanted.output_mtok

"""What a price can say beyond what genai-prices says: marginal tiers, factors for regions, images and seconds, words for kinds of call."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import Invalid
from governance.money import quantize
from governance.pricing.arithmetic import RateSet, rate_from_json, rates_merged
from governance.pricing.book import Book, CatalogueModel, Row, current_book
from governance.pricing.calls import kind_of_call
from governance.pricing.matching import Candidate, Seller
from governance.pricing.services import model_add, price_row_add, rate_check
from governance.pricing.usage import Usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MILLION = 1_000_000
ORDINARY = {"input_tokens": {"per": MILLION, "base": "10"}, "output_tokens": {"per": MILLION, "base": "30"}}
Rates = dict[str, dict[str, Any]]


def row(key: int, rates: Rates, *, precedence: int = 0, **context: str) -> Row:
    return Row(key, NOW - timedelta(days=30), None, None, None, context, precedence, "USD", rates, "test")


def book_of(*rows: Row) -> Book:
    model = CatalogueModel("maker", "model-1", "Model 1", "maker", "", "standard", None, None, False, list(rows))
    return Book(version=1, sellers=[Seller("maker", None, None, (), [Candidate("model-1", {"equals": "model-1"}, model)])])


def cost(book: Book, usage: Usage, **context: str) -> Decimal | None:
    """What the call costs, after its lines were found to add up to it."""
    rating = book.rate(provider="maker", model="model-1", at=NOW, usage=usage, context=context)
    lines = book.explain(provider="maker", model="model-1", at=NOW, usage=usage, context=context)
    again = book.explain(provider=rating.provider, model=rating.model, at=NOW, usage=usage, context=context, price_id=rating.price_id)
    if rating.cost is not None:
        assert quantize(sum((line.cost for line in lines), Decimal(0))) == rating.cost
    assert lines == again
    return rating.cost


def rate_set(*layers: Rates) -> RateSet:
    return RateSet({meter: rate_from_json(rate) for meter, rate in rates_merged(layers).items()})


def marginal(*tiers: tuple[int, str], base: str = "10") -> Rates:
    return {"input_tokens": {"per": MILLION, "base": base, "tiers": [list(tier) for tier in tiers], "marginal": True}}


def test_marginal_tier_applies_to_what_lies_beyond_its_threshold() -> None:
    book = book_of(row(1, marginal((1000, "5"), (3000, "1"))))

    assert cost(book, Usage(input_tokens=1000, output_tokens=0)) == Decimal("0.01")
    assert cost(book, Usage(input_tokens=1001, output_tokens=0)) == Decimal("0.010005")
    assert cost(book, Usage(input_tokens=4000, output_tokens=0)) == Decimal("0.01") + Decimal("0.01") + Decimal("0.001")


def test_marginal_tier_has_a_line_for_each_of_its_parts() -> None:
    book = book_of(row(1, marginal((1000, "5"))))
    lines = book.explain(provider="maker", model="model-1", at=NOW, usage=Usage(input_tokens=1500, output_tokens=0))

    assert [(line.quantity, line.amount) for line in lines] == [(1000, 10), (500, 5)]


amounts = st.decimals(0, 100, places=4).map(str)
tiers = st.lists(st.tuples(st.integers(1, 5000), amounts), max_size=3, unique_by=lambda tier: tier[0]).map(sorted)


@given(tiers=tiers, base=amounts, quantity=st.integers(0, 8000))
def test_marginal_price_is_the_price_of_its_units_one_by_one(tiers: list[tuple[int, str]], base: str, quantity: int) -> None:
    rates = RateSet({"input_tokens": rate_from_json(marginal(*tiers, base=base)["input_tokens"])})
    edges = [(0, base), *tiers]

    def price_of_unit(number: int) -> Decimal:
        return Decimal(next(amount for threshold, amount in reversed(edges) if number > threshold))

    with localcontext(prec=60):
        expected = sum((price_of_unit(number) for number in range(1, quantity + 1)), Decimal(0)) / MILLION
        assert rates.cost(Usage(input_tokens=quantity, output_tokens=0)) == expected


@given(tiers=tiers, base=amounts, small=st.integers(0, 8000), more=st.integers(0, 8000))
def test_more_usage_never_costs_less_under_marginal_tiers(tiers: list[tuple[int, str]], base: str, small: int, more: int) -> None:
    rates = RateSet({"input_tokens": rate_from_json(marginal(*tiers, base=base)["input_tokens"])})

    assert rates.cost(Usage(input_tokens=small, output_tokens=0)) <= rates.cost(Usage(input_tokens=small + more, output_tokens=0))


def test_region_multiplies_every_amount() -> None:
    book = book_of(row(1, ORDINARY), row(2, {"*": {"factor": "1.1"}}, region="eu"))
    usage = Usage(input_tokens=MILLION, output_tokens=MILLION)

    assert (cost(book, usage), cost(book, usage, region="eu"), cost(book, usage, region="us")) == (40, 44, 40)


def test_region_multiplies_the_amounts_of_a_batch_as_well_in_either_order() -> None:
    half = {"input_tokens": {"per": MILLION, "base": "5"}}
    usage = Usage(input_tokens=MILLION, output_tokens=0)
    for first, second in ((0, 1), (1, 0)):
        book = book_of(row(1, ORDINARY), row(2, {"*": {"factor": "1.1"}}, precedence=first, region="eu"), row(3, half, precedence=second, processing="batch"))

        assert cost(book, usage, region="eu", processing="batch") == Decimal("5.5")


def test_factor_of_one_meter_leaves_the_others() -> None:
    book = book_of(row(1, ORDINARY), row(2, {"output_tokens": {"factor": "2"}}, speed="fast"))

    assert cost(book, Usage(input_tokens=MILLION, output_tokens=MILLION), speed="fast") == 70


@given(factors=st.lists(st.decimals("0.1", 9, places=3), max_size=3), base=amounts, tier=amounts, quantity=st.integers(0, 5000))
def test_factors_multiply_exactly_whatever_their_number(factors: list[Decimal], base: str, tier: str, quantity: int) -> None:
    ordinary: Rates = {"input_tokens": {"per": MILLION, "base": base, "tiers": [[1000, tier]]}}
    merged = rate_set(*({"*": {"factor": str(factor)}} for factor in factors), ordinary)
    usage = Usage(input_tokens=quantity, output_tokens=0)

    with localcontext(prec=60):
        expected = rate_set(ordinary).cost(usage)
        for factor in factors:
            expected *= factor
        assert merged.cost(usage) == expected


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"images": Decimal(3)}, "0.12"),
        ({"output_images": Decimal(3)}, "0.12"),
        ({"input_images": Decimal(2)}, "0.02"),
        ({"output_video_seconds": Decimal("7.5")}, "3"),
        ({"predict_time": Decimal("12.25")}, "0.0175175"),
    ],
)
def test_pieces_and_seconds_have_prices(units: dict[str, Decimal], expected: str) -> None:
    rates: Rates = {
        "input_images": {"per": 1, "base": "0.01"},
        "output_images": {"per": 1, "base": "0.04"},
        "output_video_seconds": {"per": 1, "base": "0.4"},
        "compute_seconds": {"per": 1, "base": "0.00143"},
    }

    assert cost(book_of(row(1, rates)), Usage(units=units)) == Decimal(expected)


def test_embedding_is_priced_by_its_input_alone() -> None:
    assert cost(book_of(row(1, {"input_tokens": {"per": MILLION, "base": "0.02"}})), Usage(input_tokens=500)) == Decimal("0.00001")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"service_tier": "batch"}, {"service_tier": "batch", "processing": "batch"}),
        ({"is_batch": "True"}, {"is_batch": "True", "processing": "batch"}),
        ({"traffic_type": "ON_DEMAND_PRIORITY"}, {"traffic_type": "ON_DEMAND_PRIORITY", "service_tier": "priority"}),
        ({"processing": "realtime", "batch": "true"}, {"processing": "realtime", "batch": "true"}),
        ({"inference_geo": "US"}, {"inference_geo": "US", "region": "us"}),
        ({"inference_geo": "us", "region": "eu"}, {"inference_geo": "us", "region": "eu"}),
        ({"branch": "main"}, {"branch": "main"}),
    ],
)
def test_kinds_of_call_go_by_the_words_of_vendors(said: dict[str, str], meant: dict[str, str]) -> None:
    assert kind_of_call(said) == meant


def test_batch_is_a_batch_whichever_vendor_s_word_is_used(book: Book) -> None:
    usage = Usage(input_tokens=MILLION, output_tokens=MILLION)

    def priced(**context: str) -> Decimal | None:
        return book.rate(provider="anthropic", model="claude-opus-4-6", at=NOW, usage=usage, context=context).cost

    assert priced(service_tier="batch") == priced(processing="batch") == 15
    assert priced() == 30


@pytest.mark.django_db
def test_an_admin_adds_the_price_of_a_region_and_of_some_hours_beside_the_ordinary_one() -> None:
    model = model_add(actor=None, provider="maker", slug="model-1")
    begins = NOW - timedelta(days=10)
    price_row_add(actor=None, model=model, valid_from=begins, rates={"input_tokens": "10"})
    price_row_add(actor=None, model=model, valid_from=begins, rates={"*": {"factor": "1.1"}}, context={"region": "eu"})
    price_row_add(actor=None, model=model, valid_from=begins, rates={"input_tokens": "4"}, daily_hours=(time(11), time(13)))
    book = current_book(refresh=True)

    def priced(at: datetime, **context: str) -> Decimal | None:
        return book.rate(provider="maker", model="model-1", at=at, usage=Usage(input_tokens=MILLION), context=context).cost

    night = NOW + timedelta(hours=10)
    assert [priced(night), priced(night, region="eu"), priced(NOW), priced(NOW, region="eu")] == [10, 11, 4, Decimal("4.4")]


def test_factor_is_only_for_a_kind_of_call_and_every_meter_only_has_factors() -> None:
    with pytest.raises(Invalid):
        rate_check("*", "3")
    assert rate_check("*", {"factor": "1.10"}) == {"factor": "1.10"}
    assert rate_check("input_tokens", {"base": "1", "tiers": [[5, "2"]], "marginal": True})["marginal"] is True


@pytest.mark.django_db
def test_ordinary_price_cannot_be_a_factor() -> None:
    model = model_add(actor=None, provider="maker", slug="model-1")
    with pytest.raises(Invalid):
        price_row_add(actor=None, model=model, valid_from=NOW, rates={"*": {"factor": "1.1"}})

"""What a call costs: unknown is not zero, tiers turn at their threshold, hours and dates at their edge, arithmetic adds up."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.money import quantize
from governance.pricing.arithmetic import RateSet, rate_from_json
from governance.pricing.book import NO_MODEL, NO_ROW, TOO_LARGE, Book, CatalogueModel, Row
from governance.pricing.matching import Candidate, Seller
from governance.pricing.usage import Rating, Usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MARCH = datetime(2026, 3, 16, tzinfo=UTC)
TICK = timedelta.resolution


def row(key: int, *, begins: datetime, ends: datetime | None = None, amount: str = "1") -> Row:
    rates = {"input_tokens": {"per": 1_000_000, "base": amount}}
    return Row(key, begins, ends, None, None, {}, 0, "USD", rates, "test")


def book_of(*rows: Row) -> Book:
    model = CatalogueModel("maker", "model-1", "Model 1", "maker", "", "standard", None, None, False, list(rows))
    return Book(version=1, sellers=[Seller("maker", None, None, (), [Candidate("model-1", {"equals": "model-1"}, model)])])


def claude(book: Book, *, at: datetime = NOW, model: str = "claude-sonnet-4-5", **usage: object) -> Rating:
    return book.rate(provider="anthropic", model=model, at=at, usage=Usage(**usage))  # type: ignore[arg-type]


def test_each_bucket_has_its_amount(book: Book) -> None:
    rating = claude(
        book,
        input_tokens=1000,
        cache_read_tokens=10_000,
        cache_write_5m_tokens=100,
        cache_write_1h_tokens=200,
        output_tokens=500,
        reasoning_tokens=300,
    )

    assert rating.cost == Decimal("0.003") + Decimal("0.003") + Decimal("0.000375") + Decimal("0.0012") + Decimal("0.0075")
    assert rating.cost is not None and rating.cost.as_tuple().exponent == -15  # noqa: PT018
    assert (rating.provider, rating.model, rating.maker, rating.tier, rating.currency) == (
        "anthropic",
        "claude-sonnet-4-5",
        "anthropic",
        "standard",
        "USD",
    )


def test_unknown_model_has_no_cost_and_keeps_its_names(book: Book) -> None:
    rating = book.rate(provider="Our-GPU", model="Mimo-V2-Pro", at=NOW, usage=Usage(input_tokens=1))

    assert (rating.cost, rating.reason, rating.price_id) == (None, NO_MODEL, None)
    assert (rating.provider, rating.model, rating.maker, rating.tier) == ("Our-GPU", "Mimo-V2-Pro", "xiaomi", "unknown")


@pytest.mark.parametrize("usage", [Usage(), Usage(cache_read_tokens=5), Usage(units={"images": Decimal(2)})])
def test_unknown_tokens_are_not_zero(book: Book, usage: Usage) -> None:
    rating = book.rate(provider="anthropic", model="claude-opus-4-8", at=NOW, usage=usage)

    assert (rating.cost, rating.reason) == (None, "tokens unknown")
    assert rating.price_id is not None


def test_zero_tokens_cost_zero(book: Book) -> None:
    assert claude(book, input_tokens=0, output_tokens=0).cost == 0


def test_free_model_costs_zero(book: Book) -> None:
    rating = book.rate(
        provider="openrouter", model="openai/gpt-oss-120b:free", at=NOW, usage=Usage(input_tokens=10**6, output_tokens=10**6)
    )

    assert (rating.cost, rating.reason) == (0, "")


def test_per_request_amount_applies_to_every_call(book: Book) -> None:
    with_tokens = book.rate(provider="perplexity", model="sonar", at=NOW, usage=Usage(input_tokens=0, output_tokens=0))

    assert with_tokens.cost == Decimal("0.012")


def test_units_are_charged_under_their_own_and_under_common_names(book: Book) -> None:
    plain = claude(book, input_tokens=100, output_tokens=10).cost
    named = claude(book, input_tokens=100, output_tokens=10, units={"web_searches": Decimal(3)}).cost
    alias = claude(book, input_tokens=100, output_tokens=10, units={"web_search_requests": Decimal(3)}).cost

    assert plain is not None and named == alias == plain + Decimal("0.03")  # noqa: PT018


def test_usage_that_contradicts_itself_is_unpriced(book: Book) -> None:
    def reason(**usage: object) -> str:
        return book.rate(provider="google", model="gemini-2.5-flash", at=NOW, usage=Usage(**usage)).reason  # type: ignore[arg-type]

    assert reason(input_tokens=10, output_tokens=1, units={"input_audio_tokens": Decimal(11)}) == "input_tokens is less than its parts"
    assert reason(input_tokens=10, reasoning_tokens=5) == "reasoning_tokens is reported without output_tokens"
    assert reason(input_tokens=10, cache_read_tokens=5, units={"input_audio_tokens": Decimal(7)}) == (
        "cache_read_tokens and input_audio_tokens are reported without cache_audio_read_tokens"
    )
    assert reason(input_tokens=10, units={"input_tokens": Decimal(7)}) == "input_tokens is reported twice"
    assert reason(input_tokens=10, units={"web_searches": Decimal("NaN")}) == "web_searches is not a quantity"


def test_tier_applies_to_all_tokens_above_its_threshold_and_not_at_it(book: Book) -> None:
    at_threshold = claude(book, input_tokens=100_000, cache_read_tokens=100_000, output_tokens=1000).cost
    above = claude(book, input_tokens=100_000, cache_read_tokens=100_001, output_tokens=1000).cost

    assert at_threshold == Decimal("0.3") + Decimal("0.03") + Decimal("0.015")
    assert above == Decimal("0.6") + Decimal("0.0600006") + Decimal("0.0225")


@pytest.mark.parametrize(
    ("hour", "amount"),
    [("00:59:59.999999", "0.66"), ("01:00", "1.32"), ("03:59:59.999999", "1.32"), ("04:00", "0.66"), ("06:00", "1.32"), ("10:00", "0.66")],
)
def test_hours_of_the_day_begin_included_and_end_excluded(book: Book, hour: str, amount: str) -> None:
    at = datetime.fromisoformat(f"2026-11-21T{hour}+00:00")

    assert book.rate(provider="deepseek", model="deepseek-v4-pro", at=at, usage=Usage(input_tokens=10**6)).cost == Decimal(amount)


def test_hours_are_those_of_utc_whatever_zone_the_instant_has(book: Book) -> None:
    at = datetime.fromisoformat("2026-11-21T09:30:00+08:00")

    assert book.rate(provider="deepseek", model="deepseek-v4-pro", at=at, usage=Usage(input_tokens=10**6)).cost == Decimal("1.32")


def test_special_call_has_its_own_amounts_and_the_ordinary_ones_for_the_rest(book: Book) -> None:
    usage = Usage(input_tokens=10**6, output_tokens=10**6, units={"web_searches": Decimal(1000)})
    ordinary = book.rate(provider="anthropic", model="claude-opus-4-6", at=NOW, usage=usage)
    batch = book.rate(provider="anthropic", model="claude-opus-4-6", at=NOW, usage=usage, context={"processing": "batch", "other": "x"})

    assert (ordinary.cost, batch.cost) == (Decimal(40), Decimal(25))
    assert batch.price_id != ordinary.price_id


def test_reseller_charges_the_maker_s_list_but_not_its_special_amounts(book: Book) -> None:
    usage = Usage(input_tokens=10**6, output_tokens=10**6)
    rating = book.rate(provider="azure", model="claude-opus-4-6", at=NOW, usage=usage, context={"processing": "batch"})

    assert (rating.provider, rating.model, rating.cost) == ("azure", "claude-opus-4-6", Decimal(30))


def test_row_is_valid_from_its_first_instant_until_before_its_last() -> None:
    book = book_of(row(1, begins=MARCH, ends=NOW, amount="1"), row(2, begins=NOW, amount="2"))

    def cost(at: datetime) -> Decimal | None:
        return book.rate(provider="maker", model="model-1", at=at, usage=Usage(input_tokens=10**6)).cost

    assert [cost(MARCH - TICK), cost(MARCH), cost(NOW - TICK), cost(NOW)] == [None, 1, 1, 2]
    assert book.rate(provider="maker", model="model-1", at=MARCH - TICK, usage=Usage(input_tokens=1)).reason == NO_ROW


def test_of_two_rows_that_begin_together_the_newer_counts() -> None:
    book = book_of(row(2, begins=MARCH, amount="2"), row(1, begins=MARCH, amount="1"))

    assert book.rate(provider="maker", model="model-1", at=NOW, usage=Usage(input_tokens=10**6)).cost == 2


def test_amount_that_no_money_column_holds_is_unpriced() -> None:
    book = book_of(row(1, begins=MARCH, amount="1e18"))

    rating = book.rate(provider="maker", model="model-1", at=NOW, usage=Usage(input_tokens=10**9))

    assert (rating.cost, rating.reason) == (None, TOO_LARGE)


def test_explained_lines_add_up_to_the_cost(book: Book) -> None:
    usage = Usage(input_tokens=11, cache_read_tokens=13, cache_write_5m_tokens=17, output_tokens=19, units={"web_searches": Decimal(1)})
    lines = book.explain(provider="openrouter", model="google/gemini-3-flash-preview", at=NOW, usage=usage)
    rating = book.rate(provider="openrouter", model="google/gemini-3-flash-preview", at=NOW, usage=usage)

    assert [line.meter for line in lines] == ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"]
    assert sum(line.quantity for line in lines) == 60
    assert quantize(sum((line.cost for line in lines), Decimal(0))) == rating.cost
    assert book.explain(provider="openrouter", model="google/gemini-3-flash-preview", at=NOW, usage=Usage()) == []


def test_call_is_explained_by_the_row_that_rated_it_even_when_another_took_its_place() -> None:
    rated_by, newer = row(1, begins=MARCH, amount="1"), row(2, begins=MARCH, amount="2")
    usage = Usage(input_tokens=10**6)

    def costs(price_id: int | None) -> list[Decimal]:
        lines = book_of(rated_by, newer).explain(provider="maker", model="model-1", at=NOW, usage=usage, price_id=price_id)
        return [line.cost for line in lines]

    assert (costs(None), costs(2), costs(1), costs(3)) == ([2], [2], [1], [])


def test_special_call_is_explained_by_its_row(book: Book) -> None:
    usage = Usage(input_tokens=1000, output_tokens=1000, units={"web_searches": Decimal(1)})
    rating = book.rate(provider="anthropic", model="claude-opus-4-6", at=NOW, usage=usage, context={"processing": "batch"})
    lines = book.explain(provider=rating.provider, model=rating.model, at=NOW, usage=usage, price_id=rating.price_id)

    assert sum((line.cost for line in lines), Decimal(0)) == rating.cost


amounts = st.decimals(0, 500, places=6)
rate_sets = st.dictionaries(
    st.sampled_from(
        [
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cache_write_1h_tokens",
            "output_reasoning_tokens",
            "requests",
        ]
    ),
    st.builds(
        lambda base, tiers: {"per": 1_000_000, "base": str(base), "tiers": tiers},
        amounts,
        st.lists(st.tuples(st.integers(0, 1000), amounts.map(str)), max_size=2),
    ),
    min_size=1,
)
counts = st.integers(0, 1000)


@given(rates=rate_sets, usage=st.builds(Usage, counts, counts, counts, counts, st.integers(1000, 2000), counts))
def test_the_short_road_for_plain_tokens_gives_what_the_lines_give(rates: dict[str, dict[str, object]], usage: Usage) -> None:
    prepared = RateSet({meter: rate_from_json(rate) for meter, rate in rates.items()})

    with localcontext(prec=60):
        assert prepared.cost(usage) == sum((line.cost for line in prepared.lines(usage)), Decimal(0))


def test_repeated_call_is_rated_in_microseconds(book: Book) -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=50_000, cache_write_5m_tokens=2000, output_tokens=900)

    seconds = min(
        timeit(lambda: book.rate(provider="firstParty", model="claude-sonnet-4-5-20250929", at=NOW, usage=usage), number=1000)
        for _ in range(5)
    )

    assert seconds / 1000 < 50e-6  # 3 µs on the machine it was written on; the bound leaves room for a busy one

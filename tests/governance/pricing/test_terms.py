"""An organization's own terms: which one applies, what the call costs by it, and in which currency."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.pricing.book import Book, CatalogueModel, Row
from governance.pricing.exchange import ExchangeRates, Quote
from governance.pricing.matching import Candidate, Seller
from governance.pricing.own import OwnPrice
from governance.pricing.sources.rows import BEGINNING
from governance.pricing.terms import Basis, OwnTerm, Terms
from governance.pricing.usage import Rating, Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000)
BERLIN = ZoneInfo("Europe/Berlin")
MILLION = 1_000_000
QUOTES = [Quote("EUR", "USD", date(2026, 11, 20), Decimal("1.25")), Quote("EUR", "CNY", date(2026, 11, 20), Decimal(8))]
# Team 3 lies below team 2, which lies below team 1.
LINEAGE = {1: (1,), 2: (2, 1), 3: (3, 2, 1)}


def rates_of(**amounts: str) -> dict[str, Any]:
    return {meter: {"per": MILLION, "base": amount} for meter, amount in amounts.items()}


def book_of(*, currency: str = "USD", quotes: Sequence[Quote] = QUOTES, special: Mapping[str, Any] | None = None, **amounts: str) -> Book:
    model = CatalogueModel("seller", "grand", "Grand", "maker", "US", "flagship", None, None, False)
    rates = rates_of(**(amounts or {"input_tokens": "10", "output_tokens": "40", "cache_read_tokens": "1"}))
    model.rows.append(Row(1, BEGINNING, None, None, None, {}, 0, currency, rates, "test"))
    if special:
        model.rows.append(Row(2, BEGINNING, None, None, None, {"processing": "batch"}, 0, currency, dict(special), "test"))
    seller: Seller[CatalogueModel] = Seller("seller", {"equals": "seller"}, None, [])
    seller.models.append(Candidate("grand", {"equals": "grand"}, model))
    return Book(version=1, sellers=[seller], rates=ExchangeRates(quotes))


def term(number: int, **fields: Any) -> OwnTerm:
    percent, price = fields.pop("percent", None), fields.pop("price", None)
    factor = None if percent is None else (100 - Decimal(percent)) / 100
    given: dict[str, Any] = {
        "provider": "",
        "model": "",
        "team_id": None,
        "context": {},
        "valid_from": BEGINNING,
        "valid_to": None,
        **fields,
    }
    return OwnTerm(id=number, name=f"term {number}", price=price, factor=factor, **given)


def terms_of(*terms: OwnTerm, currency: str = "USD", bases: Sequence[Basis] = (), quotes: Sequence[Quote] = ()) -> Terms:
    return Terms(1, 1, currency, BERLIN, LINEAGE, list(terms), ExchangeRates(quotes), bases)


def rated(terms: Terms, book: Book, **fields: Any) -> Rating:
    return terms.rate(book, **{"provider": "seller", "model": "grand", "at": AT, "usage": USAGE, **fields})


def test_without_terms_the_list_price_is_the_cost() -> None:
    found = rated(terms_of(), book_of())
    assert (found.cost, found.list_cost, found.term_id, found.exchange_rate) == (14, 14, None, None)


def test_a_percent_is_taken_off_and_the_list_cost_kept() -> None:
    found = rated(terms_of(term(5, percent=10)), book_of())
    assert (found.cost, found.list_cost, found.term_id) == (Decimal("12.6"), 14, 5)


def test_an_own_price_replaces_what_it_names_and_leaves_the_rest_at_list() -> None:
    own = OwnPrice(5, "USD", rates_of(input_tokens="6"), {})
    found = rated(terms_of(term(5, price=own, model="grand")), book_of())
    assert (found.cost, found.list_cost) == (10, 14)


def test_an_own_price_may_have_a_percent_off_too() -> None:
    own = OwnPrice(5, "USD", rates_of(input_tokens="6"), {})
    assert rated(terms_of(term(5, price=own, model="grand", percent=50)), book_of()).cost == 5


def test_amounts_are_taken_off_down_to_nothing() -> None:
    own = OwnPrice(5, "USD", {}, rates_of(input_tokens="2.5", output_tokens="999"))
    found = rated(terms_of(term(5, price=own)), book_of())
    assert (found.cost, found.list_cost) == (Decimal("7.5"), 14)


def test_amounts_in_another_currency_are_not_taken_off() -> None:
    own = OwnPrice(5, "EUR", {}, rates_of(input_tokens="2.5"))
    found = rated(terms_of(term(5, price=own), term(6, percent=10)), book_of())
    assert (found.cost, found.term_id) == (Decimal("12.6"), 6)


def test_a_model_that_no_list_knows_has_an_own_price_and_no_list_cost() -> None:
    own = OwnPrice(5, "USD", rates_of(input_tokens="6", output_tokens="0"), {})
    terms = terms_of(term(5, price=own, model="acme-fine-tune"))
    found = rated(terms, book_of(), provider="acme", model="acme-fine-tune")
    assert (found.cost, found.list_cost, found.price_id, found.term_id) == (6, None, None, 5)


def test_a_percent_of_no_price_is_no_price() -> None:
    found = rated(terms_of(term(5, percent=10)), book_of(), model="unheard-of")
    assert (found.cost, found.list_cost, found.term_id) == (None, None, None)


ORDER = [
    term(1),
    term(2, provider="seller"),
    term(3, team_id=1),
    term(4, team_id=2, valid_from=BEGINNING),
    term(5, team_id=2, provider="seller"),
    term(6, model="grand"),
    term(7, model="grand", provider="seller"),
    term(8, model="grand", provider="seller", context={"processing": "batch"}),
    term(9, model="grand", team_id=1),
    term(10, model="grand", team_id=3),
]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_closer_term_goes_first(place: int) -> None:
    """Each of them applies as long as none that comes later in the list does, in whatever order they were typed in."""
    terms = [
        OwnTerm(one.id, one.name, one.provider, one.model, one.team_id, one.context, None, Decimal("0.5"), one.valid_from, None)
        for one in ORDER
    ]
    for listed in (terms[: place + 1], terms[: place + 1][::-1]):
        assert rated(terms_of(*listed), book_of(), team_id=3, context={"processing": "batch"}).term_id == place + 1


def test_of_two_alike_the_one_that_began_last_counts_then_the_newer() -> None:
    later = AT - timedelta(days=1)
    assert rated(terms_of(term(1, percent=1, valid_from=later), term(2, percent=2)), book_of()).term_id == 1
    assert rated(terms_of(term(1, percent=1), term(2, percent=2)), book_of()).term_id == 2


def test_terms_of_other_teams_do_not_apply() -> None:
    terms = terms_of(term(1, percent=10, team_id=2))
    assert [rated(terms, book_of(), team_id=team).term_id for team in (None, 1, 2, 3)] == [None, None, 1, 1]


def test_a_term_holds_from_its_first_instant_up_to_its_end() -> None:
    terms = terms_of(term(1, percent=10, valid_from=AT, valid_to=AT + timedelta(hours=1)))
    moments = [AT - timedelta(microseconds=1), AT, AT + timedelta(hours=1, microseconds=-1), AT + timedelta(hours=1)]
    assert [rated(terms, book_of(), at=at).term_id for at in moments] == [None, 1, 1, None]


def test_terms_are_for_metered_calls() -> None:
    assert rated(terms_of(term(1, percent=10)), book_of(), is_metered=False).cost == 14


def test_a_batch_price_of_the_book_stands_beside_an_own_ordinary_price() -> None:
    book = book_of(special=rates_of(input_tokens="5"))
    ordinary = term(1, price=OwnPrice(1, "USD", rates_of(input_tokens="6", output_tokens="30"), {}), model="grand")
    batch = term(
        2, price=OwnPrice(2, "USD", rates_of(input_tokens="4"), {}, is_special=True), model="grand", context={"processing": "batch"}
    )
    asked = {"context": {"processing": "batch"}}
    assert rated(terms_of(ordinary), book).cost == 9
    assert rated(terms_of(ordinary), book, **asked).cost == 8
    assert rated(terms_of(ordinary, batch), book, **asked).cost == 8  # its own input, the list's output


def test_a_price_in_yuan_is_converted_and_the_rate_kept() -> None:
    found = rated(terms_of(), book_of(currency="CNY", input_tokens="8", output_tokens="0"))
    assert (found.cost, found.list_cost, found.currency) == (Decimal("1.25"), Decimal("1.25"), "USD")
    assert (found.price_currency, found.exchange_rate) == ("CNY", Decimal("0.15625"))


def test_an_own_price_in_another_currency_stands_alone() -> None:
    own = OwnPrice(5, "EUR", rates_of(input_tokens="4"), {})
    found = rated(terms_of(term(5, price=own, model="grand")), book_of())
    assert (found.cost, found.list_cost, found.price_currency, found.exchange_rate) == (5, 14, "EUR", Decimal("1.25"))


def test_without_a_rate_the_call_is_unpriced_and_says_why() -> None:
    found = rated(terms_of(), book_of(currency="CNY", quotes=[]))
    assert (found.cost, found.list_cost, found.price_id, found.exchange_rate) == (None, None, 1, None)
    assert found.reason == "no exchange rate from CNY to USD on 2026-11-20"


def test_own_rates_go_before_those_of_the_installation() -> None:
    own = [Quote("USD", "EUR", date(2026, 11, 1), Decimal("0.5"))]
    assert rated(terms_of(currency="EUR", quotes=own, bases=[Basis(date.min, False, 60)]), book_of()).cost == 7


def test_an_own_rate_that_is_too_old_leaves_it_to_the_installation() -> None:
    own = [Quote("USD", "EUR", date(2026, 11, 1), Decimal("0.5"))]
    assert rated(terms_of(currency="EUR", quotes=own), book_of()).cost == Decimal("11.2")


def test_the_day_of_a_call_is_the_organizations() -> None:
    """A rate from the 20th holds from midnight in Berlin, which is 23:00 UTC of the 19th."""
    midnight = datetime(2026, 11, 19, 23, tzinfo=UTC)
    terms, book = terms_of(), book_of(currency="CNY")
    assert rated(terms, book, at=midnight).cost is not None
    assert rated(terms, book, at=midnight - timedelta(microseconds=1)).cost is None


def test_a_month_may_have_one_rate() -> None:
    quotes = [Quote("EUR", "USD", date(2026, 10, 30), Decimal(2)), *QUOTES]
    by_month = [Basis(date(2026, 11, 1), True, 7)]
    assert rated(terms_of(currency="EUR", bases=by_month), book_of(quotes=quotes)).cost == 7
    assert rated(terms_of(currency="EUR"), book_of(quotes=quotes)).cost == Decimal("11.2")
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    assert rated(terms_of(currency="EUR", bases=by_month), book_of(quotes=quotes), at=october).cost == 7


def test_an_absurd_amount_is_unpriced_after_conversion_too() -> None:
    quotes = [Quote("USD", "VND", date(2026, 11, 20), Decimal(26_000))]
    assert rated(terms_of(currency="VND"), book_of(quotes=quotes), usage=Usage(input_tokens=100_000_000, output_tokens=0)).cost is None


counts = st.integers(min_value=0, max_value=10**9)
amounts = st.decimals(min_value=0, max_value=1000, places=9).map(lambda value: format(value, "f"))


@given(
    counts,
    counts,
    amounts,
    amounts,
    st.decimals(min_value=0, max_value=100, places=6),
    st.decimals(min_value="0.0001", max_value=30000, places=6),
)
def test_a_cost_is_rounded_once(read: int, written: int, price_in: str, price_out: str, percent: Decimal, dollars: Decimal) -> None:
    exact = Context(prec=300, rounding=ROUND_HALF_EVEN)
    book = book_of(
        currency="CNY", quotes=[Quote("CNY", "USD", date(2026, 11, 20), dollars)], input_tokens=price_in, output_tokens=price_out
    )
    found = rated(terms_of(term(1, percent=percent)), book, usage=Usage(input_tokens=read, output_tokens=written))
    if found.cost is None:
        return
    listed = exact.divide(
        exact.add(exact.multiply(Decimal(read), Decimal(price_in)), exact.multiply(Decimal(written), Decimal(price_out))), Decimal(MILLION)
    )
    owed = exact.multiply(exact.multiply(listed, dollars), exact.divide(100 - percent, Decimal(100)))
    assert found.exchange_rate is not None
    assert found.exchange_rate == dollars
    assert found.cost == owed.quantize(Decimal("1e-15"), context=exact)
    assert found.list_cost == exact.multiply(listed, dollars).quantize(Decimal("1e-15"), context=exact)

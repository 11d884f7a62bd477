"""Exchange rates: the last known before a day, bounded in age, either way round, across the euro."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from governance.pricing.exchange import RATE, ExchangeRates, Quote

FRIDAY = date(2026, 11, 20)
RATES = ExchangeRates(
    [
        Quote("EUR", "USD", FRIDAY, Decimal("1.0842")),
        Quote("EUR", "CNY", FRIDAY, Decimal("7.8512")),
        Quote("EUR", "USD", FRIDAY - timedelta(days=1), Decimal("1.0800")),
    ]
)
positive = st.decimals(min_value="0.000001", max_value="100000", places=6).filter(lambda value: value > 0)


def rate(given_: str, wanted: str, day: date, days: int | None = 7) -> Decimal | None:
    found = RATES.find(given_, wanted, day, days_good_for=days)
    return None if found is None else found.rate


def test_a_currency_in_itself_is_one_on_any_day() -> None:
    assert rate("XXX", "XXX", date(1999, 1, 1)) == 1


def test_the_weekend_has_the_rate_of_friday() -> None:
    assert rate("EUR", "USD", FRIDAY + timedelta(days=2)) == Decimal("1.0842")


def test_the_day_before_has_its_own_rate() -> None:
    assert rate("EUR", "USD", FRIDAY - timedelta(days=1)) == Decimal("1.08")


def test_no_rate_is_known_before_the_first() -> None:
    assert rate("EUR", "USD", FRIDAY - timedelta(days=2)) is None


def test_a_rate_nobody_renewed_is_no_rate() -> None:
    assert rate("EUR", "USD", FRIDAY + timedelta(days=7)) is not None
    assert rate("EUR", "USD", FRIDAY + timedelta(days=8)) is None
    assert rate("EUR", "USD", FRIDAY + timedelta(days=800), days=None) is not None


def test_a_pair_is_read_either_way_round() -> None:
    assert rate("USD", "EUR", FRIDAY) == RATE.divide(Decimal(1), Decimal("1.0842"))


def test_two_currencies_meet_in_the_euro_and_are_rounded_once() -> None:
    assert rate("CNY", "USD", FRIDAY) == RATE.divide(Decimal("1.0842"), Decimal("7.8512"))


def test_the_later_of_two_quotes_of_a_pair_counts_whichever_way_round() -> None:
    rates = ExchangeRates([Quote("USD", "CNY", FRIDAY, Decimal(7)), Quote("CNY", "USD", FRIDAY + timedelta(days=1), Decimal("0.2"))])
    found = rates.find("USD", "CNY", FRIDAY + timedelta(days=1), days_good_for=7)
    assert found is not None
    assert found.rate == 5


def test_the_last_row_of_a_pair_and_day_corrects_the_one_before() -> None:
    rates = ExchangeRates([Quote("EUR", "USD", FRIDAY, Decimal(1)), Quote("EUR", "USD", FRIDAY, Decimal(2))])
    found = rates.find("EUR", "USD", FRIDAY, days_good_for=7)
    assert found is not None
    assert found.rate == 2


def test_a_rate_says_how_old_its_oldest_part_is() -> None:
    rates = ExchangeRates([Quote("EUR", "USD", FRIDAY, Decimal(1)), Quote("EUR", "CNY", FRIDAY - timedelta(days=5), Decimal(2))])
    found = rates.find("USD", "CNY", FRIDAY, days_good_for=5)
    assert found is not None
    assert found.day == FRIDAY - timedelta(days=5)
    assert rates.find("USD", "CNY", FRIDAY, days_good_for=4) is None


@given(positive, positive)
def test_a_rate_has_at_most_18_digits_and_is_never_zero(dollar: Decimal, yuan: Decimal) -> None:
    rates = ExchangeRates([Quote("EUR", "USD", FRIDAY, dollar), Quote("EUR", "CNY", FRIDAY, yuan)])
    there, back = (rates.find(*pair, FRIDAY, days_good_for=1) for pair in (("USD", "CNY"), ("CNY", "USD")))
    assert there is not None
    assert back is not None
    assert len(there.rate.as_tuple().digits) <= 18
    assert abs(there.rate * back.rate - 1) < Decimal("1e-15")

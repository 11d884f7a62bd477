"""Money as columns store it: exact to fifteen places, half to even, and refused when it does not fit."""

from decimal import Decimal, InvalidOperation, getcontext, localcontext
from fractions import Fraction

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from governance.money import DIGITS, LARGEST, PLACES, QUANTUM, AmountTooLarge, Money, digits, quantize, written, written_apart

fitting = st.decimals(-LARGEST + 1, LARGEST - 1, allow_nan=False, allow_infinity=False, places=25)


def rounded(amount: Decimal) -> Fraction:
    """Half to even at fifteen places, computed with whole numbers."""
    scaled = Fraction(amount) * 10**PLACES
    return Fraction(round(scaled), 10**PLACES)


@given(fitting)
def test_quantize_rounds_half_to_even(amount: Decimal) -> None:
    assert Fraction(quantize(amount)) == rounded(amount)


@given(fitting)
def test_quantize_is_settled_after_once(amount: Decimal) -> None:
    once = quantize(amount)

    assert quantize(once) == once
    assert once.as_tuple().exponent == -PLACES


@given(st.integers(-(10**DIGITS) + 1, 10**DIGITS - 1))
def test_whatever_fits_the_column_is_kept_to_the_last_digit(units: int) -> None:
    with localcontext(prec=60):
        amount = units * QUANTUM

    assert quantize(amount) == amount


@pytest.mark.parametrize(
    ("amount", "stored"),
    [
        ("0.0000000000000005", "0"),
        ("0.0000000000000015", "0.000000000000002"),
        ("0.0000000000000025", "0.000000000000002"),
        ("-0.0000000000000015", "-0.000000000000002"),
        ("0.00000000000000050000000000000000001", "0.000000000000001"),
    ],
)
def test_ties_go_to_the_even_digit(amount: str, stored: str) -> None:
    assert quantize(Decimal(amount)) == Decimal(stored)


@pytest.mark.parametrize(
    "amount",
    [
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1e13",
        "-1e13",
        "1e999999",
        "-1e1000000",
        "9999999999999.9999999999999999",
        "-9999999999999.9999999999999995",
    ],
)
def test_what_the_column_cannot_hold_is_refused(amount: str) -> None:
    with pytest.raises(AmountTooLarge):
        quantize(Decimal(amount))


def test_caller_s_decimal_context_changes_nothing() -> None:
    amount = Decimal("1234567890123.123456789012345")
    with localcontext(prec=5):
        assert quantize(amount) == amount
    assert getcontext().prec == 28


@given(fitting)
def test_database_stores_what_quantize_says(amount: Decimal) -> None:
    with localcontext(prec=60):
        stored = f"{quantize(amount):f}"

    assert Decimal(stored) == quantize(amount)


@pytest.mark.django_db
@pytest.mark.parametrize("amount", ["9999999999999.999999999999999", "-0.000000000000001", "0.1", "1234.5678901234567"])
def test_column_gives_back_the_same_digits(amount: str) -> None:
    stored = quantize(Decimal(amount))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::numeric({DIGITS},{PLACES})", [stored])
        row = cursor.fetchone()

    assert row == (stored,)


def test_currencies_are_never_mixed() -> None:
    assert Money(Decimal("0.1")) + Money(Decimal("0.2")) == Money(Decimal("0.3"))
    assert Money(Decimal(1), "EUR") - Money(Decimal(3), "EUR") == Money(Decimal(-2), "EUR")
    with pytest.raises(ValueError, match="EUR"):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")
    with pytest.raises(ValueError, match="USD"):
        Money(Decimal(1), "USD") - Money(Decimal(1), "EUR")


@given(st.lists(fitting.map(lambda amount: amount / 1000), max_size=20))
def test_sums_of_stored_amounts_are_exact(amounts: list[Decimal]) -> None:
    stored = [quantize(amount) for amount in amounts]
    with localcontext(prec=60):
        total = sum(stored, Decimal(0))

    assert Fraction(total) == sum((Fraction(amount) for amount in stored), Fraction(0))


def test_python_s_default_precision_would_not_do() -> None:
    with localcontext(prec=28), pytest.raises(InvalidOperation):
        Decimal("99999999999999.5").quantize(QUANTUM)


@pytest.mark.parametrize(
    ("stored", "read"), [("0E-15", "0"), ("600.000000000000000", "600"), ("0.010000000000000", "0.01"), ("-500.5", "-500.5"), ("1E-15", "0.000000000000001")]
)
def test_digits_are_those_that_people_write(stored: str, read: str) -> None:
    assert digits(Decimal(stored)) == read


@pytest.mark.parametrize(("amount", "text"), [("0", "0.00"), ("0.5", "0.50"), ("100", "100.00"), ("1.97884336", "1.98"), ("0.0042", "0.0042"), ("0.000012", "0.000012")])
def test_sentences_write_two_decimals_and_more_when_needed(amount: str, text: str) -> None:
    assert written(Decimal(amount)) == text


def test_amounts_that_differ_are_written_apart() -> None:
    assert written_apart(Decimal("0.998"), Decimal("1.001"), Decimal(100)) == ["0.9980", "1.0010", "100.0000"]
    assert written_apart(Decimal(0), Decimal(1), Decimal("0.01")) == ["0.000", "1.000", "0.010"]
    assert written_apart(Decimal(2), Decimal(1)) == ["2.00", "1.00"]

"""Fees by the day: parts add up to the whole over months of any length, years that leap, and days that clocks make longer or shorter."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from governance.billing.proration import Days, amount_of, billing_period, day_months_after, prorated

FEE = Decimal("100.01")
some_day = some.dates(date(2020, 1, 1), date(2032, 12, 31))
kinds = some.sampled_from(["month", "year"])


def total(kind: str, anchor: date, first: date, until: date) -> Fraction:
    return sum((part.amount for part in prorated(FEE, kind, anchor, Days(first, until))), Fraction(0))


@given(kind=kinds, anchor=some_day, day=some_day)
def test_every_day_lies_in_one_period_and_periods_follow_each_other(kind: str, anchor: date, day: date) -> None:
    period = billing_period(kind, anchor, day)
    assert period.first <= day < period.until
    assert billing_period(kind, anchor, period.first) == period
    assert billing_period(kind, anchor, period.until).first == period.until
    assert billing_period(kind, anchor, period.until - timedelta(days=1)) == period


@given(kind=kinds, anchor=some_day, day=some_day)
def test_whole_period_costs_the_whole_fee(kind: str, anchor: date, day: date) -> None:
    period = billing_period(kind, anchor, day)
    assert total(kind, anchor, period.first, period.until) == Fraction(FEE)


@given(kind=kinds, anchor=some_day, cuts=some.lists(some_day, min_size=2, max_size=6))
def test_parts_add_up_to_the_whole_wherever_it_is_cut(kind: str, anchor: date, cuts: list[date]) -> None:
    cuts.sort()
    parts = [total(kind, anchor, first, until) for first, until in pairwise(cuts)]
    assert sum(parts, Fraction(0)) == total(kind, anchor, cuts[0], cuts[-1])


@pytest.mark.parametrize(("month", "days"), [(date(2026, 2, 1), 28), (date(2028, 2, 1), 29), (date(2026, 4, 1), 30), (date(2026, 3, 1), 31), (date(2026, 10, 1), 31)])
def test_a_day_is_the_share_of_its_own_month(month: date, days: int) -> None:
    """March and October hold the days that the clocks of Europe make shorter and longer; they cost what the others cost."""
    costs = {total("month", date(2026, 1, 1), month + timedelta(days=index), month + timedelta(days=index + 1)) for index in range(days)}
    assert costs == {Fraction(FEE) / days}


def test_period_that_begins_on_the_31st_begins_on_the_last_day_of_shorter_months() -> None:
    anchor = date(2026, 1, 31)
    assert billing_period("month", anchor, date(2026, 2, 28)) == Days(date(2026, 2, 28), date(2026, 3, 31))
    assert billing_period("month", anchor, date(2026, 2, 27)) == Days(anchor, date(2026, 2, 28))
    assert day_months_after(date(2024, 2, 29), 12) == date(2025, 2, 28)
    assert billing_period("year", date(2024, 2, 29), date(2028, 2, 29)).first == date(2028, 2, 29)


def test_days_before_the_anchor_have_periods_too() -> None:
    assert billing_period("month", date(2026, 6, 15), date(2026, 1, 1)) == Days(date(2025, 12, 15), date(2026, 1, 15))


def test_no_days_cost_nothing() -> None:
    assert prorated(FEE, "month", date(2026, 1, 1), Days(date(2026, 2, 1), date(2026, 2, 1))) == []
    assert Days(date(2026, 2, 1), date(2026, 3, 1)).within(date(2026, 5, 1), None).count == 0


def test_a_third_is_rounded_once() -> None:
    assert amount_of(Fraction(1, 3)) == Decimal("0.333333333333333")

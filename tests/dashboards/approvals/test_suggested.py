"""What the form to ask for more is filled in with."""

from decimal import Decimal

from dashboards.selectors.asking import suggested
from governance.budgets.models import BudgetPeriod

SMALL = BudgetPeriod(limit_amount=Decimal(100))


def test_an_hour_at_the_pace_is_suggested_up_to_the_budgets_own_limit() -> None:
    assert suggested(Decimal("0.5"), SMALL) == 30
    assert suggested(Decimal("7.5"), SMALL) == 100
    assert suggested(Decimal("7.5"), None) == 450


def test_nothing_is_suggested_without_a_pace_and_a_limit_of_zero_is_no_bound() -> None:
    assert suggested(Decimal(0), SMALL) is None
    assert suggested(Decimal(1), BudgetPeriod(limit_amount=Decimal(0))) == 60


def test_what_is_over_the_limit_already_comes_on_top() -> None:
    over = BudgetPeriod(limit_amount=Decimal(100), topup=Decimal(20), spent=Decimal("240.10"), held=Decimal("0.40"))
    assert suggested(Decimal("7.5"), over) == 100 + 121
    assert suggested(Decimal("0.5"), over) == 30 + 121

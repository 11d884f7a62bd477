"""What a grant buys and how long that lasts: the overrun comes off first, and the burn is the one that pages show."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from dashboards.insights.forecast import lasting
from dashboards.insights.granting import Balance, binding, buys, effects, usable

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


def balance(spent: str, allowance: str, *, held: str = "0", is_asked: bool = True, is_frozen: bool = True) -> Balance:
    return Balance("one", Decimal(spent), Decimal(held), Decimal(allowance), True, is_frozen, is_asked)


def test_a_grant_makes_up_for_the_overrun_first() -> None:
    asked = balance("101.98", "100")
    assert buys(asked, Decimal(60)) == Decimal("58.02")
    effect = effects([asked], Decimal(60))[0]
    assert (effect.limit_after, effect.left_after, effect.consequence, effect.tone) == (Decimal(160), Decimal("58.02"), "resumes", "ok")


def test_a_grant_below_the_overrun_buys_nothing() -> None:
    asked = balance("105", "100")
    effect = effects([asked], Decimal(3))[0]
    assert buys(asked, Decimal(3)) == 0
    assert (effect.left_after, effect.consequence, effect.tone) == (Decimal(-2), "still over its limit", "danger")


def test_budgets_above_bear_what_the_grant_buys() -> None:
    asked, above = balance("105", "100"), balance("194", "200", is_asked=False, is_frozen=False)
    assert effects([asked, above], Decimal(10))[1].consequence == "within"
    assert effects([asked, above], Decimal(12))[1].consequence == "would freeze"


def test_a_forecast_is_the_room_over_the_burn() -> None:
    calls = [(START + timedelta(seconds=20 * place), Decimal("0.63")) for place in range(5)]
    burn = sum((cost for _, cost in calls), Decimal(0)) / 15
    found = lasting(Decimal("1.89"), calls, burn=burn)
    assert found is not None
    assert (found.minutes, found.low, found.high) == (9, 9, 9)
    assert lasting(Decimal(0), calls, burn=burn) is None


def test_what_of_a_grant_can_be_spent_is_what_the_tightest_hard_budget_above_has_left() -> None:
    asked = balance("105", "100")
    roomy, tight = balance("10", "500", is_asked=False, is_frozen=False), balance("194", "200", is_asked=False, is_frozen=False)
    assert (usable([asked, roomy, tight], Decimal(50)), binding([asked, roomy, tight], Decimal(50))) == (6, ["one"])
    assert (usable([asked, roomy], Decimal(50)), binding([asked, roomy], Decimal(50))) == (45, [])
    assert usable([asked], Decimal(3)) == 0


def test_a_frozen_budget_above_makes_a_grant_useless() -> None:
    asked, above = balance("100", "100"), balance("10", "200", is_asked=False)
    assert (usable([asked, above], Decimal(50)), binding([asked, above], Decimal(50))) == (0, ["one"])


def test_a_budget_that_counts_something_else_binds_nothing() -> None:
    tokens = Balance("tokens", Decimal(999), Decimal(0), Decimal(1000), True, False, False, is_comparable=False)
    asked = balance("100", "100")
    assert usable([asked, tokens], Decimal(50)) == 50
    assert effects([asked, tokens], Decimal(50))[1].consequence == "counts something else"

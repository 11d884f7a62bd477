"""Template tags that say in words what a budget limits, over which window, and what happens at the limit."""

from decimal import Context, Decimal
from typing import Any

from django import template

from dashboards.components import budget_words as words
from dashboards.components.figures import plain_decimal
from governance.budgets.models import Budget, ThresholdCrossing, TopUp

register = template.Library()


@register.filter
def scope_words(budget: Budget) -> str:
    return words.scope_words(budget)


@register.filter
def window_words(budget: Budget) -> str:
    return words.window_words(budget)


@register.filter
def per_window(budget: Budget) -> str:
    return words.per_window(budget)


@register.filter
def action_words(budget: Budget) -> str:
    return words.ACTIONS[budget.action]


@register.filter
def used_word(budget: Budget) -> str:
    """Money is spent, tokens and calls are used."""
    return "spent" if budget.measure == Budget.Measure.MONEY else "used"


@register.filter
def topup_words(topup: TopUp) -> str:
    return words.topup_words(topup)


@register.filter
def crossing_words(crossing: ThresholdCrossing) -> str:
    return f"{crossing.percent} % passed" if crossing.percent else "Forecast to reach its limit"


@register.filter
def rate(value: Decimal) -> str:
    """An exchange rate with six digits, for reading."""
    return plain_decimal(value.normalize(Context(prec=6)))


@register.filter
def item(found: dict[Any, Any], key: Any) -> Any:
    """The value under a key; nothing where there is none."""
    return found.get(key, "")

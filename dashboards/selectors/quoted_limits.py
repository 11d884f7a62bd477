"""Limits in another currency than the organization's: which can be given, and what made a period's limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.utils import timezone

from governance.budgets.models import Budget, BudgetPeriod
from governance.pricing.book import current_book
from governance.pricing.terms import terms_now
from governance.tenancy.access import Actor


@dataclass(frozen=True, slots=True)
class Quoted:
    """A limit as it was given, and one unit of its currency in the organization's; `day` is the local day that the rate is of.

    Without a day the limit keeps the rate of the day on which it was given.
    """

    amount: Decimal
    currency: str
    rate: Decimal
    day: date | None


def quoted_of(budget: Budget, period: BudgetPeriod) -> Quoted | None:
    """What the limit of a budget's period was given as; None where it was given in the organization's currency."""
    if budget.quoted_limit is None:
        return None
    if period.quoted_limit is None or period.exchange_rate is None:
        rate = budget.limit_amount / budget.quoted_limit if budget.quoted_limit else Decimal(1)
        return Quoted(budget.quoted_limit, budget.quoted_currency, rate, None)
    day = period.starts_at.astimezone(budget.organization.zone).date()
    return Quoted(period.quoted_limit, budget.quoted_currency, period.exchange_rate, day)


def currencies_known(actor: Actor) -> Sequence[str]:
    """The organization's currency, then those that an exchange rate into it is known of."""
    terms, book = terms_now(actor.organization), current_book()
    today = terms.local_day(timezone.now())
    others = {*book.rates.currencies, *terms.rates.currencies} - {terms.currency}
    return [terms.currency, *sorted(code for code in others if terms.exchange_last(book, code, today) is not None)]

"""Limits that were given in another currency: converted at the exchange rate of a window's first day, which its period keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from governance.budgets.models import Budget
from governance.budgets.rules import Rule
from governance.errors import Invalid
from governance.money import AmountTooLarge, currency_code
from governance.pricing.book import current_book
from governance.pricing.terms import Terms, exchanged, terms_load, terms_of
from governance.tenancy.directory import Directory, directory_at
from governance.tenancy.models import Organization


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in the organization's currency; `quoted` is what was given in another, and `exchange_rate` what made the one of the other."""

    amount: Decimal
    quoted: Decimal | None = None
    exchange_rate: Decimal | None = None


def limit_of(rule: Rule | Budget, terms: Terms | None, *, starts_at: datetime, ends_at: datetime | None) -> Limit:
    """The limit for one window. One that never ends keeps the rate of the day on which the limit was given, which the budget holds."""
    if rule.quoted_limit is None or ends_at is None or terms is None:
        return Limit(rule.limit_amount)
    found = terms.exchange_last(current_book(), rule.quoted_currency, terms.local_day(starts_at))
    if found is None:
        return Limit(rule.limit_amount)
    return Limit(exchanged(rule.quoted_limit, found.rate), rule.quoted_limit, found.rate)


def terms_for(rule: Rule | Budget, directory: Directory) -> Terms | None:
    """The terms that convert the limit, where it has to be."""
    return terms_of(directory) if rule.quoted_limit is not None else None


def quote(budget: Budget, organization: Organization, *, currency: str, at: datetime) -> None:
    """Makes `limit_amount`, which was given in `currency`, the organization's, at the rate of the day. Raises Invalid where none is known."""
    given = currency_code(currency)
    budget.currency = organization.currency
    if given == organization.currency or budget.measure != Budget.Measure.MONEY:
        return
    budget.quoted_currency, budget.quoted_limit = given, budget.limit_amount
    budget.limit_amount = in_own_currency(organization, given, budget.limit_amount, at=at)


def quoted_changes(budget: Budget, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, of which a new limit is in the currency that the limit was given in."""
    if budget.quoted_limit is None or "limit_amount" not in changes:
        return dict(changes)
    kept = {name: value for name, value in changes.items() if name != "limit_amount"}
    given = changes["limit_amount"]
    if given == budget.quoted_limit:
        return kept
    return kept | {"quoted_limit": given, "limit_amount": in_own_currency(budget.organization, budget.quoted_currency, given, at=timezone.now())}


def in_own_currency(organization: Organization, currency: str, amount: Decimal, *, at: datetime) -> Decimal:
    """An amount in the organization's currency at the rate of the local day of an instant. Raises Invalid where none is known."""
    terms = terms_load(directory_at(organization))
    found = terms.exchange_last(current_book(), currency, terms.local_day(at))
    if found is None:
        raise Invalid(f"No exchange rate from {currency} to {organization.currency} is known. Add one under Prices, Currencies.", field="currency")
    try:
        return exchanged(amount, found.rate)
    except AmountTooLarge as error:
        raise Invalid("That is more than a budget can hold.", field="limit_amount") from error

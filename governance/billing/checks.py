"""What plans, seats and fleets have in common when they are written: who may, what an amount is, and which days there are."""

from datetime import date
from decimal import Decimal
from typing import Any

from governance.billing.proration import LAST_DAY
from governance.errors import Invalid
from governance.money import PLACES
from governance.pricing.book import current_book
from governance.pricing.terms import terms_now
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.models import Organization

FIRST_DAY = date(2015, 1, 1)
LARGEST_AMOUNT = Decimal(10) ** 9


def may_manage(actor: Actor) -> None:
    """Raises Forbidden."""
    require(actor, Right.MANAGE_PRICES)


def name_check(name: str) -> str:
    """The name without spaces around it. Raises Invalid."""
    name = name.strip()
    if not name or len(name) > 120 or not name.isprintable():
        raise Invalid("A name has 1 to 120 characters.", field="name")
    return name


def label_check(label: str, field: str, longest: int = 80) -> str:
    """A provider, harness or model as usage names it. Raises Invalid."""
    label = label.strip()
    if len(label) > longest or not (label.isprintable() or not label):
        raise Invalid(f"A {field.replace('_', ' ')} has at most {longest} characters.", field=field)
    return label


def amount_check(amount: Decimal, field: str, *, smallest: Decimal = Decimal(0)) -> Decimal:
    """The amount, exact. Raises Invalid for what is negative, too large, too fine or no number."""
    if not amount.is_finite() or not smallest <= amount <= LARGEST_AMOUNT:
        raise Invalid(f"The amount lies between {smallest} and {LARGEST_AMOUNT:,}.", field=field)
    if amount.normalize().as_tuple().exponent < -PLACES:  # type: ignore[operator]
        raise Invalid(f"An amount has at most {PLACES} decimal places.", field=field)
    return amount


def currency_check(organization: Organization, currency: str, *, day: date) -> str:
    """The currency's code. Raises Invalid where nothing tells what it is worth in the organization's currency."""
    code = currency.strip().upper()
    if len(code) != 3 or not (code.isascii() and code.isalpha()):
        raise Invalid("A currency is three letters, such as USD.", field="currency")
    if code != organization.currency and terms_now(organization).exchange_last(current_book(), code, day) is None:
        raise Invalid(f"No exchange rate from {code} to {organization.currency} is known on {day}. Add one first.", field="currency")
    return code


def day_check(day: date, field: str) -> date:
    """The day. Raises Invalid for one that no fee can begin or end on."""
    if not FIRST_DAY <= day < LAST_DAY.replace(year=2200):
        raise Invalid("This day lies too far away.", field=field)
    return day


def facts_of(row: Any, *names: str) -> dict[str, Any]:
    """The row's columns, as the record keeps them."""
    return {name: getattr(row, name) for name in names}

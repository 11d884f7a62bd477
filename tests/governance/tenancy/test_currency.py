"""An organization may count in any currency, until something was counted in it."""

from decimal import Decimal

import pytest

from governance.budgets.services import budget_create
from governance.errors import Conflict, Invalid
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from governance.tenancy.services import organization_change, organization_create
from tests.governance.tenancy.test_fixed_profile import owner, store

__all__ = ["owner"]

pytestmark = pytest.mark.django_db


def test_an_organization_counts_in_the_currency_it_chose() -> None:
    assert organization_create(slug="euro", currency="eur").currency == "EUR"


def test_what_is_no_currency_is_refused() -> None:
    with pytest.raises(Invalid, match="no currency"):
        organization_create(slug="shells", currency="SHL")


def test_the_currency_is_fixed_once_usage_was_counted(owner: Member) -> None:
    actor = member_actor(owner)
    assert organization_change(actor=actor, currency="CNY").currency == "CNY"
    owner.refresh_from_db()
    assert store(owner) == "accepted"
    with pytest.raises(Conflict, match="present currency"):
        organization_change(actor=actor, currency="USD")


def test_the_currency_is_fixed_while_there_are_budgets(owner: Member) -> None:
    actor = member_actor(owner)
    budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(5))
    with pytest.raises(Conflict, match="present currency"):
        organization_change(actor=actor, currency="CNY")

"""Events are stored at the organization's own terms, in its currency, with the list price and the exchange rate beside them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.pricing.book import current_book
from governance.pricing.models import ExchangeRate, ReferenceRate, Term
from governance.pricing.services import book_advance, book_lock, model_add, price_row_add
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from governance.tenancy.services import organization_touch
from ingest.models import ReportedLabel, UsageRollup, UsageRollupDay
from ingest.models import UsageEvent as StoredEvent
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def term(organization: Organization, **fields: Any) -> Term:
    made = Term.objects.create(organization=organization, **{"name": "Contract", "valid_from": BEGINNING, **fields})
    organization_touch(organization)
    return made


def rate_of(base: str, quote: str, rate: str, *, days_ago: int = 2, organization: Organization | None = None) -> None:
    day = timezone.now().date() - timedelta(days=days_ago)
    facts = {"base": base, "quote": quote, "day": day, "rate": Decimal(rate), "source": "test"}
    if organization is None:
        ReferenceRate.objects.create(**facts)
    else:
        ExchangeRate.objects.create(organization=organization, **facts)
    with transaction.atomic():
        book_advance(book_lock())
    if organization is not None:
        organization_touch(organization)
    current_book(refresh=True)


def yuan_model() -> None:
    model = model_add(actor=None, provider="zhipu-cn", slug="glm-yuan", maker="zhipu")
    price_row_add(actor=None, model=model, valid_from=BEGINNING, currency="CNY", rates={"input_tokens": "20", "output_tokens": "80"})
    current_book(refresh=True)


def test_a_discount_is_kept_beside_the_list_price_and_budgets_hold_what_is_paid(admin: Member, team: Team) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    made = term(admin.organization, provider="anthropic", percent_off=Decimal(10))
    store(admin, event(1), event(2, billing_mode="subscription"))
    billed, notional = StoredEvent.objects.order_by("external_id")
    assert (billed.cost, billed.list_cost, billed.term_id, billed.price_currency) == (COST * 9 / 10, COST, made.pk, "USD")
    assert (notional.cost, notional.list_cost, notional.term_id) == (COST, COST, None)
    for sums in (UsageRollup, UsageRollupDay):
        metered = sums.objects.get(billing_mode="metered")
        assert (metered.cost, metered.list_cost) == (COST * 9 / 10, COST)
        assert sums.objects.get(billing_mode="subscription").list_cost == 0
    assert BudgetPeriod.objects.get().spent == COST * 9 / 10
    call_command("verify")


def test_a_term_of_one_team_is_for_that_team(admin: Member, team: Team) -> None:
    term(admin.organization, team=team, percent_off=Decimal(50))
    store(admin, event(1), event(2, team="nobody"))
    assert [row.cost for row in StoredEvent.objects.order_by("external_id")] == [COST / 2, COST]


def test_terms_of_another_organization_never_apply(admin: Member, other_organization: Organization) -> None:
    term(other_organization, percent_off=Decimal(100))
    rate_of("EUR", "USD", "1.25", organization=other_organization)
    store(admin, event(1))
    assert StoredEvent.objects.get().cost == COST


def test_a_price_in_yuan_is_paid_in_dollars_counted_in_budgets_and_proven(admin: Member, team: Team) -> None:
    yuan_model()
    rate_of("EUR", "USD", "1.25")
    rate_of("EUR", "CNY", "8")
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    store(admin, event(1, provider="zhipu-cn", model="glm-yuan"))
    stored = StoredEvent.objects.get()
    cost = Decimal("0.028") * Decimal("0.15625")
    assert (stored.cost, stored.currency, stored.price_currency, stored.exchange_rate) == (cost, "USD", "CNY", Decimal("0.15625"))
    assert BudgetPeriod.objects.get().spent == cost == UsageRollup.objects.get(currency="USD").cost
    call_command("verify")


def test_without_an_exchange_rate_a_call_is_unpriced_and_its_model_stays_known(admin: Member, team: Team) -> None:
    yuan_model()
    store(admin, event(1, provider="zhipu-cn", model="glm-yuan"))
    stored = StoredEvent.objects.get()
    assert (stored.cost, stored.list_cost, stored.currency, stored.price_currency, stored.exchange_rate) == (None, None, "USD", "CNY", None)
    assert stored.price_id is not None
    assert UsageRollup.objects.get().unpriced_calls == 1
    assert not ReportedLabel.objects.filter(kind="model").exists()
    call_command("verify")


def test_a_list_sum_that_somebody_broke_is_found_and_mended(admin: Member, team: Team) -> None:
    term(admin.organization, percent_off=Decimal(10))
    store(admin, event(1), event(2))
    UsageRollupDay.objects.update(list_cost=1)
    with pytest.raises(Exception, match="differ"):
        call_command("verify")
    call_command("verify", repair=True)
    assert UsageRollupDay.objects.get().list_cost == 2 * COST
    call_command("verify")


def test_a_price_for_a_model_that_no_list_knows_counts_at_its_own_price(admin: Member, team: Team) -> None:
    own = {"input_tokens": {"per": 1_000_000, "base": "2"}, "output_tokens": {"per": 1_000_000, "base": "0"}}
    term(admin.organization, model="acme-ft-1", rates=own)
    store(admin, event(1, provider="acme", model="acme-ft-1"))
    stored = StoredEvent.objects.get()
    assert (stored.cost, stored.list_cost, stored.price_id) == (Decimal("0.002"), None, None)
    assert UsageRollup.objects.get().list_cost == Decimal("0.002")
    assert not ReportedLabel.objects.filter(kind="model").exists()
    call_command("verify")

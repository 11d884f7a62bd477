"""A limit may be given in any currency: each window has it at the rate of its first day, and all charging is in the organization's."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.services import budget_change, budget_create
from governance.errors import Invalid
from governance.money import digits
from governance.periods import first_day, local_midnight, next_day
from governance.pricing.models import ExchangeRate
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member, Organization, Scope
from governance.tenancy.services import organization_touch
from tests.conftest import client_with, key_of
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


@pytest.fixture
def rates(organization: Organization) -> None:
    """1.10 at the start of this month, 1.20 since, and 1.50 from yesterday on."""
    today = timezone.now().astimezone(organization.zone).date()
    month = first_day("month", today)
    for day, rate in ((month - timedelta(days=40), "1.05"), (month, "1.10"), (today - timedelta(days=1), "1.50")):
        ExchangeRate.objects.create(organization=organization, base="EUR", quote="USD", day=day, rate=Decimal(rate), source="test")
    organization_touch(organization)


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


def rate_at_month_start(organization: Organization) -> Decimal:
    today = timezone.now().astimezone(organization.zone).date()
    return Decimal("1.50") if today - timedelta(days=1) <= first_day("month", today) else Decimal("1.10")


@pytest.mark.usefixtures("rates")
def test_the_limit_is_converted_at_the_first_day_of_the_window(actor: Actor, admin: Member) -> None:
    budget = budget_create(
        actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100), currency="EUR"
    )
    assert (budget.currency, budget.unit, budget.quoted_currency, budget.quoted_limit) == ("USD", "USD", "EUR", 100)
    rate = rate_at_month_start(admin.organization)
    period = BudgetPeriod.objects.get(budget=budget)
    assert (period.limit_amount, period.quoted_limit, period.exchange_rate) == (100 * rate, 100, rate)
    store(admin, event(1, team=""))
    period.refresh_from_db()
    assert period.spent == COST


@pytest.mark.usefixtures("rates")
def test_a_window_made_by_a_call_has_the_rate_of_its_own_first_day(actor: Actor, admin: Member) -> None:
    budget = budget_create(actor=actor, name="Day", scope_kind="organization", period_kind="day", limit_amount=Decimal(100), currency="EUR")
    store(admin, event(1, team="", occurred_at=timezone.now() - timedelta(seconds=5)))
    tomorrow = local_midnight(next_day("day", timezone.now().astimezone(admin.organization.zone).date()), admin.organization.zone)
    if tomorrow - timezone.now() < timedelta(hours=23):
        store(admin, event(2, team="", occurred_at=tomorrow))
    assert {period.limit_amount for period in BudgetPeriod.objects.filter(budget=budget)} == {Decimal(150)}


@pytest.mark.usefixtures("rates")
def test_a_changed_limit_is_in_the_currency_it_was_given_in(actor: Actor, admin: Member) -> None:
    budget = budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100), currency="EUR")
    before = BudgetPeriod.objects.get().limit_amount
    budget = budget_change(actor=actor, budget=budget, name="Renamed")
    assert BudgetPeriod.objects.get().limit_amount == before
    budget = budget_change(actor=actor, budget=budget, limit_amount=Decimal(200))
    assert (budget.quoted_limit, BudgetPeriod.objects.get().limit_amount) == (200, 2 * before)


def test_without_a_rate_there_is_no_such_budget(actor: Actor) -> None:
    with pytest.raises(Invalid, match="No exchange rate from EUR to USD"):
        budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1), currency="EUR")


@pytest.mark.usefixtures("rates")
def test_a_hold_asked_for_in_another_currency_is_held_in_the_organizations(actor: Actor, admin: Member) -> None:
    budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100))
    api = client_with(key_of(admin.organization))
    held = api.post("/api/v1/authorizations", {"session": "s", "amount": "2", "currency": "EUR"})
    assert held.status_code == 201, held.content
    assert (Decimal(held.json()["amount"]), held.json()["currency"]) == (Decimal(3), "USD")
    assert BudgetPeriod.objects.get().held == 3
    refused = api.post("/api/v1/authorizations", {"session": "s", "amount": "2", "currency": "CNY"})
    assert (refused.status_code, refused.json()["field"]) == (422, "currency")


@pytest.mark.usefixtures("rates")
def test_the_preview_of_a_change_takes_the_limit_as_it_was_given(actor: Actor, admin: Member) -> None:
    budget = budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100), currency="EUR")
    store(admin, event(1, team=""))
    rate = rate_at_month_start(admin.organization)
    below, above = COST / rate - Decimal("0.001"), COST / rate + Decimal("0.001")
    api = client_with(key_of(admin.organization, Scope.READ, Scope.ADMIN, name="terraform"))
    found = api.post(f"/api/v1/budgets/{budget.pk}/preview", {"limit": f"{below:.12f}"}).json()
    assert [row["name"] for row in found["freezes"]] == ["Month"]
    assert (found["quoted_currency"], Decimal(found["exchange_rate"])) == ("EUR", rate)
    assert abs(Decimal(found["limit"]) - Decimal(found["quoted_limit"]) * rate) < Decimal("1e-14")
    assert api.post(f"/api/v1/budgets/{budget.pk}/preview", {"limit": f"{above:.12f}"}).json()["freezes"] == []
    assert api.post(f"/api/v1/budgets/{budget.pk}/preview", {"action": "ask"}).json()["limit"] == digits(100 * rate)


@pytest.mark.usefixtures("rates")
def test_the_preview_of_a_new_budget_takes_the_rate_of_its_first_day(actor: Actor, admin: Member) -> None:
    api = client_with(key_of(admin.organization, Scope.READ, Scope.ADMIN, name="terraform"))
    wanted = {"name": "Month", "scope": "organization", "period": "month", "limit": "100", "currency": "EUR"}
    found = api.post("/api/v1/budgets/preview", wanted).json()
    rate = rate_at_month_start(admin.organization)
    assert (Decimal(found["limit"]), found["quoted_limit"], Decimal(found["exchange_rate"])) == (100 * rate, "100", rate)


@pytest.mark.usefixtures("rates")
def test_the_page_shows_and_changes_the_limit_as_it_was_given(actor: Actor, admin: Member, client: Client) -> None:
    client.force_login(admin.user)
    form = {"name": "Month", "scope_kind": "organization", "period_kind": "month", "limit_amount": "100", "currency": "EUR", "action": "notify", "thresholds": "80"}
    assert '<option value="EUR"' in client.get("/o/acme/budgets/new").content.decode()
    assert "makes" in client.post("/o/acme/budgets/new", form | {"step": "preview"}).content.decode()
    assert client.post("/o/acme/budgets/new", form | {"step": "create"}).status_code == 302
    budget = Budget.objects.get()
    page = client.get(f"/o/acme/budgets/{budget.pk}").content.decode()
    rate = rate_at_month_start(admin.organization)
    assert (budget.quoted_limit, budget.quoted_currency) == (100, "EUR")
    assert f"at {digits(rate)} USD a EUR" in page
    assert 'value="100"' in page
    change = {"step": "change", "seen": "1", "name": "Month", "limit_amount": "100", "action": "notify", "thresholds": "80"}
    assert client.post(f"/o/acme/budgets/{budget.pk}", change).status_code == 302
    assert BudgetPeriod.objects.get().limit_amount == 100 * rate
    client.post(f"/o/acme/budgets/{budget.pk}", change | {"limit_amount": "50", "seen": "1" if Budget.objects.get().version == 1 else "2"})
    assert (Budget.objects.get().quoted_limit, BudgetPeriod.objects.get().limit_amount) == (50, 50 * rate)


def test_no_currency_is_offered_where_no_rate_is_known(admin: Member, client: Client) -> None:
    client.force_login(admin.user)
    assert 'name="currency"' not in client.get("/o/acme/budgets/new").content.decode()

"""A call's arithmetic on its page: the lines, what an own term and an exchange make of their sum, and the row behind it, to the last digit."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.test import Client

from dashboards.selectors.arithmetic import bill_of
from governance.pricing.book import current_book
from governance.pricing.models import ExchangeRate, Term
from governance.pricing.services import model_add, price_row_add
from governance.tenancy.models import Member, Organization
from governance.tenancy.services import organization_touch
from ingest.models import UsageEvent
from tests.dashboards.usage_made import NOW, call, use

pytestmark = pytest.mark.usefixtures("prices", "at_now")
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def test_lines_add_up_to_what_is_stored_and_lead_to_the_row(client: Client, admin: Member, organization: Organization) -> None:
    use(organization, [call(session="s1", input_tokens=1234, cache_read_tokens=50_000, output_tokens=321, tags={"processing": "batch"})])
    stored = UsageEvent.objects.get()
    client.force_login(admin.user)

    text = client.get(f"/o/acme/sessions/s1?call={stored.id}").content.decode()

    bill = bill_of(stored)
    assert (bill.difference, bill.kind) == ("", "Batch")
    assert sum(Decimal(line.cost) for line in bill.lines) == stored.cost
    assert "/o/acme/prices/models/anthropic/claude-sonnet-4-5" in text
    assert bill.stored in text


def test_kind_of_call_that_only_the_name_says_is_in_the_arithmetic(organization: Organization) -> None:
    use(organization, [call(session="s1", model="claude-opus-4-5-batch")])

    bill = bill_of(UsageEvent.objects.get())
    assert (bill.kind, bill.difference) == ("Batch", "")


def test_discount_is_a_line_of_its_own_and_the_list_price_stands_beside_it(organization: Organization) -> None:
    Term.objects.create(organization=organization, name="Contract 7", provider="anthropic", percent_off=Decimal("12.5"), valid_from=BEGINNING)
    organization_touch(organization)
    use(organization, [call(session="s1")])
    stored = UsageEvent.objects.get()

    bill = bill_of(stored)
    assert list(bill.steps) == [("Sum", "USD 0.0045"), ("Contract 7, 12.5 % off", "\u22120.0005625")]
    assert (bill.sum, bill.stored, bill.listed, bill.difference) == ("0.0045", "USD 0.0039375", "USD 0.0045", "")


def test_own_amounts_are_what_the_lines_are_made_of(organization: Organization) -> None:
    Term.objects.create(
        organization=organization, name="Contract 8", provider="anthropic", model="claude-sonnet-4-5", valid_from=BEGINNING,
        rates={"input_tokens": {"per": 1_000_000, "base": "1"}},
    )  # fmt: skip
    organization_touch(organization)
    use(organization, [call(session="s1")])

    bill = bill_of(UsageEvent.objects.get())
    assert [line.price for line in bill.lines] == ["1 per million", "15 per million"]
    assert (bill.stored, bill.difference) == ("USD 0.0025", "")


def test_exchange_is_a_line_with_the_rate_that_was_used(organization: Organization) -> None:
    model = model_add(actor=None, provider="zhipu-cn", slug="glm-yuan")
    price_row_add(actor=None, model=model, valid_from=BEGINNING, currency="CNY", rates={"input_tokens": "20", "output_tokens": "80"})
    ExchangeRate.objects.create(organization=organization, base="CNY", quote="USD", day=NOW.date(), rate=Decimal("0.1401"), source="test")
    organization_touch(organization)
    current_book(refresh=True)
    use(organization, [call(session="s1", provider="zhipu-cn", model="glm-yuan")])

    bill = bill_of(UsageEvent.objects.get())
    assert list(bill.steps) == [("Sum", "CNY 0.028"), ("1 CNY in USD", "\u00d7 0.1401")]
    assert (bill.stored, bill.difference) == ("USD 0.0039228", "")


def test_unpriced_call_says_why_it_still_is(organization: Organization) -> None:
    use(organization, [call(session="s1", provider="openai", model="gpt-5:nitro")])

    assert "asks for the fastest seller" in bill_of(UsageEvent.objects.get()).reason

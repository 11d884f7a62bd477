"""Prices that change after calls were stored."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from governance.pricing.book import current_book
from governance.pricing.models import Model, PriceRow
from governance.pricing.services import model_add, price_row_add


def price_of_sonnet(*, input_amount: str, output_amount: str, days_ago: int = 5) -> PriceRow:
    """The model of the tests' calls costs so much for a million tokens since some days: found out only now."""
    model = Model.objects.get(provider__slug="anthropic", slug="claude-sonnet-4-5")
    rates = {"input_tokens": Decimal(input_amount), "output_tokens": Decimal(output_amount)}
    row = price_row_add(actor=None, model=model, valid_from=timezone.now() - timedelta(days=days_ago), rates=rates)
    current_book(refresh=True)
    return row


def model_made_up(slug: str = "made-up-9", provider: str = "acme-ai", amount: str = "10") -> Model:
    """A model that no list has gets a price."""
    model = model_add(actor=None, provider=provider, slug=slug)
    price_row_add(actor=None, model=model, valid_from=timezone.now() - timedelta(days=300), rates={"input_tokens": amount, "output_tokens": amount})
    current_book(refresh=True)
    return model

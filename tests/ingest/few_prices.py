"""A price book of one provider, for tests that need some prices and load them often."""

import pytest
from genai_prices.data import providers

from governance.pricing.book import current_book
from governance.pricing.services import prices_load
from governance.pricing.sources.genai import provider_read


@pytest.fixture
def few_prices(db: None) -> None:
    """Anthropic's prices."""
    prices_load(providers=[provider_read(provider) for provider in providers if provider.id == "anthropic"])
    current_book(refresh=True)

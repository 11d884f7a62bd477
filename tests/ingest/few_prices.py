"""A price book of one provider, for tests that need some prices."""

import pytest

from tests.price_books import KeptBook


@pytest.fixture
def few_prices(db: None, book_of_one_provider: KeptBook) -> None:
    """Anthropic's prices."""
    book_of_one_provider.put()

"""The bundled price list as a book: it lives on in memory while the tables are put back."""

import pytest

from governance.pricing.book import Book
from tests.price_books import KeptBook


@pytest.fixture(scope="session")
def book(whole_book: KeptBook) -> Book:
    """The whole bundled list. It needs no database."""
    return whole_book.book

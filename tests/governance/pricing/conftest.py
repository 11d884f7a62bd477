"""The bundled price list, loaded once: the book lives on in memory while the tables are put back."""

from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from governance.pricing import book as shelf
from governance.pricing.book import Book, book_load
from governance.pricing.services import prices_load


@pytest.fixture(scope="session")
def book(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Book:
    """The whole bundled list as a book. It needs no database once it is read."""
    with django_db_blocker.unblock(), transaction.atomic():
        prices_load()
        _, loaded = book_load()
        transaction.set_rollback(True)
    return loaded


@pytest.fixture(autouse=True)
def empty_shelf() -> Iterator[None]:
    """No test sees the book that another one left in the process."""
    shelf._shelf.book = shelf._shelf.stamp = None
    yield
    shelf._shelf.book = shelf._shelf.stamp = None

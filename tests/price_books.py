"""Price books that tests start from: each is loaded once in a process by the product's own loading, and put back as rows from then on."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from governance.pricing import book as shelf
from governance.pricing.book import Book, book_load
from governance.pricing.services import prices_load
from governance.pricing.sources.genai import bundled_providers

BOOK = "price_book"  # has its one row before anything is loaded
OF_THE_PAGES = ("anthropic", "openai", "deepseek")


@dataclass(frozen=True)
class KeptBook:
    """The rows that loading a list of prices leaves, by table, as COPY writes them, and the book that is read of them."""

    rows: dict[str, bytes]
    stamp: tuple[Any, ...]
    book: Book

    def put(self) -> None:
        """Lays the rows into the tables, which have none of prices, and the book where this process looks for it."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {BOOK}")
            for table, rows in self.rows.items():
                with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(rows)
        shelf._shelf.stamp, shelf._shelf.book, shelf._shelf.checked_at = self.stamp, self.book, time.monotonic()


def kept_book(providers: Collection[str] = ()) -> KeptBook:
    """What loading the bundled prices leaves, of these providers or of all. The database is as before afterwards."""
    with transaction.atomic():
        before = counts()
        prices_load(providers=[one for one in bundled_providers() if one.slug in providers] if providers else None)
        after = counts()
        tables = {BOOK, *(table for table, count in after.items() if count != before[table])}
        kept = KeptBook({table: rows_of(table) for table in sorted(tables)}, *book_load())
        transaction.set_rollback(True)
    return kept


def counts() -> dict[str, int]:
    """Rows by table."""
    one = sql.SQL("SELECT {}, count(*) FROM {}")
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        cursor.execute(sql.SQL(" UNION ALL ").join(one.format(sql.Literal(table), sql.Identifier(table)) for table in tables))
        return dict(cursor.fetchall())


def rows_of(table: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
        return b"".join(bytes(piece) for piece in copy)


@pytest.fixture(scope="session")
def whole_book(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> KeptBook:
    """All bundled prices."""
    with django_db_blocker.unblock():
        return kept_book()


@pytest.fixture(scope="session")
def book_of_the_pages(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> KeptBook:
    """Three providers: what the pages' tests call."""
    with django_db_blocker.unblock():
        return kept_book(OF_THE_PAGES)


@pytest.fixture(scope="session")
def book_of_one_provider(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> KeptBook:
    """Anthropic's prices."""
    with django_db_blocker.unblock():
        return kept_book(("anthropic",))


@pytest.fixture(autouse=True)
def empty_shelf() -> Iterator[None]:
    """No test sees the book that another one left in the process."""
    shelf._shelf.book = shelf._shelf.stamp = None
    yield
    shelf._shelf.book = shelf._shelf.stamp = None

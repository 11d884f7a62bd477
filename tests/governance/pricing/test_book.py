"""The process's book: read again when the version moved, by one thread while the others go on, and after a rollback too."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from governance.pricing import book as shelf
from governance.pricing.book import current_book
from governance.pricing.services import model_add, price_row_add
from governance.pricing.usage import Usage

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def add(slug: str, amount: str) -> None:
    model = model_add(actor=None, provider="acme-ai", slug=slug)
    price_row_add(actor=None, model=model, valid_from=START, rates={"input_tokens": amount})


def cost(slug: str) -> Decimal | None:
    return current_book().rate(provider="acme-ai", model=slug, at=NOW, usage=Usage(input_tokens=1_000_000)).cost


@pytest.mark.django_db
def test_empty_book_prices_nothing() -> None:
    assert list(current_book().models()) == []
    assert cost("m") is None


@pytest.mark.django_db
def test_book_looks_for_a_new_version_once_a_second(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    clock = 100.0
    monkeypatch.setattr(shelf.time, "monotonic", lambda: clock)
    add("m", "1")
    assert cost("m") == 1

    add("n", "2")
    with django_assert_num_queries(0):
        assert cost("n") is None
    clock += 1.0
    assert cost("n") == 2
    clock += 1.0
    with django_assert_num_queries(1):
        assert cost("n") == 2


@pytest.mark.django_db
def test_refresh_looks_at_once() -> None:
    assert cost("m") is None
    add("m", "1")

    assert cost("m") is None
    current_book(refresh=True)
    assert cost("m") == 1


@pytest.mark.django_db
def test_unchanged_book_is_the_same_object() -> None:
    add("m", "1")

    assert current_book() is current_book(refresh=True)


@pytest.mark.django_db(transaction=True)
def test_book_read_inside_a_transaction_that_failed_is_forgotten() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012
        add("m", "1")
        assert current_book(refresh=True).find("acme-ai", "m", NOW) is not None
        raise RuntimeError
    with time_machine.travel(datetime.now(UTC), tick=True):
        add("other", "2")

    current_book(refresh=True)
    assert (cost("m"), cost("other")) == (None, 2)


@pytest.mark.django_db(transaction=True)
def test_threads_see_the_new_version_and_never_half_of_one() -> None:
    add("m-0", "1")
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                book = current_book(refresh=True)
                seen.append((book.version, len(book.models())))
        finally:
            connection.close()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 6):
            with transaction.atomic():
                add(f"m-{number}", "1")
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)

    assert not any(thread.is_alive() for thread in threads)
    last = current_book(refresh=True)
    assert len(last.models()) == 6
    # A model and its price move the version twice, in one transaction.
    assert {models for _, models in seen} <= {1, 2, 3, 4, 5, 6}
    assert all(models == version // 2 for version, models in seen)

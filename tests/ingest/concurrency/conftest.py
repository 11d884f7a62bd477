"""What the tests with real processes share: a few prices, a watch on every commit, and the server's count of deadlocks."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]

WATCH = """
CREATE TABLE balance_seen (period_id bigint, budget_id bigint, spent numeric, held numeric, allowance numeric);
CREATE FUNCTION balance_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO balance_seen VALUES (NEW.id, NEW.budget_id, NEW.spent, NEW.held, NEW.limit_amount + NEW.topup);
    RETURN NULL;
END $$;
CREATE TRIGGER balance_watch AFTER INSERT OR UPDATE ON budget_period FOR EACH ROW EXECUTE FUNCTION balance_note();
"""
UNWATCH = "DROP TRIGGER balance_watch ON budget_period; DROP FUNCTION balance_note; DROP TABLE balance_seen;"


@pytest.fixture
def balances_watched(transactional_db: None) -> Iterator[None]:
    """Notes every balance that is committed, in the transaction that commits it, in the table balance_seen."""
    with connection.cursor() as cursor:
        cursor.execute(WATCH)
    yield
    with connection.cursor() as cursor:
        cursor.execute(UNWATCH)


@pytest.fixture
def deadlocks(transactional_db: None) -> Callable[[], int]:
    """How many deadlocks the server has broken in this database since the test began."""

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    before = count()
    return lambda: count() - before

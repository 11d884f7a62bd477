"""The event table's months: made ahead, filled with what strayed, dropped when nobody keeps them."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from governance import sql
from governance.periods import add_months
from governance.tenancy.models import Member
from ingest.models import UsageEvent, UsageRollup
from ingest.partitions import NAMES, month_bounds, months_ensure, months_retain, partition_name
from ingest.verify import differences
from tests.ingest.test_store import event, store


def present() -> set[str]:
    return {row.name for row in sql.rows(NAMES)}


def place_of(stored: UsageEvent) -> str:
    """The partition that an event lies in."""
    return str(sql.rows("SELECT tableoid::regclass AS place FROM usage_event WHERE id = %(id)s", {"id": stored.id})[0].place)


def test_bounds_are_whole_months_of_utc() -> None:
    assert month_bounds(date(2026, 12, 1)) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.django_db
def test_months_around_today_are_made_once() -> None:
    today = date(2031, 5, 17)
    made = months_ensure(today=today, months_back=1, months_ahead=2)
    assert made == ["usage_event_2031_04", "usage_event_2031_05", "usage_event_2031_06", "usage_event_2031_07"]
    assert months_ensure(today=today, months_back=1, months_ahead=2) == []
    assert set(made) <= present()


@pytest.mark.django_db
def test_an_event_without_a_month_is_kept_and_moves_when_its_month_is_made(admin: Member) -> None:
    at = timezone.now() - timedelta(days=330)
    store(admin, event(occurred_at=at))
    stored = UsageEvent.objects.get()
    assert place_of(stored) == "usage_event_default"

    assert partition_name(at.astimezone(UTC).date()) in months_ensure(today=timezone.now().date())

    assert place_of(stored) == partition_name(at.astimezone(UTC).date())
    assert differences(admin.organization) == []


@pytest.mark.django_db
def test_months_that_ended_before_the_oldest_day_kept_are_dropped_and_their_sums_stay(admin: Member) -> None:
    at = timezone.now() - timedelta(days=330)
    store(admin, event(1, occurred_at=at), event(2))
    months_ensure(today=timezone.now().date())
    first = at.astimezone(UTC).date().replace(day=1)
    following = add_months(first, 1)
    assert months_retain(oldest=following - timedelta(days=1)) == []

    assert months_retain(oldest=following) == [partition_name(first)]

    assert UsageEvent.objects.get().external_id == "call-2"
    assert UsageRollup.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_that_make_the_same_month_at_once_do_not_hinder_each_other() -> None:
    today = date(2032, 2, 29)
    made: list[str] = []
    failures: list[Exception] = []

    def make() -> None:
        try:
            made.extend(months_ensure(today=today, months_back=0, months_ahead=3))
        except Exception as error:  # whatever it is, the assertion shows it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert failures == []
        assert sorted(new_months(made)) == [f"usage_event_2032_0{month}" for month in (2, 3, 4, 5)]
    finally:
        for name in new_months(made):
            sql.execute(f"DROP TABLE {name}")


def new_months(made: list[str]) -> list[str]:
    """Those of the test: months of events that an earlier one left get theirs at the same time."""
    return [name for name in made if name.startswith("usage_event_2032_")]

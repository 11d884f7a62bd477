"""A small demo organization, loaded once for the tests of a module and rolled back after them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from ingest.demo.loading import Loaded, demo_load
from ingest.demo.simulation import Plan

EVENTS = 6000


def last_wednesday() -> datetime:
    """Some Wednesday afternoon that is over: its week's days are whole and the months around it are not empty."""
    now = datetime.now(UTC).replace(hour=15, minute=20, second=0, microsecond=0)
    return now - timedelta(days=(now.weekday() - 2) % 7 or 7)


@pytest.fixture(scope="module")
def loaded(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Loaded]:
    """What `manage.py demo load` does, in this process."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield demo_load(plan=Plan(7, 35, EVENTS, last_wednesday()), processes=1)
        transaction.set_rollback(True)

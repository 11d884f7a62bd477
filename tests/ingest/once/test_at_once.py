"""Two doors that report the same calls at the same moment end as one event each, on a real database with real threads."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection

from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import UsageEvent
from ingest.models import EventSighting
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import assert_true, gateway, harness, sums, told

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]
ROUNDS = 6


def test_two_doors_at_the_same_moment_store_one_call(organization: Organization, admin: Member) -> None:
    """A new session each round: neither door has seen the other's call when both begin."""
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(100))
    together = Barrier(2)

    def tell(door: str, event: UsageEvent) -> None:
        try:
            together.wait(timeout=30)
            told(organization, door, event)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        for number in range(ROUNDS):
            session = f"s-{number // 2}"
            reports = [("otlp", harness(number, after=number, session=session)), ("litellm", gateway(number, after=number + 0.1, session=session))]
            for done in [threads.submit(tell, *report) for report in reports]:
                done.result(timeout=60)
    found = sums(organization)
    assert found["calls"] == ROUNDS
    assert EventSighting.objects.filter(is_settled=True).count() == 2 * ROUNDS
    assert BudgetPeriod.objects.get().spent == found["cost"] > 0
    assert_true(organization)

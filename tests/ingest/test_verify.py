"""verify proves truth 3 and mends what somebody broke."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.models import EventIdentity, UsageRollup
from ingest.services import events_store
from tests.ingest.test_store import event, prices

__all__ = ["prices"]

# The fixture empties the partitioned table afterwards, which the mark alone does not.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db")]


def test_broken_sums_are_found_and_mended(prices: None, admin: Member) -> None:
    actor = member_actor(admin)
    budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    events_store(actor=actor, api_key=None, source="rest", events=[event(number, session=f"s{number % 3}") for number in range(30)])
    call_command("verify")
    spent = BudgetPeriod.objects.get().spent
    UsageRollup.objects.update(cost=0)
    BudgetPeriod.objects.update(spent=7)
    Session.objects.filter(key="s1").update(calls=99)
    with pytest.raises(CommandError):
        call_command("verify")
    call_command("verify", repair=True)
    call_command("verify")
    assert BudgetPeriod.objects.get().spent == spent
    assert AuditRecord.objects.filter(action="ledger.repaired").count() == 1


def test_missing_rows_are_found_and_made_again(prices: None, admin: Member) -> None:
    actor = member_actor(admin)
    budget_create(actor=actor, name="Each", scope_kind="session", period_kind="session", limit_amount=Decimal(1))
    events_store(actor=actor, api_key=None, source="rest", events=[event(number, session=f"s{number % 3}") for number in range(9)])
    BudgetPeriod.objects.filter(session_key="s1").delete()
    UsageRollup.objects.all().delete()
    with pytest.raises(CommandError):
        call_command("verify")
    call_command("verify", repair=True)
    assert BudgetPeriod.objects.get(session_key="s1").spent == BudgetPeriod.objects.get(session_key="s2").spent


def test_calls_that_are_not_known_by_their_keys_are_found_and_known_again(prices: None, admin: Member) -> None:
    actor, calls = member_actor(admin), [event(number) for number in range(3)]
    events_store(actor=actor, api_key=None, source="rest", events=calls)
    known = list(EventIdentity.objects.order_by("key").values_list("key", "event_id"))
    lost, strayed, right = EventIdentity.objects.order_by("key")
    strayed.event_id = right.key
    strayed.save(update_fields=["event_id"])
    lost.delete()
    with pytest.raises(CommandError):
        call_command("verify")
    call_command("verify", repair=True)
    call_command("verify")
    assert list(EventIdentity.objects.order_by("key").values_list("key", "event_id")) == known
    events_store(actor=actor, api_key=None, source="rest", events=calls)
    call_command("verify")


def test_what_retention_has_dropped_is_neither_missed_nor_mended_away(prices: None, admin: Member) -> None:
    actor, old = member_actor(admin), timezone.now() - timedelta(days=200)
    Organization.objects.update(retention_days=90)
    budget_create(actor=actor, name="All time", scope_kind="organization", period_kind="lifetime", limit_amount=Decimal(1))
    events_store(actor=actor, api_key=None, source="rest", events=[event(1, session="old", occurred_at=old), event(2, session="new")])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_event WHERE occurred_at = %s", [old])
    call_command("verify")
    UsageRollup.objects.filter(hour__gt=timezone.now() - timedelta(days=2)).update(cost=0)
    call_command("verify", repair=True)
    assert UsageRollup.objects.count() == 2
    assert Session.objects.get(key="old").calls == 1

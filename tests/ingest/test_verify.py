"""verify proves truth 3 and mends what somebody broke."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from ingest.models import UsageRollup
from ingest.services import events_store
from tests.ingest.test_store import event, prices

__all__ = ["prices"]


@pytest.mark.django_db(transaction=True)
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

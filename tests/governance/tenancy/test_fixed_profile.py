"""What an organization's sums were made by stays as it is: the time zone once usage was counted."""

from decimal import Decimal

import pytest
from django.utils import timezone

from governance.budgets.services import budget_create, budget_retire
from governance.errors import Conflict
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role
from governance.tenancy.services import organization_change
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from ingest.verify import differences

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(admin: Member) -> Member:
    admin.role = Role.OWNER
    admin.save(update_fields=["role"])
    return admin


def store(member: Member, **fields: object) -> str:
    event = UsageEvent(id="1", occurred_at=timezone.now(), model="a-model-of-ours", input_tokens=1, **fields)  # type: ignore[arg-type]
    return events_store(actor=member_actor(member), api_key=None, source="rest", events=[event])[0].status


def test_the_time_zone_is_fixed_once_usage_was_counted(owner: Member) -> None:
    actor = member_actor(owner)
    assert organization_change(actor=actor, time_zone="Asia/Tokyo").time_zone == "Asia/Tokyo"
    owner.refresh_from_db()
    assert store(owner) == "accepted"
    with pytest.raises(Conflict, match="Usage has been counted"):
        organization_change(actor=actor, time_zone="America/New_York")
    assert organization_change(actor=actor, name="Renamed").name == "Renamed"
    assert differences(Organization.objects.get(pk=actor.organization.pk)) == []


def test_the_time_zone_is_fixed_while_there_are_budgets_retired_ones_too(owner: Member) -> None:
    actor = member_actor(owner)
    budget = budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(5))
    budget_retire(actor=actor, budget=budget)
    for change in ({"time_zone": "Asia/Tokyo"}, {"year_starts_in": 4}):
        with pytest.raises(Conflict, match="There are budgets"):
            organization_change(actor=actor, **change)

"""What an organization's sums were made by stays as it is: one currency, and the time zone once usage was counted."""

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance.budgets.services import budget_create, budget_retire
from governance.errors import Conflict, Invalid
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role
from governance.tenancy.services import organization_change, organization_create
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


def test_other_currencies_are_refused_with_a_sentence(owner: Member) -> None:
    actor = member_actor(owner)
    with pytest.raises(Invalid, match="EUR is not supported yet"):
        organization_create(slug="euro", currency="EUR")
    with pytest.raises(Invalid, match="EUR is not supported yet"):
        organization_change(actor=actor, currency="EUR")
    with pytest.raises(Invalid, match="EUR is not supported yet"):
        budget_create(actor=actor, name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(5), currency="EUR")
    assert not Organization.objects.filter(slug="euro").exists()


def test_the_command_refuses_other_currencies() -> None:
    with pytest.raises(CommandError, match="EUR is not supported yet"):
        call_command("organization", "create", "euro", "--currency", "EUR", stdout=StringIO())


def test_an_organization_in_another_currency_gets_no_budget_in_it(owner: Member) -> None:
    Organization.objects.filter(pk=owner.organization_id).update(currency="EUR")
    with pytest.raises(Invalid, match="EUR is not supported yet"):
        budget_create(actor=member_actor(owner), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(5))


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

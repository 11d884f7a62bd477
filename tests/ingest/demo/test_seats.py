"""The demo's plan, seats and hardware."""

from datetime import date

import pytest

from governance.billing.models import Fleet, Seat, SeatPlan
from governance.tenancy.access import system_actor
from ingest.demo.organization import organization_build
from ingest.demo.seats import SEATS, seats_create


@pytest.mark.django_db
def test_seats_and_hardware_are_there_once() -> None:
    actor = system_actor(organization_build("correct horse battery"))
    for _ in range(2):
        seats_create(actor=actor, begins=date(2026, 8, 24))
    assert (SeatPlan.objects.count(), Seat.objects.count(), Fleet.objects.count()) == (1, sum(SEATS.values()), 1)

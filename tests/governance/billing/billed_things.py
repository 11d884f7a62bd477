"""A plan with a seat and a fleet, for tests that ask every address."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from governance.billing.fleets import fleet_create
from governance.billing.models import Fleet, Seat, SeatPlan
from governance.tenancy.access import system_actor
from governance.tenancy.models import Member
from tests.governance.billing.conftest import plan_of, seat_of


@dataclass(frozen=True)
class Billed:
    """One of each."""

    plan: SeatPlan
    seat: Seat
    fleet: Fleet

    def path(self, address: str) -> str:
        """The address with their ids in it."""
        return address.format(plan_id=self.plan.pk, seat_id=self.seat.pk, fleet_id=self.fleet.pk)


def billed_things(member: Member) -> Billed:
    """A plan, the member's seat of it, and a fleet whose hours are entered, all from September on."""
    actor = system_actor(member.organization)
    plan = plan_of(actor, name="Seats")
    fleet = fleet_create(actor=actor, name="Pool", model="own", gpus=1, rate=Decimal(1), valid_from=date(2026, 9, 1), schedule="entered")
    return Billed(plan, seat_of(actor, plan, member), fleet)

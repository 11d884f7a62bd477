"""A plan from September on, for people of acme."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from governance.billing.models import Seat, SeatPlan
from governance.billing.plans import plan_create
from governance.billing.seats import seat_give
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member

BEGINS = date(2026, 9, 1)


@pytest.fixture
def actor(admin: Member) -> Actor:
    return member_actor(admin)


@pytest.fixture
def plan(actor: Actor) -> SeatPlan:
    return plan_of(actor)


def plan_of(actor: Actor, **facts: Any) -> SeatPlan:
    """A plan for claude-code at 31 a month, unless said otherwise."""
    given = {"name": "Claude Team", "harness": "claude-code", "fee": Decimal(31), "valid_from": BEGINS}
    return plan_create(actor=actor, **{**given, **facts})


def seat_of(actor: Actor, plan: SeatPlan, member: Member, *days: date) -> Seat:
    """A seat from the plan's first day on, or from and until the days given."""
    first, *rest = days or (BEGINS,)
    return seat_give(actor=actor, plan=plan, member=member, valid_from=first, valid_to=rest[0] if rest else None)

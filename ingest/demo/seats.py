"""Gives the simulated organization a plan with seats, some of them idle, and hardware of its own for one model."""

from datetime import date
from decimal import Decimal

from django.db import transaction

from governance.billing.fleets import fleet_create
from governance.billing.models import SeatPlan
from governance.billing.plans import plan_create
from governance.billing.seats import seat_give
from governance.tenancy.access import Actor
from governance.tenancy.models import Member
from ingest.demo import cast
from ingest.demo.offers import SELF_HOSTED

PLAN = "Claude Team, premium seats"
FEE = Decimal(125)
INCLUDED_TOKENS = Decimal(400_000_000)
# How many engineers of a team have a seat. Support runs on other harnesses, so that its seats stand idle.
SEATS = {"platform": 9, "payments": 6, "mobile": 5, "support": 2, "security": 1}
GPU_RATE = Decimal("1.10")
TOKENS_PER_HOUR = 2_500_000


@transaction.atomic
def seats_create(*, actor: Actor, begins: date) -> None:
    """The plan, its seats and the hardware, from a local day on; once."""
    if SeatPlan.objects.filter(organization=actor.organization).exists():
        return
    plan = plan_create(
        actor=actor, name=PLAN, harness="claude-code", fee=FEE, valid_from=begins.replace(day=1), included_measure="tokens", included_amount=INCLUDED_TOKENS
    )
    members = {member.user.email: member for member in Member.objects.filter(organization=actor.organization).select_related("user")}
    for team, number in SEATS.items():
        for name in cast.ENGINEERS[team][:number]:
            member = members.get(cast.email_of(name))
            if member is not None:
                seat_give(actor=actor, plan=plan, member=member, valid_from=begins)
    fleet_create(
        actor=actor, name="Coder box", model=SELF_HOSTED.model, gpus=1, gpu_kind="L40S", rate=GPU_RATE, tokens_per_hour=TOKENS_PER_HOUR, valid_from=begins,
        hosted_provider="openrouter", hosted_model="qwen/qwen3-coder-30b-a3b-instruct",
    )  # fmt: skip

"""What the processes of a crew do, and the calls they report: contents follow from a call's number, so that all send the same."""

import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from governance.budgets.models import BudgetPeriod
from governance.budgets.services import AuthorizationIn, authorization_hold, authorization_settle, authorization_void
from governance.errors import PaymentRequired
from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import UsageEvent
from ingest.services import events_store

TEAMS = ("platform", "core", "data", "web")
COST = Decimal("0.0045")  # of each call: 1000 x 3 + 100 x 15 per million


def actor_of(organization_id: int) -> Actor:
    return system_actor(Organization.objects.get(pk=organization_id))


def person_of(member_id: int) -> Actor:
    return member_actor(Member.objects.select_related("organization", "team", "user").get(pk=member_id))


def call(number: int, *, day: datetime, **fields: Any) -> UsageEvent:
    """The call with this number; the same whoever makes it."""
    return UsageEvent(**{
        "id": f"call-{number}", "occurred_at": day + timedelta(milliseconds=number), "provider": "anthropic", "model": "claude-sonnet-4-5",
        "session": f"session-{number % 40}", "team": TEAMS[number % 4], "input_tokens": 1000, "output_tokens": 100, **fields,
    })


def asking(amount: str, labels: dict[str, str], **more: Any) -> AuthorizationIn:
    """A request for this much, under these labels."""
    return msgspec.convert({"amount": Decimal(amount), **labels, **more}, AuthorizationIn)


def ask(organization_id: int, labels: dict[str, str], times: int, amount: str = "1") -> Counter[str]:
    """Asks so many times for the amount. Returns how often it was held and refused."""
    actor, found = actor_of(organization_id), Counter[str]()
    for _ in range(times):
        try:
            authorization_hold(actor=actor, api_key=None, request=asking(amount, labels))
            found["held"] += 1
        except PaymentRequired:
            found["refused"] += 1
    return found


def call_under_authorization(organization_id: int, labels: dict[str, str], first: int, times: int, seed: int) -> Counter[str]:
    """A gateway that does right: holds, calls, and ends the hold in one way or another. Returns what it did."""
    actor, chance, found = actor_of(organization_id), random.Random(seed), Counter[str]()
    for number in range(first, first + times):
        try:
            held = authorization_hold(actor=actor, api_key=None, request=asking("0.01", labels))
        except PaymentRequired:
            found["refused"] += 1
            continue
        made = held.authorization.pk
        way = chance.choice(["event", "amount, event", "event, amount", "void"])
        for step in way.split(", "):
            end(actor, made, step, call(number, day=datetime.now(UTC) - timedelta(seconds=1), authorization=made, **labels))
        found["void" if way == "void" else "event"] += 1
    return found


def end(actor: Actor, made: UUID, step: str, event: UsageEvent) -> None:
    """Ends a hold by its event, by the amount, or by giving it back."""
    if step == "event":
        events_store(actor=actor, api_key=None, source="rest", events=[event])
    elif step == "amount":
        authorization_settle(actor=actor, authorization_id=made, amount=COST)
    else:
        authorization_void(actor=actor, authorization_id=made)


def post(organization_id: int, numbers: list[int], day: datetime) -> Counter[str]:
    """Posts these calls as one batch. Returns how many got which answer."""
    outcomes = events_store(
        actor=actor_of(organization_id), api_key=None, source="rest", events=[call(number, day=day) for number in numbers]
    )
    return Counter(outcome.status for outcome in outcomes)


def observe(organization_id: int, seconds: float) -> tuple[int, list[str]]:
    """Looks at all hard balances, each time in one snapshot. Returns how often it looked, and what passed its limit."""
    looks, wrong, until = 0, [], time.monotonic() + seconds
    while time.monotonic() < until:
        rows = BudgetPeriod.objects.filter(organization=organization_id, is_hard=True)
        wrong += [f"{row}: {row.spent} + {row.held} > {row.allowance}" for row in rows if row.spent + row.held > row.allowance]
        looks += 1
        time.sleep(0.01)
    return looks, wrong


def repeatedly(seconds: float, seed: int, step: Callable[[random.Random], str]) -> Counter[str]:
    """Takes a random step until the time is over. Returns how often each was taken."""
    chance, found, until = random.Random(seed), Counter[str](), time.monotonic() + seconds
    while time.monotonic() < until:
        found[step(chance)] += 1
    return found

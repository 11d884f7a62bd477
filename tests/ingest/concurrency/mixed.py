"""The parts of the mixed load: each is played by a process that takes random steps until the time is over."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from governance.approvals import services as approvals
from governance.approvals.models import ApprovalRequest
from governance.budgets import tasks
from governance.budgets.models import Budget, BudgetPeriod, Session
from governance.budgets.services import (
    authorization_hold,
    budget_change,
    budget_create,
    budget_retire,
    session_freeze,
    session_resume,
)
from governance.errors import Conflict, DomainError
from governance.tenancy import services as tenancy
from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Team
from ingest.models import UsageEvent
from ingest.services import events_store
from ingest.services.amend import Amendment, Cause, events_amend
from ingest.verify import organization_verify
from tests.ingest.concurrency.work import TEAMS, actor_of, asking, call, end, person_of, repeatedly

CALLS = 4000
SESSIONS = 40
MOST_BUDGETS = 14


@dataclass(frozen=True, slots=True)
class World:
    """Where the load takes place, by ids; `day` is when the calls that everybody posts took place."""

    organization_id: int
    admin_id: int
    lead_id: int
    engineer_id: int
    day: datetime


def poster(world: World, seconds: float, seed: int) -> Counter[str]:
    """Posts overlapping batches, each in an order of its own."""
    actor = actor_of(world.organization_id)

    def step(chance: random.Random) -> str:
        first = chance.randrange(CALLS)
        numbers = chance.sample(range(first, first + 300), chance.choice((1, 1, 5, 20, 100)))
        outcomes = events_store(actor=actor, api_key=None, source="rest", events=[said(number, world.day) for number in numbers])
        assert {outcome.status for outcome in outcomes} <= {"accepted", "duplicate"}
        return "batch" if len(numbers) > 1 else "single"

    return repeatedly(seconds, seed, step)


def said(number: int, day: datetime) -> Any:
    """The call with this number; some name a person, some a team that nobody knows, some a model without a price."""
    labels: dict[str, str] = {}
    if number % 7 == 0:
        labels = {"team": "", "member": "engineer@acme.example"}
    elif number % 11 == 0:
        labels = {"team": "nobody"}
    elif number % 13 == 0:
        labels = {"model": "unheard-of"}
    return call(number, day=day, **labels)


def gateway(world: World, seconds: float, seed: int) -> Counter[str]:
    """Holds before its calls and ends the holds in every way, or leaves them to time."""
    actor, numbers = actor_of(world.organization_id), count(seed * 1_000_000)

    def step(chance: random.Random) -> str:
        labels = {"session": f"gateway-{seed}-{chance.randrange(200)}", "team": chance.choice(TEAMS)}
        ask = asking(chance.choice(("0.01", "0.05", "0.001")), labels, ttl_seconds=1)
        try:
            held = authorization_hold(actor=actor, api_key=None, request=ask)
        except DomainError as error:
            return error.code
        way = chance.choice(("event", "amount", "amount, event", "event, amount", "void", "void, event", ""))
        sent = call(next(numbers), day=datetime.now(UTC) - timedelta(seconds=1), authorization=held.authorization.pk, **labels)
        for part in filter(None, way.split(", ")):
            try:
                end(actor, held.authorization.pk, part, sent)
            except Conflict:
                way += " (too late)"
        return way or "left"

    return repeatedly(seconds, seed, step)


def sweeper(world: World, seconds: float, seed: int) -> Counter[str]:
    """What the schedule does, without the waits."""
    jobs: dict[str, Callable[[], Any]] = {
        "holds": tasks.holds_expire, "topups": tasks.topups_expire, "periods": tasks.periods_roll, "requests": approvals.requests_expire,
    }
    return repeatedly(seconds, seed, lambda chance: _one_of(jobs, chance))


def manager(world: World, seconds: float, seed: int) -> Counter[str]:
    """Makes, changes and retires budgets, and changes teams and people."""
    actor, names = person_of(world.admin_id), count()

    def step(chance: random.Random) -> str:
        budgets = list(Budget.objects.filter(organization=actor.organization, is_active=True).order_by("id"))
        steps: dict[str, Callable[[], Any]] = {
            "change": lambda: budget_change(actor=actor, budget=chance.choice(budgets), **_change(chance)),
            "team": lambda: _team_step(actor, chance, f"Team {next(names)}"),
            "person": lambda: tenancy.member_change(
                actor=actor, member=Member.objects.get(pk=world.engineer_id), aliases=[f"engineer-{next(names)}"]
            ),
        }
        if len(budgets) < MOST_BUDGETS:
            steps["create"] = lambda: _budget_make(actor, chance, f"Budget {seed}-{next(names)}", world)
        else:
            steps["retire"] = lambda: budget_retire(actor=actor, budget=chance.choice(budgets[4:]))
        return _one_of(steps, chance)

    return repeatedly(seconds, seed, step)


def _budget_make(actor: Actor, chance: random.Random, name: str, world: World) -> Budget:
    scope = chance.choice(("organization", "team", "member", "session"))
    team = Team.objects.get(organization=actor.organization, slug=chance.choice(TEAMS)) if scope == "team" else None
    member = Member.objects.get(pk=world.engineer_id) if scope == "member" else None
    kind = "session" if scope == "session" else chance.choice(("day", "week", "month", "lifetime"))
    return budget_create(
        actor=actor, name=name, scope_kind=scope, team=team, member=member, period_kind=kind,
        limit_amount=Decimal(chance.choice(("0.5", "5", "50", "500"))), is_hard=chance.random() < 0.6,
        unpriced_call_amount=chance.choice((None, Decimal("0.01"))),
    )


def _change(chance: random.Random) -> Mapping[str, Any]:
    return chance.choice((
        {"limit_amount": Decimal(chance.choice(("0.2", "5", "50", "500")))}, {"is_hard": chance.random() < 0.7}, {"thresholds": [chance.randrange(1, 99)]},
    ))


def _team_step(actor: Actor, chance: random.Random, name: str) -> Any:
    team = Team.objects.get(organization=actor.organization, slug=chance.choice(TEAMS))
    parent = Team.objects.filter(organization=actor.organization, slug=chance.choice(TEAMS)).exclude(pk=team.pk).first()
    return tenancy.team_change(actor=actor, team=team, name=name, parent=chance.choice((team.parent, parent, None)))


def people(world: World, seconds: float, seed: int) -> Counter[str]:
    """Asks for more and decides; freezes sessions by hand and resumes them."""
    admin, lead, engineer = person_of(world.admin_id), person_of(world.lead_id), person_of(world.engineer_id)

    def step(chance: random.Random) -> str:
        periods = BudgetPeriod.objects.filter(organization=admin.organization, budget__is_active=True).order_by("-frozen_at", "id")
        key = f"session-{chance.randrange(SESSIONS)}"
        pending = ApprovalRequest.objects.filter(organization=admin.organization, state="pending").order_by("?").first()
        steps: dict[str, Callable[[], Any]] = {
            "freeze": lambda: session_freeze(actor=admin, session_key=key, reason="a look at it"),
            "resume": lambda: session_resume(actor=lead, session_key=key, reason="looked at"),
        }
        if found := list(periods[:50]):
            steps["ask"] = lambda: approvals.request_create(
                actor=chance.choice((engineer, lead, admin)), period_id=chance.choice(found).pk, amount=Decimal("0.1"), reason="more",
                ends_at=chance.choice((None, datetime.now(UTC) + timedelta(seconds=1))),
            )
        if pending is not None:
            steps["decide"] = lambda: approvals.request_decide(
                actor=chance.choice((lead, admin)), request_id=pending.pk, is_grant=chance.random() < 0.8, note="so be it"
            )
        return _one_of(steps, chance)

    return repeatedly(seconds, seed, step)


def verifier(world: World, seconds: float, seed: int) -> Counter[str]:
    """Proves the sums over and over, each time in one snapshot of the moving tables."""
    organization = actor_of(world.organization_id).organization

    def step(chance: random.Random) -> str:
        time.sleep(0.5)
        differences = organization_verify(organization)
        assert not differences, differences[:3]
        return f"verified with {Session.objects.filter(organization=organization).count()} sessions"

    return Counter({"verified": repeatedly(seconds, seed, step).total()})


def _one_of(steps: Mapping[str, Callable[[], Any]], chance: random.Random) -> str:
    """Takes one of the steps, after a moment that leaves the machine to the posts; a refusal is an answer like any other."""
    time.sleep(chance.random() / 2)
    name = chance.choice(sorted(steps))
    try:
        steps[name]()
    except DomainError as error:
        return f"{name}: {error.code}"
    return name


def amender(world: World, seconds: float, seed: int) -> Counter[str]:
    """Changes what was stored, beside those who store more: other costs, other teams, other models, and some calls taken out."""
    actor = person_of(world.admin_id)
    teams = [*Team.objects.filter(organization=actor.organization).values_list("pk", flat=True), None]

    def step(chance: random.Random) -> str:
        time.sleep(chance.random() / 2)
        rows = list(UsageEvent.objects.filter(organization=actor.organization).order_by("?").values_list("id", "occurred_at")[: chance.choice((1, 50, 400))])
        changes: list[dict[str, Any]] = [
            {"cost": Decimal(chance.randrange(1, 9000)) / 1_000_000}, {"team_id": chance.choice(teams)}, {"cost": None, "price_id": None},
            {"provider": chance.choice(("openai", "mistral")), "model": "other"}, {"billing_mode": chance.choice(("metered", "subscription"))},
        ]
        is_removed, is_forgotten = chance.random() < 0.1, chance.random() < 0.5
        amendments = [
            Amendment(key, at, {} if is_removed else chance.choice(changes), is_removed=is_removed, is_forgotten=is_removed and is_forgotten)
            for key, at in rows[:20] if is_removed
        ] or [Amendment(key, at, chance.choice(changes)) for key, at in rows]
        done = events_amend(organization=actor.organization, actor=actor, amendments=amendments, cause=Cause("correction", "mixed load"))
        return "removed" if done.removed else "changed"

    return repeatedly(seconds, seed, step)

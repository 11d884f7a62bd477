"""What the processes do: callers that hold, call and end their holds; sweepers; and observers that write nothing."""

import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.synchronize import Event as EventType
from typing import Any

import psycopg
from django.db import Error, connection
from django.utils import timezone

from governance import sql
from governance.budgets import tasks
from governance.budgets.services import AuthorizationIn, authorization_hold, authorization_settle, authorization_void
from governance.errors import Conflict, PaymentRequired
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import Organization
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from tests.proof.world import COST, INPUT_TOKENS, MODEL, OUTPUT_TOKENS, place_of

# Callers' clocks differ by up to this much either way.
SKEW_S = 120.0
HELD = Decimal("0.006")
WAYS = ("event",) * 6 + ("amount, event", "event, amount", "void", "event, event", "void, void", "")
TRIES = 50
# Hard balances past their limit, and balances that are not the sum of their holds, in one snapshot.
WRONG = """
SELECT p.id, p.spent, p.held, p.limit_amount + p.topup AS allowance, coalesce(h.held, 0) AS held_true
FROM budget_period p LEFT JOIN (
    SELECT u.period_id, sum(u.amount) AS held
    FROM budget_authorization a CROSS JOIN LATERAL unnest(a.periods, a.amounts) AS u(period_id, amount)
    WHERE a.organization_id = %(organization)s AND a.state IN ('held', 'settling') GROUP BY 1
) h ON h.period_id = p.id
WHERE p.organization_id = %(organization)s AND p.is_hard AND (p.spent + p.held > p.limit_amount + p.topup OR p.held <> coalesce(h.held, 0))
"""
# Of the organization's budget: the balance and the sum of the events it is made of.
LEDGER = """
SELECT (SELECT sum(cost) FROM usage_event WHERE organization_id = %(organization)s) AS events,
    (SELECT sum(p.spent) FROM budget_period p JOIN budget b ON b.id = p.budget_id
     WHERE p.organization_id = %(organization)s AND b.scope_kind = 'organization') AS balance
"""


def caller(organization_id: int, calls: int, seed: int) -> Counter[str]:
    """Takes numbers until all calls are made. Returns what became of its own."""
    actor, chance, found = _actor(organization_id), random.Random(seed), Counter[str]()
    skew = timedelta(seconds=chance.uniform(-SKEW_S, SKEW_S))
    while (number := _again(_next)) < calls:
        found[_call(actor, chance, number, skew)] += 1
    return found


def _next() -> int:
    number: int = sql.rows("SELECT nextval('proof_number') AS number")[0].number
    return number


def _call(actor: Actor, chance: random.Random, number: int, skew: timedelta) -> str:
    """One call: held, made, and its hold ended in one of the ways; a lost connection is tried again under the same ids."""
    place, now, way = place_of(number), timezone.now() + skew, chance.choice(WAYS)
    # A hold that is over before its call is reported is no authorization any more: only what is left lying runs out soon.
    request = AuthorizationIn(
        session=place.session, team=place.team, member=place.member, model=MODEL, amount=HELD, ttl_seconds=600 if way else 1, id=f"call-{number}"
    )
    try:
        held = _again(lambda: authorization_hold(actor=actor, api_key=None, request=request))
    except PaymentRequired:
        return "refused"
    except Conflict:  # the first try was granted, its answer was lost, and time has ended it since
        return "expired"
    made = held.authorization.pk
    event = UsageEvent(
        id=f"call-{number}", occurred_at=_plausible(now), provider="anthropic", model=MODEL, session=place.session, team=place.team,
        member=place.member, input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, authorization=made,
    )
    steps: dict[str, Callable[[], Any]] = {
        "event": lambda: events_store(actor=actor, api_key=None, source="rest", events=[event]),
        "amount": lambda: authorization_settle(actor=actor, authorization_id=made, amount=COST),
        "void": lambda: authorization_void(actor=actor, authorization_id=made),
    }
    for step in filter(None, way.split(", ")):
        try:
            _again(steps[step])
        except Conflict:
            way = f"{way} (too late)"
    return way or "left to expire"


def _plausible(now: datetime) -> datetime:
    """A client whose clock runs behind still reports a call within the skew that is allowed for."""
    return max(now, timezone.now() - timedelta(seconds=SKEW_S))


def _again(step: Callable[[], Any]) -> Any:
    """Does it, again after a connection that was lost: every step may come twice."""
    for _ in range(TRIES):
        try:
            return step()
        except (Error, psycopg.Error):
            connection.close()
            time.sleep(0.02)
    return step()


def sweeper(organization_id: int, over: "EventType", seed: int) -> Counter[str]:
    """What the schedule does, as often as it can, beside another that does the same: tasks delivered twice and out of order."""
    jobs = {"holds": tasks.holds_expire, "topups": tasks.topups_expire, "periods": tasks.periods_roll}
    chance, found = random.Random(seed), Counter[str]()
    while not over.is_set():
        name = chance.choice(sorted(jobs))
        _again(jobs[name])
        found[name] += 1
        time.sleep(0.05)
    return found


def observer(organization_id: int, over: "EventType") -> tuple[int, list[str]]:
    """Looks at all hard balances and at the ledger, each time in one snapshot. Returns how often, and what was wrong."""
    looks, wrong = 0, list[str]()
    while not over.is_set():
        try:
            wrong += _look(organization_id)
            looks += 1
        except (Error, psycopg.Error):
            connection.close()
        time.sleep(0.02)
    return looks, wrong


def _look(organization_id: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            cursor.execute(WRONG, {"organization": organization_id})
            found = [f"period {row[0]}: {row[1]} spent, {row[2]} held of {row[3]}; holds are {row[4]}" for row in cursor.fetchall()]
            cursor.execute(LEDGER, {"organization": organization_id})
            events, balance = cursor.fetchone()
        finally:
            cursor.execute("ROLLBACK")
    return found + ([f"balance {balance}, events {events}"] if (events or 0) != (balance or 0) else [])


def _actor(organization_id: int) -> Actor:
    return system_actor(_again(lambda: Organization.objects.get(pk=organization_id)))

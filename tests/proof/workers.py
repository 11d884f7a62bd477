"""What the processes do: callers that hold, call and end their holds; posters that only report; sweepers; and observers that write nothing."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from multiprocessing.synchronize import Event as EventType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from django.db import Error, connection, transaction
from django.utils import timezone

from governance import sql
from governance.budgets import tasks
from governance.budgets.services import (
    AuthorizationIn,
    ExtensionIn,
    Held,
    authorization_extend,
    authorization_hold,
    authorization_settle,
    authorization_void,
    authorizations_hold,
)
from governance.errors import Conflict, PaymentRequired
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import Organization
from governance.tenancy.services import organization_touch
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from tests.proof.world import COST, INPUT_TOKENS, MODEL, OUTPUT_TOKENS, Place, place_of

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

# Callers' clocks differ by up to this much either way.
SKEW_S = 120.0
HELD = Decimal("0.006")
WAYS = ("event",) * 6 + ("amount, event", "event, amount", "void", "event, event", "void, void", "")
# So many calls are asked for in one batch, or made on one lease; such a share of the others takes a part of more where that is all there is.
TOGETHER = 4
PARTS = 0.1
# Such a share of posts repeats a call of the one before; after such a share the configuration moves, and everybody reads it anew.
REPEATS, MOVES = 0.2, 0.02
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
    """Takes numbers until all calls are made: one at a time, or a few for a batch or a lease. Returns what became of its own."""
    actor, chance, found = _actor(organization_id), random.Random(seed), Counter[str]()
    skew = timedelta(seconds=chance.uniform(-SKEW_S, SKEW_S))
    while (number := _again(_next)) < calls:
        kind = chance.choices(("alone", "batch", "lease"), weights=(6, 1, 1))[0]
        if kind == "alone":
            found[_call(actor, chance, number, skew)] += 1
            continue
        numbers = [number, *(more for more in (_again(_next) for _ in range(TOGETHER - 1)) if more < calls)]
        found.update((_batch if kind == "batch" else _lease)(actor, chance, numbers, skew))
    return found


def _next() -> int:
    number: int = sql.rows("SELECT nextval('proof_number') AS number")[0].number
    return number


def _asked(number: int, way: str, **more: Any) -> AuthorizationIn:
    """A hold that is over before its call is reported is no authorization any more: only what is left lying runs out soon."""
    place = place_of(number)
    given: dict[str, Any] = {"amount": HELD, "ttl_seconds": 600 if way else 1, "id": f"call-{number}"}
    return AuthorizationIn(session=place.session, team=place.team, member=place.member, model=MODEL, **given | more)


def _call(actor: Actor, chance: random.Random, number: int, skew: timedelta) -> str:
    """One call: held, some of them for a part of more, made, and its hold ended in one of the ways; a lost connection is tried again under the same ids."""
    now, way = timezone.now() + skew, chance.choice(WAYS)
    in_part = {"amount": 5 * HELD, "allow_partial": True, "min_amount": COST} if chance.random() < PARTS else {}
    try:
        held = _again(lambda: authorization_hold(actor=actor, api_key=None, request=_asked(number, way, **in_part)))
    except PaymentRequired:
        return "refused"
    except Conflict:  # the first try was granted, its answer was lost, and time has ended it since
        return "expired"
    return _ended(actor, held.authorization.pk, number, way, at=now)


def _batch(actor: Actor, chance: random.Random, numbers: Sequence[int], skew: timedelta) -> Counter[str]:
    """Several calls asked for at once, each ended in its own way."""
    now, ways = timezone.now() + skew, [chance.choice(WAYS) for _ in numbers]
    requests = [_asked(number, way) for number, way in zip(numbers, ways, strict=True)]
    verdicts = _again(lambda: authorizations_hold(actor=actor, api_key=None, requests=requests, now=timezone.now()))
    found = Counter[str]()
    for number, way, verdict in zip(numbers, ways, verdicts, strict=True):
        if isinstance(verdict, Held):
            found[f"in a batch: {_ended(actor, verdict.authorization.pk, number, way, at=now)}"] += 1
        else:
            found["in a batch: expired" if isinstance(verdict, Conflict) else "in a batch: refused"] += 1
    return found


def _lease(actor: Actor, chance: random.Random, numbers: Sequence[int], skew: timedelta) -> Counter[str]:
    """One lease for several calls of one session, extended by one call now and then, and given back or left to expire with what they leave."""
    first, now = numbers[0], timezone.now() + skew
    request = _asked(first, "lease", amount=HELD * len(numbers), lease=True, id=f"lease-{first}")
    try:
        made = _again(lambda: authorization_hold(actor=actor, api_key=None, request=request)).authorization.pk
    except PaymentRequired:
        return Counter({"on a lease: refused": len(numbers)})
    except Conflict:
        return Counter({"on a lease: over": len(numbers)})
    way = "on a lease"
    if chance.random() < 0.5:
        more = ExtensionIn(amount=COST, ttl_seconds=600, id="more")
        try:
            _again(lambda: authorization_extend(actor=actor, api_key=None, authorization_id=made, request=more))
            way += ", extended"
        except PaymentRequired:
            way += ", not extended"
    for number in numbers:
        event = _event(number, made, at=now, place=place_of(first))
        _again(partial(events_store, actor=actor, api_key=None, source="rest", events=[event]))
    if chance.random() < 0.5:
        _again(lambda: authorization_void(actor=actor, authorization_id=made))
        way += ", given back"
    return Counter({way: len(numbers)})


def _event(number: int, made: UUID | None, *, at: datetime, place: Place) -> UsageEvent:
    return UsageEvent(
        id=f"call-{number}", occurred_at=_plausible(at), provider="anthropic", model=MODEL, session=place.session, team=place.team,
        member=place.member, input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, authorization=made,
    )


def _ended(actor: Actor, made: UUID, number: int, way: str, *, at: datetime) -> str:
    """Makes the call and ends its hold in the way, step by step. Returns what became of it."""
    event = _event(number, made, at=at, place=place_of(number))
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


def poster(organization_id: int, numbers: Sequence[int], seed: int, acknowledged: "Synchronized[int]") -> int:
    """Reports the calls with these numbers, up to three in a post, some of them again with later ones; now and then the configuration moves.

    Returns how many posts it sent, those whose connection was lost included.
    """
    actor, chance, tries, place = _actor(organization_id), random.Random(seed), 0, 0

    def post(events: Sequence[UsageEvent]) -> None:
        nonlocal tries
        tries += 1
        events_store(actor=actor, api_key=None, source="rest", events=events)

    last: list[UsageEvent] = []
    while chosen := numbers[place : place + chance.randint(1, 3)]:
        place += len(chosen)
        at = timezone.now()
        sent = [_event(number, None, at=at, place=place_of(number)) for number in chosen]
        _again(partial(post, [*sent, *last[: chance.random() < REPEATS]]))
        last = sent
        if chance.random() < MOVES:
            _again(partial(_move, actor))
        with acknowledged.get_lock():
            acknowledged.value += 1
    return tries


@transaction.atomic
def _move(actor: Actor) -> None:
    organization_touch(actor.organization)


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

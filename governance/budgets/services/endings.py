"""Holds end: settled by their event or by the amount the caller names, voided, or expired. Each gives back exactly once.

What an authorization holds follows from its state alone: `held` and `settling` its `amounts`, the others nothing. A lease
is drawn down by the events that name it (see `leases`) and ends like the others, or when nothing of it is left. Every change
locks the authorization's row first and the periods' afterwards, so that however settle, event, expiry and void meet, one of
them finds the money held and the others find it gone. Spend is never written here: it is the sum of the events, and an
amount that a caller names is not one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from governance import sql
from governance.budgets.models import Authorization, Budget, BudgetPeriod
from governance.budgets.rules import Rules
from governance.budgets.services.charge import Spend
from governance.budgets.services.leases import released_by, released_sum, spends_draw
from governance.budgets.services.periods import periods_move
from governance.errors import Conflict, Invalid, NotFound
from governance.money import quantize
from governance.tenancy.access import Actor

ZERO = Decimal(0)
# More than any call costs, and small enough that ten million of them fit a balance.
LARGEST_HOLD = 1_000_000
# How long the money of a call that was settled by amount is kept for its event.
EVENT_AWAITED = timedelta(days=1)
# A hold is made before its call. How far the clock of whoever reports the call may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)
State = Authorization.State
HOLDING = (State.HELD, State.SETTLING)


def amount_checked(amount: Decimal, *, field: str = "amount") -> Decimal:
    """An amount that may be held, as it is stored. Raises Invalid."""
    if not (amount.is_finite() and 0 <= amount <= LARGEST_HOLD):
        raise Invalid(f"An amount lies between 0 and {LARGEST_HOLD:,}.", field=field)
    stored = quantize(amount)
    if amount and not stored:
        raise Invalid("This amount is too small to be held: at most 15 digits after the point count.", field=field)
    return stored


@transaction.atomic
def authorization_settle(*, actor: Actor, authorization_id: UUID, amount: Decimal, now: datetime | None = None) -> Authorization:
    """Notes what the call cost. That much, in place of the estimate, stays held until the call's event is counted or a day has passed.

    Never is more held than before beyond what hard budgets have left: the rest is noted as reported. Until the event comes
    another amount corrects the first; after it nothing moves. Raises NotFound, Invalid for an amount that cannot be, and
    Conflict for a hold that was given back, or for another amount than before once nothing is held.
    """
    amount, now = amount_checked(amount), now or timezone.now()
    found = _locked(actor, authorization_id)
    if found.state == State.VOIDED:
        raise Conflict("This authorization was voided: its call was said not to be made. Report the call as an event.", state=found.state)
    if found.reported_cost not in (None, amount) and found.state != State.SETTLING:
        raise Conflict("This authorization was settled with another amount.", state=found.state, reported_cost=found.reported_cost)
    if found.reported_cost == amount:
        return found
    found.reported_cost = amount
    if found.state == State.SETTLED:
        found.save(update_fields=["reported_cost"])
        return found
    before = _holding(found)
    in_money = _locked_in_money(found)
    # What is known of a lease's calls is spent already: the rest of what they cost is waited for.
    awaited = max(amount - (found.settled_cost or ZERO), ZERO) if found.is_lease else amount
    found.kept_amount = min(awaited, _bound(in_money, before))
    kept = {period.pk for period in in_money}
    found.amounts = [found.kept_amount if period in kept else before[period] for period in found.periods]
    if found.state != State.SETTLING:
        found.state, found.ended_at, found.expires_at = State.SETTLING, now, now + EVENT_AWAITED
    if found.is_lease and not awaited:
        found.state, found.amounts = State.SETTLED, [ZERO] * len(found.periods)
    found.save(update_fields=["state", "ended_at", "expires_at", "reported_cost", "kept_amount", "amounts"])
    _release(actor.organization.pk, {period: before[period] - after for period, after in zip(found.periods, found.amounts, strict=True)}, now)
    return found


def _holding(found: Authorization) -> dict[int, Decimal]:
    """What the authorization holds now, by period id."""
    amounts = found.amounts if found.state in HOLDING else [ZERO] * len(found.periods)
    return dict(zip(found.periods, amounts, strict=True))


def _locked_in_money(found: Authorization) -> list[BudgetPeriod]:
    """Takes the row locks of the authorization's periods, in id order, and returns those whose budgets count money."""
    rows = BudgetPeriod.objects.select_for_update(of=("self",), no_key=True).select_related("budget")
    locked = rows.filter(organization=found.organization_id, pk__in=found.periods).order_by("pk")
    return [period for period in locked if period.budget.measure == Budget.Measure.MONEY]


def _bound(periods: Sequence[BudgetPeriod], before: Mapping[int, Decimal]) -> Decimal:
    """What can be held in each of the periods: what was held `before`, and in addition what hard ones have left."""
    hard = [period for period in periods if period.is_hard]
    return min((before[period.pk] + max(ZERO if period.frozen_at else period.left, ZERO) for period in hard), default=Decimal(LARGEST_HOLD))


@transaction.atomic
def authorization_void(*, actor: Actor, authorization_id: UUID, now: datetime | None = None) -> Authorization:
    """Gives a hold back because the call will not be made, or what is left of a lease. Raises NotFound, and Conflict once it has ended otherwise."""
    now = now or timezone.now()
    found = _locked(actor, authorization_id)
    if found.state == State.VOIDED or (found.is_lease and found.state == State.SETTLED):
        return found
    if found.state != State.HELD:
        raise Conflict(f"This authorization is {found.state} already.", state=found.state)
    _end(found, State.SETTLED if found.is_lease and found.settled_cost is not None else State.VOIDED, now)
    return found


@transaction.atomic
def lease_end(*, actor: Actor, authorization_id: UUID, now: datetime | None = None) -> Authorization:
    """Ends a lease with its last call and gives back what is left of it. One that has ended stays as it is. Raises NotFound."""
    found = _locked(actor, authorization_id)
    if found.state in HOLDING:
        _end(found, State.SETTLED, now or timezone.now())
    return found


def _end(found: Authorization, state: State, now: datetime) -> None:
    """Gives back what a locked authorization holds."""
    released = _holding(found)
    found.state, found.ended_at = state, found.ended_at or now
    found.save(update_fields=["state", "ended_at"])
    _release(found.organization_id, released, now)


def _locked(actor: Actor, authorization_id: UUID) -> Authorization:
    found = Authorization.objects.select_for_update(no_key=True).filter(organization=actor.organization, pk=authorization_id).first()
    if found is None:
        raise NotFound("There is no such authorization here.")
    return found


def _release(organization_id: int, released: Mapping[int, Decimal], now: datetime) -> None:
    """Gives back to periods, by id; a negative amount is held in addition."""
    periods_move(organization_id=organization_id, spent={}, released={period: amount for period, amount in released.items() if amount}, now=now)


SETTLE = f"""
WITH asked AS (
    SELECT x.id, sum(x.cost) AS cost FROM {sql.unnest("x", {"id": "uuid", "cost": "numeric", "at": "timestamptz"})}
    JOIN budget_authorization a ON a.organization_id = %(organization)s AND a.id = x.id AND x.at >= a.created_at - %(skew)s
    GROUP BY x.id
), locked AS (
    SELECT a.id, k.cost, a.is_lease AND a.state IN ('held', 'settling') AS is_drawn,
        CASE WHEN a.state IN ('held', 'settling') AND NOT a.is_lease THEN a.amounts END AS released
    FROM budget_authorization a JOIN asked k ON k.id = a.id
    WHERE a.organization_id = %(organization)s AND (a.state <> 'settled' OR k.cost IS NOT NULL)
    ORDER BY a.id FOR NO KEY UPDATE OF a
)
UPDATE budget_authorization a SET
    state = CASE WHEN l.is_drawn THEN a.state ELSE 'settled' END, ended_at = CASE WHEN l.is_drawn THEN a.ended_at ELSE coalesce(a.ended_at, %(now)s) END,
    settled_cost = CASE WHEN l.cost IS NULL THEN a.settled_cost ELSE coalesce(a.settled_cost, 0) + l.cost END
FROM locked l WHERE a.organization_id = %(organization)s AND a.id = l.id
RETURNING a.id, l.released, a.periods, l.is_drawn
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True)
class AuthorizedCall:
    """A counted call that names an authorization: what it cost (None: unpriced), when it was made, and what budgets are charged for it."""

    authorization: UUID
    cost: Decimal | None
    occurred_at: datetime
    spend: Spend


def holds_settle(*, organization_id: int, rules: Rules, calls: Sequence[AuthorizedCall], now: datetime) -> dict[int, Decimal]:
    """Settles authorizations with what their calls cost, and draws leases down by it. Returns what to release, by period id.

    A call made before the authorization it names, by more than clocks differ, is not the one that was asked for and leaves it
    as it is. One that was voided or has expired releases nothing, and is settled from then on. Takes the authorizations' row
    locks, so it comes before any period is locked.
    """
    if not calls:
        return {}
    settled = sql.rows(SETTLE, {
        "organization": organization_id, "id": [call.authorization for call in calls], "cost": [call.cost for call in calls],
        "at": [call.occurred_at for call in calls], "skew": CLOCK_SKEW, "now": now,
    })
    released, leases = released_by(settled), {row.id for row in settled if row.is_drawn}
    if not leases:
        return released
    drawing = [(call.authorization, call.occurred_at, call.spend) for call in calls if call.authorization in leases]
    return released_sum(released, spends_draw(organization_id=organization_id, rules=rules, spends=drawing, skew=CLOCK_SKEW, now=now))


def holds_settle_counted(*, organization_id: int, rules: Rules, calls: Sequence[AuthorizedCall], now: datetime) -> None:
    """Settles the holds of calls whose events were counted before they named them: their money is in the spend already."""
    _release(organization_id, holds_settle(organization_id=organization_id, rules=rules, calls=calls, now=now), now)


EXPIRE = """
WITH due AS (
    SELECT id, amounts AS released,
        CASE state WHEN 'held' THEN 'expired' ELSE 'settled' END AS becomes
    FROM budget_authorization
    WHERE organization_id = %(organization)s AND state IN ('held', 'settling') AND expires_at <= %(now)s
    ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE budget_authorization a SET state = due.becomes, ended_at = coalesce(a.ended_at, %(now)s) FROM due
WHERE a.organization_id = %(organization)s AND a.id = due.id
RETURNING a.id, due.released, a.periods
"""


def holds_expire(*, now: datetime | None = None) -> int:
    """Gives back the holds whose time is over, organization by organization. Returns how many."""
    now = now or timezone.now()
    due = Authorization.objects.filter(Q(state__in=HOLDING), expires_at__lte=now).order_by("organization")
    count = 0
    for organization_id in due.values_list("organization", flat=True).distinct():
        while expired := holds_expire_some(organization_id=organization_id, now=now):
            count += expired
    return count


@transaction.atomic
def holds_expire_some(*, organization_id: int, now: datetime) -> int:
    """Gives back at most a thousand of an organization's holds whose time is over. Returns how many."""
    ended = sql.rows(EXPIRE, {"organization": organization_id, "now": now})
    _release(organization_id, released_by(ended), now)
    return len(ended)

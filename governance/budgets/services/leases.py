"""Leases: a hold that many calls draw on. Where a call's spend rises in a period, what the lease holds there falls by as much.

So spent and held together stay what they were as long as the lease covers its calls, in every period by itself and in its
budget's own measure. What a call costs beyond what is left of the lease passes, like any call that costs more than it held.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from governance import sql
from governance.budgets.rules import Rules
from governance.budgets.services.charge import Spend, period_totals
from governance.budgets.services.periods import KEY_COLUMNS, SAME_KEY, key_arrays

ZERO = Decimal(0)
# The leases' rows are locked by now.
DRAW = f"""
WITH drawn AS (
    SELECT x.lease AS id, p.id AS period_id, sum(x.amount) AS amount
    FROM {sql.unnest("x", {"lease": "uuid", "at": "timestamptz", "amount": "numeric", **KEY_COLUMNS})}
    JOIN budget_authorization a ON a.organization_id = %(organization)s AND a.id = x.lease AND x.at >= a.created_at - %(skew)s
    CROSS JOIN LATERAL (SELECT p.id FROM budget_period p WHERE p.organization_id = %(organization)s AND {SAME_KEY} OFFSET 0) p
    GROUP BY x.lease, p.id
), rest AS (
    SELECT a.id, array_agg(least(u.amount, coalesce(d.amount, 0)) ORDER BY u.place) AS released,
        array_agg(u.amount - least(u.amount, coalesce(d.amount, 0)) ORDER BY u.place) AS amounts
    FROM budget_authorization a CROSS JOIN LATERAL unnest(a.periods, a.amounts) WITH ORDINALITY AS u(period_id, amount, place)
    LEFT JOIN drawn d ON d.id = a.id AND d.period_id = u.period_id
    WHERE a.organization_id = %(organization)s AND a.id = ANY(%(leases)s::uuid[])
    GROUP BY a.id
)
UPDATE budget_authorization a SET amounts = r.amounts,
    state = CASE WHEN 0 = ALL(r.amounts) THEN 'settled' ELSE a.state END,
    ended_at = CASE WHEN 0 = ALL(r.amounts) THEN coalesce(a.ended_at, %(now)s) ELSE a.ended_at END
FROM rest r WHERE a.organization_id = %(organization)s AND a.id = r.id
RETURNING a.id, r.released, a.periods
"""  # noqa: S608 - built from constants


def spends_draw(
    *, organization_id: int, rules: Rules, spends: Sequence[tuple[UUID, datetime, Spend]], skew: timedelta, now: datetime
) -> dict[int, Decimal]:
    """Takes off leases what calls are charged: (lease, when the call was made, its spend). Returns what to release, by period id.

    A call made more than `skew` before its lease draws nothing. A lease of which nothing is left is settled.
    """
    drawn = [
        (lease, at, key, amount) for lease, at, spend in spends for (key, _), (amount, _) in period_totals(rules, [spend]).items()
    ]
    return released_by(sql.rows(DRAW, {
        "organization": organization_id, "skew": skew, "now": now, "leases": sorted({lease for lease, _, _ in spends}),
        "lease": [lease for lease, _, _, _ in drawn], "at": [at for _, at, _, _ in drawn], "amount": [amount for *_, amount in drawn],
        **key_arrays([key for _, _, key, _ in drawn]),
    }))


def released_by(ended: Sequence[Any]) -> dict[int, Decimal]:
    """What holds give back, by period id. The rows have `periods` and, for each of them, `released` (None: nothing)."""
    released: dict[int, Decimal] = {}
    for row in ended:
        for period_id, amount in zip(row.periods, row.released or (), strict=False):
            released[period_id] = released.get(period_id, ZERO) + amount
    return released


def released_sum(one: Mapping[int, Decimal], other: Mapping[int, Decimal]) -> dict[int, Decimal]:
    """What both give back."""
    return {period_id: one.get(period_id, ZERO) + other.get(period_id, ZERO) for period_id in one.keys() | other.keys()}

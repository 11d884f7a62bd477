"""Period rows: made when missing, then locked in id order and moved. Every writer of balances goes through here.

The protocol that keeps writers free of deadlock has two phases. First the periods that are missing are inserted, in
the order of their natural keys and without touching those that are there. Then all periods of the change are locked in
id order by one statement, which also moves them. A writer waiting in the first phase holds no lock of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from governance import sql
from governance.budgets.rules import PeriodKey, Rules

KEY_COLUMNS = {"budget_id": "bigint", "starts_at": "timestamptz", "session_key": "text"}

# Periods are looked up one by one by their whole key: OFFSET 0 keeps a plan that was made while the table was young, and is kept,
# from reading all of an organization's periods instead.
ENSURE = f"""
INSERT INTO budget_period (organization_id, budget_id, starts_at, ends_at, session_key, limit_amount, is_hard,
                           topup, spent, held, calls, created_at)
SELECT %(organization)s, x.budget_id, x.starts_at, x.ends_at, x.session_key, x.limit_amount, x.is_hard, 0, 0, 0, 0, now()
FROM {sql.unnest("x", {**KEY_COLUMNS, "ends_at": "timestamptz", "limit_amount": "numeric", "is_hard": "boolean"})}
WHERE NOT EXISTS (
    SELECT FROM budget_period p WHERE p.organization_id = %(organization)s
    AND p.budget_id = x.budget_id AND p.starts_at = x.starts_at AND p.session_key = x.session_key OFFSET 0)
AND (%(version)s::bigint IS NULL OR %(version)s::bigint = (SELECT config_version FROM organization WHERE id = %(organization)s))
ORDER BY x.budget_id, x.starts_at, x.session_key
ON CONFLICT (organization_id, budget_id, starts_at, session_key) DO NOTHING
"""  # noqa: S608 - built from constants

MOVE = f"""
WITH delta AS (
    SELECT p.id, x.spent, x.calls, 0::numeric AS released
    FROM {sql.unnest("x", {**KEY_COLUMNS, "spent": "numeric", "calls": "bigint"})}
    CROSS JOIN LATERAL (
        SELECT p.id FROM budget_period p WHERE p.organization_id = %(organization)s
        AND p.budget_id = x.budget_id AND p.starts_at = x.starts_at AND p.session_key = x.session_key OFFSET 0) p
    UNION ALL
    SELECT r.period_id, 0, 0, r.released FROM {sql.unnest("r", {"period_id": "bigint", "released": "numeric"})}
), total AS (
    SELECT id, sum(spent) AS spent, sum(calls)::bigint AS calls, sum(released) AS released FROM delta GROUP BY id
), locked AS (
    SELECT p.id, t.spent, t.calls, t.released, p.spent AS spent_before, p.frozen_at IS NOT NULL AS was_frozen
    FROM budget_period p JOIN total t ON t.id = p.id
    WHERE p.organization_id = %(organization)s
    ORDER BY p.id FOR NO KEY UPDATE OF p
)
UPDATE budget_period p SET
    spent = p.spent + l.spent,
    held = p.held - l.released,
    calls = p.calls + l.calls,
    frozen_at = CASE
        WHEN p.frozen_at IS NULL AND p.is_hard AND l.calls > 0 AND (p.ends_at IS NULL OR p.ends_at > %(now)s)
            AND p.spent + l.spent >= p.limit_amount + p.topup THEN %(now)s
        ELSE p.frozen_at END
FROM locked l WHERE p.id = l.id
RETURNING p.id, p.budget_id, p.session_key, p.starts_at, p.ends_at, p.spent, p.limit_amount, p.topup,
    l.spent_before, p.frozen_at IS NOT NULL AND NOT l.was_frozen AS froze
"""  # noqa: S608 - built from constants


def periods_ensure(*, organization_id: int, rules: Rules, keys: Iterable[PeriodKey], version: int | None = None) -> None:
    """Makes the rows of these periods that are not there yet, with the limits their budgets have now.

    With `version`, only as long as that is the organization's configuration: for rules that were not compared with it yet.
    """
    ordered = sorted(set(keys), key=lambda key: (key.budget_id, key.starts_at, key.session_key))
    if not ordered:
        return
    budgets = [rules.by_id[key.budget_id] for key in ordered]
    sql.execute(ENSURE, {
        "organization": organization_id,
        **key_arrays(ordered),
        "ends_at": [key.ends_at for key in ordered],
        "limit_amount": [rule.limit_amount for rule in budgets],
        "is_hard": [rule.is_hard for rule in budgets],
        "version": version,
    })


def periods_move(
    *, organization_id: int, spent: Mapping[PeriodKey, tuple[Decimal, int]], released: Mapping[int, Decimal], now: datetime
) -> list[Any]:
    """Adds spend and calls to periods (by key) and takes holds off them (by id); freezes the hard ones that reached their limit.

    Returns a row for each period moved: id, budget_id, session_key, starts_at, ends_at, spent, limit_amount, topup,
    spent_before, froze.
    """
    moving = periods_move_send(organization_id=organization_id, spent=spent, released=released, now=now)
    return [] if moving is None else moving.fetchall()


def periods_move_send(
    *, organization_id: int, spent: Mapping[PeriodKey, tuple[Decimal, int]], released: Mapping[int, Decimal], now: datetime
) -> psycopg.Cursor[Any] | None:
    """As `periods_move`, without waiting for the rows: for a pipeline. None when there is nothing to move."""
    if not spent and not released:
        return None
    return sql.cursor().execute(MOVE, {
        "organization": organization_id,
        "now": now,
        **key_arrays(list(spent)),
        "spent": [amount for amount, _ in spent.values()],
        "calls": [calls for _, calls in spent.values()],
        "period_id": list(released),
        "released": list(released.values()),
    })


def key_arrays(keys: Sequence[PeriodKey]) -> dict[str, list[Any]]:
    """The natural keys as the arrays that the statements unnest."""
    return {
        "budget_id": [key.budget_id for key in keys],
        "starts_at": [key.starts_at for key in keys],
        "session_key": [key.session_key for key in keys],
    }

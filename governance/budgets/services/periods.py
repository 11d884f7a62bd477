"""Period rows: made when missing, then locked in id order and moved. Every writer of balances goes through here.

The protocol that keeps writers free of deadlock has two phases. First the periods that are missing are inserted, in
the order of their natural keys and without touching those that are there. Then all periods of the change are locked in
id order by one statement, which also moves them. A writer waiting in the first phase holds no lock of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance import sql
from governance.arrays import array_text
from governance.budgets.models import BudgetPeriod
from governance.budgets.quoted import limit_of, terms_for
from governance.budgets.rules import PeriodKey, Rules

KEY_COLUMNS = {"budget_id": "bigint", "starts_at": "timestamptz", "session_key": "text", "task_key": "text"}
SAME_KEY = " AND ".join(f"p.{column} = x.{column}" for column in KEY_COLUMNS)
# What is added to one period; of rolling ones in one quarter hour (`slice_at`).
Spent = Mapping[tuple[PeriodKey, datetime | None], tuple[Decimal, int]]

# Periods are looked up one by one by their whole key: OFFSET 0 keeps a plan that was made while the table was young, and is kept,
# from reading all of an organization's periods instead.
ENSURE_COLUMNS = {
    **KEY_COLUMNS, "ends_at": "timestamptz", "slides_from": "timestamptz", "limit_amount": "numeric", "is_hard": "boolean", "freezes_at_limit": "boolean",
    "quoted_limit": "numeric", "exchange_rate": "numeric",
}
def _ensuring(condition: str = "") -> str:
    return f"""
INSERT INTO budget_period (organization_id, {", ".join(ENSURE_COLUMNS)}, topup, spent, held, calls, created_at)
SELECT %(organization)s, {", ".join(f"x.{column}" for column in ENSURE_COLUMNS)}, 0, 0, 0, 0, now()
FROM {sql.unnest("x", ENSURE_COLUMNS)}
WHERE NOT EXISTS (SELECT FROM budget_period p WHERE p.organization_id = %(organization)s AND {SAME_KEY} OFFSET 0)
AND (%(version)s::bigint IS NULL OR %(version)s::bigint = (SELECT config_version FROM organization WHERE id = %(organization)s))
{condition}
ORDER BY x.budget_id, x.starts_at, x.session_key, x.task_key
ON CONFLICT (organization_id, budget_id, starts_at, session_key, task_key) DO NOTHING
"""  # noqa: S608 - built from constants


ENSURE = _ensuring()

# Set, for the length of a transaction, by a statement that stores nothing but the usual case: to 'true' where it has stored.
STORED_AT_ONCE = "weighhouse.stored_at_once"
IS_STORED = f"current_setting('{STORED_AT_ONCE}', true) = 'true'"
ENSURE_AT_ONCE = _ensuring(f"AND {IS_STORED}")
AT_ONCE_COLUMNS = {**KEY_COLUMNS, "spent": "numeric", "calls": "bigint", "percents": "text"}
# Whether adding to a period neither freezes it nor passes one of its budget's thresholds.
IS_QUIET = """NOT (
    p.frozen_at IS NULL AND p.is_hard AND p.freezes_at_limit AND (x.calls > 0 OR x.spent > 0) AND (p.ends_at IS NULL OR p.ends_at > %(now)s)
    AND p.spent + x.spent >= p.limit_amount + p.topup
) AND NOT EXISTS (
    SELECT FROM unnest(x.percents::int[]) AS threshold (percent)
    WHERE p.spent * 100 < (p.limit_amount + p.topup) * percent AND (p.limit_amount + p.topup) * percent <= (p.spent + x.spent) * 100
)"""
# As MOVE, where nothing else has to be written for it. Fails, so that the transaction is undone, where it would be, or a period is missing.
MOVE_AT_ONCE = f"""
WITH locked AS (
    SELECT p.id, x.spent, x.calls, {IS_QUIET} AS is_quiet
    FROM {sql.unnest("x", AT_ONCE_COLUMNS)}
    JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
    WHERE {IS_STORED}
    ORDER BY p.id FOR NO KEY UPDATE OF p
), moved AS (
    UPDATE budget_period p SET spent = p.spent + l.spent, calls = p.calls + l.calls
    FROM locked l WHERE p.organization_id = %(organization)s AND p.id = l.id
)
SELECT (CASE WHEN {IS_STORED} AND (SELECT count(*) FROM locked WHERE is_quiet) <> cardinality(%(budget_id)s::bigint[])
    THEN 'a budget has to be looked at first' ELSE 'true' END)::boolean
"""  # noqa: S608 - built from constants

COUNTED = """, counted AS (
    SELECT l.id, l.spent_before, l.was_frozen, sum(t.released) AS released,
        coalesce(sum(t.spent) FILTER (WHERE t.slice_at IS NULL OR t.slice_at >= l.slides_from), 0) AS spent,
        coalesce(sum(t.calls) FILTER (WHERE t.slice_at IS NULL OR t.slice_at >= l.slides_from), 0)::bigint AS calls
    FROM locked l JOIN total t ON t.id = l.id GROUP BY l.id, l.spent_before, l.was_frozen
)"""


def _moving(*, is_sliced: bool) -> str:
    """Adds to periods and takes holds off them. Sliced: where rolling ones are among them, which no longer count what lies behind their window."""
    columns = {**KEY_COLUMNS, "spent": "numeric", "calls": "bigint"} | ({"slice_at": "timestamptz"} if is_sliced else {})
    return f"""
WITH delta AS (
    SELECT p.id, x.spent, x.calls, 0::numeric AS released{", x.slice_at" if is_sliced else ""}
    FROM {sql.unnest("x", columns)}
    CROSS JOIN LATERAL (SELECT p.id FROM budget_period p WHERE p.organization_id = %(organization)s AND {SAME_KEY} OFFSET 0) p
    UNION ALL
    SELECT r.period_id, 0, 0, r.released{", NULL" if is_sliced else ""} FROM {sql.unnest("r", {"period_id": "bigint", "released": "numeric"})}
), total AS (
    SELECT id, sum(spent) AS spent, sum(calls)::bigint AS calls, sum(released) AS released{", slice_at" if is_sliced else ""}
    FROM delta GROUP BY id{", slice_at" if is_sliced else ""}
), locked AS (
    SELECT p.id, {"p.slides_from" if is_sliced else "t.spent, t.calls, t.released"}, p.spent AS spent_before, p.frozen_at IS NOT NULL AS was_frozen
    FROM budget_period p {"WHERE p.id IN (SELECT id FROM total) AND" if is_sliced else "JOIN total t ON t.id = p.id WHERE"} p.organization_id = %(organization)s
    ORDER BY p.id FOR NO KEY UPDATE OF p
){COUNTED if is_sliced else ""}
UPDATE budget_period p SET
    spent = p.spent + l.spent,
    held = p.held - l.released,
    calls = p.calls + l.calls,
    frozen_at = CASE
        WHEN p.frozen_at IS NULL AND p.is_hard AND p.freezes_at_limit AND (l.calls > 0 OR l.spent > 0) AND (p.ends_at IS NULL OR p.ends_at > %(now)s)
            AND p.spent + l.spent >= p.limit_amount + p.topup THEN %(now)s
        ELSE p.frozen_at END
FROM {"counted" if is_sliced else "locked"} l WHERE p.organization_id = %(organization)s AND p.id = l.id
RETURNING p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.spent, p.limit_amount, p.topup,
    l.spent_before, p.frozen_at IS NOT NULL AND NOT l.was_frozen AS froze
"""  # noqa: S608 - built from constants


MOVE = _moving(is_sliced=False)
MOVE_SLICED = _moving(is_sliced=True)
# After MOVE_SLICED, which holds the periods' locks.
ADD_SLICES = f"""
INSERT INTO budget_slice AS s (organization_id, period_id, slice_at, spent, calls)
SELECT %(organization)s, p.id, x.slice_at, sum(x.spent), sum(x.calls)
FROM {sql.unnest("x", {**KEY_COLUMNS, "spent": "numeric", "calls": "bigint", "slice_at": "timestamptz"})}
JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
WHERE x.slice_at >= p.slides_from
GROUP BY p.id, x.slice_at
ON CONFLICT (organization_id, period_id, slice_at) DO UPDATE SET spent = s.spent + excluded.spent, calls = s.calls + excluded.calls
"""  # noqa: S608 - built from constants
# Rolling periods whose window has moved on: what lies behind it is taken off.
SLIDE = """
WITH locked AS (
    SELECT p.id FROM budget_period p
    WHERE p.organization_id = %(organization)s AND p.id = %(period)s AND p.slides_from < %(slides_from)s
    FOR NO KEY UPDATE OF p
), gone AS (
    DELETE FROM budget_slice s USING locked l
    WHERE s.organization_id = %(organization)s AND s.period_id = l.id AND s.slice_at < %(slides_from)s
    RETURNING s.spent, s.calls
)
UPDATE budget_period p SET slides_from = %(slides_from)s,
    spent = p.spent - coalesce((SELECT sum(spent) FROM gone), 0), calls = p.calls - coalesce((SELECT sum(calls) FROM gone), 0)
FROM locked l WHERE p.organization_id = %(organization)s AND p.id = l.id
RETURNING p.id, p.frozen_at
"""

REMEMBERED_PERIODS = 50_000
_seen: set[tuple[int, PeriodKey]] = set()


def periods_ensure(
    *, organization_id: int, rules: Rules, keys: Iterable[PeriodKey], now: datetime, version: int | None = None, is_at_once: bool = False
) -> None:
    """Makes the rows of these periods that are not there yet, with the limits their budgets have now.

    With `version`, only as long as that is the organization's configuration: for rules that were not compared with it yet. At once: only where
    the transaction has set STORED_AT_ONCE.
    """
    ordered = sorted(set(keys), key=lambda key: (key.budget_id, key.starts_at, key.session_key, key.task_key))
    if not ordered:
        return
    budgets = [rules.by_id[key.budget_id] for key in ordered]
    limits = [
        limit_of(rule, terms_for(rule, rules.directory), starts_at=key.starts_at, ends_at=key.ends_at) for key, rule in zip(ordered, budgets, strict=True)
    ]
    sql.send(ENSURE_AT_ONCE if is_at_once else ENSURE, {
        "organization": organization_id,
        **key_arrays(ordered),
        "ends_at": [key.ends_at for key in ordered],
        "slides_from": [rule.slides_from(now) for rule in budgets],
        "limit_amount": [limit.amount for limit in limits],
        "quoted_limit": [limit.quoted for limit in limits],
        "exchange_rate": [limit.exchange_rate for limit in limits],
        "is_hard": [rule.is_hard for rule in budgets],
        "freezes_at_limit": [rule.freezes_at_limit for rule in budgets],
        "version": version,
    })


def are_seen(organization_id: int, keys: Iterable[PeriodKey]) -> bool:
    """Whether each of these periods was found in the tables before, by this process."""
    return all((organization_id, key) in _seen for key in keys)


def note_seen(organization_id: int, keys: Iterable[PeriodKey]) -> None:
    """Remembers that these periods are there. Whoever leaves `periods_ensure` out for it has to see for itself that they still are."""
    if len(_seen) >= REMEMBERED_PERIODS:
        _seen.clear()
    _seen.update((organization_id, key) for key in keys)


def periods_move(
    *, organization_id: int, spent: Spent, released: Mapping[int, Decimal], now: datetime
) -> list[Any]:
    """Adds spend and calls to periods (by key) and takes holds off them (by id); freezes the hard ones that reached their limit.

    Returns a row for each period moved: id, budget_id, session_key, task_key, starts_at, ends_at, spent, limit_amount,
    topup, spent_before, froze.
    """
    moving = periods_move_send(organization_id=organization_id, spent=spent, released=released, now=now)
    return [] if moving is None else moving.fetchall()


def periods_move_send(
    *, organization_id: int, spent: Spent, released: Mapping[int, Decimal], now: datetime
) -> sql.Answer | None:
    """As `periods_move`, without waiting for the rows: for a pipeline. None when there is nothing to move."""
    if not spent and not released:
        return None
    parameters = _spent_parameters(organization_id, spent, now=now) | {"period_id": list(released), "released": list(released.values())}
    slices = [slice_at for _, slice_at in spent]
    if not any(slices):
        return sql.send(MOVE, parameters)
    parameters["slice_at"] = slices
    moving = sql.send(MOVE_SLICED, parameters)
    sql.send(ADD_SLICES, parameters)
    return moving


def at_once_parameters(*, organization_id: int, rules: Rules, spent: Spent, now: datetime) -> dict[str, Any]:
    """What MOVE_AT_ONCE is told. Of rolling budgets they know nothing."""
    percents = [array_text(rules.by_id[key.budget_id].thresholds) for key, _ in spent]
    return _spent_parameters(organization_id, spent, now=now) | {"percents": percents}


def periods_move_at_once(parameters: Mapping[str, Any], *, rules: Rules, spent: Spent, now: datetime) -> None:
    """Sends what adds to periods, by `at_once_parameters`, in the transaction that stores only the usual case: for a pipeline."""
    if not spent:
        return
    organization_id, keys = parameters["organization"], [key for key, _ in spent]
    if not are_seen(organization_id, keys):
        periods_ensure(organization_id=organization_id, rules=rules, keys=keys, now=now, is_at_once=True)
    sql.send(MOVE_AT_ONCE, parameters)


def _spent_parameters(organization_id: int, spent: Spent, *, now: datetime) -> dict[str, Any]:
    return {
        "organization": organization_id,
        "now": now,
        **key_arrays([key for key, _ in spent]),
        "spent": [amount for amount, _ in spent.values()],
        "calls": [calls for _, calls in spent.values()],
    }


def key_arrays(keys: Sequence[PeriodKey]) -> dict[str, list[Any]]:
    """The natural keys as the arrays that the statements unnest."""
    return {
        "budget_id": [key.budget_id for key in keys],
        "starts_at": [key.starts_at for key in keys],
        "session_key": [key.session_key for key in keys],
        "task_key": [key.task_key for key in keys],
    }


def periods_locked(*, organization_id: int, ids: Iterable[int]) -> dict[int, BudgetPeriod]:
    """These periods by id, with their budgets, their rows locked in id order. Those of other organizations are left out."""
    rows = BudgetPeriod.objects.select_for_update(of=("self",), no_key=True).select_related("budget")
    return {period.pk: period for period in rows.filter(organization=organization_id, pk__in=set(ids)).order_by("pk")}

"""Counts the calls that were refused: a row for each, written after the refusal was decided, and added up by the hour later."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection

from governance import sql
from governance.errors import PaymentRequired

KEPT = timedelta(days=366)
FOLDED_AT_ONCE = 20_000
# A count that a crash of the server loses harms nobody, so that nobody waits for the disk: in a transaction of its own only.
NOTE = """
WITH unhurried AS (SELECT CASE WHEN %(is_alone)s::boolean THEN set_config('synchronous_commit', 'off', true) END)
INSERT INTO budget_refusal (organization_id, period_id, freeze_id, session_key, calls, first_at, last_at)
SELECT %(organization)s, x.period_id, x.freeze_id, x.session_key, count(*), %(now)s::timestamptz, %(now)s::timestamptz
FROM unhurried, unnest(%(periods)s::bigint[], %(freezes)s::bigint[], %(sessions)s::text[]) AS x(period_id, freeze_id, session_key)
GROUP BY x.period_id, x.freeze_id, x.session_key
"""
FOLD = """
WITH single AS (
    SELECT id FROM budget_refusal WHERE organization_id = %(organization)s AND hour IS NULL ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM budget_refusal r USING single s WHERE r.organization_id = %(organization)s AND r.id = s.id RETURNING r.*
), folded AS (
    INSERT INTO budget_refusal (organization_id, period_id, freeze_id, session_key, calls, first_at, last_at, hour)
    SELECT organization_id, period_id, freeze_id, session_key, sum(calls), min(first_at), max(last_at), date_trunc('hour', first_at, 'UTC')
    FROM gone GROUP BY organization_id, period_id, freeze_id, session_key, date_trunc('hour', first_at, 'UTC') ORDER BY 2, 3, 4, 8
    ON CONFLICT (organization_id, period_id, freeze_id, session_key, hour) WHERE hour IS NOT NULL
    DO UPDATE SET calls = budget_refusal.calls + excluded.calls, first_at = least(budget_refusal.first_at, excluded.first_at),
        last_at = greatest(budget_refusal.last_at, excluded.last_at)
)
SELECT count(*) AS rows FROM gone
"""


def refusals_note(*, organization_id: int, refusals: Sequence[PaymentRequired], now: datetime) -> None:
    """Counts refused calls by what stood against them: the binding budget's period, or a freeze. One statement, after their transaction."""
    if not refusals:
        return
    told = [refusal.extra for refusal in refusals]
    sql.execute(NOTE, {
        "organization": organization_id, "now": now, "sessions": [str(facts.get("session") or "") for facts in told],
        "periods": [(facts.get("budget") or {}).get("period") or (facts.get("frozen_by") or {}).get("period") for facts in told],
        "freezes": [facts.get("freeze") for facts in told], "is_alone": not connection.in_atomic_block,
    })  # fmt: skip


def refusals_fold(*, organization_id: int, now: datetime) -> int:
    """Adds single rows up by the hour, and lets go of what is older than a year. Returns how many were added up; may run beside itself."""
    found = sql.rows(FOLD, {"organization": organization_id, "most": FOLDED_AT_ONCE})[0].rows
    sql.execute("DELETE FROM budget_refusal WHERE organization_id = %s AND hour < %s", [organization_id, now - KEPT])
    return int(found)

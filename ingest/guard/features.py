"""Reads what rules look at from stored events and sessions: set-based SQL, one organization at a time, bounded in rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from governance import sql
from ingest.guard.parameters import Burn, Errors, FanOut, Growth, OffHours, Parameters, Repeat
from ingest.guard.rules import CallSeen, ChildSeen

ZERO = Decimal(0)
# The most calls of one session that are looked at in one go, the latest first.
MOST_CALLS = 4_000
TEAM_DAYS = 14
MOST_TEAM_SESSIONS = 5_000
# A circle of parents ends here.
MOST_GENERATIONS = 32

SESSIONS = """
SELECT key, parent_key, team_id, project_id, member_id, first_at, last_at, calls, errors, cost + notional_cost AS cost, context_tokens_max
FROM session WHERE organization_id = %(organization)s AND last_at >= %(since)s AND first_at < %(until)s
ORDER BY last_at DESC, key LIMIT %(limit)s
"""
NAMED_SESSIONS = """
SELECT key, parent_key, team_id, project_id, member_id, first_at, last_at, calls, errors, cost + notional_cost AS cost, context_tokens_max
FROM session WHERE organization_id = %(organization)s AND key = ANY(%(keys)s::text[]) ORDER BY key
"""

COLUMNS = """
e.session, e.occurred_at, e.model,
CASE WHEN e.input_tokens IS NULL AND e.cache_read_tokens IS NULL AND e.cache_write_5m_tokens IS NULL AND e.cache_write_1h_tokens IS NULL THEN NULL
    ELSE coalesce(e.input_tokens, 0) + coalesce(e.cache_read_tokens, 0) + coalesce(e.cache_write_5m_tokens, 0) + coalesce(e.cache_write_1h_tokens, 0)
END AS context_tokens,
coalesce(e.cache_read_tokens, 0) AS cache_read_tokens, e.output_tokens, coalesce(e.cost, 0) AS cost, e.status <> 'ok' AS is_error,
e.member_id IS NOT NULL AS has_member, e.project_id, e.tags
"""
CALLS = f"""
SELECT e.* FROM unnest(%(keys)s::text[]) AS k (key) CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM usage_event e
    WHERE e.organization_id = %(organization)s AND e.session = k.key AND e.session <> '' AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s
    ORDER BY e.occurred_at DESC LIMIT %(limit)s
) AS e
"""  # noqa: S608

# What a session costs in a window on the average of its length: the pace that sessions of a team keep.
TEAM_PAST = """
SELECT (cost + notional_cost) / greatest(extract(epoch FROM last_at - first_at) / (60 * %(minutes)s), 1) AS amount
FROM session
WHERE organization_id = %(organization)s AND team_id IS NOT DISTINCT FROM %(team)s AND last_at >= %(since)s AND last_at < %(until)s
    AND cost + notional_cost > 0
ORDER BY last_at DESC LIMIT %(limit)s
"""

# Up from sessions that began lately to what started them, then down to all that is below: (root, began, generations).
TREES = """
WITH RECURSIVE up AS (
    SELECT key, parent_key, 0 AS step FROM session
    WHERE organization_id = %(organization)s AND parent_key <> '' AND last_at >= %(since)s AND first_at >= %(since)s AND first_at < %(until)s
    UNION
    SELECT s.key, s.parent_key, up.step + 1 FROM up JOIN session s ON s.organization_id = %(organization)s AND s.key = up.parent_key
    WHERE up.parent_key <> '' AND up.step < %(generations)s
), root AS (
    SELECT DISTINCT up.key FROM up WHERE up.parent_key = ''
    UNION
    SELECT DISTINCT up.parent_key FROM up WHERE up.parent_key <> ''
        AND NOT EXISTS (SELECT 1 FROM session s WHERE s.organization_id = %(organization)s AND s.key = up.parent_key)
), down AS (
    SELECT root.key AS root, root.key, NULL::timestamptz AS first_at, 0 AS depth FROM root
    UNION
    SELECT down.root, s.key, s.first_at, down.depth + 1 FROM down
    JOIN session s ON s.organization_id = %(organization)s AND s.parent_key = down.key AND s.parent_key <> ''
    WHERE down.depth < %(generations)s
)
SELECT root, key, first_at, depth FROM down WHERE depth > 0 AND first_at < %(until)s ORDER BY first_at DESC LIMIT %(limit)s
"""
MOST_TREE_SESSIONS = 50_000

COST_AFTER = """
SELECT coalesce(sum(cost), 0) AS amount FROM usage_event
WHERE organization_id = %(organization)s AND session = ANY(%(keys)s::text[]) AND session <> '' AND occurred_at > %(after)s AND occurred_at < %(until)s
"""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session by its sums."""

    key: str
    parent_key: str
    team_id: int | None
    project_id: int | None
    member_id: int | None
    first_at: datetime
    last_at: datetime
    calls: int
    errors: int
    cost: Decimal
    context_tokens_max: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything below one session."""

    root: str
    children: Sequence[ChildSeen]
    keys: Sequence[str]


def sessions_in(organization_id: int, *, since: datetime, until: datetime, limit: int = 20_000) -> list[SessionRow]:
    """The sessions with a call in the window, latest first."""
    rows = sql.rows(SESSIONS, {"organization": organization_id, "since": since, "until": until, "limit": limit})
    return [SessionRow(*row) for row in rows]


def sessions_named(organization_id: int, keys: Sequence[str]) -> list[SessionRow]:
    """The sessions by these keys that are there."""
    return [SessionRow(*row) for row in sql.rows(NAMED_SESSIONS, {"organization": organization_id, "keys": list(keys)})] if keys else []


def calls_of(organization_id: int, keys: Sequence[str], *, since: datetime, until: datetime, with_tags: bool = False) -> dict[str, list[CallSeen]]:
    """The calls of the sessions in [since, until), the latest MOST_CALLS of each, in no order."""
    found: dict[str, list[CallSeen]] = {key: [] for key in keys}
    values = {"organization": organization_id, "keys": list(keys), "since": since, "until": until, "limit": MOST_CALLS}
    for row in sql.rows(CALLS, values) if keys else ():
        found[row.session].append(CallSeen._make((*row[1:10], _tags(row.tags) if with_tags and row.tags else frozenset())))
    return found


def _tags(stored: Mapping[str, str]) -> frozenset[str]:
    """An event's tags as rules name them."""
    return frozenset(f"{name}={value}" for name, value in stored.items())


def team_past(organization_id: int, team_id: int | None, *, until: datetime, window_minutes: int) -> list[Decimal]:
    """What sessions of a team (None: of none) that last called in the fortnight before cost in a window of that length."""
    values: dict[str, Any] = {
        "organization": organization_id, "team": team_id, "since": until - timedelta(days=TEAM_DAYS), "until": until, "minutes": window_minutes,
        "limit": MOST_TEAM_SESSIONS,
    }  # fmt: skip
    return [Decimal(row.amount) for row in sql.rows(TEAM_PAST, values)]


def trees_in(organization_id: int, *, since: datetime, until: datetime) -> list[Tree]:
    """The sessions below which one began in the window, each with all that is below it."""
    values = {"organization": organization_id, "since": since, "until": until, "generations": MOST_GENERATIONS, "limit": MOST_TREE_SESSIONS}
    children: dict[str, list[ChildSeen]] = {}
    keys: dict[str, list[str]] = {}
    for row in sql.rows(TREES, values):
        children.setdefault(row.root, []).append(ChildSeen(row.first_at, row.depth))
        keys.setdefault(row.root, []).append(row.key)
    return [Tree(root, children[root], keys[root]) for root in sorted(children)]


def cost_after(organization_id: int, keys: Sequence[str], *, after: datetime, until: datetime) -> Decimal:
    """What the sessions' calls after the instant cost."""
    (row,) = sql.rows(COST_AFTER, {"organization": organization_id, "keys": list(keys), "after": after, "until": until})
    return Decimal(row.amount)


def could_hold(parameters: Parameters, session: SessionRow) -> bool:
    """Whether the session's sums allow that the rule holds: what cannot is not read."""
    match parameters:
        case Burn():
            return session.cost >= parameters.minimum_amount
        case Repeat():
            return session.calls >= parameters.calls and session.cost >= parameters.minimum_amount and session.context_tokens_max >= parameters.tokens
        case Growth():
            least = min(parameters.tokens, parameters.growing_tokens)
            return session.calls >= parameters.calls and session.cost >= parameters.minimum_amount and session.context_tokens_max >= least
        case Errors():
            return session.errors >= parameters.errors
        case OffHours():
            return session.calls >= parameters.calls and session.cost >= parameters.minimum_amount
        case FanOut():
            return True


def lookback(parameters: Parameters) -> timedelta:
    """How far back calls matter to the rule."""
    return timedelta(minutes=parameters.minutes)


def in_parts(rows: Sequence[SessionRow], most_calls: int = 20_000) -> Iterator[list[SessionRow]]:
    """The sessions in runs of so many calls, so that no run fills the memory."""
    part: list[SessionRow] = []
    size = 0
    for row in rows:
        calls = min(row.calls, MOST_CALLS)
        if part and size + calls > most_calls:
            yield part
            part, size = [], 0
        part.append(row)
        size += calls
    if part:
        yield part


def by_key(rows: Sequence[SessionRow]) -> Mapping[str, SessionRow]:
    return {row.key: row for row in rows}

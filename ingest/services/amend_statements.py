"""The SQL of changes to stored events, built once from the lists of columns, and the rows it is given."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from governance import sql
from governance.budgets.services import CLOCK_SKEW
from ingest.services.statements import EVENT_COLUMNS
from ingest.verify import CONTEXT

# What an event was stored as stays: when, by which door and under which identity.
FIXED = ("organization_id", "occurred_at", "id", "received_at", "source", "external_id", "request_id", "counted_at")
AMENDABLE = {name: kind for name, kind in EVENT_COLUMNS.items() if name not in FIXED}
# But an event whose first report is taken back becomes what the next one stored it as.
MOVABLE = {name: EVENT_COLUMNS[name] for name in ("occurred_at", "id", "received_at", "source", "external_id", "request_id")}
# What the sums look at.
COUNTED = (
    "occurred_at", "id", "api_key_id", "provider", "model", "maker", "tier", "model_reported", "harness", "gateway", "team_id", "project_id", "member_id",
    "team_label", "project_label", "member_label", "session", "parent_session", "task", "role", "task_class", "environment", "input_tokens",
    "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "latency_ms", "status", "billing_mode",
    "cost", "list_cost", "currency", "price_id", "term_id", "authorization_id", "tags", "counted_at",
)
VERSION = "SELECT config_version FROM organization WHERE id = %s"
SERVICE_ACCOUNTS = "SELECT id, service_account_id FROM api_key WHERE organization_id = %(organization)s AND id = ANY(%(key)s::bigint[])"
FORGET = """
DELETE FROM event_identity WHERE organization_id = %(organization)s AND key IN (
    SELECT key FROM event_identity WHERE organization_id = %(organization)s AND (key = ANY(%(key)s::uuid[]) OR event_id = ANY(%(key)s::uuid[]))
    ORDER BY key FOR UPDATE
)
"""
FORGET_SIGHTINGS = "DELETE FROM event_sighting WHERE organization_id = %(organization)s AND event_id = ANY(%(key)s::uuid[])"
NAMED = f"{sql.unnest('x', {'key': 'uuid', 'occurred_at': 'timestamptz'})}"
BETWEEN = "e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz"


def selected(also: Iterable[str] = ()) -> str:
    """The columns that a statement which finds events selects: what sums look at, and what is to be changed besides."""
    return ", ".join(f"e.{name}" for name in dict.fromkeys((*COUNTED, *sorted(also))))


def by_keys(also: Iterable[str]) -> str:
    """Finds and locks named events, in the order in which everybody locks them."""
    return f"""
SELECT {selected(also)} FROM {NAMED}
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = x.occurred_at AND e.id = x.key
WHERE {BETWEEN} ORDER BY e.occurred_at, e.id FOR NO KEY UPDATE OF e
"""  # noqa: S608 - built from constants


def change(names: Sequence[str]) -> str:
    """Writes these columns of locked events. Names are checked to be an event's."""
    return _change(tuple(names))


@lru_cache(maxsize=256)
def _change(names: tuple[str, ...]) -> str:
    columns = {"id": "uuid", "occurred_at": "timestamptz"} | {f"new_{name}": (AMENDABLE | MOVABLE)[name] for name in names}
    return f"""
UPDATE usage_event e SET {", ".join(f"{name} = x.new_{name}" for name in names)}
FROM {sql.unnest("x", columns)}
WHERE e.organization_id = %(organization)s AND e.occurred_at = x.occurred_at AND e.id = x.id AND {BETWEEN}
"""  # noqa: S608 - built from constants


REMOVE = f"""
WITH gone AS (
    DELETE FROM usage_event e USING {sql.unnest("x", {"id": "uuid", "occurred_at": "timestamptz"})}
    WHERE e.organization_id = %(organization)s AND e.occurred_at = x.occurred_at AND e.id = x.id AND {BETWEEN}
    RETURNING e.occurred_at, e.id, e.cost, e.price_id, to_jsonb(e) AS old
)
INSERT INTO event_amendment (organization_id, cause_id, occurred_at, event_id, at, old_cost, old_price_id, old, is_removed, is_posted)
SELECT %(organization)s, %(cause)s, occurred_at, id, %(at)s, cost, price_id, old, true, false FROM gone
"""  # noqa: S608 - built from constants
AMENDMENT_COLUMNS = (
    "organization_id", "cause_id", "at", "occurred_at", "event_id", "old_cost", "new_cost", "old_price_id", "new_price_id", "old", "new", "is_removed", "is_posted",
)
COPY_AMENDMENTS = f"COPY event_amendment ({', '.join(AMENDMENT_COLUMNS)}) FROM STDIN"
OWN_COLUMNS = frozenset({"cost", "price_id"})

# What the events that name an authorization cost, where it was they that settled it.
AUTHORIZATIONS = f"""
WITH moved AS (
    SELECT x.id, sum(x.amount) AS amount FROM {sql.unnest("x", {"id": "uuid", "at": "timestamptz", "amount": "numeric"})}
    JOIN budget_authorization a ON a.organization_id = %(organization)s AND a.id = x.id AND x.at >= a.created_at - %(skew)s
    GROUP BY x.id
), locked AS (
    SELECT a.id, m.amount FROM budget_authorization a JOIN moved m ON m.id = a.id WHERE a.organization_id = %(organization)s
    ORDER BY a.id FOR NO KEY UPDATE OF a
)
UPDATE budget_authorization a SET settled_cost = coalesce(a.settled_cost, 0) + l.amount
FROM locked l WHERE a.organization_id = %(organization)s AND a.id = l.id
"""  # noqa: S608 - built from constants


def _empty(table: str, bucket: str, kind: str) -> str:
    return f"""
DELETE FROM {table} r USING {sql.unnest("x", {"at": kind, "hash": "uuid"})}
WHERE r.organization_id = %(organization)s AND r.{bucket} = x.at AND r.dimensions_hash = x.hash AND r.calls = 0 AND r.cost = 0 AND r.notional_cost = 0
    AND r.list_cost = 0
"""  # noqa: S608 - built from constants


# The rows are locked by the statement that took the calls off them.
EMPTY = {"hour": _empty("usage_rollup", "hour", "timestamptz"), "day": _empty("usage_rollup_day", "day", "date")}
EMPTY_LABELS = f"""
DELETE FROM reported_label l USING {sql.unnest("x", {"kind": "text", "value": "text"})}
WHERE l.organization_id = %(organization)s AND l.kind = x.kind AND l.value = x.value AND l.calls <= 0
"""  # noqa: S608 - built from constants
EMPTY_SESSIONS = "DELETE FROM session WHERE organization_id = %(organization)s AND key = ANY(%(key)s::text[]) AND calls = 0"
# What retention has dropped a part of keeps what it says: the rest of its events would not tell it.
KEPT = "s.first_at >= coalesce((SELECT since FROM events_kept), '-infinity')"


def _anew(columns: Mapping[str, str]) -> str:
    """Reads what sessions say of their events from those."""
    moved = ", ".join(f"{name} = n.{name}" for name in columns)
    read = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    return f"""
UPDATE session s SET {moved} FROM (
    SELECT session, {read} FROM usage_event
    WHERE organization_id = %(organization)s AND session = ANY(%(key)s::text[]) AND session <> '' GROUP BY session
) n WHERE s.organization_id = %(organization)s AND s.key = n.session AND {KEPT}
"""  # noqa: S608 - built from constants


def _latest(expression: str) -> str:
    return f"(array_agg({expression} ORDER BY occurred_at DESC, id))[1]"


def _first_known(column: str) -> str:
    return f"(array_agg({column} ORDER BY occurred_at, id) FILTER (WHERE {column} IS NOT NULL))[1]"


def _first_named(column: str) -> str:
    return f"coalesce((array_agg({column} ORDER BY occurred_at, id) FILTER (WHERE {column} <> ''))[1], '')"


RECOUNT = _anew({
    "first_at": "min(occurred_at)", "last_at": "max(occurred_at)", "context_tokens_max": f"max({CONTEXT})",
    "provider_least": "coalesce(min(nullif(provider, '') COLLATE \"C\"), '')", "provider_greatest": 'max(provider COLLATE "C")',
    "context_tokens": _latest(CONTEXT), "model": _latest("model"), "provider": _latest("provider"), "api_key_id": _latest("api_key_id"),
})
REHOME = _anew(
    {name: _first_known(name) for name in ("team_id", "project_id", "member_id")}
    | {name: _first_named(name) for name in ("harness", "gateway", "task")}
    | {"parent_key": _first_named("parent_session")}
)


def authorization_parameters(organization_id: int, amounts: Mapping[tuple[UUID, datetime], Decimal]) -> dict[str, Any]:
    """By how much what the calls of authorizations cost has moved."""
    skew: timedelta = CLOCK_SKEW
    return {
        "organization": organization_id, "skew": skew, "id": [key for key, _ in amounts], "at": [at for _, at in amounts],
        "amount": list(amounts.values()),
    }


def json_text(value: Any) -> str | None:
    """A value as a jsonb column reads it."""
    return None if value is None else msgspec.json.encode(value).decode()


# What was last posted for events, so that a difference is posted once.
LATEST = f"""
SELECT DISTINCT ON (a.occurred_at, a.event_id) a.event_id, a.new_cost, a.new_price_id, a.new, a.is_posted, a.is_removed
FROM {sql.unnest("x", {"id": "uuid", "occurred_at": "timestamptz"})}
JOIN event_amendment a ON a.organization_id = %(organization)s AND a.occurred_at = x.occurred_at AND a.event_id = x.id
ORDER BY a.occurred_at, a.event_id, a.at DESC, a.cause_id DESC
"""  # noqa: S608 - built from constants
HAS_POSTED = "SELECT EXISTS (SELECT FROM adjustment WHERE organization_id = %(organization)s) AS has_posted"


def as_posted(row: Any, latest: Any) -> Any:
    """The event as what was posted for it makes it."""
    others = {name: Decimal(value) if AMENDABLE[name] == "numeric" and value is not None else value for name, value in (latest.new or {}).items()}
    return row._replace(cost=latest.new_cost, price_id=latest.new_price_id, **{name: value for name, value in others.items() if name in row._fields})


def amendment_line(head: str, at: datetime, row: Any, changes: Mapping[str, Any], *, is_removed: bool = False, is_posted: bool = False) -> str:
    """One event's old and new as a line of COPY, where the event stands then. Money and price have columns of their own."""
    occurred_at, event_id = changes.get("occurred_at", row.occurred_at), changes.get("id", row.id)
    new_cost, new_price = changes.get("cost", row.cost), changes.get("price_id", row.price_id)
    others = changes.keys() - OWN_COLUMNS
    old = _copied({name: getattr(row, name) for name in others}) if others else "\\N"
    new = _copied({name: changes[name] for name in others}) if others else "\\N"
    return (
        f"{head}\t{at}\t{occurred_at}\t{event_id}\t{_null(row.cost)}\t{_null(new_cost)}\t{_null(row.price_id)}\t{_null(new_price)}\t{old}\t{new}"
        f"\t{'t' if is_removed else 'f'}\t{'t' if is_posted else 'f'}\n"
    )


def _null(value: Any) -> str:
    return "\\N" if value is None else str(value)


def _copied(values: Mapping[str, Any]) -> str:
    return msgspec.json.encode(values, order="deterministic").decode().replace("\\", "\\\\")

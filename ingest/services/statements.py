"""The SQL of the storing transaction, built once from the lists of columns."""

from collections.abc import Mapping
from functools import lru_cache

from governance import sql
from governance.budgets.reach import IS_ANY_SESSION_FROZEN, session_freezes
from governance.budgets.services import STORED_AT_ONCE
from governance.tenancy.authentication import STAMP
from governance.tenancy.standing import Parts, as_remembered
from ingest.services.sums import AMOUNTS, COUNTS, DIMENSIONS

EVENT_COLUMNS = {
    "organization_id": "int8", "occurred_at": "timestamptz", "id": "uuid", "received_at": "timestamptz", "source": "text", "api_key_id": "int8",
    "external_id": "text", "request_id": "text", "provider": "text", "model": "text", "maker": "text", "tier": "text", "model_reported": "text",
    "harness": "text", "harness_version": "text", "gateway": "text", "team_id": "int8", "project_id": "int8", "member_id": "int8",
    "team_label": "text", "project_label": "text", "member_label": "text", "session": "text", "parent_session": "text", "task": "text",
    "trace": "text", "parent": "text", "role": "text", "task_class": "text", "environment": "text", "input_tokens": "int8",
    "cache_read_tokens": "int8", "cache_write_5m_tokens": "int8", "cache_write_1h_tokens": "int8", "output_tokens": "int8",
    "reasoning_tokens": "int8", "units": "jsonb", "latency_ms": "int4", "ttft_ms": "int4", "status": "text", "reported_cost": "numeric",
    "reported_currency": "text", "billing_mode": "text", "cost": "numeric", "currency": "text", "price_id": "int8", "authorization_id": "uuid",
    "is_after_freeze": "bool", "tags": "jsonb", "list_cost": "numeric", "price_currency": "text", "exchange_rate": "numeric", "term_id": "int8",
    "counted_at": "timestamptz", "ruled": "jsonb",
}
COPY_EVENTS = f"COPY usage_event ({', '.join(EVENT_COLUMNS)}) FROM STDIN"


def _records(alias: str, name: str, columns: Mapping[str, str]) -> str:
    """The objects of the JSON list passed as `name`, as rows: one parameter for all columns, quick to write and to read."""
    return f"json_to_recordset(%({name})s::json) AS {alias}({', '.join(f'{column} {kind}' for column, kind in columns.items())})"


# Each session of the batch with what its events say is above it; sessions that come for the first time lie below others of the batch too.
SESSION_FREEZES = session_freezes(
    first="SELECT key, key FROM unnest(%(session_keys)s::text[]) AS x (key) UNION ALL SELECT * FROM unnest(%(child)s::text[], %(parent)s::text[])"
)
# After the lock, and in a statement of its own: the snapshot in which the version is read must not predate it.
# Keys travel in order, so that two batches that share some wait for each other instead of deadlocking.
OPEN = f"""
WITH fresh AS (
    INSERT INTO event_identity (organization_id, key, body_hash, occurred_at, sightings, source, event_id)
    SELECT %(organization)s, x.key, x.body_hash, x.occurred_at, 1, x.told_by, x.event_id
    FROM {sql.unnest("x", {"key": "uuid", "body_hash": "uuid", "occurred_at": "timestamptz", "told_by": "text", "event_id": "uuid"})}
    ON CONFLICT (organization_id, key) DO NOTHING
    RETURNING key
), frozen AS (
    SELECT budget_id, session_key, task_key FROM budget_period
    WHERE organization_id = %(organization)s AND frozen_at IS NOT NULL AND (ends_at IS NULL OR ends_at > %(now)s)
        AND (session_key = '' OR session_key = ANY(%(session_keys)s::text[])) AND (task_key = '' OR task_key = ANY(%(tasks)s::text[]))
    UNION ALL
    SELECT NULL::bigint, over.reached, '' FROM {SESSION_FREEZES} over
), shared AS (
    SELECT key FROM session WHERE organization_id = %(organization)s AND key = ANY(%(session_keys)s::text[]) AND source_greatest <> ''
        AND (source_least <> %(reporter)s OR source_greatest <> %(reporter)s)
)
SELECT (SELECT config_version FROM organization WHERE id = %(organization)s) AS version,
    ARRAY(SELECT key FROM fresh) AS fresh,
    (SELECT json_agg(json_build_array(budget_id, session_key, task_key)) FROM frozen) AS frozen,
    ARRAY(SELECT key FROM shared) AS shared,
    (SELECT stamp FROM ({STAMP}) key) AS stamp
"""  # noqa: S608

COUNT_SIGHTINGS = """
WITH seen AS (
    SELECT organization_id, key FROM event_identity WHERE organization_id = %(organization)s AND key = ANY(%(key)s::uuid[])
    ORDER BY key FOR NO KEY UPDATE
)
UPDATE event_identity i SET sightings = i.sightings + 1 FROM seen
WHERE i.organization_id = %(organization)s AND i.key = seen.key
RETURNING i.key, i.body_hash, coalesce(i.event_id, i.key) AS event_id, i.occurred_at, i.source
"""

# A call settles the one authorization that it names: what it named first stays. It names none that was made after it.
NAME_AUTHORIZATIONS = """
WITH bare AS (
    SELECT e.occurred_at, e.id, x.named
    FROM unnest(%(key)s::uuid[], %(at)s::timestamptz[], %(named)s::uuid[]) AS x (key, at, named)
    JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = x.at AND e.id = x.key
    JOIN budget_authorization a ON a.organization_id = %(organization)s AND a.id = x.named AND e.occurred_at >= a.created_at - %(skew)s
    WHERE e.authorization_id IS NULL AND e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
    ORDER BY e.occurred_at, e.id FOR NO KEY UPDATE OF e
)
UPDATE usage_event e SET authorization_id = bare.named FROM bare
WHERE e.organization_id = %(organization)s AND e.occurred_at = bare.occurred_at AND e.id = bare.id
    AND e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
RETURNING e.authorization_id, e.cost, e.occurred_at, e.team_id, e.project_id, e.member_id, e.session, e.task, e.api_key_id,
    (SELECT k.service_account_id FROM api_key k WHERE k.organization_id = %(organization)s AND k.id = e.api_key_id) AS service_account_id,
    e.provider, e.maker, e.model, e.tier, e.harness, e.gateway, e.role, e.task_class, e.environment, e.billing_mode, e.tags,
    coalesce(e.input_tokens, 0) + coalesce(e.cache_read_tokens, 0) + coalesce(e.cache_write_5m_tokens, 0) + coalesce(e.cache_write_1h_tokens, 0)
        + coalesce(e.output_tokens, 0) AS tokens
"""

DIMENSION_KINDS = {name: "bigint" if name.endswith("_id") else "text" for name in DIMENSIONS}
MEASURE_KINDS = dict.fromkeys(COUNTS, "bigint") | dict.fromkeys(AMOUNTS, "numeric")
HOUR_KINDS = {"hour": "timestamptz", "dimensions_hash": "uuid", **DIMENSION_KINDS, **MEASURE_KINDS}
DAY_KINDS = {"day": "date", "dimensions_hash": "uuid", **DIMENSION_KINDS, "member_id": "bigint", **MEASURE_KINDS}


def _rollup(table: str, bucket: str, columns: Mapping[str, str], rows: str) -> str:
    moved = ", ".join(f"{name} = r.{name} + excluded.{name}" for name in MEASURE_KINDS)
    return f"""
INSERT INTO {table} AS r (organization_id, {", ".join(columns)})
SELECT %(organization)s, {", ".join(f"x.{name}" for name in columns)} FROM {rows}
ON CONFLICT (organization_id, {bucket}, dimensions_hash) DO UPDATE SET {moved}"""  # noqa: S608


SESSION_KINDS = {
    "key": "text", "parent_key": "text", "team_id": "bigint", "project_id": "bigint", "member_id": "bigint", "harness": "text", "gateway": "text",
    "model": "text", "task": "text", "first_at": "timestamptz", "last_at": "timestamptz", "calls": "bigint", "errors": "bigint",
    "unpriced_calls": "bigint", "tokens": "bigint", "cost": "numeric", "notional_cost": "numeric", "context_tokens": "bigint",
    "context_tokens_max": "bigint", "provider": "text", "provider_least": "text", "provider_greatest": "text", "api_key_id": "bigint",
    "source_least": "text", "source_greatest": "text",
}
SESSION_SUMS = ("calls", "errors", "unpriced_calls", "tokens", "cost", "notional_cost")
# The latest call says what a session is like now; whom it belongs to is kept from before where the latest call does not say.
SESSION_LATEST = ("model", "context_tokens", "provider", "api_key_id")
SESSION_KNOWN = ("team_id", "project_id", "member_id")
SESSION_NAMED = ("harness", "gateway", "task", "parent_key")


def _sessions(rows: str) -> str:
    return f"""
INSERT INTO session AS s (organization_id, {", ".join(SESSION_KINDS)})
SELECT %(organization)s, {", ".join(f"x.{name}" for name in SESSION_KINDS)} FROM {rows}
ON CONFLICT (organization_id, key) DO UPDATE SET
    {", ".join(f"{name} = s.{name} + excluded.{name}" for name in SESSION_SUMS)},
    {", ".join(f"{name} = CASE WHEN excluded.last_at >= s.last_at THEN excluded.{name} ELSE s.{name} END" for name in SESSION_LATEST)},
    {", ".join(f"{name} = coalesce(s.{name}, excluded.{name})" for name in SESSION_KNOWN)},
    {", ".join(f"{name} = coalesce(nullif(s.{name}, ''), excluded.{name})" for name in SESSION_NAMED)},
    context_tokens_max = greatest(s.context_tokens_max, excluded.context_tokens_max),
    provider_least = coalesce(least(nullif(s.provider_least, ''), nullif(excluded.provider_least, '')), ''),
    provider_greatest = greatest(s.provider_greatest, excluded.provider_greatest),
    source_least = coalesce(least(nullif(s.source_least, ''), nullif(excluded.source_least, '')), ''),
    source_greatest = greatest(s.source_greatest, excluded.source_greatest),
    first_at = least(s.first_at, excluded.first_at),
    last_at = greatest(s.last_at, excluded.last_at)"""  # noqa: S608


LABEL_KINDS = {"kind": "text", "value": "text", "calls": "bigint", "first_at": "timestamptz", "last_at": "timestamptz"}


def _labels(rows: str) -> str:
    return f"""
INSERT INTO reported_label AS l (organization_id, kind, value, calls, first_at, last_at)
SELECT %(organization)s, x.kind, x.value, x.calls, x.first_at, x.last_at FROM {rows}
ON CONFLICT (organization_id, kind, value) DO UPDATE SET
    calls = l.calls + excluded.calls, first_at = least(l.first_at, excluded.first_at), last_at = greatest(l.last_at, excluded.last_at)"""  # noqa: S608


ARRIVAL_KINDS = {"hour": "timestamptz", "harness": "text", "gateway": "text", "calls": "bigint", "errors": "bigint", "repeats": "bigint"}


def _arrivals(rows: str) -> str:
    return f"""
INSERT INTO arrival_hour AS a (organization_id, source, api_key_id, last_at, {", ".join(ARRIVAL_KINDS)})
SELECT %(organization)s, %(source)s::text, %(api_key)s::bigint, %(now)s::timestamptz, {", ".join(f"x.{name}" for name in ARRIVAL_KINDS)} FROM {rows}
ON CONFLICT (organization_id, hour, source, api_key_id, harness, gateway) DO UPDATE SET
    calls = a.calls + excluded.calls, errors = a.errors + excluded.errors, repeats = a.repeats + excluded.repeats,
    last_at = greatest(a.last_at, excluded.last_at)"""  # noqa: S608


ARRIVE = _arrivals(_records("x", "arrivals", ARRIVAL_KINDS))


def _after(step: str) -> str:
    """True once the step has written all its rows: that it is asked for makes the order in which rows are locked."""
    return f"WHERE (SELECT count(*) FROM {step}) >= 0"  # noqa: S608


def _sums(first: str = "", *, condition: str = "true") -> str:
    """Everything that events add but to budgets, in one statement: each further one costs more than the rows of a single event.

    `first` are CTEs that come before, such as those that the condition for all of it asks.
    """
    return f"""
WITH {first} stored AS (
INSERT INTO usage_event ({", ".join(EVENT_COLUMNS)})
SELECT {", ".join(f"x.{name}" for name in EVENT_COLUMNS)} FROM {_records("x", "events", EVENT_COLUMNS)} WHERE {condition}
), sessions_added AS ({_sessions(_records("x", "sessions", SESSION_KINDS) + f" WHERE {condition}")}
RETURNING key, calls, source_least, source_greatest
), hours_added AS ({_rollup("usage_rollup", "hour", HOUR_KINDS, _records("x", "hours", HOUR_KINDS) + f" {_after('sessions_added')} AND {condition}")}
RETURNING 1
), days_added AS ({_rollup("usage_rollup_day", "day", DAY_KINDS, _records("x", "days", DAY_KINDS) + f" {_after('hours_added')} AND {condition}")}
RETURNING 1
), labels_added AS ({_labels(_records("x", "labels", LABEL_KINDS) + f" {_after('days_added')} AND {condition}")}
RETURNING 1
)"""  # noqa: S608


def _arrived(condition: str = "true") -> str:
    return f"""arrivals_added AS ({_arrivals(_records("x", "arrivals", ARRIVAL_KINDS) + f" {_after('labels_added')} AND {condition}")}
)"""


# The sessions that several sources report, and how many calls they have now.
_SHARED = "SELECT key, calls FROM sessions_added WHERE source_least <> source_greatest"
# For changes of events: these came in once and for all.
ADD = f"{_sums()} {_SHARED}"
# For a group of posts.
STORE = f"{_sums()}, {_arrived()} {_SHARED}"

# Whether all events are new calls that nothing stands against: the configuration, the key and the ids are as they are thought to be. Apart: their
# sessions are frozen, or reported by others too. What is true here may be overtaken until it is written.
_LOOKED = f"""looked AS MATERIALIZED (
    SELECT {{is_as_remembered}}
        AND NOT EXISTS (SELECT FROM event_identity WHERE organization_id = %(organization)s AND key = ANY(%(key)s::uuid[])) AS is_usual,
        EXISTS (
            SELECT FROM budget_period WHERE organization_id = %(organization)s AND frozen_at IS NOT NULL AND (ends_at IS NULL OR ends_at > %(now)s)
                AND budget_id = ANY(%(budgets)s::bigint[])
                AND (session_key = '' OR session_key = ANY(%(session_keys)s::text[])) AND (task_key = '' OR task_key = ANY(%(tasks)s::text[]))
        ) OR {{is_frozen_above}} OR EXISTS (
            SELECT FROM session WHERE organization_id = %(organization)s AND key = ANY(%(session_keys)s::text[]) AND source_greatest <> ''
                AND (source_least <> %(reporter)s OR source_greatest <> %(reporter)s)
        ) AS is_apart
), fresh AS (
    INSERT INTO event_identity (organization_id, key, body_hash, occurred_at, sightings, source, event_id)
    SELECT %(organization)s, x.key, x.body_hash, x.occurred_at, 1, x.told_by, x.event_id
    FROM {sql.unnest("x", {"key": "uuid", "body_hash": "uuid", "occurred_at": "timestamptz", "told_by": "text", "event_id": "uuid"})}
    WHERE (SELECT is_usual AND NOT is_apart FROM looked)
    ON CONFLICT (organization_id, key) DO NOTHING
    RETURNING key
), claimed AS MATERIALIZED (
    SELECT count(*) = cardinality(%(key)s::uuid[]) AS is_whole FROM fresh
),"""  # noqa: S608
_CLAIMED = "(SELECT is_whole FROM claimed)"
_STORE_AT_ONCE = f"""{_sums(_LOOKED, condition=_CLAIMED)}, {_arrived(_CLAIMED)}
SELECT is_usual, is_apart, set_config('{STORED_AT_ONCE}', (is_usual AND NOT is_apart)::text, true),
    (CASE WHEN is_usual AND NOT is_apart AND (NOT {_CLAIMED} OR EXISTS ({_SHARED})) THEN 'others stored the same meanwhile' ELSE 'true' END)::boolean
FROM looked"""  # noqa: S608


@lru_cache
def store_at_once(parts: Parts, *, is_among_freezes: bool) -> str:
    """As OPEN and STORE, where nothing has to be looked at in between. Fails, so that all of it is undone, where others came first meanwhile.

    Not among freezes, it stores only while no session of the organization is frozen.
    """
    usual, above = as_remembered(parts), f"EXISTS (SELECT FROM {SESSION_FREEZES} over)"
    if not is_among_freezes:
        usual, above = f"{usual} AND NOT {IS_ANY_SESSION_FROZEN}", "false"
    return _STORE_AT_ONCE.replace("{is_as_remembered}", usual).replace("{is_frozen_above}", above)

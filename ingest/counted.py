"""What counts when, as SQL: calls when they were made, those of a month that was closed when they came when they came, and adjustments."""

TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
LABELS = (
    "team_id", "project_id", "member_id", "api_key_id", "harness", "gateway", "provider", "model", "maker", "tier", "role", "task_class", "environment",
    "billing_mode", "currency", "tags",
)
# Of a call only; an adjustment is of no session, and of no call.
CALLED = {"session": "''", "task": "''", "status": "'ok'", "latency_ms": "NULL::integer", **dict.fromkeys(TOKENS, "0::bigint")}
WINDOW = "{at} >= %(starts_at)s AND (%(ends_at)s::timestamptz IS NULL OR {at} < %(ends_at)s)"


def _branch(table: str, at: str, condition: str) -> str:
    is_event = table == "usage_event"
    # Branches of the same types can be read as one table.
    labels = LABELS if is_event else [name if name.endswith("_id") or name == "tags" else f"{name}::text" for name in LABELS]
    columns = [*labels, *(name if is_event else f"{value} AS {name}" for name, value in CALLED.items())]
    is_later = "false" if at == "occurred_at" else "true"
    return f"SELECT organization_id, {at} AS occurred_at, {is_later} AS is_later, {1 if is_event else 0}::bigint AS call, cost, list_cost, {', '.join(columns)} FROM {table} WHERE {condition}"  # noqa: S608


def _counted(window: str) -> str:
    of = "organization_id = %(organization)s"
    branches = (
        _branch("usage_event", "occurred_at", f"{of} AND counted_at IS NULL{window.format(at='occurred_at')}"),
        _branch("usage_event", "counted_at", f"{of} AND counted_at IS NOT NULL{window.format(at='counted_at')}"),
        _branch("adjustment", "at", f"{of}{window.format(at='at')}"),
    )
    return f"({' UNION ALL '.join(branches)}) counted"


# `call` is 1 for a call and 0 for an adjustment, `occurred_at` is when it counts, `is_later` says whether that is for a closed month.
EVERYTHING = _counted("")
IN_WINDOW = _counted(f" AND {WINDOW}")

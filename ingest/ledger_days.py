"""What a budget counts of days whose events retention has dropped: the daily sums that stayed, where they tell apart what the budget does."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from governance import sql
from governance.budgets.calls import TAG
from governance.budgets.rules import Rule
from governance.periods import BEGINNING, local_midnight
from governance.tenancy.directory import Directory
from ingest.partitions import events_kept_since

# Daily sums have no column for these.
UNTOLD = ("environment", TAG)
TEMPLATES = ("session", "task")
KEYED = ("api_key", "service_account")
TOKENS = "input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + output_tokens"
AMOUNTS = {
    # Each row is of one billing mode, so one of the two costs is 0.
    "money": "sum(cost + notional_cost) + %(placeholder)s::numeric * sum(unpriced_calls)",
    "tokens": f"sum({TOKENS})",
    "calls": "sum(calls)",
}


@dataclass(frozen=True, slots=True)
class Split:
    """A window of which the local days from `first` up to `last`, without it, are counted from daily sums, and the rest from events."""

    first: date
    last: date
    events_from: datetime


def split_of(directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Split | None:
    """Where the window is to be split. None: its events are all there, or the daily sums do not tell apart what the budget counts."""
    if not tells_apart(rule) or (kept_since := events_kept_since()) <= starts_at:
        return None
    # The first local day of which everything is there.
    last = kept_since.astimezone(directory.zone).date() + timedelta(days=1)
    if ends_at is not None:
        last = min(last, ends_at.astimezone(directory.zone).date())
    first = date.min if starts_at <= BEGINNING else starts_at.astimezone(directory.zone).date()
    if first != date.min and local_midnight(first, directory.zone) != starts_at:
        return None
    return Split(first, last, local_midnight(last, directory.zone))


def tells_apart(rule: Rule) -> bool:
    """Whether daily sums are kept by everything that the budget looks at."""
    is_rolling = rule.rolling_hours is not None
    return not is_rolling and rule.scope_kind not in (*TEMPLATES, *KEYED) and not any(name.startswith(UNTOLD) for name, _ in rule.filters)


def days_sum(rule: Rule, split: Split, *, conditions: str, parameters: dict[str, Any]) -> tuple[Decimal, int]:
    """(amount in the budget's measure, calls) of the days that are counted from daily sums."""
    statement = f"""
SELECT coalesce({AMOUNTS[rule.measure]}, 0)::numeric AS amount, coalesce(sum(calls), 0)::bigint AS calls FROM usage_rollup_day
WHERE organization_id = %(organization)s AND day >= %(first)s AND day < %(last)s
    AND (%(counts_notional)s OR billing_mode = 'metered') {conditions}
"""  # noqa: S608 - built from constants
    row = sql.rows(statement, {**parameters, "first": split.first, "last": split.last})[0]
    return row.amount, row.calls

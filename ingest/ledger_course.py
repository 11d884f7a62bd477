"""How what a budget counts grew, by local hour or day: for forecasts and for the lines that pages draw."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from governance import sql
from governance.budgets.rules import Rule
from governance.periods import local_midnight
from governance.tenancy.directory import Directory
from ingest.ledger_days import AMOUNTS as DAY_AMOUNTS
from ingest.ledger_days import tells_apart

Step = Literal["hour", "day"]
AT = {
    "hour": "date_trunc('hour', occurred_at AT TIME ZONE %(zone)s) AT TIME ZONE %(zone)s",
    "day": "date_trunc('day', occurred_at AT TIME ZONE %(zone)s) AT TIME ZONE %(zone)s",
}


def is_kept_by_day(rule: Rule, *, starts_at: datetime, ends_at: datetime | None, directory: Directory) -> bool:
    """Whether the daily sums tell the course by day: they know all that the rule looks at, and the window begins and ends at midnight."""
    bounds = [bound for bound in (starts_at, ends_at) if bound is not None]
    return tells_apart(rule) and all(local_midnight(bound.astimezone(directory.zone).date(), directory.zone) == bound for bound in bounds)


def days(directory: Directory, rule: Rule, *, conditions: str, parameters: dict[str, Any]) -> dict[datetime, Decimal]:
    """The amount of each local day by the instant it began at, from the daily sums."""
    zone = directory.zone
    statement = f"""
SELECT day, coalesce({DAY_AMOUNTS[rule.measure]}, 0)::numeric AS amount FROM usage_rollup_day
WHERE organization_id = %(organization)s AND day >= %(first)s AND (%(last)s::date IS NULL OR day < %(last)s)
    AND (%(counts_notional)s OR billing_mode = 'metered') {conditions}
GROUP BY day ORDER BY day
"""  # noqa: S608 - built from constants
    bounds = {"first": parameters["starts_at"].astimezone(zone).date(), "last": _local_day(parameters["ends_at"], directory)}
    return {local_midnight(row.day, zone): row.amount for row in sql.rows(statement, {**parameters, **bounds})}


def _local_day(instant: datetime | None, directory: Directory) -> date | None:
    return None if instant is None else instant.astimezone(directory.zone).date()

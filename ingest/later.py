"""What counts in a window for months that were closed: adjustments of their calls, and calls of theirs that came late."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from governance import sql
from governance.budgets.rules import Rule
from governance.tenancy.directory import Directory
from governance.tenancy.models import Organization
from ingest.counted import IN_WINDOW
from ingest.ledger import counted, parameters

SUMS = "SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(call), 0)::bigint AS calls, count(*) AS rows FROM"


@dataclass(frozen=True, slots=True)
class Later:
    """Money of closed months that a window holds: `cost` of adjustments and of `calls` that came late."""

    cost: Decimal
    calls: int


def later_in(organization: Organization, *, starts_at: datetime, ends_at: datetime | None) -> Later | None:
    """Of all the organization's spend. None: there is nothing of that kind."""
    given = {"organization": organization.pk, "starts_at": starts_at, "ends_at": ends_at}
    return _read(f"{SUMS} {IN_WINDOW} WHERE is_later AND billing_mode = 'metered'", given)


def later_of(directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Later | None:
    """Of what a budget counts."""
    return _read(f"{SUMS} {IN_WINDOW} {counted(rule)} AND is_later", parameters(directory, rule, starts_at=starts_at, ends_at=ends_at))


def _read(statement: str, given: dict[str, object]) -> Later | None:
    row = sql.rows(statement, given)[0]
    return Later(row.cost, row.calls) if row.rows else None

"""The ledger that budgets are the balance of: sums of events by a budget's scope and window."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance import sql
from governance.budgets.ledger import LedgerSum
from governance.budgets.rules import Rule
from governance.tenancy.directory import Directory
from governance.tenancy.models import Organization
from ingest.models import UsageRollupDay

SUMS = """
SELECT CASE WHEN %(by_session)s THEN session ELSE '' END AS session_key,
    coalesce(sum(cost), 0) + %(placeholder)s::numeric * count(*) FILTER (WHERE cost IS NULL) AS amount,
    count(*) AS calls, max(occurred_at) AS last_at
FROM usage_event
WHERE organization_id = %(organization)s
    AND occurred_at >= %(starts_at)s AND (%(ends_at)s::timestamptz IS NULL OR occurred_at < %(ends_at)s)
    AND (%(teams)s::bigint[] IS NULL OR team_id = ANY(%(teams)s::bigint[]))
    AND (%(project)s::bigint IS NULL OR project_id = %(project)s)
    AND (%(member)s::bigint IS NULL OR member_id = %(member)s)
    AND (%(counts_notional)s OR billing_mode = 'metered')
    AND (NOT %(by_session)s OR session <> '')
GROUP BY 1
ORDER BY 1
"""


class EventLedger:
    """Adds up usage events."""

    def sums(self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Sequence[LedgerSum]:
        """The events the rule counts in [starts_at, ends_at), by session where the budget is a template."""
        rows = sql.rows(SUMS, parameters(directory, rule, starts_at=starts_at, ends_at=ends_at))
        return [LedgerSum(row.session_key, row.amount, row.calls, row.last_at) for row in rows]


def has_usage(organization: Organization) -> bool:
    """Whether any call was counted. Sums outlive the events they are made of."""
    return UsageRollupDay.objects.filter(organization=organization).exists()


def parameters(directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> dict[str, Any]:
    """The rule's scope and window as the statement's parameters."""
    return {
        "organization": directory.organization_id,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "teams": None if rule.team_id is None else teams_below(directory, rule.team_id),
        "project": rule.project_id,
        "member": rule.member_id,
        "by_session": rule.scope_kind == "session",
        "counts_notional": rule.counts_notional,
        "placeholder": rule.unpriced_call_amount or Decimal(0),
    }


def teams_below(directory: Directory, team_id: int) -> list[int]:
    """The team and every team below it."""
    return [other for other, lineage in directory.lineage.items() if team_id in lineage]

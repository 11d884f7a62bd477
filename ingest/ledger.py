"""The ledger that budgets are the balance of: sums of events by a budget's scope and window."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance import sql
from governance.budgets.calls import TAG, Call
from governance.budgets.ledger import LedgerSum
from governance.budgets.rules import Rule
from governance.tenancy.directory import Attribution, Directory
from governance.tenancy.models import Organization
from ingest.counted import IN_WINDOW
from ingest.ledger_course import AT, Step, days, is_kept_by_day
from ingest.ledger_days import Split, days_sum, split_of
from ingest.models import UsageRollupDay

TOKENS = (
    "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0) "
    "+ coalesce(output_tokens, 0)"
)
AMOUNTS = {
    "money": "coalesce(sum(cost), 0) + %(placeholder)s::numeric * count(*) FILTER (WHERE cost IS NULL)",
    "tokens": f"coalesce(sum({TOKENS}), 0)::numeric",
    "calls": "sum(call)::numeric",
}
SLICE = "to_timestamp(floor(extract(epoch FROM occurred_at) / 900) * 900)"
POOLED = {"team": "team_id", "project": "project_id", "member": "member_id"}
OWNERS = """
    AND (%(teams)s::bigint[] IS NULL OR team_id = ANY(%(teams)s::bigint[]))
    AND (%(project)s::bigint IS NULL OR project_id = %(project)s)
    AND (%(member)s::bigint IS NULL OR member_id = %(member)s)
"""


def statement(rule: Rule) -> str:
    """Adds up the events that the rule counts. What is named by a rule's filters goes in as parameters."""
    is_template = rule.scope_kind in ("session", "task")
    subject = rule.scope_kind if is_template else "''"
    return f"""
SELECT {subject} AS subject, {AMOUNTS[rule.measure]} AS amount, sum(call)::bigint AS calls, max(occurred_at) AS last_at,
    {SLICE if rule.rolling_hours else "NULL::timestamptz"} AS slice_at
FROM {IN_WINDOW}
{counted(rule)}
    {f"AND {subject} <> ''" if is_template else ""}
GROUP BY 1, 5
ORDER BY 1, 5
"""  # noqa: S608 - built from constants


def counted(rule: Rule) -> str:
    """Which of what counts in the window the rule counts."""
    return f"""WHERE organization_id = %(organization)s
    {conditions(rule)}
    AND (%(api_key)s::bigint IS NULL OR api_key_id = %(api_key)s)
    AND (%(service_account)s::bigint IS NULL
        OR api_key_id IN (SELECT id FROM api_key WHERE organization_id = %(organization)s AND service_account_id = %(service_account)s))
    AND (%(counts_notional)s OR billing_mode = 'metered')"""  # noqa: S608 - built from constants


def course_statement(rule: Rule, step: Step) -> str:
    """Adds up the events that the rule counts by local hour or day."""
    return f"SELECT {AT[step]} AS at, {AMOUNTS[rule.measure]} AS amount FROM {IN_WINDOW} {counted(rule)} GROUP BY 1 ORDER BY 1"  # noqa: S608


def conditions(rule: Rule) -> str:
    """What the rule's owner and filters ask for, of events and of daily sums alike."""
    return OWNERS + "".join(f" AND {_condition(name, place)}" for place, (name, _) in enumerate(rule.filters))


def _condition(name: str, place: int) -> str:
    if name.startswith(TAG):
        return f"tags ->> %(name_{place})s = ANY(%(values_{place})s::text[])"
    if name in POOLED:
        return f"{POOLED[name]} = ANY(%(values_{place})s::bigint[])"
    return f"{name} = ANY(%(values_{place})s::text[])"


LATEST_CALL = """
SELECT e.*, k.service_account_id FROM usage_event e LEFT JOIN api_key k ON k.organization_id = %(organization)s AND k.id = e.api_key_id
WHERE e.organization_id = %(organization)s AND e.session = %(session)s AND e.occurred_at = %(at)s ORDER BY e.id DESC LIMIT 1
"""


class EventLedger:
    """Adds up usage events."""

    def sums(self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Sequence[LedgerSum]:
        """The events the rule counts in [starts_at, ends_at), by session or task where the budget is a template.

        Days whose events retention has dropped count from the daily sums, where those are kept by all that the rule looks at.
        """
        if split := split_of(directory, rule, starts_at=starts_at, ends_at=ends_at):
            return self._sum_with_days(directory, rule, split, ends_at=ends_at)
        return self._event_sums(directory, rule, starts_at=starts_at, ends_at=ends_at)

    def course(self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None, step: Step) -> dict[datetime, Decimal]:
        """What the rule counts in [starts_at, ends_at) by the instant that each local hour or day began at, the sessions of templates together.

        By day from the daily sums where they tell it.
        """
        given = parameters(directory, rule, starts_at=starts_at, ends_at=ends_at)
        if step == "day" and is_kept_by_day(rule, starts_at=starts_at, ends_at=ends_at, directory=directory):
            return days(directory, rule, conditions=conditions(rule), parameters=given)
        rows = sql.rows(course_statement(rule, step), {**given, "zone": directory.zone.key})
        return {row.at: row.amount for row in rows}

    def latest_call(self, organization_id: int, session_key: str, *, at: datetime) -> Call | None:
        """The session's call of this instant, its latest, with all that budgets look at. None where the event is kept no longer."""
        found = sql.rows(LATEST_CALL, {"organization": organization_id, "session": session_key, "at": at})
        if not found:
            return None
        row = found[0]
        return Call(
            Attribution(row.team_id, row.project_id, row.member_id), row.session, row.task, row.api_key_id, row.service_account_id, provider=row.provider,
            maker=row.maker, model=row.model, tier=row.tier, harness=row.harness, gateway=row.gateway, role=row.role, task_class=row.task_class,
            environment=row.environment, billing_mode=row.billing_mode, tags=row.tags or {},
        )

    def _sum_with_days(self, directory: Directory, rule: Rule, split: Split, *, ends_at: datetime | None) -> Sequence[LedgerSum]:
        given = parameters(directory, rule, starts_at=split.events_from, ends_at=ends_at)
        amount, calls = days_sum(rule, split, conditions=conditions(rule), parameters=given)
        found = [LedgerSum("", amount, calls, split.events_from)] if calls else []
        found += self._event_sums(directory, rule, starts_at=split.events_from, ends_at=ends_at)
        if len(found) < 2:
            return found
        return [LedgerSum("", sum((one.amount for one in found), Decimal(0)), sum(one.calls for one in found), found[-1].last_at)]

    def _event_sums(self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Sequence[LedgerSum]:
        rows = sql.rows(statement(rule), parameters(directory, rule, starts_at=starts_at, ends_at=ends_at))
        is_task = rule.scope_kind == "task"
        return [
            LedgerSum("" if is_task else row.subject, row.amount, row.calls, row.last_at, row.subject if is_task else "", row.slice_at) for row in rows
        ]


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
        "api_key": rule.api_key_id,
        "service_account": rule.service_account_id,
        "counts_notional": rule.counts_notional,
        "placeholder": rule.unpriced_call_amount or Decimal(0),
        **_filter_parameters(directory, rule),
    }


def _filter_parameters(directory: Directory, rule: Rule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, (name, values) in enumerate(rule.filters):
        if name.startswith(TAG):
            found[f"name_{place}"] = name[len(TAG) :]
        pooled = {below for team_id in values for below in teams_below(directory, team_id)} if name == "team" else values
        found[f"values_{place}"] = sorted(pooled)
    return found


def teams_below(directory: Directory, team_id: int) -> list[int]:
    """The team and every team below it."""
    return [other for other, lineage in directory.lineage.items() if team_id in lineage]

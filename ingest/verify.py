"""Proves truth 3: rollups, sessions and budget balances are the sums of the events, to the last decimal, and each event is known by its key; and mends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.budgets.ledger import ledger
from governance.budgets.models import Budget, BudgetPeriod, Session
from governance.budgets.quoted import limit_of, terms_for
from governance.budgets.rules import Rule, rules_at
from governance.budgets.services.freezes import period_locked, period_review
from governance.budgets.services.rolling import slices_make
from governance.periods import BEGINNING, Window, window_at
from governance.tenancy.access import system_actor
from governance.tenancy.directory import Directory, directory_at
from governance.tenancy.models import Organization
from governance.tenancy.services import organization_lock
from ingest.counted import EVERYTHING
from ingest.models import UsageRollupDay
from ingest.partitions import events_kept_since
from ingest.services.sums import AMOUNTS, COUNTS, DIMENSIONS, dimensions_hash

ZERO = Decimal(0)
# Local days and hours lie within this much of the UTC instants of the same name.
LOCAL_DAYS = timedelta(days=2)
OFFSET = "((occurred_at AT TIME ZONE %(zone)s) - (occurred_at AT TIME ZONE 'UTC'))"
BUCKETS = {
    "hour": f"(date_trunc('hour', (occurred_at AT TIME ZONE 'UTC') + {OFFSET}) - {OFFSET}) AT TIME ZONE 'UTC'",
    "day": "(occurred_at AT TIME ZONE %(zone)s)::date",
}
TABLES = {"hour": ("usage_rollup", DIMENSIONS), "day": ("usage_rollup_day", (*DIMENSIONS, "member_id"))}
MEASURED = """
    sum(call)::bigint AS calls, count(*) FILTER (WHERE status <> 'ok') AS errors, count(*) FILTER (WHERE cost IS NULL) AS unpriced_calls,
    count(*) FILTER (WHERE input_tokens IS NULL AND output_tokens IS NULL) AS unmeasured_calls,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens, coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
    coalesce(sum(cache_write_5m_tokens), 0)::bigint AS cache_write_5m_tokens, coalesce(sum(cache_write_1h_tokens), 0)::bigint AS cache_write_1h_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens, coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    coalesce(sum(latency_ms), 0)::bigint AS latency_ms_sum, count(latency_ms) AS latency_calls,
    coalesce(sum(cost) FILTER (WHERE billing_mode = 'metered'), 0) AS cost,
    coalesce(sum(cost) FILTER (WHERE billing_mode <> 'metered'), 0) AS notional_cost,
    coalesce(sum(coalesce(list_cost, cost)) FILTER (WHERE billing_mode = 'metered' AND cost IS NOT NULL), 0) AS list_cost
"""
MEASURES = (*COUNTS, *AMOUNTS)
CONTEXT = "coalesce(input_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0)"
SESSIONS = f"""
SELECT session AS key, count(*) AS calls, count(*) FILTER (WHERE status <> 'ok') AS errors, count(*) FILTER (WHERE cost IS NULL) AS unpriced_calls,
    sum({CONTEXT} + coalesce(output_tokens, 0))::bigint AS tokens,
    coalesce(sum(cost) FILTER (WHERE billing_mode = 'metered'), 0) AS cost,
    coalesce(sum(cost) FILTER (WHERE billing_mode <> 'metered'), 0) AS notional_cost,
    coalesce(min(nullif(provider, '') COLLATE "C"), '') AS provider_least, max(provider COLLATE "C") AS provider_greatest
FROM usage_event e WHERE organization_id = %(organization)s AND session <> '' AND NOT EXISTS (
    SELECT FROM session s WHERE s.organization_id = %(organization)s AND s.key = e.session AND s.first_at < %(kept_from)s)
GROUP BY session
"""  # noqa: S608
SESSION_SUMS = ("key", "calls", "errors", "unpriced_calls", "tokens", "cost", "notional_cost", "provider_least", "provider_greatest")
HELD = """
WITH holds AS (
    SELECT u.period_id, sum(u.amount) AS held
    FROM budget_authorization a CROSS JOIN LATERAL unnest(a.periods, a.amounts) AS u(period_id, amount)
    WHERE a.organization_id = %(organization)s AND a.state IN ('held', 'settling') GROUP BY 1
), tops AS (
    SELECT period_id, sum(amount) AS topup FROM topup WHERE organization_id = %(organization)s AND ended_at IS NULL GROUP BY 1
)
SELECT p.id, p.held, coalesce(h.held, 0) AS held_true, p.topup, coalesce(t.topup, 0) AS topup_true
FROM budget_period p LEFT JOIN holds h ON h.period_id = p.id LEFT JOIN tops t ON t.period_id = p.id
WHERE p.organization_id = %(organization)s AND (p.held <> coalesce(h.held, 0) OR p.topup <> coalesce(t.topup, 0))
ORDER BY p.id
"""
SLICES = """
SELECT p.id, coalesce(sum(s.spent), 0) AS spent, coalesce(sum(s.calls), 0)::bigint AS calls, p.spent AS spent_true, p.calls AS calls_true
FROM budget_period p LEFT JOIN budget_slice s ON s.organization_id = p.organization_id AND s.period_id = p.id
WHERE p.organization_id = %(organization)s AND p.slides_from IS NOT NULL
GROUP BY p.id HAVING coalesce(sum(s.spent), 0) <> p.spent OR coalesce(sum(s.calls), 0) <> p.calls
ORDER BY p.id
"""
# A call that counts is found by its key, and by that alone: else a report of it would count again, or it could be neither split nor joined.
# Calls of closed months that were taken for another stay standing without their cost.
UNKNOWN = """
SELECT e.id, e.occurred_at, coalesce(i.event_id, i.key) AS known
FROM usage_event e LEFT JOIN event_identity i ON i.organization_id = e.organization_id AND i.key = e.id
WHERE e.organization_id = %(organization)s AND (i.key IS NULL OR i.event_id IS NOT NULL OR i.occurred_at <> e.occurred_at)
    AND NOT EXISTS (
        SELECT FROM event_amendment a
        WHERE a.organization_id = e.organization_id AND a.occurred_at = e.occurred_at AND a.event_id = e.id AND a.is_removed
    )
"""
KNOW = f"""
INSERT INTO event_identity (organization_id, key, body_hash, occurred_at, sightings, source)
SELECT %(organization)s, unknown.id, md5('mended ' || unknown.id)::uuid, unknown.occurred_at, 1, '' FROM ({UNKNOWN}) unknown
ON CONFLICT (organization_id, key) DO UPDATE SET occurred_at = excluded.occurred_at, event_id = NULL
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the sum it should be: where, what stands there, what the events say."""

    table: str
    row: str
    stored: str
    true: str


def _grouped(bucket: str) -> str:
    columns = ", ".join((bucket, *TABLES[bucket][1], *MEASURES))
    dimensions = ", ".join(TABLES[bucket][1])
    return (
        f"SELECT {columns} FROM (SELECT {BUCKETS[bucket]} AS {bucket}, {dimensions}, {MEASURED} FROM {EVERYTHING} "  # noqa: S608
        f"GROUP BY 1, {dimensions}) grouped WHERE {bucket} >= %(kept_from)s"
    )


def _stored(bucket: str) -> str:
    columns = ", ".join((bucket, *TABLES[bucket][1], *MEASURES))
    return f"SELECT {columns} FROM {TABLES[bucket][0]} WHERE organization_id = %(organization)s AND {bucket} >= %(kept_from)s"  # noqa: S608


def kept_from(now: datetime) -> datetime:
    """From when on every event is still there: what retention has dropped, or may drop now, is neither proven nor touched."""
    longest = Organization.objects.aggregate(days=Max("retention_days"))["days"]
    first = (now - timedelta(days=longest)).date().replace(day=1) if longest else BEGINNING
    since = max(datetime(first.year, first.month, 1, tzinfo=UTC), events_kept_since())
    return since if since == BEGINNING else since + LOCAL_DAYS


def _dropping_wait() -> None:
    """Keeps retention from dropping a month until the transaction ends, which would turn up as spend that has no events."""
    sql.execute("LOCK TABLE usage_event IN ACCESS SHARE MODE")


def _parameters(organization: Organization) -> dict[str, Any]:
    return {"organization": organization.pk, "zone": organization.time_zone, "kept_from": kept_from(timezone.now())}


def organization_verify(organization: Organization) -> list[Difference]:
    """Every difference between the sums and the events, read from one snapshot. Empty when all is right."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Before the first read, which is what the snapshot is taken by.
        _dropping_wait()
        return differences(organization)


def differences(organization: Organization) -> list[Difference]:
    """Every difference as the present transaction sees it."""
    return [
        *_rollup_differences(organization, "hour"), *_rollup_differences(organization, "day"), *_session_differences(organization),
        *_hold_differences(organization), *_period_differences(organization), *_slice_differences(organization),
        *_identity_differences(organization),
    ]


def _rollup_differences(organization: Organization, bucket: str) -> list[Difference]:
    parameters = _parameters(organization)
    true, stored = _grouped(bucket), _stored(bucket)
    statement = (
        f"WITH t AS MATERIALIZED ({true}), s AS MATERIALIZED ({stored}) "  # noqa: S608
        "(SELECT 'true' AS side, m.* FROM (TABLE t EXCEPT ALL TABLE s) m) UNION ALL "
        "(SELECT 'stored' AS side, m.* FROM (TABLE s EXCEPT ALL TABLE t) m) LIMIT 1000"
    )
    sides: dict[tuple[Any, ...], dict[str, str]] = {}
    keys = 1 + len(TABLES[bucket][1])
    for side, *values in sql.rows(statement, parameters):
        sides.setdefault(tuple(values[:keys]), {})[side] = _measures_text(values[keys:])
    return [Difference(TABLES[bucket][0], " ".join(map(str, key)), found.get("stored", "nothing"), found.get("true", "nothing")) for key, found in sides.items()]


def _measures_text(values: Sequence[Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(MEASURES, values, strict=True) if value)


def _session_differences(organization: Organization) -> list[Difference]:
    columns = ", ".join(SESSION_SUMS)
    stored = f"SELECT {columns} FROM session WHERE organization_id = %(organization)s AND first_at >= %(kept_from)s"  # noqa: S608
    statement = (
        f"WITH t AS MATERIALIZED (SELECT {columns} FROM ({SESSIONS}) true_sums), s AS MATERIALIZED ({stored}) "  # noqa: S608
        "SELECT key FROM ((TABLE t EXCEPT ALL TABLE s) UNION ALL (TABLE s EXCEPT ALL TABLE t)) m GROUP BY key ORDER BY key LIMIT 1000"
    )
    return [Difference("session", row.key, "other sums", "the events'") for row in sql.rows(statement, _parameters(organization))]


def _identity_differences(organization: Organization) -> list[Difference]:
    return [
        Difference("event_identity", str(row.id), f"is {row.known or 'unknown'}", f"the call of {row.occurred_at.isoformat()}")
        for row in sql.rows(f"{UNKNOWN} ORDER BY e.occurred_at, e.id LIMIT 1000", {"organization": organization.pk})
    ]


def _hold_differences(organization: Organization) -> list[Difference]:
    return [
        Difference("budget_period", str(row.id), f"held={row.held} topup={row.topup}", f"held={row.held_true} topup={row.topup_true}")
        for row in sql.rows(HELD, {"organization": organization.pk})
    ]


def _period_differences(organization: Organization) -> list[Difference]:
    return [
        Difference("budget_period", str(period.pk), f"spent={period.spent} calls={period.calls}", f"spent={amount} calls={calls}")
        for period, amount, calls in _untrue_periods(organization)
    ]


def _slice_differences(organization: Organization) -> list[Difference]:
    """Rolling periods whose quarter hours are not the sum they have spent."""
    return [
        Difference("budget_slice", str(row.id), f"sum={row.spent} calls={row.calls}", f"sum={row.spent_true} calls={row.calls_true}")
        for row in sql.rows(SLICES, {"organization": organization.pk})
    ]


def _untrue_periods(organization: Organization) -> list[tuple[BudgetPeriod, Decimal, int]]:
    """The periods of active budgets whose spend or calls are not those of the events, with what is true.

    A period that events call for and that is not there comes without an id and with nothing spent.
    """
    rules, since = rules_at(directory_at(organization)), kept_from(timezone.now())
    found = []
    for rule in rules.by_id.values():
        for window, periods in _periods_by_window(organization, rule, since=since).items():
            true = _true_sums(rules.directory, rule, window)
            for key in sorted(true.keys() - periods.keys()):
                periods[key] = _period_missing(organization, rule, window, key=key, directory=rules.directory)
            found += [
                (period, *true.get(key, (ZERO, 0))) for key, period in periods.items()
                if (period.spent, period.calls) != true.get(key, (ZERO, 0)) and not _began_before(period, since)
            ]
    return sorted(found, key=lambda row: row[0].pk or 0)


def _true_sums(directory: Directory, rule: Rule, window: Window) -> dict[tuple[str, str], tuple[Decimal, int]]:
    """(amount, calls) by session and task; both are empty where the budget is no template."""
    found: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for total in ledger().sums(directory, rule, starts_at=window.starts_at, ends_at=window.ends_at):
        amount, calls = found.get((total.session_key, total.task_key), (ZERO, 0))
        found[total.session_key, total.task_key] = amount + total.amount, calls + total.calls
    return found


def _periods_by_window(organization: Organization, rule: Rule, *, since: datetime) -> dict[Window, dict[tuple[str, str], BudgetPeriod]]:
    """The windows the budget has counted so far, with the periods that are there, by session and task."""
    rows = BudgetPeriod.objects.filter(organization=organization, budget=rule.id).select_related("budget").order_by("id")
    if rule.rolling_hours is not None:
        return {Window(period.slides_from or BEGINNING, None): {("", ""): period} for period in rows}
    windows: list[Window] = []
    until, at = timezone.now() + LOCAL_DAYS, max(rule.counts_from, since)
    while at <= until:
        windows.append(window_at(rule.period_kind, at, organization.zone, organization.year_starts_in, anchor_day=rule.anchor_day))
        at = until + LOCAL_DAYS if (ends_at := windows[-1].ends_at) is None else ends_at
    kept = {window.starts_at: window for window in windows if window.starts_at >= since or window.ends_at is None}
    found: dict[Window, dict[tuple[str, str], BudgetPeriod]] = {window: {} for window in kept.values()}
    for period in rows.filter(starts_at__in=list(kept)):
        found[kept[period.starts_at]][period.session_key, period.task_key] = period
    return found


def _period_missing(organization: Organization, rule: Rule, window: Window, *, key: tuple[str, str], directory: Directory) -> BudgetPeriod:
    budget = Budget.objects.get(organization=organization, pk=rule.id)
    limit = limit_of(rule, terms_for(rule, directory), starts_at=window.starts_at, ends_at=window.ends_at)
    return BudgetPeriod(
        organization=organization, budget=budget, starts_at=window.starts_at, ends_at=window.ends_at, session_key=key[0],
        task_key=key[1], limit_amount=limit.amount, quoted_limit=limit.quoted, exchange_rate=limit.exchange_rate, is_hard=budget.is_hard, freezes_at_limit=rule.freezes_at_limit,
    )


def _began_before(period: BudgetPeriod, since: datetime) -> bool:
    """Whether a period without an end has counted calls that retention may have dropped."""
    if period.ends_at is not None or since == BEGINNING:
        return False
    if period.slides_from is not None:
        return period.slides_from < since
    rows = Session.objects.filter(organization=period.organization_id, first_at__lt=since)
    if period.session_key:
        return rows.filter(key=period.session_key).exists()
    return UsageRollupDay.objects.filter(organization=period.organization_id, day__lt=since.date()).exists()


@transaction.atomic
def organization_repair(organization: Organization) -> int:
    """Mends every difference from the events, alone with the organization's data. Returns how many there were; one audit row says so.

    The lock on the configuration keeps new events and holds out, the locks on the periods, taken in id order like
    everywhere, the ends of holds and top-ups.
    """
    organization_lock(organization.pk, exclusive=True)
    _dropping_wait()
    locked = BudgetPeriod.objects.filter(organization=organization).order_by("id").select_for_update(no_key=True)
    list(locked.values_list("pk", flat=True))
    found = differences(organization)
    if not found:
        return 0
    actor = system_actor(organization)
    sql.execute(KNOW, {"organization": organization.pk})
    _sessions_mend(organization)
    for bucket in BUCKETS:
        _rollups_rebuild(organization, bucket)
    for row in sql.rows(HELD, {"organization": organization.pk}):
        BudgetPeriod.objects.filter(organization=organization, pk=row.id).update(held=row.held_true, topup=row.topup_true)
    for untrue, amount, calls in _untrue_periods(organization):
        period = untrue if untrue._state.adding else period_locked(actor, untrue.pk)
        period.spent, period.calls = amount, calls
        period.save()
        if period.slides_from is not None:
            slices_make(period=period)
        period_review(actor=actor, period=period, reason="mended by verify")
    facts = [{"table": one.table, "row": one.row, "stored": one.stored, "true": one.true} for one in found[:100]]
    audit_record(
        actor=actor, action="ledger.repaired", target=("organization", organization.pk), old={"differences": facts, "count": len(found)},
        new={"at": timezone.now()},
    )
    return len(found)


def _sessions_mend(organization: Organization) -> None:
    moved = ", ".join(f"{name} = t.{name}" for name in SESSION_SUMS[1:])
    statement = f"UPDATE session s SET {moved} FROM ({SESSIONS}) t WHERE s.organization_id = %(organization)s AND s.key = t.key"  # noqa: S608
    sql.execute(statement, _parameters(organization))


def _rollups_rebuild(organization: Organization, bucket: str) -> None:
    table, dimensions = TABLES[bucket]
    rows = sql.rows(_grouped(bucket), _parameters(organization))
    sql.execute(f"DELETE FROM {table} WHERE organization_id = %(organization)s AND {bucket} >= %(kept_from)s", _parameters(organization))  # noqa: S608
    columns = ("organization_id", "dimensions_hash", bucket, *dimensions, *MEASURES)
    keys = 1 + len(dimensions)
    with sql.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row((organization.pk, dimensions_hash(tuple(row[1:keys])), *row))

"""The event table's months: made ahead, filled from the default partition, dropped when retention is over."""

from datetime import UTC, date, datetime

from django.db import connection, transaction

from governance import sql
from governance.periods import BEGINNING, add_months

DEFAULT = "usage_event_default"
NAMES = """
SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'usage_event'::regclass ORDER BY 1
"""
KEPT = """
INSERT INTO events_kept (id, since) VALUES (1, %(since)s)
ON CONFLICT (id) DO UPDATE SET since = greatest(events_kept.since, excluded.since)
"""
# What was noted of changes to the month's calls goes with them: it says what they were, down to whole removed ones. Organization by organization.
FORGET_AMENDMENTS = """
DELETE FROM event_amendment a USING organization o WHERE a.organization_id = o.id AND a.occurred_at >= %(from)s AND a.occurred_at < %(to)s
"""
STRAY_MONTHS = "SELECT DISTINCT date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date AS first FROM usage_event_default ORDER BY 1"


def partition_name(first: date) -> str:
    """The name of the partition for the month that begins on this day."""
    return f"usage_event_{first:%Y_%m}"


def month_bounds(first: date) -> tuple[datetime, datetime]:
    """[from, to) of the month in UTC."""
    following = add_months(first, 1)
    return datetime(first.year, first.month, 1, tzinfo=UTC), datetime(following.year, following.month, 1, tzinfo=UTC)


def months_ensure(*, today: date, months_back: int = 4, months_ahead: int = 2) -> list[str]:
    """Makes the months around today and those that strayed into the default partition. Returns the names made."""
    around = [add_months(today.replace(day=1), offset) for offset in range(-months_back, months_ahead + 1)]
    stray = [row.first for row in sql.rows(STRAY_MONTHS)]
    present = {row.name for row in sql.rows(NAMES)}
    wanted = [first for first in sorted({*around, *stray}) if partition_name(first) not in present]
    return [partition_name(first) for first in wanted if _month_make(first)]


@transaction.atomic
def _month_make(first: date) -> bool:
    """Makes one month; rows of it that wait in the default partition move along, within one transaction. False: somebody else made it."""
    name, bounds = partition_name(first), month_bounds(first)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE usage_event IN SHARE ROW EXCLUSIVE MODE")
        if name in {row.name for row in sql.rows(NAMES)}:
            return False
        cursor.execute(f"CREATE TABLE {name} (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        moved = f"DELETE FROM {DEFAULT} WHERE occurred_at >= %s AND occurred_at < %s RETURNING *"  # noqa: S608 - our own names
        cursor.execute(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved", bounds)  # noqa: S608
        attach = f"ALTER TABLE usage_event ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)"
        cursor.execute(attach, [edge.isoformat() for edge in bounds])
    return True


def months_retain(*, oldest: date) -> list[str]:
    """Drops the months that ended before `oldest`. Returns the names dropped; rollups and sessions stay."""
    dropped = []
    for row in sql.rows(NAMES):
        if row.name == DEFAULT:
            continue
        year, month = row.name.rsplit("_", 2)[1:]
        first = date(int(year), int(month), 1)
        if add_months(first, 1) <= oldest and not _counts_since(row.name, oldest):
            _month_drop(first)
            dropped.append(row.name)
    return dropped


def _counts_since(name: str, oldest: date) -> bool:
    """Whether a call of the month counts later than that, because it came when the month was closed: it is needed as long as others of then are."""
    statement = f"SELECT EXISTS (SELECT FROM {name} WHERE counted_at >= %(oldest)s) AS counts"  # noqa: S608 - a partition's own name
    return bool(sql.rows(statement, {"oldest": datetime(oldest.year, oldest.month, oldest.day, tzinfo=UTC)})[0].counts)


@transaction.atomic
def _month_drop(first: date) -> None:
    """Drops one month and notes that its events are gone, both or neither. Sums of those days are all that is left of them."""
    begins, ends = month_bounds(first)
    sql.execute(f"DROP TABLE {partition_name(first)}")
    sql.execute(FORGET_AMENDMENTS, {"from": begins, "to": ends})
    sql.execute(KEPT, {"since": ends})


def events_kept_since() -> datetime:
    """From when on retention has dropped nothing."""
    rows = sql.rows("SELECT since FROM events_kept")
    return rows[0].since if rows else BEGINNING

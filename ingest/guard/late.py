"""Sessions of which something was reported late: noted as it is stored, and looked at with the next minute."""

from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from governance import sql
from ingest.guard.models import GuardLate

AT_ONCE = 1_000
NOTE = """
INSERT INTO guard_late (organization_id, session_key, begins_at, noted_at)
SELECT %(organization)s, x.key, x.begins_at, %(now)s::timestamptz FROM unnest(%(keys)s::text[], %(begins)s::timestamptz[]) AS x(key, begins_at)
ORDER BY x.key
ON CONFLICT (organization_id, session_key) DO UPDATE SET begins_at = least(guard_late.begins_at, excluded.begins_at), noted_at = excluded.noted_at
"""


def late_note(organization_id: int, sessions: Mapping[str, datetime]) -> None:
    """Notes each session with the instant of its earliest late call. After the commit: what fails here loses no event."""
    begins = [at.isoformat() for at in sessions.values()]
    sql.execute(NOTE, {"organization": organization_id, "keys": list(sessions), "begins": begins, "now": timezone.now()})


def late_sessions(organization_id: int) -> dict[str, datetime]:
    """The sessions noted and since when to look, a thousand at a time."""
    rows = GuardLate.objects.filter(organization=organization_id).order_by("noted_at", "session_key")[:AT_ONCE]
    return dict(rows.values_list("session_key", "begins_at"))


def late_done(organization_id: int, keys: list[str], *, before: datetime) -> None:
    """Lets go of those that were looked at; what was noted again meanwhile stays."""
    GuardLate.objects.filter(organization=organization_id, session_key__in=keys, noted_at__lt=before).delete()

"""Which session began which, as far as only authorizations have said it: kept before the call is decided, so that a refused one tells it too."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from governance import sql
from governance.budgets.services.asking import AuthorizationIn

KEPT = timedelta(days=90)
# What this process has seen kept: a gateway names the same parent with every call.
MOST_REMEMBERED = 50_000
NOTE = """
INSERT INTO session_link (organization_id, key, parent_key, at)
SELECT DISTINCT %(organization)s::bigint, x.key, x.parent_key, %(now)s::timestamptz FROM unnest(%(keys)s::text[], %(parents)s::text[]) AS x(key, parent_key)
WHERE NOT EXISTS (SELECT FROM session s WHERE s.organization_id = %(organization)s AND s.key = x.key AND s.parent_key = x.parent_key)
ON CONFLICT DO NOTHING
"""
_remembered: set[tuple[int, str, str]] = set()


def links_note(*, organization_id: int, requests: Iterable[AuthorizationIn], now: datetime) -> None:
    """Keeps whom the requests name above their sessions. Nothing is asked of the database for what this process has kept already."""
    named = {(organization_id, one.session, one.parent_session) for one in requests if one.session and one.parent_session}
    new = sorted(named - _remembered)
    if not new:
        return
    sql.execute(NOTE, {"organization": organization_id, "keys": [key for _, key, _ in new], "parents": [parent for _, _, parent in new], "now": now})
    if len(_remembered) + len(new) > MOST_REMEMBERED:
        _remembered.clear()
    _remembered.update(new)


def links_forget(*, now: datetime) -> int:
    """Lets go of what was said long ago: by then its sessions have been reported, or are over. Returns how many."""
    return sql.execute("DELETE FROM session_link WHERE at < %s", [now - KEPT])

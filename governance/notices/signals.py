"""Signals: what programs are told of, written with what caused it; whoever listens on the database is woken by the commit."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from governance import sql
from governance.audit.services import plain
from governance.notices import nudge
from governance.notices.models import Signal
from governance.tenancy.access import team_lineage
from governance.tenancy.models import Organization

CHANNEL = "weighhouse_signal"
DELIVER = """
INSERT INTO notice_delivery (organization_id, endpoint_id, signal_id, message_id, state, is_aside, attempts, next_attempt_at, last_error, last_answer, created_at)
SELECT e.organization_id, e.id, %(signal)s, gen_random_uuid(), 'waiting', false, 0, %(now)s::timestamptz, '', '', %(now)s::timestamptz
FROM notice_endpoint e
WHERE e.organization_id = %(organization)s AND e.off = '' AND NOT e.is_removed AND %(kind)s::text = ANY(e.kinds)
    AND (e.team_id IS NULL OR e.team_id = ANY(%(teams)s::bigint[]))
ORDER BY e.id
"""


def signal_add(*, organization: Organization, kind: Signal.Kind, facts: Mapping[str, Any], team_id: int | None = None) -> Signal:
    """Adds the signal in the caller's transaction, and its deliveries to the webhooks and Slack channels that chose its kind.

    `facts` are plain values; amounts and instants become text. With `team_id` the channels of that team and of those above hear of it
    as well as those of the whole organization. Listeners on CHANNEL get "<organization id> <signal id>" when the transaction commits.
    """
    signal = Signal.objects.create(organization=organization, kind=kind, facts=plain(facts), team_id=team_id)
    sql.execute("SELECT pg_notify(%s::text, %s::text)", [CHANNEL, f"{organization.pk} {signal.pk}"])
    teams = team_lineage(organization.pk, team_id)
    values = {"organization": organization.pk, "signal": signal.pk, "kind": kind.value, "teams": teams, "now": timezone.now()}
    if sql.execute(DELIVER, values):
        nudge.after_commit(nudge.wake_deliveries)
    return signal

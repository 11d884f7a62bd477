"""Signals: what programs are told of, written with what caused it; whoever listens on the database is woken by the commit."""

from collections.abc import Mapping
from typing import Any

from governance import sql
from governance.audit.services import plain
from governance.notices.models import Signal
from governance.tenancy.models import Organization

CHANNEL = "weighhouse_signal"


def signal_add(*, organization: Organization, kind: Signal.Kind, facts: Mapping[str, Any]) -> Signal:
    """Adds the signal in the caller's transaction. `facts` are plain values; amounts and instants become text.

    Listeners on CHANNEL get "<organization id> <signal id>" when the transaction commits.
    """
    signal = Signal.objects.create(organization=organization, kind=kind, facts=plain(facts))
    sql.execute("SELECT pg_notify(%s::text, %s::text)", [CHANNEL, f"{organization.pk} {signal.pk}"])
    return signal

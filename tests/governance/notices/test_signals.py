"""Signals come with what caused them: heard after the commit, and not at all when it is taken back."""

from decimal import Decimal

import psycopg
import pytest
from django.db import connection, transaction

from governance.notices.models import Signal
from governance.notices.signals import CHANNEL, signal_add
from governance.tenancy.models import Organization


@pytest.mark.usefixtures("transactional_db")
def test_listener_is_woken_by_the_commit(organization: Organization) -> None:
    settings = connection.get_connection_params()
    with psycopg.connect(**{name: settings[name] for name in ("dbname", "user", "host", "port") if settings.get(name)}, autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        with transaction.atomic():
            signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={"session": "lost"})
            transaction.set_rollback(True)
        made = signal_add(organization=organization, kind=Signal.Kind.FREEZE_STARTED, facts={"session": "s1", "spent": Decimal("1.50")})
        heard = [told.payload for told in listening.notifies(timeout=5, stop_after=1)]
    assert heard == [f"{organization.pk} {made.pk}"]
    assert Signal.objects.get().facts == {"session": "s1", "spent": "1.5"}

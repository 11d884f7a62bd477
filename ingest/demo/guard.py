"""Sets the simulated organization's guard as a careful admin would, and has it look back on the days in which a job ran away."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from governance.tenancy.access import Actor
from ingest.guard.history import organization_look_back
from ingest.guard.models import GuardRule
from ingest.guard.services import default_rules_ensure, rule_change

LOOKED_BACK_DAYS = 10
# Loops and resent contexts are asked about at once; the others only tell, as in every new organization.
CHANGES: dict[str, dict[str, Any]] = {"repeat": {"action": "ask", "is_inline": True}, "growth": {"action": "ask"}}


@transaction.atomic
def rules_create(*, actor: Actor) -> None:
    """The rules, once: those that somebody has changed stay as they are."""
    default_rules_ensure(actor.organization)
    rules = GuardRule.objects.filter(organization=actor.organization, is_default=True, version=1, kind__in=CHANGES)
    for rule in rules:
        rule_change(actor=actor, rule=rule, **CHANGES[rule.kind])


def look_back(*, actor: Actor, until: datetime) -> int:
    """Records what the rules find in the days before the instant. Returns how many findings are new."""
    return organization_look_back(actor.organization, starts_at=until - timedelta(days=LOOKED_BACK_DAYS), ends_at=until)

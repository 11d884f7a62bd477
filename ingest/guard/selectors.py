"""Reads of the guard: rules, findings and trials that an actor may see."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from governance.budgets.models import Freeze
from governance.errors import NotFound
from governance.tenancy.access import Actor, scoped, visible
from ingest.guard.models import GuardFinding, GuardRule, GuardTrial


def rules_listed(actor: Actor, *, since: datetime) -> QuerySet[Any]:
    """The organization's rules, the oldest first, each with `found`: its findings since the instant."""
    return scoped(actor, GuardRule.objects.annotate(found=Count("findings", filter=Q(findings__at__gte=since)))).order_by("id")


def findings_visible(actor: Actor) -> QuerySet[Any]:
    """The findings in sessions the actor may see, latest first, each with `is_standing`: whether it still stops its session."""
    standing = Freeze.objects.filter(organization=actor.organization, pk=OuterRef("freeze_id"), ended_at=None)
    rows = visible(actor, GuardFinding.objects.select_related("rule", "ended_by__user"))
    return rows.annotate(is_standing=Exists(standing)).order_by("-at", "-id")


def finding_get(actor: Actor, finding_id: int) -> Any:
    """One finding. Raises NotFound for those the actor may not see."""
    found = findings_visible(actor).filter(pk=finding_id).first()
    if found is None:
        raise NotFound("There is no such finding here.")
    return found


def findings_of_session(actor: Actor, session_key: str) -> Sequence[Any]:
    """What was found in one session, latest first."""
    return list(findings_visible(actor).filter(session_key=session_key)[:50])


def trial_get(actor: Actor, trial_id: int) -> GuardTrial:
    """One trial of the organization. Raises NotFound."""
    found = scoped(actor, GuardTrial.objects.select_related("by__user")).filter(pk=trial_id).first()
    if found is None:
        raise NotFound("There is no such trial here.")
    return found

"""Writes of attributing anew: a run over history, and a rule tried on the last days before it is saved."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_draft
from governance.tenancy.access import Actor, Right, require
from ingest.rerating.models import ReratingRun
from ingest.rerating.revising import draft_kept
from ingest.rerating.services import run_create

KIND = ReratingRun.Kind.ATTRIBUTION
TRIED_DAYS = 30


def attribution_run_create(
    *,
    actor: Actor,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    team_ids: tuple[int, ...] | list[int] = (),
    moves_owners: bool = False,
) -> ReratingRun:
    """Makes a run that says anew whose the calls of [starts_at, ends_at) are; what would move is worked out first. Raises Forbidden, Invalid."""
    return run_create(
        actor=actor, kind=KIND, reason=reason, starts_at=starts_at, ends_at=ends_at, team_ids=team_ids, moves_owners=moves_owners
    )


@transaction.atomic
def rule_try(*, actor: Actor, rule: AttributionRule | None = None, now: datetime | None = None, **fields: Any) -> ReratingRun:
    """Works out what a rule, or a change of one, would move of the last 30 days, without saving it. Fields as in `rule_create`. Raises Forbidden, Invalid."""
    require(actor, Right.MANAGE_ORGANIZATION)
    draft = rule_draft(actor=actor, rule=rule, **fields)
    now = now or timezone.now()
    return run_create(
        actor=actor,
        kind=KIND,
        reason=f"What {draft.name} would do"[:300],
        starts_at=now - timedelta(days=TRIED_DAYS),
        ends_at=now,
        draft=draft_kept(draft),
    )

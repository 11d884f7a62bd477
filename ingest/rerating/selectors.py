"""Reads of re-rating: runs, what a run has changed call by call, closed months and what was posted for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from governance import sql
from governance.errors import Forbidden
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped
from governance.tenancy.models import MonthClose
from ingest.amending.models import Adjustment, EventAmendment
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun

LATE = """
SELECT date_trunc('month', occurred_at AT TIME ZONE %(zone)s)::date AS month, count(*) AS calls, coalesce(sum(cost), 0) AS cost, max(counted_at) AS last
FROM usage_event WHERE organization_id = %(organization)s AND counted_at IS NOT NULL GROUP BY 1 ORDER BY 1 DESC
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """What was counted in open months for a closed one: by changes of its calls (their cause), or by calls that came late (no cause)."""

    month: date
    cause: str
    reference: str
    calls: int
    cost: Decimal
    at: datetime


def runs_visible(actor: Actor, *, kind: str = ReratingRun.Kind.RATING) -> QuerySet[ReratingRun]:
    """All runs of a kind, newest first, for who sees every team's figures. Raises Forbidden for others."""
    require(actor, Right.VIEW_SPEND)
    if actor.team_ids is not None:
        raise Forbidden("Runs are shown to those who see every team.")
    return scoped(actor, ReratingRun.objects.filter(kind=kind).select_related("cause", "organization")).order_by("-created_at", "-id")


def run_get(actor: Actor, run_id: int, *, kind: str = ReratingRun.Kind.RATING) -> ReratingRun:
    """One run of a kind. Raises NotFound, and Forbidden."""
    found: ReratingRun = get_scoped(actor, runs_visible(actor, kind=kind), pk=run_id)
    return found


def run_amendments(run: ReratingRun) -> QuerySet[EventAmendment]:
    """Old and new of each call that the run has changed; found by its days, by which they are kept."""
    within = {"occurred_at__gte": run.starts_at, "occurred_at__lt": run.ends_at}
    return EventAmendment.objects.filter(organization=run.organization_id, cause=run.cause_id or 0, **within)


def events_of(run: ReratingRun, rows: Sequence[EventAmendment]) -> dict[Any, UsageEvent]:
    """The calls of some amendments, by their id: few enough for one page."""
    if not rows:
        return {}
    found = UsageEvent.objects.filter(
        organization=run.organization_id, occurred_at__in={row.occurred_at for row in rows}, id__in={row.event_id for row in rows}
    )
    return {event.id: event for event in found.order_by()}


def months_closed(actor: Actor) -> QuerySet[MonthClose]:
    """Every close of a month, reopened or not, latest month first."""
    require(actor, Right.VIEW_SPEND)
    return scoped(actor, MonthClose.objects.select_related("closed_by__user", "reopened_by__user")).order_by("-month", "-closed_at")


def months_posted(actor: Actor) -> list[Posted]:
    """What was posted for closed months, latest month first."""
    sums = scoped(actor, Adjustment.objects.all()).values("month", "cause__kind", "cause__reason", "cause__reference", "cause__at")
    rows = [
        Posted(row["month"], row["cause__reason"], row["cause__reference"], row["calls"], row["cost"], row["cause__at"])
        for row in sums.annotate(calls=Sum("calls"), cost=Sum("cost")).order_by("-month", "-cause__at", "cause__reason")
    ]
    given = {"organization": actor.organization.pk, "zone": actor.organization.time_zone}
    rows += [Posted(row.month, "", "", row.calls, row.cost, row.last) for row in sql.rows(LATE, given)]
    return sorted(rows, key=lambda row: (row.month, row.at), reverse=True)

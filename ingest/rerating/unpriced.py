"""Looks for unpriced calls whose model has a price now, and re-rates them."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Max, Min
from django.utils import timezone

from governance import sql
from governance.errors import Conflict
from governance.periods import local_midnight
from governance.pricing.book import book_changed_at, current_book
from governance.pricing.terms import terms_now
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization
from ingest.models import UsageRollupDay
from ingest.rerating.models import ReratingLook, ReratingRun
from ingest.rerating.rating import ALSO, Rerater
from ingest.rerating.services import run_create, run_start_at_once
from ingest.services.amend_statements import selected

# A process may rate by the book it had for a moment after prices have moved, and what it stores then is seen later still: until so long
# after the last change, looking once is not enough.
SETTLED = timedelta(minutes=10)
# So many of a model's calls are tried: where none of them has a price, the rest is taken to have none. A call of a closed month stays without a
# cost once that was posted for it, and is not tried again.
TRIED = 20
SAMPLE = f"""
SELECT {selected(ALSO)} FROM usage_event e
WHERE e.organization_id = %(organization)s AND e.occurred_at >= %(first)s AND e.occurred_at < %(last)s AND e.provider = %(provider)s
    AND e.model = %(model)s AND e.cost IS NULL AND (e.input_tokens IS NOT NULL OR e.output_tokens IS NOT NULL) AND NOT EXISTS (
        SELECT FROM event_amendment a WHERE a.organization_id = e.organization_id AND a.occurred_at = e.occurred_at AND a.event_id = e.id
            AND a.is_posted AND a.new_cost IS NOT NULL)
ORDER BY e.occurred_at DESC LIMIT {TRIED}
"""  # noqa: S608 - built from constants


def unpriced_rerate(organization: Organization, *, now: datetime | None = None) -> list[int]:
    """Starts a run for each model whose unpriced calls have a price now; looks only where prices have moved since. Returns the runs' ids."""
    now, book, changed_at = now or timezone.now(), current_book(refresh=True), book_changed_at()
    stamp = f"{book.version}:{organization.config_version}"
    look = ReratingLook.objects.filter(organization=organization).first()
    if look is not None and look.stamp == stamp:
        return []
    rerater, runs, is_waiting = Rerater(book, terms_now(organization)), [], False
    for found in _models(organization):
        bounds = local_midnight(found["first"], organization.zone), local_midnight(found["last"] + timedelta(days=1), organization.zone)
        parameters = {"organization": organization.pk, "provider": found["provider"], "model": found["model"], "first": bounds[0], "last": bounds[1]}
        if any(rerater.changes(row) for row in sql.rows(SAMPLE, parameters)):
            run = _run(organization, found, bounds)
            is_waiting = is_waiting or run is None
            runs += [] if run is None else [run.pk]
    if not is_waiting and (changed_at is None or now - changed_at >= SETTLED):
        ReratingLook.objects.update_or_create(organization=organization, defaults={"stamp": stamp, "at": now})
    return runs


def _models(organization: Organization) -> list[dict[str, Any]]:
    """Models with calls of known size that have no price: by whom, and the first and the last day."""
    rows = UsageRollupDay.objects.filter(organization=organization, unpriced_calls__gt=F("unmeasured_calls"))
    return [dict(row) for row in rows.order_by("provider", "model").values("provider", "model").annotate(first=Min("day"), last=Max("day"))]


def _run(organization: Organization, found: dict[str, Any], bounds: tuple[datetime, datetime]) -> ReratingRun | None:
    """A run that is under way; None where another run is at work on these days, so that it has to wait."""
    actor = system_actor(organization)
    try:
        with transaction.atomic():
            run = run_create(
                actor=actor, reason=f"A price for {found['model']} is there"[:300], starts_at=bounds[0], ends_at=bounds[1],
                providers=[found["provider"]] if found["provider"] else [], models=[found["model"]], is_unpriced_only=True,
            )
            run_start_at_once(actor=actor, run=run)
            return run
    except Conflict:
        return None

"""Celery edge of pricing: the daily reading of price sources."""

from celery import shared_task

from governance.pricing.sync.services import source_sync, sources_due


@shared_task
def prices_sync() -> int:
    """Reads every source that is on. Returns how many were read in full."""
    return sum(source_sync(actor=None, source=source).state != "failed" for source in sources_due())

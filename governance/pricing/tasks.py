"""Celery edge of pricing: the daily reading of price sources and exchange rates."""

import logging

from celery import shared_task

from governance.errors import DomainError
from governance.notices.addresses import Unreachable
from governance.pricing.exchanging import ecb_read
from governance.pricing.sync.services import source_sync, sources_due

log = logging.getLogger(__name__)


@shared_task
def prices_sync() -> int:
    """Reads every source that is on. Returns how many were read in full."""
    return sum(source_sync(actor=None, source=source).state != "failed" for source in sources_due())


@shared_task
def rates_read() -> int:
    """Reads the European Central Bank's rates of the day. Returns how many are new; what cannot be read changes nothing."""
    try:
        return ecb_read()
    except (DomainError, Unreachable) as problem:
        log.warning("No exchange rates were read: %s", problem)
        return 0


@shared_task
def price_source_sync(source: str) -> str:
    """Reads one source, as somebody asked for."""
    return source_sync(actor=None, source=source).state

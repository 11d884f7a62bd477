"""Celery edge of counting once: the later pass."""

from celery import shared_task
from django.utils import timezone

from ingest.once.later import pass_run_all


@shared_task
def sightings_pass() -> int:
    """Settles what reports of calls the storing transaction could not. Returns how many pairs were joined."""
    return pass_run_all(now=timezone.now())

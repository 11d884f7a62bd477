"""Celery edge of quarantine: looks whether it grows."""

from celery import shared_task
from django.utils import timezone

from ingest.quarantine.watch import quarantine_watch


@shared_task(name="ingest.quarantine.tasks.quarantine_look")
def quarantine_look() -> int:
    """Tells of organizations whose quarantine grows. Returns how many there were."""
    return quarantine_watch(now=timezone.now())

"""Celery edge of the way in: partitions made ahead and dropped by retention."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Max
from django.utils import timezone

from governance.tenancy.models import Organization
from ingest.partitions import months_ensure, months_retain


@shared_task
def partitions_ensure() -> list[str]:
    """Makes the months that are needed soon, and those that events have strayed into."""
    return months_ensure(today=timezone.now().date())


@shared_task
def partitions_retain() -> list[str]:
    """Drops months that every organization's retention is over for."""
    longest = Organization.objects.aggregate(days=Max("retention_days"))["days"]
    return months_retain(oldest=(timezone.now() - timedelta(days=longest)).date()) if longest else []

"""Celery edge of the way in: partitions made ahead and dropped by retention, and idempotency keys forgotten."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Max
from django.utils import timezone

from governance.tenancy.models import Organization
from ingest.arrivals import arrivals_forget
from ingest.doors.repeats import REMEMBERED
from ingest.guard.tasks import guard_forget, guard_look, guard_trial
from ingest.importing.tasks import import_files_forget, import_work, imports_look
from ingest.models import IdempotencyKey
from ingest.once.tasks import sightings_pass
from ingest.own_hardware import months_fix_all
from ingest.partitions import months_ensure, months_retain
from ingest.price_changes.tasks import price_changes_tell
from ingest.quarantine.tasks import quarantine_look
from ingest.rerating.tasks import rerating_look, rerating_work
from ingest.signals.nested import spans_forget
from ingest.signals.streams import streams_forget

__all__ = [
    "guard_forget", "guard_look", "guard_trial", "hardware_months_fix", "idempotency_keys_forget", "import_files_forget", "import_work", "imports_look",
    "partitions_ensure", "partitions_retain", "price_changes_tell", "quarantine_look", "rerating_look", "rerating_work", "sightings_pass", "signals_forget",
]  # fmt: skip


@shared_task
def partitions_ensure() -> list[str]:
    """Makes the months that are needed soon, and those that events have strayed into."""
    return months_ensure(today=timezone.now().date())


@shared_task
def partitions_retain() -> list[str]:
    """Drops months that every organization's retention is over for."""
    longest = Organization.objects.aggregate(days=Max("retention_days"))["days"]
    return months_retain(oldest=(timezone.now() - timedelta(days=longest)).date()) if longest else []


@shared_task
def idempotency_keys_forget() -> int:
    """Forgets keys that were first used more than a day ago."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - REMEMBERED).delete()[0]


@shared_task
def signals_forget() -> int:
    """Forgets spans and metric streams that nothing refers to any more, and by the hour what came in long ago."""
    return spans_forget() + streams_forget() + arrivals_forget()


@shared_task
def hardware_months_fix() -> int:
    """Fixes what own hardware came to in months that are over."""
    return months_fix_all(now=timezone.now())

"""The sign of life: a task that beat asks for and the worker runs, so that it shows both and the broker between them."""

from celery import shared_task
from django.utils import timezone

from governance.conf.models import Heartbeat

WORKER = "worker"


@shared_task
def heartbeat() -> None:
    """Notes that the worker does its work."""
    Heartbeat.objects.update_or_create(name=WORKER, defaults={"at": timezone.now()})

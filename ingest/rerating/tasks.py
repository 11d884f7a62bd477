"""Celery edge of re-rating: runs are worked on, those whose worker died are taken up again, and unpriced calls are looked for."""

from celery import shared_task
from django.utils import timezone

from governance.tenancy.models import Organization
from ingest.rerating.unpriced import unpriced_rerate
from ingest.rerating.working import run_work, runs_stalled


@shared_task(name="ingest.rerating.tasks.rerating_work")
def rerating_work(run_id: int) -> None:
    """Works on one run for a while, and has itself called again where there is more."""
    if run_work(run_id):
        rerating_work.delay(run_id)


@shared_task(name="ingest.rerating.tasks.rerating_look")
def rerating_look() -> int:
    """Takes up runs that nobody works on, and re-rates unpriced calls whose price has come. Returns how many runs were started."""
    for run_id in runs_stalled(timezone.now()):
        rerating_work.delay(run_id)
    return sum(len(unpriced_rerate(organization)) for organization in Organization.objects.order_by("id"))

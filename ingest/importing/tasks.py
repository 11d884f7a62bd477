"""Celery edge of imports: runs are worked on, those whose worker died are taken up again, files that nobody wants are forgotten."""

from celery import shared_task
from django.utils import timezone

from ingest.importing.working import files_forget, import_run_work, runs_stalled


@shared_task(name="ingest.importing.tasks.import_work")
def import_work(run_id: int) -> None:
    """Works on one run for a while, and has itself called again where there is more."""
    if import_run_work(run_id):
        import_work.delay(run_id)


@shared_task(name="ingest.importing.tasks.imports_look")
def imports_look() -> int:
    """Takes up runs that nobody works on. Returns how many."""
    stalled = runs_stalled(timezone.now())
    for run_id in stalled:
        import_work.delay(run_id)
    return len(stalled)


@shared_task(name="ingest.importing.tasks.import_files_forget")
def import_files_forget() -> int:
    """Cancels imports that have waited for a week."""
    return files_forget(timezone.now())

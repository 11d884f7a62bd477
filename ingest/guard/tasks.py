"""Celery edge of the guard: the look every minute, and trials on history."""

from celery import shared_task
from django.utils import timezone

from governance.tenancy.models import Organization
from ingest.guard.history import trial_run
from ingest.guard.looking import organization_look
from ingest.guard.models import GuardTrial
from ingest.guard.services import default_rules_ensure, trials_forget


@shared_task(name="ingest.guard.tasks.guard_look")
def guard_look() -> int:
    """Looks at every organization's live sessions, having given it the default rules where it has none, and at trials that the queue lost. Returns how many findings are new."""
    count = 0
    for organization in Organization.objects.order_by("id"):
        default_rules_ensure(organization)
        count += organization_look(organization)
    for trial_id in GuardTrial.objects.filter(state=GuardTrial.State.WAITING).order_by("id").values_list("pk", flat=True):
        guard_trial.delay(trial_id)
    return count


@shared_task(name="ingest.guard.tasks.guard_trial")
def guard_trial(trial_id: int) -> None:
    """Works one trial out."""
    trial_run(trial_id)


@shared_task(name="ingest.guard.tasks.guard_forget")
def guard_forget() -> int:
    """Deletes old trials. Returns how many."""
    return trials_forget(now=timezone.now())

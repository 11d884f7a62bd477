"""/healthz: whether web, database, broker and worker are ready."""

from datetime import timedelta

from celery import current_app
from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

from governance.conf.models import Heartbeat
from governance.conf.tasks import WORKER

# Six beats: a worker that is busy with long tasks is late, one that is gone stays away.
PATIENCE = timedelta(seconds=30)


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 {"ready": true} or 503 {"ready": false, "not_ready": {part: why}}. That it answers at all shows the web server."""
    missing = database_fault() | broker_fault()
    if missing:
        return JsonResponse({"ready": False, "not_ready": missing}, status=503)
    return JsonResponse({"ready": True})


def database_fault() -> dict[str, str]:
    """What keeps database and worker from being ready; the worker's sign of life lies in the database."""
    try:
        at = Heartbeat.objects.filter(name=WORKER).values_list("at", flat=True).first()
    except Error:
        return {"database": "does not answer, or is not migrated", "worker": "not known while the database does not answer"}
    if at is None:
        return {"worker": "has not run a task yet"}
    if timezone.now() - at > PATIENCE:
        return {"worker": f"has run no task since {at:%Y-%m-%dT%H:%M:%SZ}"}
    return {}


def broker_fault() -> dict[str, str]:
    """What keeps the broker from being ready: a new connection is made and closed, which costs less than a millisecond on a socket."""
    try:
        with current_app.connection_for_write(connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=3)
    except (OperationalError, OSError):
        return {"broker": "does not answer"}
    return {}


urlpatterns = [path("healthz", healthz, name="healthz")]

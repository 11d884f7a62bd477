"""Celery edge of the outbox."""

from celery import shared_task

from governance.notices import services


@shared_task(name="governance.notices.tasks.notices_deliver")
def notices_deliver() -> None:
    """Sends the notices that are due."""
    services.notices_deliver()

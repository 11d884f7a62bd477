"""Celery edge of approvals."""

from celery import shared_task

from governance.approvals import services


@shared_task(name="governance.approvals.tasks.requests_expire")
def requests_expire() -> None:
    """Closes the requests whose time is over."""
    services.requests_expire()

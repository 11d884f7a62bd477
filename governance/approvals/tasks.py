"""Celery edge of approvals."""

from celery import shared_task

from governance.approvals import services


@shared_task(name="governance.approvals.tasks.requests_expire")
def requests_expire() -> None:
    """Closes the requests whose time is over, passes on those that were left lying, and reminds of reviews."""
    services.requests_expire()
    services.requests_refresh()
    services.requests_escalate()
    services.reviews_remind()

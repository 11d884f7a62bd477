"""Celery edge of the outbox."""

from celery import shared_task

from governance.notices import deliveries, forgetting, gathering, services

THREADS = 4  # a slow endpoint holds up one of them, not the others


@shared_task(name="governance.notices.tasks.notices_deliver")
def notices_deliver() -> None:
    """Sends the notices that are due, after gathering what was held."""
    gathering.held_gather()
    services.notices_deliver()


@shared_task(name="governance.notices.tasks.deliveries_send")
def deliveries_send() -> None:
    """Sends to webhooks and Slack channels what is due."""
    deliveries.deliveries_send(threads=THREADS)


@shared_task(name="governance.notices.tasks.team_digests_write")
def team_digests_write() -> None:
    """Writes the digests of teams that are due."""
    gathering.team_digests_write()


@shared_task(name="governance.notices.tasks.outbox_forget")
def outbox_forget() -> None:
    """Drops what was delivered long ago."""
    forgetting.outbox_forget()

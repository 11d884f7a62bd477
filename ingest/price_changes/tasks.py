"""Celery edge of price changes: organizations are told of what readings found."""

from celery import shared_task

from ingest.price_changes.telling import changes_tell


@shared_task(name="ingest.price_changes.tasks.price_changes_tell")
def price_changes_tell() -> int:
    """Tells of the runs nobody was told of yet."""
    return changes_tell()

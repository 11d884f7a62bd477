"""Wakes the delivery as soon as a transaction that wrote notices has committed."""

import logging
import threading

from celery import current_app
from django.db import connection, transaction

TASK = "governance.notices.tasks.notices_deliver"
log = logging.getLogger(__name__)
_under_way = threading.Lock()


def after_commit() -> None:
    """Asks for a delivery once the transaction commits; once, however many notices it wrote."""
    if not any(callback is wake for _, callback, *_ in connection.run_on_commit):
        transaction.on_commit(wake, robust=True)


def wake() -> None:
    """Queues the delivery without waiting: an unreachable broker takes seconds to refuse, and the caller may be storing usage.

    Nothing is lost when this fails, or when one is under way already: the schedule looks into the outbox every few seconds.
    """
    if _under_way.acquire(blocking=False):
        threading.Thread(target=_send, name="notices-nudge", daemon=True).start()


def is_idle() -> bool:
    """Whether no request for a delivery is under way in this process."""
    return not _under_way.locked()


def _send() -> None:
    try:
        current_app.send_task(TASK, retry=False, expires=60)
    except Exception as error:  # noqa: BLE001 - whatever keeps the broker from answering, the schedule takes over
        log.info("the queue did not take the nudge, the schedule will: %s", error)
    finally:
        _under_way.release()

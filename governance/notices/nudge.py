"""Wakes a delivery as soon as a transaction that wrote something to deliver has committed."""

import logging
import threading
from collections.abc import Callable

from celery import current_app
from django.db import connection, transaction

TASK = "governance.notices.tasks.notices_deliver"
DELIVERIES_TASK = "governance.notices.tasks.deliveries_send"
log = logging.getLogger(__name__)


class Nudge:
    """Queues one task without waiting: an unreachable broker takes seconds to refuse, and the caller may be storing usage.

    Nothing is lost when this fails: the schedule looks every few seconds. Calls that come while one is under way become one more.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self._state = threading.Lock()
        self._is_under_way = self._is_wanted_again = False

    def wake(self) -> None:
        """Asks for a run that begins after this call."""
        with self._state:
            if self._is_under_way:
                self._is_wanted_again = True
                return
            self._is_under_way = True
        threading.Thread(target=self._send, name="notices-nudge", daemon=True).start()

    def is_idle(self) -> bool:
        """Whether no request for a run is under way in this process."""
        with self._state:
            return not self._is_under_way

    def _send(self) -> None:
        while True:
            try:
                current_app.send_task(self.task, retry=False, expires=60)
            except Exception as error:  # noqa: BLE001 - whatever keeps the broker from answering, the schedule takes over
                log.info("the queue did not take the nudge, the schedule will: %s", error)
            with self._state:
                if not self._is_wanted_again:
                    self._is_under_way = False
                    return
                self._is_wanted_again = False


_mail, _deliveries = Nudge(TASK), Nudge(DELIVERIES_TASK)
wake = _mail.wake
wake_deliveries = _deliveries.wake


def after_commit(waking: Callable[[], None] = wake) -> None:
    """Asks for a delivery once the transaction commits; once, however much it wrote."""
    if not any(callback is waking for _, callback, *_ in connection.run_on_commit):
        transaction.on_commit(waking, robust=True)


def is_idle() -> bool:
    """Whether no request for a delivery is under way in this process."""
    return _mail.is_idle() and _deliveries.is_idle()

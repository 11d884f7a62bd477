"""What the log leaves out: what is no news to those who read it."""

import logging
import threading
import time
from dataclasses import dataclass

from governance.sql import PASSING

AGAIN_AFTER_S = 10.0


class NewsOnly(logging.Filter):
    """Drops Django's line for an answer 503 that a view gave: /healthz says for itself what is missing, the others have said why in a line of their own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503 or bool(record.exc_info)


@dataclass(slots=True)
class Told:
    """What was last said of one kind of fault, and how often it was met since."""

    at: float
    since: int = 0


class OnceInAWhile(logging.Filter):
    """Tells each way in which the database fails once in ten seconds, and then how often it was met besides.

    While it is away every request and every task meets it: thousands a minute, each with a hundred lines on where. Where a request
    was when its connection was lost says nothing, so that is left out; where it was when the database refused is told.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, Told] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, PASSING):
            return True
        state = _state(error)
        with self._lock:
            now, told = time.monotonic(), self._told.get(state)
            if told is not None and now - told.at < AGAIN_AFTER_S:
                told.since += 1
                return False
            self._told[state] = Told(now)
        if _is_lost(state):
            besides = f"; {told.since} more since the last such line" if told and told.since else ""
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            text = record.getMessage().splitlines()[0]
            record.msg, record.args = "%s", (f"{text}{'' if why in text else f' ({why})'}{besides}",)
            record.exc_info = record.exc_text = None
        return True


def _state(error: BaseException) -> str:
    """The server's code for it; empty where there was no server to give one."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""


def _is_lost(state: str) -> bool:
    """Whether the connection was lost or not had, and not a statement refused. 57P: the server is being stopped or started, 08: the line broke."""
    return state[:3] == "57P" or state[:2] in ("", "08")


class MeantThreads(logging.Filter):
    """Drops granian's doubt about the number of threads, which is meant: see `Installation.web`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Python threads" not in str(record.msg)

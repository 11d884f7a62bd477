"""What the log leaves out: what is no news to those who read it."""

import logging


class NewsOnly(logging.Filter):
    """Drops Django's line for a /healthz that answered 503, which says for itself what is missing and is asked every few seconds."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return getattr(record, "status_code", None) != 503 or getattr(request, "path", None) != "/healthz"


class MeantThreads(logging.Filter):
    """Drops granian's doubt about the number of threads, which is meant: see `Installation.web`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Python threads" not in str(record.msg)

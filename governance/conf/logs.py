"""What the log leaves out: the answers of /healthz, which says for itself what is missing and is asked every few seconds."""

import logging


class NewsOnly(logging.Filter):
    """Drops Django's line for a /healthz that answered 503; everything else passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return getattr(record, "status_code", None) != 503 or getattr(request, "path", None) != "/healthz"

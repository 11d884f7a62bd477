"""The e-mail backend where no mail server is named: one line of each message in the log, all of it in <var>/log/mail.log."""

import logging
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from governance.conf import embedded

logger = logging.getLogger("mail")


class LogBackend(BaseEmailBackend):
    """Sends nothing. Where the data folder cannot be written, the log gets the whole message."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            whole = message.message().as_string()
            where = _kept(whole)
            logger.info("to %s: %s (%s)", ", ".join(message.recipients()), message.subject, where or whole)
        return len(email_messages)


def _kept(whole: str) -> str:
    """Appends the message to the file and names it; empty when that cannot be done."""
    path = embedded.log_of(settings.VAR_DIR, "mail")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{whole}\n\n")
    except OSError:
        return ""
    return f"in {path}"

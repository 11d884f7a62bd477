"""Writes notices into the outbox, and sends what waits there."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from smtplib import SMTPException
from time import monotonic
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.errors import Conflict
from governance.ids import hash16
from governance.notices import nudge
from governance.notices.models import Notice
from governance.notices.preferences import Kind, recipients_of
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member, Organization

log = logging.getLogger(__name__)

ATTEMPTS = 12
FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(hours=4)
# A claimed notice that nobody reported on is sent again after this; well above what one message may take (EMAIL_TIMEOUT).
LEASE = timedelta(minutes=5)
RUN_NOTICES = 200
RUN_SECONDS = 60.0
# So many failures in a row mean that the mail server is away: the run ends and does not use up every notice's attempts.
FAILURES_IN_A_ROW = 3
LONGEST_CAUSE = 150
# Nobody shall think that a simulated session has really spent their money.
DEMO = "[Demo] "

COLUMNS = {
    "member": "bigint",
    "recipient": "text",
    "body": "text",
    "key": "text",
    "state": "text",
    "gather": "text",
    "due_at": "timestamptz",
}
ADD = f"""
INSERT INTO notice (organization_id, member_id, kind, channel, recipient, subject, body, key, state, gather, attempts, next_attempt_at, last_error, created_at)
SELECT %(organization)s, r.member, %(kind)s::text, 'email', r.recipient, %(subject)s::text, r.body, r.key, r.state, r.gather, 0, r.due_at, '', %(now)s::timestamptz
FROM {sql.unnest("r", COLUMNS)}
ORDER BY r.member
ON CONFLICT (organization_id, key) DO NOTHING
"""  # noqa: S608 - fixed names only
State = Notice.State


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one run of the outbox did."""

    sent: int = 0
    failed: int = 0


def notice_add(
    *,
    organization: Organization,
    recipients: Sequence[Member],
    subject: str,
    body: str | Callable[[Member], str],
    key: str,
    kind: Kind = Kind.OTHER,
) -> int:
    """Puts a message to active members of the organization into the outbox, within the caller's transaction. Returns how many are new.

    `key` names the cause. Each recipient is told once for a key, however often this is called. What a person chose for the kind holds:
    not at all, in the daily mail, after quiet hours; many of a kind within minutes are gathered into one. `body` may be a function of
    the member, for what each is told differently.
    """
    if not recipients:
        return 0
    now = timezone.now()
    people = {member.pk: member for member in recipients}
    key = key if len(key) <= LONGEST_CAUSE else str(hash16(key))
    found = recipients_of(organization.pk, sorted(people), kind=kind, now=now)
    chosen = [
        (person, sending, body if isinstance(body, str) else body(people[person.member_id]))
        for person in found
        if (sending := person.sending(kind, now)) is not None
    ]
    if not chosen:
        return 0
    values = {
        "organization": organization.pk,
        "kind": kind.value,
        # A line break in a subject would be refused as a forged header.
        "subject": " ".join(subject.split())[:200],
        "now": now,
        "member": [person.member_id for person, _, _ in chosen],
        "recipient": [person.email for person, _, _ in chosen],
        "body": [text for _, _, text in chosen],
        "key": [f"{key}:{person.member_id}" for person, _, _ in chosen],
        "state": [(State.HELD if sending.gather else State.WAITING).value for _, sending, _ in chosen],
        "gather": [sending.gather.value for _, sending, _ in chosen],
        "due_at": [sending.at for _, sending, _ in chosen],
    }
    added = sql.execute(ADD, values)
    if added:
        nudge.after_commit()
    return added


def notices_deliver() -> Delivery:
    """Sends what is due, until nothing is left, the run has lasted a minute, or the mail server seems to be away.

    At least once: a notice is marked after it was handed to the mail server, so a crash between the two sends it again.
    Any number of runs may go on at the same time.
    """
    sent = failed = in_a_row = 0
    until = monotonic() + RUN_SECONDS
    mail = get_connection()
    try:
        while sent + failed < RUN_NOTICES and in_a_row < FAILURES_IN_A_ROW and monotonic() < until:
            notice = _claim()
            if notice is None:
                break
            is_sent = _deliver(notice, mail)
            sent, failed, in_a_row = (sent + 1, failed, 0) if is_sent else (sent, failed + 1, in_a_row + 1)
    finally:
        _close(mail)
    return Delivery(sent=sent, failed=failed)


@transaction.atomic
def notice_retry(*, actor: Actor, notice_id: int) -> Notice:
    """Gives a dead notice another round of attempts. Raises Conflict unless it is dead."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    notice = access.get_scoped(actor, Notice.objects.select_for_update(), pk=notice_id)
    if notice.state != Notice.State.DEAD:
        raise Conflict("Only a notice that was given up can be sent again.")
    notice.state, notice.attempts, notice.next_attempt_at = Notice.State.WAITING, 0, timezone.now()
    notice.save(update_fields=["state", "attempts", "next_attempt_at"])
    audit_record(actor=actor, action="notice.retried", target=("notice", notice.pk), old={"state": "dead"}, new={"state": "waiting"})
    nudge.after_commit()
    return notice


def delay_after(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts (1 or more): half a minute, doubling, four hours at most."""
    doublings: int = 2 ** min(attempts - 1, 20)
    return min(FIRST_DELAY * doublings, LONGEST_DELAY)


@transaction.atomic
def _claim() -> Notice | None:
    """The notice that is due longest, taken for the length of the lease; the attempt is counted before it is made.

    One whose attempts were all used up by crashes, so that no failure was ever noted, is given up here.
    """
    now = timezone.now()
    due = Notice.objects.filter(state=Notice.State.WAITING, next_attempt_at__lte=now).order_by("next_attempt_at", "id")
    while (notice := due.select_for_update(skip_locked=True).first()) is not None:
        if notice.attempts < ATTEMPTS:
            notice.attempts += 1
            notice.next_attempt_at = now + LEASE
            notice.save(update_fields=["attempts", "next_attempt_at"])
            return notice
        notice.state, notice.last_error = Notice.State.DEAD, "Every attempt ended without an answer."
        notice.save(update_fields=["state", "last_error"])
    return None


def _deliver(notice: Notice, mail: BaseEmailBackend) -> bool:
    """Makes one attempt and notes how it went. Whatever is wrong with one notice stays with it."""
    try:
        mail.open()
        _message(notice, mail).send()
    except (SMTPException, OSError, ValueError, UnicodeError) as error:
        _note_failure(notice, error)
    except Exception as error:  # other backends raise errors of their own
        log.exception("notice %s could not be sent", notice.pk)
        _note_failure(notice, error)
    else:
        waiting = Notice.objects.filter(pk=notice.pk, state=Notice.State.WAITING)
        waiting.update(state=Notice.State.SENT, sent_at=timezone.now(), last_error="")
        return True
    _close(mail)
    return False


def _message(notice: Notice, mail: BaseEmailBackend) -> EmailMessage:
    """The mail. Its Message-ID stays the same over attempts, so that a mailbox can drop the second copy."""
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    headers = {"Message-ID": f"<notice-{notice.pk}@{host}>", "Auto-Submitted": "auto-generated"}
    subject = f"{DEMO}{notice.subject}" if notice.organization.is_demo else notice.subject
    return EmailMessage(subject, notice.body, to=[notice.recipient], connection=mail, headers=headers)


def _note_failure(notice: Notice, error: Exception) -> None:
    is_last = notice.attempts >= ATTEMPTS
    Notice.objects.filter(pk=notice.pk, state=Notice.State.WAITING).update(
        state=Notice.State.DEAD if is_last else Notice.State.WAITING,
        next_attempt_at=timezone.now() + delay_after(notice.attempts),
        last_error=f"{type(error).__name__}: {error}".replace("\x00", "")[:1000],
    )
    log.warning("notice %s: attempt %s of %s failed: %s", notice.pk, notice.attempts, ATTEMPTS, error)


def _close(mail: BaseEmailBackend) -> None:
    """Drops the connection, so that the next attempt begins with a fresh one."""
    try:
        mail.close()
    except (SMTPException, OSError):
        log.debug("the mail connection did not close cleanly", exc_info=True)

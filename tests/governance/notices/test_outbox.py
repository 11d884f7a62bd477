"""The outbox: told once, delivered at least once, and nobody's trouble holds up the others."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.locmem import EmailBackend as MailboxBackend
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.fixtures import Settings

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, NotFound
from governance.notices import nudge, selectors, services, tasks
from governance.notices.models import Notice
from governance.notices.services import Delivery, notice_add, notice_retry, notices_deliver
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.governance.notices.mail_server import MailServer, running, subjects

HERE = __name__


class Away(BaseEmailBackend):
    """A mail server that cannot be reached."""

    attempts = 0

    def open(self) -> bool:
        Away.attempts += 1
        raise ConnectionRefusedError("no mail server here")


class TakesThenFails(MailboxBackend):
    """Hands the message over, then the connection breaks before the answer."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        super().send_messages(messages)
        raise TimeoutError("no answer")


class TakesThenDies(MailboxBackend):
    """Hands the message over, then the process is killed."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        super().send_messages(messages)
        raise SystemExit("killed")


@pytest.fixture(autouse=True)
def mailbox(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    Away.attempts = 0


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    with running() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        yield server


def add(*members: Member, key: str = "cause", subject: str = "Frozen") -> int:
    return notice_add(organization=members[0].organization, recipients=members, subject=subject, body="What happened.", key=key)


def test_added_notices_are_sent_and_marked(admin: Member, lead: Member) -> None:
    assert add(admin, lead) == 2

    assert notices_deliver() == Delivery(sent=2)

    assert {message.to[0] for message in mail.outbox} == {admin.user.email, lead.user.email}
    assert set(Notice.objects.values_list("state", "attempts")) == {("sent", 1)}
    assert notices_deliver() == Delivery()


def test_mail_of_a_demo_says_that_it_is_one(admin: Member, stranger: Member) -> None:
    Organization.objects.filter(pk=admin.organization_id).update(is_demo=True)
    add(admin, subject="Frozen: session s1")
    add(stranger, subject="Frozen: session s2")
    notices_deliver()
    assert sorted(message.subject for message in mail.outbox) == ["Frozen: session s2", "[Demo] Frozen: session s1"]


def test_once_per_key_and_recipient(admin: Member, lead: Member) -> None:
    assert [add(admin), add(admin, admin), add(admin, lead), add(admin, key="other")] == [1, 0, 1, 1]


def test_only_active_members_of_the_organization_are_told(
    organization: Organization, admin: Member, lead: Member, stranger: Member, engineer: Member
) -> None:
    Member.objects.filter(pk=lead.pk).update(is_active=False)
    engineer.user.is_active = False
    engineer.user.save(update_fields=["is_active"])

    assert notice_add(organization=organization, recipients=[admin, lead, stranger, engineer], subject="s", body="b", key="k") == 1
    assert notice_add(organization=organization, recipients=[], subject="s", body="b", key="k") == 0


def test_subject_is_one_short_line_and_long_keys_stay_apart(admin: Member) -> None:
    add(admin, key="k" * 300, subject="a\r\nBcc: all@example.com " + "x" * 300)
    add(admin, key="k" * 301)
    add(admin, key="k" * 300)

    first, _ = Notice.objects.order_by("id")
    assert "\n" not in first.subject
    assert len(first.subject) == 200
    assert notices_deliver().sent == 2


def test_notice_vanishes_with_the_transaction_that_wrote_it(admin: Member) -> None:
    with transaction.atomic():
        add(admin)
        transaction.set_rollback(True)

    assert Notice.objects.count() == 0


def test_mail_server_away_backs_off_and_is_not_hammered(settings: Settings, admin: Member) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.Away"
    for number in range(8):
        add(admin, key=f"cause {number}")
    now = timezone.now()

    assert notices_deliver() == Delivery(failed=services.FAILURES_IN_A_ROW)

    assert Away.attempts == services.FAILURES_IN_A_ROW
    tried = Notice.objects.filter(attempts=1)
    assert {notice.last_error for notice in tried} == {"ConnectionRefusedError: no mail server here"}
    assert all(notice.next_attempt_at >= now + services.FIRST_DELAY for notice in tried)
    assert Notice.objects.filter(attempts=0).count() == 5


def test_back_off_doubles_up_to_four_hours() -> None:
    delays = [services.delay_after(attempts) for attempts in range(1, services.ATTEMPTS)]

    assert delays[:4] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert all(later == min(2 * earlier, timedelta(hours=4)) for earlier, later in pairwise(delays))
    assert timedelta(hours=8) < sum(delays, timedelta()) < timedelta(hours=16)


def test_given_up_after_the_last_attempt_and_sent_again_on_demand(
    settings: Settings, admin: Member, engineer: Member, stranger: Member
) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.Away"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        add(admin)
        for _ in range(services.ATTEMPTS):
            assert notices_deliver() == Delivery(failed=1)
            assert notices_deliver() == Delivery()
            clock.shift(services.LONGEST_DELAY)
        assert notices_deliver() == Delivery()
    dead = selectors.notices_dead(member_actor(admin)).get()
    assert (dead.state, dead.attempts) == ("dead", services.ATTEMPTS)
    assert selectors.notices_dead(member_actor(stranger)).count() == 0
    with pytest.raises(Forbidden):
        selectors.notices_dead(member_actor(engineer))
    with pytest.raises(Forbidden):
        notice_retry(actor=member_actor(engineer), notice_id=dead.pk)
    with pytest.raises(NotFound):
        notice_retry(actor=member_actor(stranger), notice_id=dead.pk)

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    notice_retry(actor=member_actor(admin), notice_id=dead.pk)

    assert notices_deliver() == Delivery(sent=1)
    assert AuditRecord.objects.filter(action="notice.retried").count() == 1
    with pytest.raises(Conflict):
        notice_retry(actor=member_actor(admin), notice_id=dead.pk)


def test_answer_lost_after_the_send_sends_again_under_the_same_id(settings: Settings, admin: Member) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.TakesThenFails"
    add(admin)
    assert notices_deliver() == Delivery(failed=1)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    with time_machine.travel(timezone.now() + services.FIRST_DELAY * 2):
        assert notices_deliver() == Delivery(sent=1)

    assert len(mail.outbox) == 2
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 1


def test_crash_between_send_and_mark_sends_again_after_the_lease(settings: Settings, admin: Member) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.TakesThenDies"
    add(admin)
    with pytest.raises(SystemExit):
        notices_deliver()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert Notice.objects.get().state == "waiting"
    assert notices_deliver() == Delivery()

    with time_machine.travel(timezone.now() + services.LEASE + timedelta(seconds=1)):
        assert notices_deliver() == Delivery(sent=1)

    assert len(mail.outbox) == 2


def test_notice_that_kills_every_attempt_is_given_up(settings: Settings, admin: Member, lead: Member) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.TakesThenDies"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        add(admin)
        for _ in range(services.ATTEMPTS):
            with pytest.raises(SystemExit):
                notices_deliver()
            clock.shift(services.LEASE + timedelta(seconds=1))
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        add(lead)

        assert notices_deliver() == Delivery(sent=1)

    assert Notice.objects.get(recipient=admin.user.email).state == "dead"


def test_refused_recipient_does_not_hold_up_the_others(mail_server: MailServer, admin: Member, lead: Member, engineer: Member) -> None:
    mail_server.refused.add(admin.user.email)
    add(admin, lead, engineer)

    assert notices_deliver() == Delivery(sent=2, failed=1)

    assert {message["To"] for message in mail_server.received} == {lead.user.email, engineer.user.email}
    assert "550" in Notice.objects.get(recipient=admin.user.email).last_error


def test_many_refused_recipients_first_in_line_only_delay_the_others(mail_server: MailServer, admin: Member, lead: Member) -> None:
    mail_server.refused.add(admin.user.email)
    for number in range(services.FAILURES_IN_A_ROW + 2):
        add(admin, key=f"cause {number}")
    add(lead)

    runs = [notices_deliver() for _ in range(2)]

    assert [run.sent for run in runs] == [0, 1]
    assert subjects(mail_server) == ["Frozen"]


def test_real_mail_says_who_it_is_from_and_that_no_person_wrote_it(mail_server: MailServer, settings: Settings, admin: Member) -> None:
    add(admin, subject="Frozen: Zürich at 100.00 USD")
    notices_deliver()

    message = mail_server.received[0]
    assert (message["From"], message["Auto-Submitted"]) == (settings.DEFAULT_FROM_EMAIL, "auto-generated")
    assert message["Message-ID"] == f"<notice-{Notice.objects.get().pk}@localhost>"
    assert message.get_content_type() == "text/plain"


def test_mail_server_that_hangs_up_after_taking_the_message(mail_server: MailServer, admin: Member, lead: Member) -> None:
    mail_server.hangs_up_after_taking = True
    add(admin, lead)

    assert notices_deliver() == Delivery(failed=2)
    mail_server.hangs_up_after_taking = False
    with time_machine.travel(timezone.now() + services.FIRST_DELAY * 2):
        assert notices_deliver() == Delivery(sent=2)

    assert len(mail_server.received) == 4


@pytest.mark.django_db(transaction=True)
def test_several_runs_at_once_send_each_notice_once(mail_server: MailServer, admin: Member) -> None:
    for number in range(40):
        add(admin, key=f"cause {number}", subject=f"Notice {number}")
    start = threading.Barrier(4)

    def run() -> Delivery:
        try:
            start.wait(10)
            return notices_deliver()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        runs = [running_.result(60) for running_ in [threads.submit(run) for _ in range(4)]]

    assert sum(run.sent for run in runs) == 40
    assert sorted(subjects(mail_server)) == sorted(f"Notice {number}" for number in range(40))


def test_task_delivers(admin: Member) -> None:
    add(admin)

    tasks.notices_deliver()

    assert len(mail.outbox) == 1


def test_commit_asks_for_one_delivery_however_many_notices(
    admin: Member, lead: Member, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(current_app._get_current_object(), "send_task", lambda name, **options: sent.append(name))

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        add(admin)
        add(lead)
        add(lead)

    assert [callback is nudge.wake for callback in callbacks].count(True) == 1
    _until(lambda: sent == [nudge.TASK])


def test_unreachable_broker_neither_raises_nor_delays_the_caller(
    admin: Member, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    held, asked = threading.Event(), threading.Event()

    def send_task(name: str, **options: Any) -> None:
        asked.set()
        held.wait(10)
        raise ConnectionError("no broker here")

    monkeypatch.setattr(current_app._get_current_object(), "send_task", send_task)
    started = time.monotonic()
    for number in range(3):
        with django_capture_on_commit_callbacks(execute=True):
            add(admin, key=f"cause {number}")
    assert time.monotonic() - started < 2
    assert asked.wait(5)
    held.set()
    _until(nudge.is_idle)

    assert Notice.objects.filter(state="waiting").count() == 3


@pytest.mark.processes
def test_nudge_with_a_real_dead_broker_returns_at_once() -> None:
    script = (
        "import django, time; django.setup()\n"
        "from governance.notices import nudge\n"
        "started = time.monotonic(); nudge.wake(); print(time.monotonic() - started)\n"
        "deadline = time.monotonic() + 30\n"
        "while not nudge.is_idle() and time.monotonic() < deadline: time.sleep(0.05)\n"
        "print(nudge.is_idle())\n"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "governance.conf.settings", "BROKER_URL": "redis://127.0.0.1:1/0"}

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True)

    took, is_idle = done.stdout.split()
    assert float(took) < 0.5
    assert is_idle == "True"
    assert "the schedule will" in done.stderr


def _until(holds: Any) -> None:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()

"""The stream with its real process: everything that is committed is heard once, by those who may hear it, also across reconnects."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from governance.budgets.services import freeze_start, freeze_stop
from governance.notices.models import Signal
from governance.notices.signals import signal_add
from governance.notices.stream.listening import Mark, mark_of
from governance.notices.stream.serving import PATH
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Scope, Team
from governance.tenancy.services import api_key_revoke
from tests.conftest import KeyInHand, key_of
from tests.governance.budgets.test_freezes import seen
from tests.ingest.doors.test_live import free_port

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
Told = dict[str, Any]


class Reading:
    """One open stream, read as it comes."""

    def __init__(self, port: int, secret: str, mark: str = "", *, takes: int | None = None) -> None:
        self.client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        if takes is not None:
            # Without this the kernel may take as much for a reader as a whole test sends.
            self.client.sock = socket.socket()
            self.client.sock.settimeout(60)
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
            self.client.sock.connect(("127.0.0.1", port))
        headers = {"Authorization": f"Bearer {secret}"} | ({"Last-Event-ID": mark} if mark else {})
        self.client.request("GET", PATH, headers=headers)
        self.answer = self.client.getresponse()
        self.mark = mark
        self.events: list[str] = []

    def message(self) -> Told | None:
        """The next message that carries something, None for one that only moves the mark. Raises EOFError when the stream has ended."""
        lines: list[bytes] = []
        while (line := self.answer.readline()) not in (b"\n", b""):
            lines.append(line)
        if line == b"":
            raise EOFError
        fields = dict(line.decode().rstrip("\n").split(": ", 1) for line in lines if not line.startswith(b":"))
        self.mark = fields.get("id", self.mark)
        if "data" in fields:
            self.events.append(fields["event"])
        return json.loads(fields["data"]) if "data" in fields else None

    def opened(self) -> "Reading":
        """Waits until what comes next is live."""
        while self.message() is not None:
            pass
        return self

    def take(self, number: int) -> list[Told]:
        found: list[Told] = []
        while len(found) < number:
            if (told := self.message()) is not None:
                found.append(told)
        return found

    def until_live(self) -> list[Told]:
        """What was missed, up to where what comes next is live."""
        found: list[Told] = []
        while (told := self.message()) is not None:
            found.append(told)
        return found

    def close(self) -> None:
        self.answer.close()
        self.client.close()


class Stream:
    """The process, and the streams that a test opened."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port, self.process = port, process
        self.open: list[Reading] = []

    def read(self, key: KeyInHand, mark: str = "", *, takes: int | None = None) -> Reading:
        found = Reading(self.port, key.secret, mark, takes=takes)
        self.open.append(found)
        assert (found.answer.status, found.answer.getheader("Content-Type")) == (200, "text/event-stream; charset=utf-8")
        return found if mark else found.opened()


@contextmanager
def started() -> Iterator[Stream]:
    connection.ensure_connection()
    where, port = connection.connection.info, free_port()
    url = f"postgresql://{where.user}:{where.password}@/{where.dbname}?host={where.host}&port={where.port}"
    command = [sys.executable, "manage.py", "stream", "--port", str(port)]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, env=os.environ | {"DATABASE_URL": url}) as process:
        try:
            until = time.monotonic() + 120
            while status(port) is None:
                assert process.poll() is None and time.monotonic() < until  # noqa: PT018
                time.sleep(0.1)
            yield Stream(port, process)
        finally:
            process.kill()


def status(port: int, method: str = "GET", path: str = PATH, secret: str = "") -> int | None:
    """What a request is answered with; None where nobody answers."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with suppress(ConnectionError):
        client.request(method, path, headers={"Authorization": f"Bearer {secret}"} if secret else {})
        answer = client.getresponse()
        client.close()
        return answer.status
    return None


@pytest.fixture(scope="module")
def process(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stream]:
    """One process for all tests here, because it takes seconds to start."""
    with django_db_blocker.unblock(), started() as found:
        yield found


@pytest.fixture
def stream(process: Stream) -> Iterator[Stream]:
    yield process
    for reading in process.open:
        reading.close()
    process.open.clear()


def add(organization: Organization, number: int, **more: Any) -> int:
    with transaction.atomic():
        return signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": number}, **more).pk


def numbers(told: list[Told]) -> list[int]:
    return [one["data"]["number"] for one in told]


def in_thread(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_freeze_and_resume_are_heard_as_they_are_committed(
    stream: Stream, admin: Member, organization: Organization, api_key: KeyInHand
) -> None:
    seen(organization, "s1")
    reading = stream.read(api_key)
    made = freeze_start(actor=member_actor(admin), scope_kind="session", scope_key="s1", reason="looks like a loop")
    freeze_stop(actor=member_actor(admin), freeze=made, reason="it was none")
    told = reading.take(2)
    assert reading.events == [one["type"] for one in told] == ["freeze.started", "freeze.ended"]
    assert told[0]["organization"] == "acme"
    assert {name: told[0]["data"][name] for name in ("freeze", "scope_kind", "scope_key", "cause", "reason", "session", "by")} == {
        "freeze": made.pk, "scope_kind": "session", "scope_key": "s1", "cause": "hand", "reason": "looks like a loop", "session": "s1", "by": "Admin",
    }
    assert told[1]["data"]["reason"] == "it was none"


def test_what_is_rolled_back_is_never_heard(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    reading = stream.read(api_key)
    with suppress(RuntimeError), transaction.atomic():
        signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": 1})
        raise RuntimeError
    add(organization, 2)
    assert numbers(reading.take(1)) == [2]


def test_all_of_many_writers_is_heard_once_by_every_reader(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    readings = [stream.read(api_key) for _ in range(20)]

    def writing(first: int) -> None:
        for number in range(first, first + 25):
            with transaction.atomic():
                signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": number})
                time.sleep(0.002 * (number % 5))

    for thread in [in_thread(lambda first=first: writing(first)) for first in range(0, 100, 25)]:  # type: ignore[misc]
        thread.join()
    add(organization, 100)
    for reading in readings:
        heard = numbers(reading.take(101))
        assert sorted(heard) == list(range(101))
        for first in range(0, 100, 25):
            own = [number for number in heard if first <= number < first + 25]
            assert own == sorted(own)


def test_nothing_is_missed_or_told_again_after_a_reconnect(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    """Also what took its number before the mark and was committed after it."""
    is_taken, may_commit = threading.Event(), threading.Event()

    def late() -> None:
        with transaction.atomic():
            signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": 1})
            is_taken.set()
            may_commit.wait(60)

    thread = in_thread(late)
    assert is_taken.wait(60)
    reading = stream.read(api_key)
    add(organization, 2)
    add(organization, 3)
    assert numbers(reading.take(2)) == [2, 3]
    reading.close()
    may_commit.set()
    thread.join()
    for number in range(4, 8):
        add(organization, number)
    again = stream.read(api_key, reading.mark)
    assert numbers(again.take(5)) == [1, 4, 5, 6, 7]
    add(organization, 8)
    assert numbers(again.take(1)) == [8]
    last = stream.read(api_key, again.mark)
    assert last.until_live() == []


def test_mark_of_nothing_is_told_so(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    add(organization, 1)
    for mark in ("17", "nonsense", "1-9:1:3", "1-1:9:99,3"):
        reading = stream.read(api_key, mark)
        reading.until_live()
        assert reading.events[0] == "reset", mark
    reading = stream.read(api_key)
    add(organization, 2)
    assert numbers(reading.take(1)) == [2]


def test_nobody_hears_of_others(
    stream: Stream, organization: Organization, other_organization: Organization, admin: Member, engineer: Member, lead: Member, team: Team
) -> None:
    research = Team.objects.create(organization=organization, slug="research", name="Research")
    seen(organization, "mine", member_id=engineer.pk, team_id=research.pk)
    seen(other_organization, "mine", member_id=engineer.pk)
    readings = {
        "all": stream.read(key_of(organization, name="all")),
        "engineer": stream.read(key_of(organization, name="engineer", member=engineer)),
        "lead": stream.read(key_of(organization, name="lead", member=lead)),
        "stranger": stream.read(key_of(other_organization)),
    }
    add(organization, 1)
    add(organization, 2, team_id=team.pk)
    add(organization, 3, team_id=research.pk)
    with transaction.atomic():
        signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": 4, "session": "mine"}, team_id=research.pk)
    freeze_start(actor=member_actor(admin), scope_kind="member", scope_key=engineer.user.email, reason="over")
    freeze_start(actor=member_actor(admin), scope_kind="provider", scope_key="anthropic", reason="over")
    expected: dict[str, list[Any]] = {"all": [1, 2, 3, 4, "member", "provider"], "engineer": [4, "member", "provider"], "lead": [2, "member", "provider"], "stranger": [9]}
    add(other_organization, 9)
    for name, reading in readings.items():
        told = [one["data"].get("number", one["data"].get("scope_kind")) for one in reading.take(len(expected[name]))]
        assert told == expected[name], name
        again = stream.read(key_of(reading_of(name, organization, other_organization), name=f"{name} again"), reading.mark)
        assert again.until_live() == []


def reading_of(name: str, organization: Organization, other_organization: Organization) -> Organization:
    return other_organization if name == "stranger" else organization


def test_replay_tells_only_what_the_key_may_hear(
    stream: Stream, organization: Organization, other_organization: Organization, engineer: Member, team: Team
) -> None:
    ours, theirs, engineers = ((key, stream.read(key).mark) for key in (key_of(organization), key_of(other_organization), key_of(organization, name="e", member=engineer)))
    add(organization, 1, team_id=team.pk)
    add(other_organization, 2)
    # What the stream has not heard yet when it is asked is told after the replay.
    assert numbers(stream.read(*ours).take(1)) == [1]
    assert numbers(stream.read(*theirs).take(1)) == [2]
    assert [numbers(stream.read(*one).until_live()) for one in (ours, theirs, engineers)] == [[1], [2], []]


def test_only_keys_that_may_read_are_answered(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    assert status(stream.port) == 401
    assert status(stream.port, secret="wh_unknown") == 401
    assert status(stream.port, secret=key_of(organization, Scope.INGEST, name="ingest").secret) == 403
    assert status(stream.port, path="/api/v1/other", secret=api_key.secret) == 404
    assert status(stream.port, method="POST", secret=api_key.secret) == 405
    assert status(stream.port, path=f"{PATH}?{'x' * 20_000}", secret=api_key.secret) == 431


def test_revoked_key_is_cut_while_others_go_on(stream: Stream, organization: Organization, admin: Member, api_key: KeyInHand) -> None:
    other = key_of(organization, name="other")
    readings = stream.read(api_key), stream.read(other)
    api_key_revoke(actor=member_actor(admin), key=api_key.row)
    with pytest.raises(EOFError):
        readings[0].take(1)
    add(organization, 1)
    assert numbers(readings[1].take(1)) == [1]
    assert status(stream.port, secret=api_key.secret) == 401


def test_readers_outlive_lost_connections_and_miss_nothing(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    reading = stream.read(api_key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    for number in range(3):
        add(organization, number)
    assert numbers(reading.take(3)) == [0, 1, 2]


def test_slow_reader_is_cut_and_comes_back_where_it_was(stream: Stream, organization: Organization, api_key: KeyInHand) -> None:
    slow, quick = stream.read(api_key, takes=65_536), stream.read(api_key)
    heard: list[int] = []
    taking = threading.Thread(target=lambda: heard.extend(numbers(quick.take(700))))
    taking.start()
    for number in range(700):
        with transaction.atomic():
            signal_add(organization=organization, kind=Signal.Kind.GUARD_FIRED, facts={"number": number, "padding": "x" * 30_000})
    taking.join()
    assert heard == list(range(700))
    found: list[int] = []
    with suppress(EOFError, ConnectionError):
        while len(found) < 700:
            found += numbers(slow.take(1))
    assert len(found) < 700
    found += numbers(stream.read(api_key, slow.mark).until_live())
    assert found == list(range(700))


@pytest.mark.usefixtures("transactional_db")
def test_process_ends_when_it_is_asked_to(organization: Organization, api_key: KeyInHand) -> None:
    with started() as own:
        reading = own.read(api_key)
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(30) == 0
        with pytest.raises(EOFError):
            reading.take(1)


def test_marks_are_read_as_they_are_written() -> None:
    for mark in (Mark(0, "740:740:"), Mark(17, "740:755:741,750")):
        assert mark_of(str(mark)) == mark
    for text in ("", "17", "17-", "-740:740:", "17-740:740", "17-740:740:,", "17-740:740:1,", "1" * 9000):
        assert mark_of(text) is None

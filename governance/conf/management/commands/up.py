"""`manage.py up`: everything in one terminal, until Ctrl-C."""

import http.client
import json
import re
import signal
import time
from argparse import ArgumentParser
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import kombu
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection
from kombu.exceptions import OperationalError

from governance.approvals.models import ApprovalRequest
from governance.conf import embedded, ownership, static
from governance.conf.addresses import Address, AddressError, check_free, stream_address
from governance.conf.installation import Installation
from governance.conf.supervisor import Supervisor, ended, say
from governance.pricing.services import prices_load
from governance.tenancy.models import Organization

OLDEST_POSTGRES = 15
LATE_S = 60.0


class Ending(BaseException):
    """Somebody asked us to end."""


class Command(BaseCommand):
    help = (
        "Runs everything: the embedded servers (unless DATABASE_URL and BROKER_URL name others), migrations, the price book, "
        "the demo organization when the database is empty, the web server, the stream, the worker and its clock. Ctrl-C ends all of it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", default="8000", help="where the page answers (8000)")
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on (127.0.0.1: this machine only)")
        parser.add_argument("--stream-port", metavar="PORT", help="where the stream of signals answers (the next free one after the page's)")
        parser.add_argument("--var", metavar="DIR", help="the data folder (VAR, or var/)")
        parser.add_argument("--no-demo", action="store_true", help="leave an empty database empty")
        parser.add_argument("--no-traffic", action="store_true", help="post no live events to the demo organization")

    def handle(self, *, port: str, bind: str, stream_port: str | None, no_demo: bool, no_traffic: bool, **_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, _end)
        place = Installation(Address(bind, _port(port)), settings.VAR_DIR, is_demo=not no_demo, has_traffic=not no_demo and not no_traffic)
        supervisor = Supervisor()
        try:
            with ExitStack() as stack:
                _take(place, stack)
                stack.callback(embedded.sockets_remove, place.var_dir)
                stack.callback(_stop, supervisor)
                streaming = stream_address(place.address, _port(stream_port) if stream_port else None)
                _Start(replace(place, stream_address=streaming), supervisor).run()
        except (embedded.EmbeddedError, AddressError) as error:
            raise CommandError(str(error)) from None
        except Ending:
            say("up", "ended")


def _port(text: str) -> int:
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not 0 < port < 65536:
        raise CommandError(f"{text} is not a port: say a number from 1 to 65535, such as PORT=8000.")
    return port


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise Ending


def _stop(supervisor: Supervisor) -> None:
    """Ends the children; whoever is in a hurry and asks again gets what the kernel does when we are gone."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
    if supervisor.children:
        say("up", "ending …")
    supervisor.stop()


def _take(place: Installation, stack: ExitStack) -> None:
    """Makes the data folder ours; says who has it otherwise. A passing command is waited for."""
    embedded.check_writable(place.var_dir)
    told = False
    while True:
        try:
            stack.enter_context(ownership.owning(place.var_dir, place.address.url))
            break
        except ownership.Owned as error:
            if error.owner is not None and error.owner.is_up:
                raise embedded.EmbeddedError(
                    f"Weighhouse runs at {error.owner.address} already, with the data folder {place.var_dir} "
                    f"(process {error.owner.process_id}): stop it first, or give this one its own with PORT= and VAR=."
                ) from None
            if not told:
                say("up", "another command uses the embedded servers; waiting for it to end")
            told = True
            time.sleep(0.3)
    check_free(place.address)


class _Start:
    """The steps from nothing to a page with data. Each one is done when the next begins."""

    def __init__(self, place: Installation, supervisor: Supervisor) -> None:
        self.place = place
        self.supervisor = supervisor
        self.began_at = self.demo_began_at = time.monotonic()

    def run(self) -> None:
        self._collect_static()
        self._servers()
        call_command("migrate", verbosity=0)
        prices_load()
        is_empty = not Organization.objects.exists()
        has_demo = Organization.objects.filter(is_demo=True).exists()
        connection.close()
        while any(child.program.name == "static" for child in self.supervisor.children):
            self.supervisor.turn(0.05)
        for program in (self.place.web(), self.place.stream(), self.place.worker(), self.place.beat()):
            self.supervisor.add(program)
        loads_demo = self.place.is_demo and (is_empty or (has_demo and self._unfinished.exists()))
        if loads_demo:
            self._load_demo()
        self._tell_when_ready(is_empty=is_empty)
        if has_demo and not loads_demo:
            self._traffic()
        while True:
            self.supervisor.turn(0.5)

    def _collect_static(self) -> None:
        """Prepares the static files in a process beside the next steps, unless those of the last start are made of the same sources."""
        var_dir, digest = self.place.var_dir, static.sources_digest()
        if static.is_collected(var_dir, digest):
            return

        def done(code: int) -> None:
            if code != 0:
                raise embedded.EmbeddedError(f"The static files cannot be collected (collectstatic {ended(code)}).")
            static.collecting_done(var_dir, digest)

        static.collecting_begins(var_dir)
        self.supervisor.add(self.place.command("static", "collectstatic", "--noinput", "--verbosity", "0"), when_done=done)

    def _servers(self) -> None:
        parts = settings.EMBEDDED
        if parts:
            embedded.prepare(self.place.var_dir, parts)
            wanted = embedded.programs(self.place.var_dir, parts)
            children = [self.supervisor.add(program, log=embedded.log_of(self.place.var_dir, program.name)) for program in wanted]
            embedded.wait_until_ready(self.place.var_dir, {child.program.name: child.process for child in children if child.process})
            say("up", f"embedded {' and '.join(parts)} run in {self.place.var_dir}")
        if "postgres" in parts:
            embedded.create_database(self.place.var_dir)
        else:
            _check_database()
        if "valkey" not in parts:
            _check_broker()

    def _tell_when_ready(self, *, is_empty: bool) -> None:
        late_at = time.monotonic() + LATE_S
        while (missing := _not_ready(self.place.address) or self._story_missing()) is not None:
            self.supervisor.turn(0.1)
            if time.monotonic() > late_at:
                say("up", f"not ready yet: {missing}")
                late_at = time.monotonic() + LATE_S
        say("up", f"Weighhouse answers at {self.place.address.url} ({time.monotonic() - self.began_at:.0f} s)")
        say("up", self._how_to_sign_in(is_empty=is_empty))
        connection.close()

    def _story_missing(self) -> str | None:
        """While the demo's people are being made the page would ask for a first admin, and a little later nothing waits for a decision yet."""
        if all(child.program.name != "demo" for child in self.supervisor.children) or ApprovalRequest.objects.exists():
            return None
        return "the demo organization has no people yet" if not Organization.objects.exists() else "the demo's frozen session is not there yet"

    def _how_to_sign_in(self, *, is_empty: bool) -> str:
        if "WEIGHHOUSE_DEMO_SIGN_IN" in self.place.environment():
            return "sign in with one click as a person of the demo organization, or with your own e-mail and password"
        if is_empty and not self.place.is_demo:
            return "nobody can sign in yet: the page asks for the first admin"
        return "sign in with e-mail and password; `manage.py member create` adds people"

    @property
    def _unfinished(self) -> Path:
        """Lies in the data folder while the demo is being loaded, so that the next start completes one that was broken off."""
        return self.place.var_dir / "demo-unfinished"

    def _load_demo(self) -> None:
        say("up", "filling the demo organization with its history; pages show how far it is, and this log says when it is complete")
        again = ["--again"] if self._unfinished.exists() else []
        self._unfinished.touch()
        self.demo_began_at = time.monotonic()
        self.supervisor.add(self.place.command("demo", "demo", "load", *again), when_done=self._demo_loaded)

    def _demo_loaded(self, code: int) -> None:
        if code != 0:
            say("up", f"loading the demo {ended(code)}; the next start tries again")
            return
        self._unfinished.unlink()
        say("up", f"the demo organization is complete, {time.monotonic() - self.demo_began_at:.0f} s after its loading began")
        self._traffic()

    def _traffic(self) -> None:
        if self.place.has_traffic:
            self.supervisor.add(self.place.command("traffic", "demo", "traffic", "--url", self.place.address.url))


def _check_database() -> None:
    try:
        connection.ensure_connection()
    except Error as error:
        raise embedded.EmbeddedError(f"The database of DATABASE_URL cannot be reached: {str(error).strip().splitlines()[0]}") from None
    version = connection.pg_version // 10000  # type: ignore[attr-defined]
    if version < OLDEST_POSTGRES:
        raise embedded.EmbeddedError(f"The database of DATABASE_URL is PostgreSQL {version}; {OLDEST_POSTGRES} or newer is needed.")


def _check_broker() -> None:
    try:
        with kombu.Connection(settings.CELERY_BROKER_URL, connect_timeout=5) as broker:
            broker.ensure_connection(max_retries=1, timeout=6)
    except (OperationalError, OSError) as error:
        raise embedded.EmbeddedError(f"The broker of BROKER_URL cannot be reached: {error}") from None


def _not_ready(address: Address) -> str | None:
    """What is missing according to /healthz; None when nothing is."""
    try:
        with closing(http.client.HTTPConnection(address.probe, address.port, timeout=5)) as asked:
            asked.request("GET", "/healthz", headers={"Host": "localhost"})
            answer = asked.getresponse()
            body = answer.read()
    except (OSError, http.client.HTTPException):
        return "the web server does not answer"
    if answer.status == http.client.OK:
        return None
    try:
        return ", ".join(f"{part} {why}" for part, why in json.loads(body)["not_ready"].items())
    except (ValueError, KeyError, AttributeError):
        return f"/healthz answers {answer.status}"

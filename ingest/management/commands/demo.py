"""`manage.py demo load`: the simulated organization with its history. `manage.py demo traffic`: its gateway, posting live."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from governance.errors import DomainError
from ingest.demo import cast
from ingest.demo.loading import Loaded, demo_load
from ingest.demo.simulation import Plan
from ingest.services.prepare import OLDEST


class Command(BaseCommand):
    help = "The simulated organization: load its history, or post its live traffic."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        load = actions.add_parser("load", help=f"make the organization {cast.SLUG} with its history and budgets")
        load.add_argument("--days", type=int, default=90, help="local days up to now (default 90)")
        load.add_argument("--events", type=int, default=400_000, help="usage events over those days (default 400000)")
        load.add_argument("--seed", type=int, default=7, help="another seed gives another history (default 7)")
        load.add_argument("--until", type=instant, default=None, help="where the history ends, ISO 8601 (default: now)")
        load.add_argument("--processes", type=int, default=2, help="loader processes (default 2)")
        load.add_argument("--again", action="store_true", help="repeat the load of an organization that is there; what it has counts once")
        traffic = actions.add_parser("traffic", help="post live events over REST until stopped")
        traffic.add_argument("--url", type=address, default=settings.PUBLIC_URL, help=f"where the server answers (default {settings.PUBLIC_URL})")
        traffic.add_argument("--rate", type=float, default=0.5, help="calls a second at most, all sessions together (default 0.5)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "load":
                self.load(options)
            else:
                self.traffic(options)
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal

    def load(self, options: dict[str, Any]) -> None:
        until = options["until"] or datetime.now(UTC).replace(microsecond=0)
        if not (1 <= options["days"] <= 390 and 1 <= options["events"] <= 20_000_000 and 1 <= options["processes"] <= 64):
            raise CommandError("Say --days from 1 to 390, --events from 1 to 20000000 and --processes from 1 to 64.")
        if until > datetime.now(UTC):
            raise CommandError("--until lies in the future.")
        if datetime.now(UTC) - until > OLDEST - timedelta(days=options["days"] + 1):
            raise CommandError(f"Events older than {OLDEST.days} days are not taken: say a later --until or fewer --days.")
        plan = Plan(options["seed"], options["days"], options["events"], until)
        loaded = demo_load(
            plan=plan, again=options["again"], processes=options["processes"], folder=settings.VAR_DIR, say=self.stdout.write
        )
        self.report(loaded)

    def report(self, loaded: Loaded) -> None:
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(loaded.outcomes.items()))
        self.stdout.write(f"{counts} in {loaded.seconds:.1f} s.")
        if loaded.password:
            self.stdout.write(f"Sign in as {cast.OWNER}, {cast.ADMIN}, {cast.LEAD} or {cast.ENGINEER}; password {loaded.password}")
        if loaded.password_path:
            self.stdout.write(f"(kept in {loaded.password_path})")

    def traffic(self, options: dict[str, Any]) -> None:
        from ingest.demo.traffic import traffic_run  # a load has no use for its retries

        if not 0.01 <= options["rate"] <= 50:
            raise CommandError("Say --rate from 0.01 to 50.")
        traffic_run(url=options["url"], rate=options["rate"], folder=settings.VAR_DIR, say=self.stdout.write)


def instant(text: str) -> datetime:
    """An ISO 8601 instant in whole seconds; one without an offset is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"'{text}' is no instant such as 2026-06-16T12:00Z") from None


def address(text: str) -> str:
    """The address of a server, http or https."""
    try:
        found = httpx.URL(text)
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in ("http", "https") or not found.host:
        raise ArgumentTypeError(f"'{text}' is no address such as http://localhost:8000")
    return text

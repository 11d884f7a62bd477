"""`manage.py collect <harness> [path] [--watch]`: counts what a harness wrote on this server, once or as it grows."""

import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import ApiKey, Organization
from ingest.collector.collecting import Collector
from ingest.collector.positions import Positions
from ingest.collector.readers import readers
from ingest.collector.readers.values import Fields
from ingest.doors.door import misfits_of, misfits_of_refused
from ingest.formats.batch import Refusal
from ingest.formats.event import UsageEvent
from ingest.formats.fields import event_of
from ingest.quarantine.services import refusals_mend
from ingest.rejections import misfits_keep
from ingest.services import events_store
from ingest.services.sightings import sightings_settle


class Command(BaseCommand):
    help = "Files of harnesses: count the calls in them, each once, however often they are read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("harness", choices=sorted(readers()), help="which harness wrote the files")
        parser.add_argument("path", nargs="?", type=Path, help="a file or folder (the harness's own folders of this user)")
        parser.add_argument("--organization", metavar="SLUG", default="", help="whose usage it is (the only one)")
        parser.add_argument("--watch", action="store_true", help="go on as the files grow, until stopped")
        parser.add_argument("--interval", type=float, default=15.0, help="seconds between looks with --watch (15)")
        parser.add_argument("--again", action="store_true", help="read files from their beginning; what was counted before counts once")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["path"] is not None and not options["path"].exists():
            raise CommandError(f"There is no {options['path']}.")
        counting = Counting(system_actor(organization_named(options["organization"])))
        # A file that is named is taken as it is; the harness's own may be in the middle of a call.
        is_final = options["path"] is not None and not options["watch"]
        collector = Collector(counting, positions(counting.actor, is_kept=not options["again"]), is_final=is_final)
        while True:
            done = collector.round(options["harness"], options["path"])
            if done.calls or done.unread or not options["watch"]:
                self.stdout.write(
                    f"{done.files:,} files: {counting.told()}{f', {done.unread:,} records could not be read' if done.unread else ''}."
                )
            for reason, count in counting.refused.most_common(5):
                self.stderr.write(f"{count:,} not counted: {reason}")
            if not options["watch"]:
                return
            counting.clear()
            close_old_connections()
            time.sleep(max(0.1, options["interval"]))


class Counting:
    """A sink that stores calls here, and tells what became of them."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.outcomes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __call__(self, harness: str, calls: list[Fields]) -> None:
        """As the doors do: what rules mend is counted, and what is not counted is kept where an admin looks."""
        found = [event_of(fields, index) for index, fields in enumerate(calls)]
        refused = [one for one in found if isinstance(one, Refusal)]
        mended = refusals_mend(organization_id=self.actor.organization.pk, door=harness, refused=refused)
        lost = [one for place, one in enumerate(refused) if place not in mended]
        events = [*(event for event in found if isinstance(event, UsageEvent)), *(one.event for one in mended.values())]
        stored = events_store(actor=self.actor, api_key=None, source=harness, events=events)
        outcomes = sightings_settle(organization_id=self.actor.organization.pk, events=events, outcomes=stored)
        # No key brought them, so one that is nobody's stands for it and says the organization.
        nobodys = ApiKey(organization=self.actor.organization)
        misfits_keep(api_key=nobodys, door=harness, misfits=[*misfits_of(outcomes, events), *misfits_of_refused(lost)])
        self.outcomes.update(outcome.status for outcome in outcomes)
        self.outcomes["rejected"] += len(lost)
        self.refused.update([*(one.fault.reason for one in lost), *(outcome.reason for outcome in outcomes if outcome.reason)])

    def told(self) -> str:
        return ", ".join(f"{self.outcomes[status]:,} {status}" for status in ("accepted", "duplicate", "conflict", "rejected"))

    def clear(self) -> None:
        self.outcomes.clear()
        self.refused.clear()


def organization_named(slug: str) -> Organization:
    """The organization of this slug, or the only one there is."""
    found = list(Organization.objects.filter(slug=slug) if slug else Organization.objects.order_by("id")[:2])
    if len(found) != 1:
        raise CommandError(f"There is no organization '{slug}'." if slug else "Say --organization SLUG.")
    return found[0]


def positions(actor: Actor, *, is_kept: bool) -> Positions:
    return Positions(Path(settings.VAR_DIR) / "collect" / f"{actor.organization.slug}.json" if is_kept else None)

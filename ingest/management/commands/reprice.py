"""`manage.py reprice plan|apply|watch|pause|resume|cancel|list`: prices calls anew, having shown first what that would change."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from governance.errors import DomainError
from governance.money import written
from governance.periods import local_midnight
from governance.tenancy.access import Actor, scoped, system_actor
from governance.tenancy.models import Organization, Team
from ingest.rerating.models import ReratingRun
from ingest.rerating.scope import scope_words
from ingest.rerating.services import run_cancel, run_create, run_pause, run_start
from ingest.rerating.working import run_work

State = ReratingRun.State
LOOK_S = 2.0
LISTED = 20
STEPS: dict[str, Callable[..., ReratingRun]] = {"apply": run_start, "resume": run_start, "pause": run_pause, "cancel": run_cancel}


class Command(BaseCommand):
    help = "Prices stored calls anew: works out what would change, applies it, and follows, pauses, resumes or cancels it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="plan|apply|watch|pause|resume|cancel|list")
        plan = actions.add_parser("plan", help="work out what a run would change; nothing is changed")
        plan.add_argument("organization", metavar="SLUG", help="whose calls")
        plan.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY", help="the first local day, YYYY-MM-DD")
        plan.add_argument("--to", dest="last", type=_day, required=True, metavar="DAY", help="the last local day, YYYY-MM-DD")
        plan.add_argument("--reason", required=True, help="why, for the record")
        plan.add_argument("--provider", dest="providers", action="append", default=[], metavar="P", help="only calls of this provider; may be given again")
        plan.add_argument("--model", dest="models", action="append", default=[], metavar="M", help="only calls of this model; may be given again")
        plan.add_argument("--team", dest="teams", action="append", default=[], metavar="SLUG", help="only calls of this team and those below it; may be given again")
        plan.add_argument("--unpriced", action="store_true", help="only calls without a cost")
        for name, words in {
            "apply": "let a run that is worked out change calls", "watch": "follow a run until it waits or ends",
            "pause": "stop a run after the calls it is at", "resume": "let a paused run go on", "cancel": "end a run; what it has changed stays changed",
        }.items():  # fmt: skip
            step = actions.add_parser(name, help=words)
            step.add_argument("run", type=int, metavar="RUN", help="its number, as plan and list show it")
            if name in ("apply", "resume"):
                step.add_argument("--here", action="store_true", help="work on it in this process until it ends, without a worker")
        listing = actions.add_parser("list", help=f"show the last {LISTED} runs of an organization")
        listing.add_argument("organization", metavar="SLUG")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            if action == "plan":
                self._plan(**options)
            elif action == "list":
                self._list(_organization(options["organization"]))
            elif action == "watch":
                self._watch(_run(options["run"]))
            else:
                self._step(action, _run(options["run"]), is_here=options.get("here", False))
        except DomainError as error:
            raise CommandError(error.detail) from None

    def _plan(self, *, organization: str, first: date, last: date, reason: str, providers: list[str], models: list[str], teams: list[str], **options: Any) -> None:
        whose = _organization(organization)
        actor = system_actor(whose)
        run = run_create(
            actor=actor, reason=reason, starts_at=local_midnight(first, whose.zone), ends_at=local_midnight(last + timedelta(days=1), whose.zone),
            providers=providers, models=models, team_ids=_team_ids(actor, teams), is_unpriced_only=options["unpriced"],
        )  # fmt: skip
        run_work(run.pk)
        run.refresh_from_db()
        if run.state == State.PREVIEWING:
            self.stdout.write(f"Run {run.pk} is being worked out by a worker.")
            run = self._until(run, lambda found: found.state != State.PREVIEWING)
        for line in preview_lines(run):
            self.stdout.write(line)

    def _step(self, action: str, run: ReratingRun, *, is_here: bool) -> None:
        if action == "resume" and run.state != State.PAUSED:
            raise CommandError(f"Run {run.pk} is not paused: {run.get_state_display().lower()}.")
        run = STEPS[action](actor=system_actor(run.organization), run=run)
        while is_here and run_work(run.pk):
            run.refresh_from_db()
            self.stdout.write(progress(run))
        run.refresh_from_db()
        self.stdout.write(progress(run))
        _fail_if_failed(run)

    def _watch(self, run: ReratingRun) -> None:
        run = self._until(run, lambda found: found.state not in (State.PREVIEWING, State.RUNNING))
        self.stdout.write(progress(run))
        _fail_if_failed(run)

    def _until(self, run: ReratingRun, is_over: Callable[[ReratingRun], bool]) -> ReratingRun:
        """Says how far the run is each time that changed, until it is over."""
        said = ""
        while not is_over(run):
            if (words := progress(run)) != said:
                self.stdout.write(words)
                said = words
            time.sleep(LOOK_S)
            run.refresh_from_db()
        return run

    def _list(self, organization: Organization) -> None:
        names = dict(Team.objects.filter(organization=organization).values_list("pk", "name"))
        runs = list(ReratingRun.objects.filter(organization=organization, kind=ReratingRun.Kind.RATING).select_related("organization")[:LISTED])
        for run in runs:
            first, last = (at.astimezone(organization.zone).date() for at in (run.starts_at, run.ends_at - timedelta(seconds=1)))
            self.stdout.write(f"{progress(run)}\n  {first} to {last}, {scope_words(run, names)}: {run.reason} ({run.maker_label})")
        if not runs:
            self.stdout.write("No call has been priced anew yet.")


def progress(run: ReratingRun) -> str:
    """The run's state and how far it is, in one line."""
    of = f" of {run.events_total:,}" if run.events_total is not None else ""
    difference = f", {_signed(run.cost_after - run.cost_before)} {run.organization.currency}" if run.events_changed else ""
    return f"Run {run.pk}: {run.get_state_display().lower()}, {run.events_seen:,}{of} calls seen, {run.events_changed:,} changed{difference}."


def preview_lines(run: ReratingRun) -> Iterator[str]:
    """What the run would change: in all, by month, team and budget. Raises CommandError for one that could not be worked out."""
    found = run.preview
    if found is None:
        raise CommandError(f"Run {run.pk} could not be worked out: {run.get_state_display().lower()}. {run.failure}".strip())
    unit = run.organization.currency
    yield f"Run {run.pk} would change {found['events']:,} of {found['seen']:,} calls by {_signed(found['delta'])} {unit}; {found['priced']:,} get a first price."
    if found["posted"]["events"]:
        yield f"  of closed months: {found['posted']['events']:,} calls, {_signed(found['posted']['delta'])} {unit}, posted in the open month"
    for line in found["months"]:
        yield f"  {line['month']}: {line['events']:,} calls, {_signed(line['delta'])} {unit}"
    for line in found["teams"]:
        yield f"  {line['team'] or 'no team'}: {line['events']:,} calls, {_signed(line['delta'])} {unit}"
    for line in found["budgets"]:
        yield f"  budget {line['name']}: {_signed(line['delta'])} {line['unit']} in {line['periods']:,} periods, {line['freezes']} would freeze, {line['thaws']} thaw"
    yield f"Nothing has changed yet: manage.py reprice apply {run.pk}"


def _signed(amount: Any) -> str:
    amount = Decimal(amount)
    return f"{'+' if amount > 0 else ''}{written(amount)}"


def _fail_if_failed(run: ReratingRun) -> None:
    if run.state == State.FAILED:
        raise CommandError(f"Run {run.pk} failed: {run.failure}")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text} is no day: write YYYY-MM-DD") from None


def _organization(slug: str) -> Organization:
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no organization {slug}.")
    return found


def _run(run_id: int) -> ReratingRun:
    found = ReratingRun.objects.select_related("organization").filter(pk=run_id, kind=ReratingRun.Kind.RATING).first()
    if found is None:
        raise CommandError(f"There is no run {run_id}.")
    return found


def _team_ids(actor: Actor, slugs: list[str]) -> list[int]:
    known = dict(scoped(actor, Team.objects.order_by("pk")).values_list("slug", "pk"))
    if missing := sorted(set(slugs) - known.keys()):
        raise CommandError(f"There is no team {', '.join(missing)}.")
    return [known[slug] for slug in slugs]

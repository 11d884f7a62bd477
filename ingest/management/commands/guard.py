"""`manage.py guard`: measure the default rules on simulated sessions, or try an organization's own on its history."""

from argparse import ArgumentParser
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from governance.money import written
from governance.tenancy.models import Organization
from ingest.guard.evaluation import TEST_SEED, TUNING_SEED, evaluate, table
from ingest.guard.history import looked_back
from ingest.guard.parameters import KINDS
from ingest.guard.rule_sets import active_rules
from ingest.guard.services import LONGEST_TRIAL
from ingest.guard.tell import sentence

LONGEST_DAYS = LONGEST_TRIAL.days


class Command(BaseCommand):
    help = "The runaway guard: measure its default rules, or see what an organization's rules would have caught."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        measure = actions.add_parser("evaluate", help="precision and recall of the default rules on labelled simulated sessions")
        measure.add_argument("--seed", type=int, default=TEST_SEED, help=f"the sessions of another seed (default {TEST_SEED}; parameters were chosen on {TUNING_SEED})")
        measure.add_argument("--size", type=int, default=40, help="runaway sessions of each kind (default 40)")
        measure.add_argument("--wrong", action="store_true", help="name the shapes of ordinary sessions that were flagged")

        look = actions.add_parser("lookback", help="what an organization's active rules would have caught; nothing is recorded, told or stopped")
        look.add_argument("organization", help="its slug")
        look.add_argument("--days", type=int, default=30, help=f"how far back, {LONGEST_DAYS} at most (default 30)")
        look.add_argument("--kind", choices=sorted(KINDS), help="only rules of this kind")
        look.add_argument("--sessions", type=int, default=5, help="how many of the costliest sessions to name for each rule (default 5)")

    def handle(self, *args: Any, **options: Any) -> None:
        self.look_back(options) if options["action"] == "lookback" else self.evaluate(options)

    def look_back(self, options: dict[str, Any]) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']}.")
        if not 1 <= options["days"] <= LONGEST_DAYS:
            raise CommandError(f"--days is a number from 1 to {LONGEST_DAYS}.")
        now = timezone.now()
        rules = [rule for rule in active_rules(organization.pk) if options["kind"] in (None, rule.parameters.kind)]
        if not rules:
            self.stdout.write("No such rule is active.")
        for rule, looked_at, caught in looked_back(organization, rules, starts_at=now - timedelta(days=options["days"]), ends_at=now):
            spent = written(sum((one.spent_after for one in caught), Decimal(0)))
            self.stdout.write(f"{rule.name}: {len(caught)} of {looked_at} sessions it could hold for; {spent} {organization.currency} spent after that.")
            for one in sorted(caught, key=lambda one: (-one.spent_after, one.session))[: options["sessions"]]:
                at = one.finding.at.astimezone(organization.zone)
                said = sentence(rule.parameters.kind, one.finding.evidence, organization.zone)
                self.stdout.write(f"  {one.session} {at:%Y-%m-%d %H:%M}, {written(one.spent_after)} after: {said}")

    def evaluate(self, options: dict[str, Any]) -> None:
        scores = evaluate(seed=options["seed"], size=options["size"])
        self.stdout.write(table(scores))
        if options["wrong"]:
            for score in scores:
                shapes = ", ".join(f"{shape} {count}" for shape, count in score.wrong_shapes.items())
                self.stdout.write(f"{score.kind}: {shapes or 'none'}")

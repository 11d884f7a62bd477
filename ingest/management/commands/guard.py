"""`manage.py guard evaluate`: precision and recall of the default rules on labelled simulated sessions."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ingest.guard.evaluation import TEST_SEED, TUNING_SEED, evaluate, table


class Command(BaseCommand):
    help = "The runaway guard: measure its default rules."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        measure = actions.add_parser("evaluate", help="precision and recall of the default rules on labelled simulated sessions")
        measure.add_argument("--seed", type=int, default=TEST_SEED, help=f"the sessions of another seed (default {TEST_SEED}; parameters were chosen on {TUNING_SEED})")
        measure.add_argument("--size", type=int, default=40, help="runaway sessions of each kind (default 40)")
        measure.add_argument("--wrong", action="store_true", help="name the shapes of ordinary sessions that were flagged")

    def handle(self, *args: Any, **options: Any) -> None:
        scores = evaluate(seed=options["seed"], size=options["size"])
        self.stdout.write(table(scores))
        if options["wrong"]:
            for score in scores:
                shapes = ", ".join(f"{shape} {count}" for shape, count in score.wrong_shapes.items())
                self.stdout.write(f"{score.kind}: {shapes or 'none'}")

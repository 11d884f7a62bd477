"""`manage.py verify`: proves that every sum is the sum of its events; with --repair mends what is not."""

from argparse import ArgumentParser
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from governance.tenancy.models import Organization
from ingest.verify import organization_repair, organization_verify

SHOWN = 20


class Command(BaseCommand):
    """Verifies every organization, or those named."""

    help = "Prove that rollups, sessions and budget balances equal the sum of the events, to the last decimal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organizations", nargs="*", metavar="SLUG", help="organizations to verify; all when none is named")
        parser.add_argument("--repair", action="store_true", help="mend what differs, with an audit row")

    def handle(self, *args: Any, **options: Any) -> None:
        organizations = Organization.objects.order_by("slug")
        if options["organizations"]:
            organizations = organizations.filter(slug__in=options["organizations"])
            if missing := set(options["organizations"]) - set(organizations.values_list("slug", flat=True)):
                raise CommandError(f"There is no organization named {', '.join(sorted(missing))}.")
        wrong = 0
        for organization in organizations:
            wrong += self._verify(organization, repair=options["repair"])
        if wrong:
            raise CommandError(f"{wrong} sums differ from their events. Run verify --repair to mend them.")

    def _verify(self, organization: Organization, *, repair: bool) -> int:
        """Prints what differs in one organization; returns how much still does."""
        began = monotonic()
        differences = organization_verify(organization)
        for found in differences[:SHOWN]:
            self.stdout.write(f"{organization.slug} {found.table} {found.row}\n  stored {found.stored}\n  events {found.true}")
        if differences and repair:
            self.stdout.write(f"{organization.slug}: mended {organization_repair(organization)}")
            differences = organization_verify(organization)
        self.stdout.write(f"{organization.slug}: {len(differences) or 'no'} differences ({monotonic() - began:.1f} s)")
        return len(differences)

"""`manage.py organization create SLUG`."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from governance.conf.operating import refusals_told
from governance.tenancy.services import organization_create


class Command(BaseCommand):
    help = "Organizations: create one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="create an organization")
        create.add_argument("slug", help="its name in addresses: lower-case letters, digits and hyphens")
        create.add_argument("--name", default="", help="its name for people (the slug)")
        create.add_argument("--time-zone", default="UTC", help="where its days and budget periods begin, such as Europe/Berlin (UTC)")
        create.add_argument("--currency", default="USD", help="what its costs and budgets are counted in (ISO 4217)")

    def handle(self, *, slug: str, name: str, time_zone: str, currency: str, **_: Any) -> None:
        with refusals_told():
            organization = organization_create(slug=slug, name=name, time_zone=time_zone, currency=currency)
        self.stdout.write(f"{organization.name} ({organization.slug}) is there.")
        self.stdout.write(f"Add people with: manage.py member create EMAIL --organization {slug} --role owner")

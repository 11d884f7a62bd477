"""`manage.py key create`: prints the new API key and nothing else on standard output."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from governance.conf.operating import named, operator_in, refusals_told
from governance.tenancy.models import Member, Team
from governance.tenancy.services import api_key_create

LABELS = ("project", "harness", "gateway", "environment", "role", "task_class", "billing_mode", "provider")


class Command(BaseCommand):
    help = "API keys: make one. The key is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key; it is the only thing on standard output")
        create.add_argument("--organization", required=True, metavar="SLUG")
        create.add_argument("--name", required=True, help="what the key is for")
        create.add_argument("--scopes", required=True, type=_list, metavar="A,B", help="of ingest, authorize, read, admin")
        create.add_argument("--member", metavar="EMAIL", help="whose key it is; it may do what that person may")
        create.add_argument("--days", type=_days, help="how long it is good for (no end)")
        create.add_argument("--team", metavar="SLUG", help="team of events that name none")
        for label in LABELS:
            create.add_argument(f"--{label.replace('_', '-')}", help=f"{label.replace('_', ' ')} of events that name none")

    def handle(self, *, organization: str, name: str, scopes: list[str], member: str | None, days: int | None, **options: Any) -> None:
        actor = operator_in(organization)
        defaults = {label: options[label] for label in LABELS if options[label]}
        if options["team"]:
            defaults["team"] = named(actor, Team.objects.all(), slug=options["team"]).slug
        holder = named(actor, Member.objects.select_related("user"), user__email__iexact=member) if member else None
        expires_at = timezone.now() + timedelta(days=days) if days else None
        with refusals_told():
            _, secret = api_key_create(actor=actor, name=name, scopes=scopes, defaults=defaults, member=holder, expires_at=expires_at)
        self.stdout.write(secret)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _days(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 36_500:
        raise ArgumentTypeError("a number of days from 1 to 36500")
    return int(text)

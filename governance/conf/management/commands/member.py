"""`manage.py member create EMAIL`."""

import sys
from argparse import ArgumentParser
from getpass import getpass
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from governance.conf.operating import named, operator_in, refusals_told
from governance.tenancy.models import Role, Team, User
from governance.tenancy.services import member_add


class Command(BaseCommand):
    help = "Members: add a person to an organization."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="add a person, with an account when the e-mail is new")
        create.add_argument("email")
        create.add_argument("--organization", required=True, metavar="SLUG")
        create.add_argument("--role", required=True, choices=Role.values)
        create.add_argument("--team", metavar="SLUG", help="the person's team; an approver decides for it and the teams below")
        create.add_argument("--name", default="", help="as pages show it")
        create.add_argument("--password-stdin", action="store_true", help="read the password from standard input instead of asking")

    def handle(self, *, email: str, organization: str, role: str, team: str | None, name: str, password_stdin: bool, **_: Any) -> None:
        actor = operator_in(organization)
        own_team = named(actor, Team.objects.all(), slug=team) if team else None
        _check_email(email)
        password = None if User.objects.filter(email__iexact=email).exists() else _password(email, from_stdin=password_stdin)
        with refusals_told():
            member = member_add(actor=actor, email=email, name=name, role=role, team=own_team, password=password)
        kept = "" if password else "; the account was there already and keeps its password"
        self.stdout.write(f"{member.user.email} is {member.get_role_display().lower()} of {organization}{kept}.")


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise CommandError(f"{email} is not an e-mail address.") from None


def _password(email: str, *, from_stdin: bool) -> str:
    if not from_stdin and not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for the password: send it with --password-stdin.")
    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else getpass(f"Password for {email}: ")
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    return password

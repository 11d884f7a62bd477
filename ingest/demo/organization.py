"""Makes the simulated organization: its teams, projects, people and keys, through the ordinary services."""

import secrets
from decimal import Decimal
from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.db import transaction

from governance.errors import Conflict
from governance.tenancy import services as tenancy
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope, Team
from ingest.demo import cast
from ingest.demo.shapes import Stream

KEYS: dict[Stream, str] = {"gateway": "LiteLLM gateway", "telemetry": "Harness telemetry", "nightly": "OpenClaw nightly"}
PASSWORD_FILE = "demo-passwords.txt"  # noqa: S105 - a file's name
SIGNS_IN = (cast.OWNER, cast.ADMIN, cast.LEAD, cast.ENGINEER)


def organization_find() -> Organization | None:
    """The demo organization, when it is there. Raises Conflict when a real one goes by its name."""
    found = Organization.objects.filter(slug=cast.SLUG).first()
    if found is not None and not found.is_demo:
        raise Conflict(f"The organization {cast.SLUG} is there and is no demo; nothing was touched.")
    return found


@transaction.atomic
def organization_build(password: str) -> Organization:
    """The organization with its teams, projects, people, service accounts and keys, all or nothing.

    Only Ana, Tomasz, Jonas and Mira get the password; everybody else's account cannot be signed in to with one.
    """
    organization = tenancy.organization_create(slug=cast.SLUG, name=cast.NAME, time_zone=cast.TIME_ZONE, is_demo=True)
    actor = system_actor(organization)
    hashed = make_password(password)
    teams: dict[str, Team] = {}
    for team in cast.TEAMS:
        teams[team.slug] = tenancy.team_create(actor=actor, slug=team.slug, name=team.name, parent=teams.get(team.parent))
        for slug, name in team.projects:
            tenancy.project_create(actor=actor, slug=slug, name=name, team=teams[team.slug])
    for person in cast.people():
        member = tenancy.member_add(
            actor=actor,
            email=person.email,
            name=person.name,
            role=person.role,
            team=teams.get(person.team),
            approval_limit=Decimal(person.approval_limit) if person.approval_limit else None,
            aliases=(person.email.partition("@")[0],),
        )
        if person.email in SIGNS_IN:
            member.user.password = hashed
            member.user.save(update_fields=["password"])
    _keys_create(actor, teams)
    return organization


def _keys_create(actor: Actor, teams: dict[str, Team]) -> None:
    """One key for each door the history came in by. Nobody holds their secrets: the history is loaded without them."""
    nightly = {"team": "data", "project": "nightly-enrichment", "harness": "openclaw", "environment": "production"}
    for stream, name in KEYS.items():
        account = tenancy.service_account_create(actor=actor, name=name, team=teams["data"] if stream == "nightly" else None)
        tenancy.api_key_create(
            actor=actor,
            name=name,
            scopes=[Scope.INGEST, Scope.AUTHORIZE] if stream == "gateway" else [Scope.INGEST],
            defaults=nightly if stream == "nightly" else {},
            service_account=account,
        )


def keys_of(organization: Organization) -> dict[Stream, ApiKey]:
    """The key of each stream, revoked or not: the history never shows their secrets. Raises Conflict when one is gone."""
    found = {key.name: key for key in ApiKey.objects.filter(organization=organization).select_related("organization").order_by("pk")}
    if missing := set(KEYS.values()) - found.keys():
        raise Conflict(f"The demo's API key {min(missing)!r} is gone, so its history cannot be completed.")
    return {stream: found[name] for stream, name in KEYS.items()}


def password_keep(folder: Path, password: str) -> Path:
    """Writes down, for the owner of the machine only, how the demo's four people sign in."""
    path = folder / PASSWORD_FILE
    private_write(path, "".join(f"{email} {password}\n" for email in SIGNS_IN))
    return path


def private_write(path: Path, text: str) -> None:
    """Writes a file that only its owner may read. Raises Conflict when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text)
    except OSError as error:
        raise Conflict(f"{path} cannot be written: {error.strerror}.") from error


def password_new() -> str:
    return secrets.token_urlsafe(12)


def engineer_find(organization: Organization) -> Member | None:
    """Mira, with what an actor needs loaded, while she is an active member."""
    members = Member.objects.select_related("organization", "team", "user").filter(is_active=True)
    return members.filter(organization=organization, user__email=cast.ENGINEER).first()

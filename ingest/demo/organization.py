"""Makes the simulated organization's people, keys and, from what they spent, their budgets, through the ordinary services."""

import secrets
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Sum

from governance.budgets.models import Budget
from governance.budgets.services import budget_create
from governance.periods import window_at
from governance.tenancy import services as tenancy
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import ApiKey, Member, Organization, Project, Scope, Team
from ingest.demo import cast
from ingest.demo.shapes import Stream
from ingest.models import UsageRollupDay

KEYS: dict[Stream, str] = {"gateway": "LiteLLM gateway", "telemetry": "Harness telemetry", "nightly": "OpenClaw nightly"}
SANDBOX = "sandbox"
PASSWORD_FILE = "demo-passwords.txt"  # noqa: S105 - a file's name
SIGNS_IN = (cast.OWNER, cast.LEAD, cast.ENGINEER)


def organization_find() -> Organization | None:
    """The demo organization, when it is there."""
    return Organization.objects.filter(slug=cast.SLUG).first()


@transaction.atomic
def organization_build(password: str) -> Organization:
    """The organization with its teams, projects, people, service accounts and keys, all or nothing.

    Only Ana, Jonas and Mira get the password; everybody else's account cannot be signed in to with one.
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
    """The live key of each stream."""
    found = {key.name: key for key in ApiKey.objects.filter(organization=organization, revoked_at=None).select_related("organization")}
    return {stream: found[name] for stream, name in KEYS.items()}


def password_keep(folder: Path, password: str) -> Path:
    """Writes down, for the owner of the machine only, how the demo's three people sign in."""
    path = folder / PASSWORD_FILE
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("".join(f"{email} {password}\n" for email in SIGNS_IN))
    return path


def password_new() -> str:
    return secrets.token_urlsafe(12)


def budgets_create(*, actor: Actor, until: datetime) -> None:
    """A budget for the organization and each team, sized from their month so far, a limit for every session, and one for the nightly job."""
    if Budget.objects.filter(organization=actor.organization).exists():
        return
    spent = month_to_date(actor.organization, until)
    share = month_passed(actor.organization, until)
    teams = {team.slug: team for team in Team.objects.filter(organization=actor.organization)}
    total = sum(spent.values(), Decimal(0))
    budget_create(actor=actor, name=f"{cast.NAME}, a month", scope_kind="organization", period_kind="month", limit_amount=roomy(total, share))
    for slug, team in teams.items():
        below = sum((spent.get(child.pk, Decimal(0)) for child in teams.values() if child.parent_id == team.pk), Decimal(0))
        amount = spent.get(team.pk, Decimal(0)) + below
        limit = tight(amount) if slug == cast.NEAR_LIMIT_TEAM else roomy(amount, share)
        budget_create(
            actor=actor, name=f"{team.name}, a month", scope_kind="team", team=team, period_kind="month", limit_amount=limit, unpriced_call_amount=None
        )
    project = {row.slug: row for row in Project.objects.filter(organization=actor.organization)}
    budget_create(actor=actor, name="Any session", scope_kind="session", period_kind="session", limit_amount=Decimal(100))
    budget_create(
        actor=actor, name="Sandbox session", scope_kind="session", project=project[SANDBOX], period_kind="session", limit_amount=Decimal(3)
    )
    budget_create(
        actor=actor,
        name="Nightly enrichment, a day",
        scope_kind="project",
        project=project["nightly-enrichment"],
        period_kind="day",
        limit_amount=Decimal(60),
    )


def month_to_date(organization: Organization, until: datetime) -> dict[int | None, Decimal]:
    """What each team (by id; None: unallocated) spent since the local month began."""
    zone = organization.zone
    first = window_at("month", until, zone).starts_at.astimezone(zone).date()
    rows = UsageRollupDay.objects.filter(organization=organization, day__gte=first, day__lte=until.astimezone(zone).date())
    return {row["team_id"]: row["total"] for row in rows.values("team_id").annotate(total=Sum("cost")).order_by()}


def month_passed(organization: Organization, until: datetime) -> Decimal:
    """How much of the local month is over, from just above 0 to 1."""
    window = window_at("month", until, organization.zone)
    ends_at = window.ends_at or until
    return Decimal(max((until - window.starts_at) / (ends_at - window.starts_at), 0.02)).quantize(Decimal("0.001"))


def roomy(spent: Decimal, share: Decimal) -> Decimal:
    """A limit that the month's spend at this pace stays within, rounded up to a number a person would set."""
    return rounded_up(spent / share * Decimal("1.12"))


def tight(spent: Decimal) -> Decimal:
    """A limit that a day at the present pace reaches: the spend is 98 to 99 percent of it."""
    return max((spent * Decimal("1.012") / 10).quantize(Decimal(1), rounding="ROUND_UP") * 10, Decimal(20))


def rounded_up(amount: Decimal) -> Decimal:
    step = Decimal(500) if amount > 2000 else Decimal(100) if amount > 200 else Decimal(20)
    return max((amount / step).quantize(Decimal(1), rounding="ROUND_UP") * step, step)


def engineer_of(organization: Organization) -> Member:
    """Mira, with what an actor needs loaded."""
    return Member.objects.select_related("organization", "team", "user").get(organization=organization, user__email=cast.ENGINEER)

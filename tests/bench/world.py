"""Makes the organization that is measured: teams, projects, people, budgets on every level, and a key."""

from decimal import Decimal

from governance.budgets.services import budget_create
from governance.tenancy import services as tenancy
from governance.tenancy.access import system_actor
from governance.tenancy.models import Role, Scope
from tests.bench import labels


def world_make() -> str:
    """Returns the secret of a key that may ingest and authorize."""
    organization = tenancy.organization_create(slug=labels.SLUG, name="Bench", time_zone="Europe/Berlin")
    actor = system_actor(organization)
    roomy = Decimal(1_000_000_000)
    budget_create(actor=actor, name="Everybody, a month", scope_kind="organization", period_kind="month", limit_amount=roomy)
    budget_create(actor=actor, name="Any session", scope_kind="session", period_kind="session", limit_amount=roomy)
    for slug in labels.TEAMS:
        team = tenancy.team_create(actor=actor, slug=slug, name=slug.title())
        budget_create(actor=actor, name=f"{slug}, a month", scope_kind="team", team=team, period_kind="month", limit_amount=roomy)
        for number in range(labels.PROJECTS_PER_TEAM):
            tenancy.project_create(actor=actor, slug=labels.project(slug, number), name=labels.project(slug, number).title(), team=team)
        for number in range(labels.PEOPLE_PER_TEAM):
            tenancy.member_add(actor=actor, email=labels.person(slug, number), role=Role.ENGINEER, team=team)
    account = tenancy.service_account_create(actor=actor, name="collector")
    _, secret = tenancy.api_key_create(actor=actor, name="collector", scopes=[Scope.INGEST, Scope.AUTHORIZE], service_account=account)
    return secret

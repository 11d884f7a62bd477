"""Makes the organization that is measured: teams, projects, people, budgets on every level, and a key."""

from decimal import Decimal

from governance.budgets.services import budget_create
from governance.tenancy import services as tenancy
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import Role, Scope
from tests.bench import labels


def world_make() -> tuple[str, str, str]:
    """Returns the secrets of three keys: one that may ingest and authorize, a person's, and that of somebody who grants."""
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
    budget_create(
        actor=actor, name="Stopped", scope_kind="session", period_kind="session", limit_amount=Decimal("0.01"), filters={"role": ["stopped"]}
    )
    return secret, _key_of_member(actor, labels.PERSON, Role.ENGINEER), _key_of_member(actor, labels.APPROVER, Role.ADMIN)


def _key_of_member(actor: Actor, email: str, role: Role) -> str:
    member = tenancy.member_add(actor=actor, email=email, role=role)
    _, secret = tenancy.api_key_create(actor=actor, name=email, scopes=[Scope.AUTHORIZE, Scope.READ, Scope.ADMIN], member=member)
    return secret

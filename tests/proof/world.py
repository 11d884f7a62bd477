"""The organization that is proven on: hard budgets on every level of a tree, with room for about half of what is asked."""

from dataclasses import dataclass
from decimal import Decimal

from genai_prices.data import providers

from governance.budgets.services import budget_create
from governance.pricing.services import prices_load
from governance.pricing.sources.genai import provider_read
from governance.tenancy import services as tenancy
from governance.tenancy.access import system_actor
from governance.tenancy.models import Role

TEAMS = ("platform", "core", "data", "web")
PEOPLE_PER_TEAM = 4
SESSIONS_PER_PERSON = 6
MODEL = "claude-sonnet-4-5"
INPUT_TOKENS, OUTPUT_TOKENS = 1000, 100
COST = Decimal("0.0045")  # of each call: 1000 x 3 + 100 x 15 per million


@dataclass(frozen=True, slots=True)
class World:
    """Where it takes place, the limits by level, and where others only post."""

    organization_id: int
    limits: dict[str, Decimal]
    posting_id: int


@dataclass(frozen=True, slots=True)
class Place:
    """Under which labels a call is made."""

    team: str
    member: str
    session: str


def place_of(number: int) -> Place:
    """The labels of the call with this number: all places are asked for in turn."""
    team = TEAMS[number % len(TEAMS)]
    person = number // len(TEAMS) % PEOPLE_PER_TEAM
    session = number // (len(TEAMS) * PEOPLE_PER_TEAM) % SESSIONS_PER_PERSON
    return Place(team, f"{team}-{person}@proof.example", f"{team}-{person}-{session}")


def world_make(calls: int) -> World:
    """The tree organization → team → member → session; each level binds somewhere."""
    prices_load(providers=[provider_read(provider) for provider in providers if provider.id == "anthropic"])
    organization = tenancy.organization_create(slug="proof", name="Proof", time_zone="Europe/Berlin")
    actor = system_actor(organization)
    everything = COST * calls
    people = len(TEAMS) * PEOPLE_PER_TEAM
    limits = {
        "organization": everything * Decimal("0.5"),
        "team": everything / len(TEAMS) * Decimal("0.55"),
        "member": everything / people * Decimal("0.6"),
        "session": everything / (people * SESSIONS_PER_PERSON) * Decimal("0.7"),
    }
    limits = {level: limit.quantize(Decimal("0.0001")) for level, limit in limits.items()}
    budget_create(actor=actor, name="Organization", scope_kind="organization", period_kind="month", limit_amount=limits["organization"])
    budget_create(actor=actor, name="Session", scope_kind="session", period_kind="session", limit_amount=limits["session"])
    for slug in TEAMS:
        team = tenancy.team_create(actor=actor, slug=slug, name=slug.title())
        budget_create(actor=actor, name=slug, scope_kind="team", team=team, period_kind="month", limit_amount=limits["team"])
        for person in range(PEOPLE_PER_TEAM):
            member = tenancy.member_add(actor=actor, email=f"{slug}-{person}@proof.example", role=Role.ENGINEER, team=team)
            budget_create(actor=actor, name=str(member), scope_kind="member", member=member, period_kind="month", limit_amount=limits["member"])
    return World(organization.pk, limits, _posting_make())


def _posting_make() -> int:
    """An organization whose budgets tell and do not hold."""
    organization = tenancy.organization_create(slug="posts", name="Posts", time_zone="Europe/Berlin")
    actor = system_actor(organization)
    for kind, period in (("organization", "month"), ("session", "session")):
        budget_create(actor=actor, name=kind, scope_kind=kind, period_kind=period, limit_amount=Decimal(1000), is_hard=False)
    return organization.pk

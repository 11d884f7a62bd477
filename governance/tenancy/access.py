"""The one place that says who may see and do what: the actor, the rights of each role, and scoped querysets."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from django.db.models import Case, Model, Q, QuerySet, When
from django.shortcuts import get_object_or_404

from governance.errors import Forbidden, NotFound
from governance.tenancy.models import ApiKey, Member, Organization, Role, Scope, Team

Row = TypeVar("Row", bound=Model)


class Right(StrEnum):
    """Something an actor may do in its organization."""

    VIEW_SPEND = "view_spend"  # pages and figures beyond one's own usage
    VIEW_AUDIT = "view_audit"
    MANAGE_ORGANIZATION = "manage_organization"  # teams, projects, members, keys, settings
    MANAGE_BUDGETS = "manage_budgets"
    MANAGE_PRICES = "manage_prices"
    CLOSE_MONTHS = "close_months"
    FREEZE = "freeze"  # freeze and resume by hand, in the teams one sees
    DECIDE = "decide"  # requests of others, in the teams one sees, up to one's limit
    REQUEST = "request"  # ask for more budget

    @property
    def words(self) -> str:
        """What it is to do so, for those who may not."""
        return RIGHT_WORDS[self]


RIGHT_WORDS = {
    Right.VIEW_SPEND: "seeing spend beyond your own",
    Right.VIEW_AUDIT: "reading the record of changes",
    Right.MANAGE_ORGANIZATION: "managing the organization",
    Right.MANAGE_BUDGETS: "managing budgets",
    Right.MANAGE_PRICES: "managing prices",
    Right.CLOSE_MONTHS: "closing months",
    Right.FREEZE: "freezing and resuming",
    Right.DECIDE: "deciding requests",
    Right.REQUEST: "asking for more budget",
}

EVERYTHING = frozenset(Right)
RIGHTS: dict[str, frozenset[Right]] = {
    Role.OWNER: EVERYTHING,
    Role.ADMIN: EVERYTHING,
    Role.FINANCE: frozenset({Right.VIEW_SPEND, Right.VIEW_AUDIT, Right.MANAGE_BUDGETS, Right.MANAGE_PRICES, Right.CLOSE_MONTHS, Right.REQUEST}),
    Role.APPROVER: frozenset({Right.VIEW_SPEND, Right.FREEZE, Right.DECIDE, Right.REQUEST}),
    Role.ENGINEER: frozenset({Right.REQUEST}),
    Role.AUDITOR: frozenset({Right.VIEW_SPEND, Right.VIEW_AUDIT}),
}
SEES_EVERY_TEAM = frozenset({Role.OWNER, Role.ADMIN, Role.FINANCE, Role.AUDITOR})
KEY_RIGHTS: dict[str, frozenset[Right]] = {
    Scope.READ: frozenset({Right.VIEW_SPEND}),
    Scope.ADMIN: frozenset({Right.VIEW_SPEND, Right.MANAGE_BUDGETS, Right.MANAGE_ORGANIZATION, Right.MANAGE_PRICES, Right.FREEZE}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member on a page, an API key, or the system itself (neither). Always inside one organization."""

    organization: Organization
    member: Member | None = None
    api_key: ApiKey | None = None
    address: str | None = None
    rights: frozenset[Right] = field(default=EVERYTHING)
    # None: every team. Otherwise the teams whose figures the actor may see.
    team_ids: frozenset[int] | None = None

    @property
    def kind(self) -> str:
        if self.api_key is not None:
            return "api_key"
        return "member" if self.member is not None else "system"

    @property
    def label(self) -> str:
        if self.api_key is not None:
            return str(self.api_key)
        return str(self.member) if self.member is not None else "Weighhouse"

    @property
    def id(self) -> int | None:
        if self.api_key is not None:
            return self.api_key.pk
        return self.member.pk if self.member is not None else None

    def can(self, right: Right) -> bool:
        return right in self.rights


def system_actor(organization: Organization) -> Actor:
    """The product itself, for what no person does: expiry, freezing at a limit, retention."""
    return Actor(organization=organization)


def member_actor(member: Member, address: str | None = None) -> Actor:
    """A person. The member's organization and team should be loaded."""
    team_ids = None if member.role in SEES_EVERY_TEAM else frozenset(team_subtree_ids(member))
    return Actor(
        organization=member.organization,
        member=member,
        address=address,
        rights=RIGHTS[member.role],
        team_ids=team_ids,
    )


def key_actor(key: ApiKey, address: str | None = None) -> Actor:
    """An API key. One that belongs to a member sees and may do what the member does, within the key's scopes."""
    if key.member is not None:
        person = member_actor(key.member, address)
        rights = person.rights if Scope.ADMIN in key.scopes else person.rights & {Right.VIEW_SPEND, Right.REQUEST}
        return Actor(key.organization, key.member, key, address, rights, person.team_ids)
    rights = frozenset().union(*(KEY_RIGHTS.get(scope, frozenset()) for scope in key.scopes))
    return Actor(key.organization, None, key, address, rights, None)


def team_subtree_ids(member: Member) -> set[int]:
    """The teams an approver answers for: the own team and all below it. Empty for other roles."""
    if member.role != Role.APPROVER or member.team_id is None:
        return set()
    children: dict[int | None, list[int]] = {}
    for team_id, parent_id in Team.objects.filter(organization=member.organization_id).values_list("id", "parent_id"):
        children.setdefault(parent_id, []).append(team_id)
    found: set[int] = set()
    pending = [member.team_id]
    while pending:
        team_id = pending.pop()
        if team_id not in found:
            found.add(team_id)
            pending.extend(children.get(team_id, []))
    return found


def team_lineage(organization_id: int, team_id: int | None) -> list[int]:
    """The team and every team above it, nearest first. Empty without a team and for teams of others."""
    parents = dict(Team.objects.filter(organization=organization_id).values_list("id", "parent_id")) if team_id is not None else {}
    found: list[int] = []
    current = team_id
    while current is not None and current in parents and current not in found:
        found.append(current)
        current = parents[current]
    return found


def members_who_decide(organization: Organization, team_id: int | None) -> list[Member]:
    """The active people who decide requests about a team (None: the whole organization): approvers of it and above, owners, admins.

    Approvers come first.
    """
    above = team_lineage(organization.pk, team_id)
    may = Q(role__in=(Role.OWNER, Role.ADMIN)) | Q(role=Role.APPROVER, team_id__in=above)
    people = Member.objects.filter(may, organization=organization, is_active=True, user__is_active=True).select_related("user", "team")
    return list(people.order_by(Case(When(role=Role.APPROVER, then=0), default=1), "user__name", "user__email", "id"))


def require(actor: Actor, right: Right) -> None:
    """Raises Forbidden (403) when the actor lacks the right."""
    if actor.can(right):
        return
    if actor.kind == "api_key" and actor.member is None:
        needed = "the admin scope" if right in KEY_RIGHTS[Scope.ADMIN] else "a key that belongs to a member"
        raise Forbidden(f"A key of the organization cannot do this ({right.words}); it needs {needed}.", right=right.value)
    if actor.kind == "api_key" and actor.member is not None and right in RIGHTS[actor.member.role]:
        raise Forbidden(f"This key's scopes do not include {right.words}; it needs the admin scope.", right=right.value)
    raise Forbidden(f"Your role does not include {right.words}.", right=right.value)


def scoped(actor: Actor, rows: QuerySet[Row]) -> QuerySet[Row]:
    """The rows of the actor's organization. The start of every selector."""
    return rows.filter(organization=actor.organization)


def visible(actor: Actor, rows: QuerySet[Row], *, member_column: str = "member_id", team_column: str = "team_id") -> QuerySet[Row]:
    """The organization's rows that the actor may see: every team's, those of its teams, or its own only."""
    rows = scoped(actor, rows)
    if actor.team_ids is None:
        return rows
    seen = Q(**{f"{team_column}__in": actor.team_ids})
    if actor.member is not None:
        seen |= Q(**{member_column: actor.member.pk})
    return rows.filter(seen)


def get_scoped(actor: Actor, rows: QuerySet[Row], **lookup: object) -> Row:
    """One row of the organization. Raises NotFound for strangers' rows as for rows that do not exist."""
    row = scoped(actor, rows).filter(**lookup).first()
    if row is None:
        raise NotFound("There is no such thing here.")
    return row


def organizations_of(user_id: int) -> QuerySet[Member]:
    """The person's active memberships, oldest first."""
    return (
        Member.objects.filter(user_id=user_id, is_active=True)
        .select_related("organization", "team", "user")
        .order_by("created_at", "id")
    )


def member_in(user_id: int, slug: str) -> Member:
    """The person's membership of one organization; Http404 for anybody else."""
    return get_object_or_404(organizations_of(user_id), organization__slug=slug)

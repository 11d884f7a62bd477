"""The tree of budgets: whom each covers, who may see it, where it stands, and its present period."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db.models import Q, QuerySet

from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.quoted import limit_of
from governance.budgets.rules import rolling_start
from governance.errors import NotFound
from governance.periods import window_at
from governance.pricing.terms import terms_now
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team

ZERO = Decimal(0)
UNSCOPED = {"team": None, "project": None, "member": None, "service_account": None, "api_key": None}
KINDS = ("organization", "team", "project", "member", "service_account", "key", "session", "task")
KIND_ORDER = {kind: position for position, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Tree:
    """The organization's teams, by id and in order, with the teams below each."""

    order: tuple[int, ...] = ()
    depth: Mapping[int, int] = field(default_factory=dict)
    below: Mapping[int, frozenset[int]] = field(default_factory=dict)
    above: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def team_tree(actor: Actor) -> Tree:
    """The teams of the organization as a tree, in one query."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for team_id, parent_id in scoped(actor, Team.objects.all()).order_by("name", "id").values_list("id", "parent_id"):
        children[parent_id].append(team_id)
    order: list[int] = []
    above: dict[int, tuple[int, ...]] = {}
    pending: list[tuple[int, tuple[int, ...]]] = [(team_id, ()) for team_id in reversed(children[None])]
    while pending:
        team_id, path = pending.pop()
        order.append(team_id)
        above[team_id] = path
        pending += [(child, (*path, team_id)) for child in reversed(children[team_id])]
    below = {team_id: frozenset(other for other in order if other == team_id or team_id in above[other]) for team_id in order}
    return Tree(tuple(order), {team_id: len(path) for team_id, path in above.items()}, below, above)


def teams_below(actor: Actor) -> Mapping[int, frozenset[int]]:
    """Each team with all teams below it, itself included."""
    return team_tree(actor).below


def budgets_visible(actor: Actor, tree: Tree | None = None) -> QuerySet[Budget]:
    """The budgets the actor may see: all, or those that cover the actor or the actor's teams. Ordered by name."""
    rows = scoped(actor, Budget.objects.all()).order_by("name", "id").select_related(
        "team", "project", "member__user", "member__team", "service_account", "api_key__member", "api_key__service_account"
    )
    if actor.team_ids is None:
        return rows
    tree = tree or team_tree(actor)
    own = {actor.member.team_id} if actor.member is not None and actor.member.team_id else set()
    teams = set(actor.team_ids) | own
    covering = teams | {parent for team_id in teams for parent in tree.above.get(team_id, ())}
    return rows.filter(
        Q(scope_kind=Budget.ScopeKind.ORGANIZATION)
        | Q(team__in=covering)
        | Q(project__team__in=teams)
        | Q(member__team__in=actor.team_ids)
        | Q(member=actor.member, member__isnull=False)
        | Q(service_account__team__in=teams)
        | Q(api_key__member=actor.member, api_key__member__isnull=False)
        | Q(api_key__member__team__in=actor.team_ids)
        | Q(api_key__service_account__team__in=teams)
        | Q(scope_kind__in=[Budget.ScopeKind.SESSION, Budget.ScopeKind.TASK], **UNSCOPED)
    ).exclude(_pools_of_others(actor, covering))


def _pools_of_others(actor: Actor, teams: set[int]) -> Q:
    """Budgets that several teams or members share, none of whom is the actor or one of the actor's teams."""
    is_theirs = Q(filters__has_key="team")
    for team_id in teams:
        is_theirs &= ~Q(filters__team__contains=team_id)
    members = Q(filters__has_key="member")
    if actor.member is not None:
        members &= ~Q(filters__member__contains=actor.member.pk)
    return is_theirs | (members if not actor.team_ids else Q(pk__in=[]))


def budget_seen(actor: Actor, budget_id: int) -> Budget:
    """One budget. Raises NotFound when there is none the actor may see."""
    budget = budgets_visible(actor).filter(pk=budget_id).first()
    if budget is None:
        raise NotFound("There is no such budget here.")
    budget.organization = actor.organization
    return budget


def present_period(budget: Budget, *, now: datetime) -> BudgetPeriod:
    """A period for the window at the instant, not stored: what a template has in place of one, and a budget until its task has run."""
    organization = budget.organization
    window = window_at(
        budget.period_kind, now, organization.zone, organization.year_starts_in, anchor_day=budget.anchor_day  # type: ignore[arg-type]
    )
    terms = terms_now(organization) if budget.quoted_limit is not None else None
    limit = limit_of(budget, terms, starts_at=window.starts_at, ends_at=window.ends_at)
    return BudgetPeriod(
        organization=organization, budget=budget, starts_at=window.starts_at, ends_at=window.ends_at, limit_amount=limit.amount,
        quoted_limit=limit.quoted, exchange_rate=limit.exchange_rate,
        is_hard=budget.is_hard, freezes_at_limit=budget.action == Budget.Action.FREEZE,
        slides_from=rolling_start(budget.rolling_hours, now) if budget.rolling_hours else None, topup=ZERO, spent=ZERO, held=ZERO,
    )


def present_periods(actor: Actor, budgets: Iterable[Budget], *, now: datetime) -> dict[int, BudgetPeriod]:
    """The period of each budget that holds the instant, by budget id; templates have none of their own."""
    budgets = list(budgets)
    rows = scoped(
        actor, BudgetPeriod.objects.filter(budget__in=[budget.pk for budget in budgets], session_key="", task_key="", starts_at__lte=now)
    )
    stored = {period.budget_id: period for period in rows.filter(Q(ends_at=None) | Q(ends_at__gt=now)).order_by("starts_at")}
    found = {}
    for budget in budgets:
        budget.organization = actor.organization
        period = stored.get(budget.pk) or present_period(budget, now=now)
        period.budget, period.organization = budget, actor.organization
        found[budget.pk] = period
    return found


def scope_team(budget: Budget) -> int | None:
    """The team a budget hangs under in the tree."""
    if budget.team_id:
        return budget.team_id
    owner = budget.project or budget.member or budget.service_account
    if owner is None and budget.api_key is not None:
        owner = budget.api_key.member or budget.api_key.service_account
    return owner.team_id if owner is not None else None


def depth_of(budget: Budget, tree: Tree) -> int:
    """How far a budget is indented: the organization 0, a team 1 and deeper by its parents, what lies in a team one more."""
    if budget.scope_kind == Budget.ScopeKind.ORGANIZATION:
        return 1 if budget.filters else 0
    team_id = scope_team(budget)
    base = 1 if team_id is None else 1 + tree.depth.get(team_id, 0)
    is_of_team = budget.scope_kind == Budget.ScopeKind.TEAM and not budget.filters
    return base if is_of_team or team_id is None else base + 1


def position_of(budget: Budget, tree: Tree) -> tuple[int, int, int, int, str, int]:
    """Where a budget comes in the tree: the organization's first, then team by team, then what belongs to no team."""
    is_whole = budget.scope_kind == Budget.ScopeKind.ORGANIZATION
    team_id = scope_team(budget)
    place = tree.order.index(team_id) if team_id in tree.order else len(tree.order)
    return (0 if is_whole else 1, -1 if is_whole else place, KIND_ORDER[budget.scope_kind], 1 if budget.filters else 0, budget.name, budget.pk)

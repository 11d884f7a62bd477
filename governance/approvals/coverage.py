"""Whether a person may ask for more on a budget period, whose money it is, and which team's approvers answer for it."""

from dataclasses import dataclass

from governance.budgets.models import Budget, BudgetPeriod, Session
from governance.errors import Forbidden, Invalid, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor
from governance.tenancy.models import Member

Scope = Budget.ScopeKind


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a request is about: the session ("" for none), the team that decides (None: owners and admins), the spender if one is known."""

    session_key: str
    team_id: int | None
    spender_id: int | None


def coverage_of(actor: Actor, period: BudgetPeriod, session_key: str) -> Coverage:
    """What a request by the actor on this period would be about.

    Raises Forbidden when the period is not the actor's to ask for, NotFound for an unknown session or somebody else's, and
    Invalid when the period does not cover the session.
    """
    if period.session_key and session_key not in ("", period.session_key):
        raise Invalid("This budget period belongs to another session.", field="session")
    key = session_key or period.session_key
    session = session_to_ask_for(actor, key) if key else None
    if session is None:
        _check_covers_person(actor, period.budget)
    elif not _covers_session(period.budget, session):
        raise Invalid(f"{period.budget.name} does not apply to session {session.key}.", field="budget_period")
    return Coverage(key, _deciding_team(actor, period.budget, session), _spender(actor, period.budget, session))


def session_to_ask_for(actor: Actor, session_key: str) -> Session:
    """The session, when it is the actor's own or of a team the actor sees. Raises NotFound alike for one that is unknown and for somebody else's."""
    session: Session | None = access.scoped(actor, Session.objects.filter(key=session_key)).first()
    is_own = session is not None and actor.member is not None and session.member_id == actor.member.pk
    if session is None or not (is_own or _sees(actor, session.team_id)):
        raise NotFound(f"There is no session {session_key[:80]} here.")
    return session


def _sees(actor: Actor, team_id: int | None) -> bool:
    return actor.team_ids is None or (team_id is not None and team_id in actor.team_ids)


def _covers_session(budget: Budget, session: Session) -> bool:
    if budget.scope_kind == Scope.TEAM:
        return budget.team_id in access.team_lineage(budget.organization_id, session.team_id)
    if budget.scope_kind == Scope.PROJECT:
        return budget.project_id == session.project_id
    if budget.scope_kind == Scope.MEMBER:
        return budget.member_id == session.member_id
    return True


def _check_covers_person(actor: Actor, budget: Budget) -> None:
    """Raises Forbidden unless usage of the actor, or of a team the actor sees, can count against the budget."""
    member = actor.member
    covered = False
    if budget.scope_kind == Scope.ORGANIZATION:
        covered = True
    elif member is None:
        covered = False
    elif budget.scope_kind == Scope.TEAM:
        covered = budget.team_id in access.team_lineage(budget.organization_id, member.team_id)
    elif budget.scope_kind == Scope.PROJECT:
        covered = _works_on(member, budget)
    elif budget.scope_kind == Scope.MEMBER:
        covered = budget.member_id == member.pk
    if not covered and not _sees(actor, _team_of_budget(budget)):
        raise Forbidden("This budget does not cover your usage.")


def _works_on(member: Member, budget: Budget) -> bool:
    if budget.project is not None and budget.project.team_id is not None and budget.project.team_id == member.team_id:
        return True
    return Session.objects.filter(organization=budget.organization_id, member_id=member.pk, project_id=budget.project_id).exists()


def _team_of_budget(budget: Budget) -> int | None:
    if budget.project is not None and budget.team_id is None:
        return budget.project.team_id
    if budget.member is not None and budget.team_id is None:
        return budget.member.team_id
    return budget.team_id


def _deciding_team(actor: Actor, budget: Budget, session: Session | None) -> int | None:
    """The budget's team. A session's own limit that names none is decided in the session's team, else the requester's.

    Money of the whole organization, or of a project or person without a team, is the owners' and admins' to give.
    """
    team_id = _team_of_budget(budget)
    if team_id is None and budget.scope_kind == Scope.SESSION:
        lineage = access.team_lineage(budget.organization_id, session.team_id) if session is not None else []
        team_id = lineage[0] if lineage else None
        if team_id is None and actor.member is not None:
            team_id = actor.member.team_id
    return team_id


def _spender(actor: Actor, budget: Budget, session: Session | None) -> int | None:
    """Whose session or own budget the money is for. Usage may name a member who was deleted since."""
    member_id = session.member_id if session is not None else budget.member_id if budget.scope_kind == Scope.MEMBER else None
    if member_id is None:
        return None
    return access.scoped(actor, Member.objects.filter(pk=member_id)).values_list("pk", flat=True).first()

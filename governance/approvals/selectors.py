"""Reads of requests: who sees them, who may decide them, what waits."""

from uuid import UUID

from django.db.models import Q, QuerySet

from governance.approvals import coverage
from governance.approvals.models import ApprovalRequest
from governance.budgets import selectors as budgets
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member

State = ApprovalRequest.State
WITH_PEOPLE_AND_BUDGET = (
    "requester__user",
    "spender__user",
    "team",
    "period__budget",
    "decision__decider__user",
    "decision__topup",
    "organization",
)


def requests_visible(actor: Actor) -> QuerySet[ApprovalRequest]:
    """The requests the actor may see, newest first: its own, those for its sessions, and those of the teams it sees."""
    rows = access.scoped(actor, ApprovalRequest.objects.select_related(*WITH_PEOPLE_AND_BUDGET)).order_by("-created_at", "-id")
    if actor.team_ids is None:
        return rows
    seen = Q(team_id__in=actor.team_ids) | Q(requester__team_id__in=actor.team_ids)
    if actor.member is not None:
        seen |= Q(requester=actor.member) | Q(spender=actor.member)
    return rows.filter(seen)


def request_get(actor: Actor, request_id: UUID) -> ApprovalRequest:
    """One request. Raises NotFound when there is none that the actor may see."""
    request = requests_visible(actor).filter(pk=request_id).first()
    if request is None:
        raise NotFound("There is no such request here.")
    return request


def requests_to_decide(actor: Actor) -> QuerySet[ApprovalRequest]:
    """The pending requests the actor may decide, longest waiting first."""
    waiting = access.scoped(actor, ApprovalRequest.objects.select_related(*WITH_PEOPLE_AND_BUDGET).filter(state=State.PENDING))
    if actor.member is None or not actor.can(Right.DECIDE):
        return waiting.none()
    if actor.team_ids is not None:
        waiting = waiting.filter(team_id__in=actor.team_ids)
    # Not exclude(): a request without a known spender has NULL there, and stays.
    not_own = ~Q(requester=actor.member) & (Q(spender=None) | ~Q(spender=actor.member))
    return waiting.filter(not_own).order_by("created_at", "id")


def pending_count(actor: Actor) -> int:
    """How many requests wait for the actor's decision."""
    return requests_to_decide(actor).count()


def deciders(actor: Actor, request: ApprovalRequest) -> list[Member]:
    """The people who may decide the request, approvers of the team first. Never the requester, nor whose spend it is for."""
    people = access.members_who_decide(actor.organization, request.team_id)
    return [member for member in people if member.pk not in (request.requester_id, request.spender_id)]


def may_decide(actor: Actor, request: ApprovalRequest) -> bool:
    """Whether the actor may decide the request now. How much it may grant is bounded by its limit."""
    return request.state == State.PENDING and decision_refusal(actor, request) == ""


def decision_refusal(actor: Actor, request: ApprovalRequest) -> str:
    """Why the actor may never decide the request, as a sentence; "" when it may."""
    member = actor.member
    refusal = ""
    if member is None:
        refusal = "A request is decided by a person: sign in, or use an API key that belongs to a member."
    elif member.pk == request.requester_id:
        refusal = "Nobody decides their own request."
    elif member.pk == request.spender_id:
        refusal = "Nobody decides about money for their own spend."
    elif not member.is_active:
        refusal = "Your membership is no longer active."
    elif not actor.can(Right.DECIDE):
        refusal = "Your role does not include deciding requests." if actor.api_key is None else "This API key may not decide requests."
    elif actor.team_ids is not None and request.team_id not in actor.team_ids:
        whose = f"the approvers of {request.team}, owners and admins" if request.team is not None else "owners and admins"
        refusal = f"This is for {whose} to decide."
    return refusal


def blocking_period_of(actor: Actor, session_key: str) -> BudgetPeriod:
    """The budget period that the session is frozen on, else the one that refused a call for want of money.

    Raises NotFound, Forbidden, or Conflict when no budget stands against the session.
    """
    coverage.session_to_ask_for(actor, session_key)
    freeze = budgets.session_freeze_of(actor, session_key)
    if freeze is not None and freeze.period is not None:
        return freeze.period
    if freeze is not None:
        raise Conflict("This session was frozen by hand, so money does not thaw it. Ask whoever froze it.", session=session_key)
    for period in budgets.binding_periods(actor, session_key):
        if period.refused_at is not None:
            return period
    raise Conflict("Nothing is frozen here. To ask ahead, name the budget_period.", session=session_key)

"""Reads of requests: who sees them, who may decide them, what waits."""

from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from governance.approvals import coverage, delegations
from governance.approvals.models import ApprovalRequest, Vote
from governance.approvals.policies import names_of
from governance.approvals.policy import ADMINS, APPROVERS, FINANCE, MEMBER, OWNERS
from governance.approvals.standing import BY_ROLE, Standing
from governance.approvals.words import listed
from governance.budgets import selectors as budgets
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor
from governance.tenancy.models import Member, Role, Scope

State = ApprovalRequest.State
NO_PERSON = "A request is decided by a person: sign in, or use an API key that belongs to a member."
WITH_PEOPLE_AND_BUDGET = (
    "requester__user",
    "spender__user",
    "team",
    "period__budget",
    "decision__decider__user",
    "decision__topup",
    "organization",
    "policy",
)


def requests_visible(actor: Actor) -> QuerySet[ApprovalRequest]:
    """The requests the actor may see, newest first: its own, those for its sessions, of the teams it sees, and those it decides or has decided."""
    rows = access.scoped(actor, ApprovalRequest.objects.select_related(*WITH_PEOPLE_AND_BUDGET)).order_by("-created_at", "-id")
    if actor.team_ids is None:
        return rows
    seen = Q(team_id__in=actor.team_ids) | Q(requester__team_id__in=actor.team_ids)
    if actor.member is not None:
        seen |= Q(requester=actor.member) | Q(spender=actor.member)
        voted = Vote.objects.filter(organization=actor.organization, decider=actor.member, request=OuterRef("pk"))
        seen |= Q(Exists(voted)) | (Q(state=State.PENDING) & _open_to(actor))
    return rows.filter(seen)


def request_get(actor: Actor, request_id: UUID) -> ApprovalRequest:
    """One request. Raises NotFound when there is none that the actor may see."""
    request = requests_visible(actor).filter(pk=request_id).first()
    if request is None:
        raise NotFound("There is no such request here.")
    return request


def requests_to_decide(actor: Actor) -> QuerySet[ApprovalRequest]:
    """The pending requests on which a vote of the actor is wanted now, longest waiting first."""
    waiting = access.scoped(actor, ApprovalRequest.objects.select_related(*WITH_PEOPLE_AND_BUDGET).filter(state=State.PENDING))
    if actor.member is None or not _is_deciding_key(actor):
        return waiting.none()
    # Not exclude(): a request without a known spender has NULL there, and stays.
    not_own = ~Q(requester=actor.member) & (Q(spender=None) | ~Q(spender=actor.member))
    voted = Vote.objects.filter(organization=actor.organization, decider=actor.member, request=OuterRef("pk"))
    return waiting.filter(_open_to(actor), not_own, ~Exists(voted)).order_by("created_at", "id")


def pending_count(actor: Actor) -> int:
    """How many requests wait for the actor's decision."""
    return requests_to_decide(actor).count()


def deciders(actor: Actor, request: ApprovalRequest) -> list[Member]:
    """Whose turn it is, approvers of the team first and those who stand in for somebody last. Never the requester, nor whose spend it is for."""
    return [seat.person for seat in Standing(request).seats] if request.state == State.PENDING else []


def may_decide(actor: Actor, request: ApprovalRequest) -> bool:
    """Whether the actor may decide the request now. How much it may grant is bounded by its limit."""
    return request.state == State.PENDING and decision_refusal(actor, request) == ""


def decision_refusal(actor: Actor, request: ApprovalRequest, *, standing: Standing | None = None) -> str:
    """Why the actor may not decide the request now, as a sentence; "" when it may."""
    member = actor.member
    if member is None or (refusal := person_refusal(actor, request)):
        return NO_PERSON if member is None else refusal
    standing = standing or Standing(request)
    if standing.seats_for(member):
        return ""
    voted = next((vote for vote in standing.votes if member.pk in (vote.decider_id, vote.seat_id)), None)
    if voted is not None:
        by_another = voted.decider_id != member.pk
        return f"{voted.decider} has decided in your stead." if by_another else "You have decided already; it waits for others now."
    if standing.fits(member):
        return "Your part of this is done: it waits for others, or for its turn to come to you."
    return f"This is for {whose_turn(standing)} to decide."


def person_refusal(actor: Actor, request: ApprovalRequest) -> str:
    """Why the actor, whatever the policy says, decides nothing about the request; "" when it may be asked."""
    member = actor.member
    refusal = ""
    if member is None:
        refusal = NO_PERSON
    elif member.pk == request.requester_id:
        refusal = "Nobody decides their own request."
    elif member.pk == request.spender_id:
        refusal = "Nobody decides about money for their own spend."
    elif not member.is_active:
        refusal = "Your membership is no longer active."
    elif not _is_deciding_key(actor):
        refusal = "This API key may not decide requests."
    return refusal


def whose_turn(standing: Standing) -> str:
    """Who decides now, in words: "the approvers of Platform, owners and admins"."""
    parties = standing.open_parties
    names = names_of(standing.request.organization, parties)
    team = standing.request.team
    told = [f"the approvers of {team}"] if APPROVERS in parties and team is not None else []
    told += ["owners"] if parties & {ADMINS, OWNERS} else []
    told += ["admins"] if ADMINS in parties else []
    told += ["finance"] if FINANCE in parties else []
    return listed([*told, *names.values()], "and") if told or names else "nobody"


def _is_deciding_key(actor: Actor) -> bool:
    return actor.api_key is None or Scope.ADMIN in actor.api_key.scopes


def _open_to(actor: Actor) -> Q:
    """The requests whose turn has come to the actor, in an own place or in the stead of somebody who is away."""
    if actor.member is None:
        return Q(pk__in=[])
    found = _open_to_member(actor.member, actor.team_ids)
    away = delegations.stood_in_for(actor.member.pk, delegations.standings(actor.organization), now=timezone.now())
    for member in (
        Member.objects.filter(organization=actor.organization, pk__in=away, is_active=True).select_related("organization", "team")
        if away
        else ()
    ):
        team_ids = access.member_actor(member).team_ids
        found |= _open_to_member(member, team_ids) & ~Q(requester=member) & (Q(spender=None) | ~Q(spender=member))
    return found


def _open_to_member(member: Member, team_ids: frozenset[int] | None) -> Q:
    found = Q(open_to__overlap=[f"{MEMBER}{member.pk}", *BY_ROLE.get(Role(member.role), ())])
    if member.role == Role.APPROVER and team_ids:
        found |= Q(open_to__contains=[APPROVERS], team_id__in=team_ids)
    taken = Vote.objects.filter(organization=member.organization_id, seat=member, request=OuterRef("pk"))
    return found & ~Q(Exists(taken))


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

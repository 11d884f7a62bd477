"""Deciding: votes until the chain is satisfied, the money with the last of them; and going on when nobody answers.

Locks are always taken in this order: the request's row, then (in `period_topup`) the budget period's.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from governance.approvals import checks, closing, selectors, tell
from governance.approvals.models import ApprovalRequest, Decision, Vote
from governance.approvals.standing import Seat, Standing
from governance.audit.services import audit_record
from governance.budgets.models import Budget
from governance.errors import Conflict, Forbidden
from governance.notices.messages import amount_text
from governance.tenancy import access
from governance.tenancy.access import Actor
from governance.tenancy.models import Member

State = ApprovalRequest.State


@transaction.atomic
def request_decide(
    *,
    actor: Actor,
    request_id: UUID,
    is_grant: bool,
    amount: Decimal | None = None,
    note: str = "",
    ends_at: datetime | None = None,
    session_only: bool = False,
    idempotency_key: str | None = None,
) -> Decision | Vote:
    """The actor's vote on a pending request: grants `amount` of it (None: all) until `ends_at` (None: as asked), or denies it with a note.

    When it is the last that is needed, the answer is the Decision, and request, top-up, end of the freeze, audit rows and
    notices are this transaction; else it is the Vote (`is_final` tells them apart). Of several grants the smallest amount and
    the earliest end count. `session_only` gives the money to the session's own limit. Somebody without a place of their own
    votes in that of whom they stand in for, within that person's limit. Raises NotFound, Forbidden, Invalid, and Conflict
    when the request is no longer pending, the person has voted, or the period is over.
    """
    selectors.request_get(actor, request_id)
    request = closing.request_locked(actor, request_id)
    actor = actor_now(actor, request)
    verdict = checks.facts_hash({"is_grant": is_grant, "amount": amount, "note": note, "ends_at": ends_at, "session_only": session_only})
    standing = Standing(request)
    if earlier := _voted_before(actor, standing, idempotency_key, verdict):
        return earlier
    closing.check_pending(request)
    if refusal := selectors.decision_refusal(actor, request, standing=standing):
        raise Forbidden(refusal)
    note = checks.text_stored(note, field="note", is_required=not is_grant)
    seats = standing.seats_for(_person(actor))
    seat = seats[0]
    granted = None
    if is_grant:
        granted = closing.amount_checked(request, amount)
        seat = _within_limit(request, seats, granted)
        closing.check_end(request, ends_at or request.ends_at, standing.now)
        closing.period_given(request, is_session_only=session_only, now=standing.now)
    vote = Vote.objects.create(
        organization=request.organization, request=request, decider=seat.person, seat=seat.of, is_grant=is_grant, amount=granted, note=note, ends_at=ends_at,
        is_session_only=session_only, at=standing.now, idempotency_key=idempotency_key, request_hash=verdict,
    )  # fmt: skip
    return _settle(actor, request, vote)


def actor_now(actor: Actor, request: ApprovalRequest) -> Actor:
    """The actor with the member as the database has it now: role, team, limit and activity may have changed since it was made."""
    if actor.member is None:
        raise Forbidden(selectors.NO_PERSON)
    member = Member.objects.select_related("organization", "team", "user").get(organization=actor.organization, pk=actor.member.pk)
    today = access.member_actor(member)
    return replace(actor, member=member, rights=actor.rights & today.rights, team_ids=today.team_ids)


def requests_escalate(*, now: datetime | None = None) -> int:
    """Passes on the steps that were left lying, each request in a transaction of its own. Returns how many requests moved."""
    now = now or timezone.now()
    due = ApprovalRequest.objects.filter(state=State.PENDING, escalates_at__lte=now).order_by("id").values_list("organization_id", "id")
    return sum(_escalate(organization_id, request_id, now) for organization_id, request_id in list(due[:1000]))


def requests_refresh() -> int:
    """Opens again what the going of a voter has opened: votes of those who left do not count. Returns how many requests changed."""
    voted = Vote.objects.filter(request__state=State.PENDING).order_by("request_id").values_list("organization_id", "request_id").distinct()
    return sum(_refresh(organization_id, request_id) for organization_id, request_id in list(voted[:1000]))


def stand(request: ApprovalRequest, standing: Standing) -> None:
    """Keeps with the request whose turn it is, since when, and when that escalates. Does not save."""
    request.open_to = sorted(standing.open_parties)
    request.opened = standing.opened()
    request.escalates_at = standing.escalates_at(request.opened)


STANDS = ["open_to", "opened", "escalates_at"]


def _settle(actor: Actor, request: ApprovalRequest, vote: Vote) -> Decision | Vote:
    """Ends the request if the vote was the last that was needed, else passes it on."""
    standing = Standing(request)
    given_for = {"in_stead_of": vote.seat_id} if vote.in_stead_of else {}
    shared = {"decider": vote.decider, "note": vote.note, "idempotency_key": vote.idempotency_key, "request_hash": vote.request_hash}
    if not vote.is_grant and standing.is_denied:
        return closing.decide(actor, request, topup=None, facts=given_for, **shared)
    if vote.is_grant and standing.progress.is_complete:
        amount, ends_at, is_session_only = standing.terms()
        topup = closing.grant(actor, request, amount=amount, ends_at=ends_at, is_session_only=is_session_only)
        others = [one.decider_id for one in standing.grants if one.pk != vote.pk]
        facts = given_for | ({"granted_before_by": others} if others else {}) | ({"session_only": True} if is_session_only else {})
        return closing.decide(actor, request, topup=topup, facts=facts, **shared)
    told = {seat.person.pk for seat in Standing(request).seats_among(request.open_to)}
    stand(request, standing)
    request.save(update_fields=STANDS)
    audit_record(
        actor=actor, action="request.voted", target=("approval_request", request.pk), old={"state": State.PENDING.value},
        new={"decider": vote.decider_id, "is_grant": vote.is_grant, "amount": vote.amount, "note": vote.note, "ends_at": vote.ends_at, **given_for},
    )  # fmt: skip
    tell.voted(request, vote, waiting=[seat.person for seat in standing.seats if seat.person.pk not in told])
    return vote


def _voted_before(actor: Actor, standing: Standing, idempotency_key: str | None, verdict: UUID) -> Decision | Vote | None:
    """The answer that this call got before; None when it is a new one. Raises Conflict for a second vote of the same person."""
    earlier = next((vote for vote in standing.votes if vote.decider_id == _person(actor).pk), None)
    if earlier is None:
        return None
    if idempotency_key is not None and earlier.idempotency_key == idempotency_key:
        if earlier.request_hash != verdict:
            raise checks.key_reused()
        decision = Decision.objects.select_related("decider__user", "topup").filter(
            organization=standing.request.organization_id, request=standing.request
        )
        return decision.filter(decider=earlier.decider, idempotency_key=idempotency_key).first() or earlier
    closing.check_pending(standing.request)
    what = f"granted {amount_text(earlier.amount, standing.request.currency)}" if earlier.amount is not None else "denied it"
    raise Conflict(f"You have {what} already. Everybody decides once; it waits for others now.", decided_at=earlier.at)


def _within_limit(request: ApprovalRequest, seats: list[Seat], granted: Decimal) -> Seat:
    """The first of the places whose limit covers the amount. Raises Forbidden with the limit when none does."""
    for seat in seats:
        limit = seat.of.approval_limit
        if limit is None or (granted <= limit and is_in_money(request)):
            return seat
    return _refuse_amount(request, seats[0])


def _refuse_amount(request: ApprovalRequest, seat: Seat) -> Seat:
    limit = seat.of.approval_limit
    whose = "Your limit" if seat.in_stead_of is None else f"The limit of {seat.of}, for whom you stand in,"
    text = amount_text(limit or Decimal(0), request.organization.currency)
    if not is_in_money(request):
        raise Forbidden(
            f"{whose} is {text}, which cannot be compared with {request.currency}. Leave it to somebody without a limit.", limit=limit
        )
    raise Forbidden(f"{whose} is {text} a request. Grant a part, or leave it to somebody with a higher limit.", limit=limit)


def is_in_money(request: ApprovalRequest) -> bool:
    """Whether the amount can be compared with a member's limit, which is in the organization's currency."""
    return request.period.budget.measure == Budget.Measure.MONEY and request.currency == request.organization.currency


def _person(actor: Actor) -> Member:
    if actor.member is None:
        raise Forbidden(selectors.NO_PERSON)
    return actor.member


def _free(organization_id: int, request_id: UUID) -> ApprovalRequest | None:
    """The pending request with its row held, unless somebody else is at it."""
    rows = ApprovalRequest.objects.select_for_update(of=("self",), skip_locked=True).select_related(
        "organization", "requester__user", "spender__user", "team", "period__budget", "period__organization"
    )
    return rows.filter(organization=organization_id, pk=request_id, state=State.PENDING).first()


@transaction.atomic
def _escalate(organization_id: int, request_id: UUID, now: datetime) -> int:
    request = _free(organization_id, request_id)
    if request is None:
        return 0
    before = Standing(request, now=now)
    late = before.left_lying()
    told = {seat.person.pk for seat in before.seats}
    if late:
        request.escalated = sorted({*request.escalated, *late})
    after = Standing(request, now=now)
    stand(request, after)
    request.save(update_fields=["escalated", *STANDS])
    if not late:
        return 0
    actor = access.system_actor(request.organization)
    audit_record(
        actor=actor, action="request.escalated", target=("approval_request", request.pk), new={"steps": late, "open_to": request.open_to}
    )
    tell.escalated(request, [seat.person for seat in after.seats if seat.person.pk not in told], places=late)
    return 1


@transaction.atomic
def _refresh(organization_id: int, request_id: UUID) -> int:
    request = _free(organization_id, request_id)
    if request is None:
        return 0
    standing, before = Standing(request), list(request.open_to)
    stand(request, standing)
    if request.open_to == before:
        return 0
    request.save(update_fields=STANDS)
    tell.reopened(request, [seat.person for seat in standing.seats])
    return 1

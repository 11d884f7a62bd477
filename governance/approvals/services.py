"""Writes of requests: filed, decided once, withdrawn, expired.

Locks are always taken in this order: the request's row, then (in `period_topup`) the budget period's.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from governance.approvals import checks, coverage, selectors, tell
from governance.approvals.models import ApprovalRequest, Decision
from governance.audit.services import audit_record
from governance.budgets.models import BudgetPeriod, TopUp
from governance.budgets.services import period_topup
from governance.errors import Conflict, Forbidden, Invalid
from governance.ids import uuid7
from governance.notices.messages import amount_text, instant_text
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member

State = ApprovalRequest.State
EXPIRE_AT_ONCE = 1000


@transaction.atomic
def request_create(
    *,
    actor: Actor,
    period_id: int | None,
    amount: Decimal,
    reason: str,
    session_key: str = "",
    ends_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> ApprovalRequest:
    """Files a request for `amount` (the budget's currency) on a budget period, until `ends_at` or the period's end.

    Without a period it goes to whatever stands against the session.
    Raises Forbidden, NotFound, Invalid, and Conflict when the requester's earlier request on the period still waits, or the
    period is over. The same idempotency key with the same request gives the request filed first.
    """
    requester = _requester(actor)
    amount, reason = checks.amount_stored(amount), checks.text_stored(reason, field="reason", is_required=True)
    request_hash = checks.facts_hash({"period": period_id, "amount": amount, "reason": reason, "session": session_key, "ends_at": ends_at})
    if earlier := _filed_before(actor, requester, idempotency_key, request_hash):
        return earlier
    now = timezone.now()
    period = _period(actor, period_id, session_key)
    covered = coverage.coverage_of(actor, period, session_key)
    checks.check_future(ends_at, now)
    checks.check_in_force(period, now)
    request = ApprovalRequest(
        id=uuid7(),
        organization=actor.organization,
        requester=requester,
        period=period,
        team_id=covered.team_id,
        spender_id=covered.spender_id,
        session_key=covered.session_key,
        amount=amount,
        currency=period.budget.currency,
        reason=reason,
        ends_at=ends_at,
        created_at=now,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )
    if earlier := _insert(actor, request):
        return earlier
    facts = {"period": period.pk, "session": request.session_key, "amount": amount, "reason": reason, "ends_at": ends_at}
    audit_record(actor=actor, action="request.filed", target=("approval_request", request.pk), new=facts)
    tell.filed(actor, request)
    return request


@transaction.atomic
def request_decide(
    *,
    actor: Actor,
    request_id: UUID,
    is_grant: bool,
    amount: Decimal | None = None,
    note: str = "",
    ends_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Decision:
    """Decides a pending request: grants `amount` of it (None: all) until `ends_at` (None: as asked), or denies it with a note.

    Request, decision, top-up, end of the freeze, audit rows and notices are one transaction. Raises NotFound, Forbidden, Invalid,
    and Conflict when the request is no longer pending or its period is over.
    """
    selectors.request_get(actor, request_id)
    request = _locked(actor, request_id)
    decider = _decider(actor, request)
    verdict = checks.facts_hash({"is_grant": is_grant, "amount": amount, "note": note, "ends_at": ends_at})
    if earlier := _decided_before(request, decider, idempotency_key, verdict):
        return earlier
    _check_pending(request)
    note = checks.text_stored(note, field="note", is_required=not is_grant)
    topup = _grant(actor, request, decider, amount=amount, ends_at=ends_at) if is_grant else None
    decision = Decision.objects.create(
        organization=actor.organization,
        request=request,
        decider=decider,
        is_grant=is_grant,
        amount=topup.amount if topup is not None else None,
        note=note,
        topup=topup,
        at=timezone.now(),
        idempotency_key=idempotency_key,
        request_hash=verdict,
    )
    facts = {"decider": decider.pk, "granted": decision.amount, "note": note, "ends_at": topup.ends_at if topup else None}
    _close(actor, request, State.APPROVED if is_grant else State.DENIED, facts)
    tell.decided(request, decision, is_still_frozen=_is_frozen(request))
    return decision


@transaction.atomic
def request_withdraw(*, actor: Actor, request_id: UUID) -> ApprovalRequest:
    """Takes back the actor's own pending request. Withdrawing twice changes nothing; a decided one raises Conflict."""
    selectors.request_get(actor, request_id)
    request = _locked(actor, request_id)
    if actor.member is None or actor.member.pk != request.requester_id:
        raise Forbidden("Only the person who asked can withdraw a request.")
    if request.state == State.WITHDRAWN:
        return request
    _check_pending(request)
    _close(actor, request, State.WITHDRAWN)
    tell.withdrawn(request)
    return request


def requests_expire() -> int:
    """Closes the pending requests whose time, period or budget is over, each in a transaction of its own. Returns how many."""
    now = timezone.now()
    over = Q(ends_at__lte=now) | Q(period__ends_at__lte=now) | Q(period__budget__is_active=False)
    due = ApprovalRequest.objects.filter(over, state=State.PENDING).order_by("id").values_list("organization_id", "id")
    return sum(_expire(organization_id, request_id, now) for organization_id, request_id in list(due[:EXPIRE_AT_ONCE]))


def _requester(actor: Actor) -> Member:
    access.require(actor, Right.REQUEST)
    if actor.member is None:
        raise Forbidden("A request is filed by a person: sign in, or use an API key that belongs to a member.")
    return actor.member


def _period(actor: Actor, period_id: int | None, session_key: str) -> BudgetPeriod:
    if period_id is None:
        period_id = selectors.blocking_period_of(actor, session_key).pk
    rows = BudgetPeriod.objects.select_related("organization", "budget__project", "budget__member")
    return access.get_scoped(actor, rows, pk=period_id)


def _decider(actor: Actor, request: ApprovalRequest) -> Member:
    """The deciding member as the database has it now: role, team, limit and activity may have changed since the actor was made."""
    if actor.member is None:
        raise Forbidden(selectors.decision_refusal(actor, request))
    decider = Member.objects.select_related("organization", "team", "user").get(organization=actor.organization, pk=actor.member.pk)
    today = access.member_actor(decider)
    refusal = selectors.decision_refusal(
        replace(actor, member=decider, rights=actor.rights & today.rights, team_ids=today.team_ids), request
    )
    if refusal:
        raise Forbidden(refusal)
    return decider


def _locked(actor: Actor, request_id: UUID) -> ApprovalRequest:
    """The request with its row held until the transaction ends."""
    rows = ApprovalRequest.objects.select_for_update(of=("self",)).select_related(
        "requester__user", "spender__user", "team", "period__budget", "period__organization", "organization"
    )
    return access.get_scoped(actor, rows, pk=request_id)


def _grant(actor: Actor, request: ApprovalRequest, decider: Member, *, amount: Decimal | None, ends_at: datetime | None) -> TopUp:
    """Adds the money to the period. The caller holds the request's row."""
    granted = request.amount if amount is None else checks.amount_stored(amount)
    ends_at = ends_at or request.ends_at
    now = timezone.now()
    if granted > request.amount:
        raise Invalid(f"Grant at most what was asked for: {amount_text(request.amount, request.currency)}.", field="amount")
    if decider.approval_limit is not None and granted > decider.approval_limit:
        limit = amount_text(decider.approval_limit, request.currency)
        sentence = f"Your limit is {limit} a request. Grant a part, or leave it to somebody with a higher limit."
        raise Forbidden(sentence, limit=decider.approval_limit)
    if ends_at == request.ends_at and ends_at is not None and ends_at <= now:
        raise Conflict("The time it was asked for is over. Deny it, or give it another end.", ends_at=ends_at)
    checks.check_future(ends_at, now)
    checks.check_in_force(request.period, now)
    return period_topup(
        actor=actor,
        period_id=request.period_id,
        amount=granted,
        ends_at=ends_at,
        reason=f"Asked for by {request.requester}: {request.reason}"[:300],
    )


def _close(actor: Actor, request: ApprovalRequest, state: State, facts: Mapping[str, Any] | None = None) -> None:
    """Ends the pending request and records it."""
    request.state, request.ended_at = state, timezone.now()
    request.save(update_fields=["state", "ended_at"])
    audit_record(
        actor=actor,
        action=f"request.{state.value}",
        target=("approval_request", request.pk),
        old={"state": State.PENDING.value},
        new={"state": state.value, **(facts or {})},
    )


@transaction.atomic
def _expire(organization_id: int, request_id: UUID, now: datetime) -> int:
    """Closes one request, unless somebody else is at it or was faster."""
    rows = ApprovalRequest.objects.select_for_update(of=("self",), skip_locked=True).select_related(
        "organization", "requester__user", "spender__user", "period__budget", "period__organization"
    )
    request = rows.filter(organization=organization_id, pk=request_id, state=State.PENDING).first()
    if request is None:
        return 0
    actor = access.system_actor(request.organization)
    why = checks.why_over(request.period, now)
    if request.ends_at is not None and request.ends_at <= now:
        why = f"It was wanted until {instant_text(request.ends_at, request.organization.zone)}."
    _close(actor, request, State.EXPIRED, {"why": why})
    tell.expired(request, why)
    return 1


def _insert(actor: Actor, request: ApprovalRequest) -> ApprovalRequest | None:
    """Stores the request; the unique indexes decide between clicks that come at once. Returns an equal one that was faster, if any."""
    try:
        with transaction.atomic():
            request.save(force_insert=True)
    except IntegrityError:
        if earlier := _filed_before(actor, request.requester, request.idempotency_key, request.request_hash):
            return earlier
        waiting = ApprovalRequest.objects.filter(
            organization=actor.organization, requester=request.requester, period=request.period, state=State.PENDING
        ).first()
        if waiting is None:
            raise
        asked = amount_text(waiting.amount, waiting.currency)
        raise Conflict(
            f"Your request for {asked} on {request.period.budget.name} still waits for a decision. Withdraw it to ask for something else.",
            request=waiting.pk,
        ) from None
    return None


def _filed_before(actor: Actor, requester: Member, idempotency_key: str | None, request_hash: UUID | None) -> ApprovalRequest | None:
    if idempotency_key is None:
        return None
    rows = ApprovalRequest.objects.filter(organization=actor.organization, requester=requester, idempotency_key=idempotency_key)
    earlier = rows.select_related(*selectors.WITH_PEOPLE_AND_BUDGET).first()
    if earlier is not None and earlier.request_hash != request_hash:
        raise checks.key_reused()
    return earlier


def _decided_before(request: ApprovalRequest, decider: Member, idempotency_key: str | None, verdict: UUID) -> Decision | None:
    earlier = (
        Decision.objects.select_related("decider__user", "topup").filter(organization=request.organization_id, request=request).first()
    )
    if earlier is None or idempotency_key is None or (earlier.decider_id, earlier.idempotency_key) != (decider.pk, idempotency_key):
        return None
    if earlier.request_hash != verdict:
        raise checks.key_reused()
    return earlier


def _check_pending(request: ApprovalRequest) -> None:
    """Raises Conflict that says what became of the request, and by whom."""
    if request.state == State.PENDING:
        return
    if request.state == State.WITHDRAWN:
        raise Conflict(f"{request.requester} has withdrawn this request.", state=request.state)
    if request.state == State.EXPIRED:
        raise Conflict("This request was closed without a decision, because its time was over.", state=request.state)
    decision = Decision.objects.select_related("decider__user").get(organization=request.organization_id, request=request)
    what = f"granted {amount_text(decision.amount, request.currency)}" if decision.amount is not None else "denied this request"
    raise Conflict(f"{decision.decider} has already {what}.", state=request.state, decided_by=str(decision.decider), decided_at=decision.at)


def _is_frozen(request: ApprovalRequest) -> bool:
    """Whether the period still stands frozen, after a top-up in this transaction as well."""
    return BudgetPeriod.objects.filter(organization=request.organization_id, pk=request.period_id, frozen_at__isnull=False).exists()

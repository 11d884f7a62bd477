"""Writes of requests: filed, granted at once where they are small, withdrawn, expired. Deciding is in `deciding`.

Locks are always taken in this order: the requester's row and the team's (for automatic grants), the request's row, then (in
`period_topup`) the budget period's.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from governance.approvals import automatic, checks, closing, coverage, deciding, policies, policy, selectors, tell
from governance.approvals.deciding import request_decide, requests_escalate, requests_refresh
from governance.approvals.models import ApprovalRequest
from governance.approvals.overrides import request_override, review_record, reviews_remind
from governance.approvals.standing import Standing
from governance.audit.services import audit_record
from governance.budgets.models import BudgetPeriod
from governance.errors import Conflict, Forbidden, Invalid
from governance.ids import uuid7
from governance.notices.messages import amount_text, instant_text
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import Member

__all__ = [
    "request_create", "request_decide", "request_override", "request_withdraw", "requests_escalate", "requests_expire", "requests_refresh", "review_record",
    "reviews_remind",
]  # fmt: skip
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
    session_only: bool = False,
    idempotency_key: str | None = None,
) -> ApprovalRequest:
    """Files a request for `amount` (in the budget's measure) on a budget period, until `ends_at` or the period's end.

    Without a period it goes to whatever stands against the session; `session_only` asks on the session's own limit instead.
    It is held to the policy of its team as it stands now, and granted at once where that says so.
    Raises Forbidden, NotFound, Invalid, and Conflict when the requester's earlier request on the period still waits, or the
    period is over. The same idempotency key with the same request gives the request filed first.
    """
    requester = _requester(actor)
    amount, reason = checks.amount_stored(amount), checks.text_stored(reason, field="reason", is_required=True)
    request_hash = checks.facts_hash(
        {"period": period_id, "amount": amount, "reason": reason, "session": session_key, "ends_at": ends_at, "session_only": session_only}
    )
    if earlier := _filed_before(actor, requester, idempotency_key, request_hash):
        return earlier
    now = timezone.now()
    period = _session_period(actor, session_key, now) if session_only else _period(actor, period_id, session_key)
    covered = coverage.coverage_of(actor, period, session_key)
    checks.check_future(ends_at, now)
    checks.check_in_force(period, now)
    found = policies.policy_for(actor.organization, covered.team_id)
    rules = policies.rules_in(found)
    chain = policies.chain_of_request(found, budget=period.budget, amount=amount, organization=actor.organization)
    request = ApprovalRequest(
        id=uuid7(),
        organization=actor.organization,
        requester=requester,
        period=period,
        team_id=covered.team_id,
        spender_id=covered.spender_id,
        session_key=covered.session_key,
        amount=amount,
        currency=period.budget.unit,
        reason=reason,
        ends_at=ends_at,
        created_at=now,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        policy=found,
        chain=policy.to_facts(chain),
        expires_at=now + timedelta(hours=rules.expire_hours) if rules.expire_hours else None,
    )
    deciding.stand(request, Standing(request, now=now))
    if earlier := _insert(actor, request):
        return earlier
    facts = {"period": period.pk, "session": request.session_key, "amount": amount, "reason": reason, "ends_at": ends_at}
    audit_record(actor=actor, action="request.filed", target=("approval_request", request.pk), new=facts)
    granted = automatic.grant_small(request, rules)
    tell.filed(request, [] if granted else selectors.deciders(actor, request))
    return request


@transaction.atomic
def request_withdraw(*, actor: Actor, request_id: UUID) -> ApprovalRequest:
    """Takes back the actor's own pending request. Withdrawing twice changes nothing; a decided one raises Conflict."""
    selectors.request_get(actor, request_id)
    request = closing.request_locked(actor, request_id)
    if actor.member is None or actor.member.pk != request.requester_id:
        raise Forbidden("Only the person who asked can withdraw a request.")
    if request.state == State.WITHDRAWN:
        return request
    closing.check_pending(request)
    closing.close(actor, request, State.WITHDRAWN)
    tell.withdrawn(request)
    return request


def requests_expire() -> int:
    """Closes the pending requests whose time, period or budget is over, each in a transaction of its own. Returns how many."""
    now = timezone.now()
    over = Q(ends_at__lte=now) | Q(expires_at__lte=now) | Q(period__ends_at__lte=now) | Q(period__budget__is_active=False)
    due = ApprovalRequest.objects.filter(over, state=State.PENDING).order_by("id").values_list("organization_id", "id")
    return sum(_expire(organization_id, request_id, now) for organization_id, request_id in list(due[:EXPIRE_AT_ONCE]))


def _session_period(actor: Actor, session_key: str, now: datetime) -> BudgetPeriod:
    """The session's own period. Raises Invalid when no budget limits the session by itself."""
    if not session_key:
        raise Invalid("Say for which session.", field="session")
    coverage.session_to_ask_for(actor, session_key)
    period = closing.session_period_of(actor.organization.pk, session_key, now)
    if period is None:
        raise Invalid(
            "No budget limits this session by itself, so nothing can be asked for it alone. Ask on the budget that covers it.",
            field="session_only",
        )
    return _period(actor, period.pk, session_key)


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
    elif not why and request.expires_at is not None:
        why = f"Nobody decided it until {instant_text(request.expires_at, request.organization.zone)}, which is as long as the approval policy lets it wait."
    closing.close(actor, request, State.EXPIRED, {"why": why})
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

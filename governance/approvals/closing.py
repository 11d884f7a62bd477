"""What every end of a request has in common: its row held, its state checked, the money given, the decision and the record written."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from governance.approvals import checks, tell
from governance.approvals.models import ApprovalRequest, Decision
from governance.audit.services import audit_record
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.selectors import freezes_reaching
from governance.budgets.services import period_topup
from governance.errors import Conflict, Invalid
from governance.notices.messages import amount_text
from governance.tenancy import access
from governance.tenancy.access import Actor

State = ApprovalRequest.State
NO_SESSION_LIMIT = "No budget limits this session by itself, so money cannot be kept for it alone. Grant it on the budget that was asked for, or make a session budget first."


def request_locked(actor: Actor, request_id: UUID) -> ApprovalRequest:
    """The request with its row held until the transaction ends. Raises NotFound."""
    rows = ApprovalRequest.objects.select_for_update(of=("self",)).select_related(
        "requester__user", "spender__user", "team", "period__budget", "period__organization", "organization"
    )
    return access.get_scoped(actor, rows, pk=request_id)


def check_pending(request: ApprovalRequest) -> None:
    """Raises Conflict that says what became of the request, and by whom."""
    if request.state == State.PENDING:
        return
    if request.state == State.WITHDRAWN:
        raise Conflict(f"{request.requester} has withdrawn this request.", state=request.state)
    if request.state == State.EXPIRED:
        raise Conflict("This request was closed without a decision, because its time was over.", state=request.state)
    decision = Decision.objects.select_related("decider__user").get(organization=request.organization_id, request=request)
    what = f"granted {amount_text(decision.amount, request.currency)}" if decision.amount is not None else "denied this request"
    raise Conflict(f"{decision.by} has already {what}.", state=request.state, decided_by=decision.by, decided_at=decision.at)


def amount_checked(request: ApprovalRequest, amount: Decimal | None) -> Decimal:
    """What is granted: the whole where nothing is said. Raises Invalid for nothing, and for more than was asked for."""
    granted = request.amount if amount is None else checks.amount_stored(amount)
    if granted > request.amount:
        raise Invalid(f"Grant at most what was asked for: {amount_text(request.amount, request.currency)}.", field="amount")
    return granted


def check_end(request: ApprovalRequest, ends_at: datetime | None, now: datetime) -> None:
    """Raises Conflict or Invalid for an end that has passed."""
    if ends_at is not None and ends_at == request.ends_at and ends_at <= now:
        raise Conflict("The time it was asked for is over. Deny it, or give it another end.", ends_at=ends_at)
    checks.check_future(ends_at, now)


def period_given(request: ApprovalRequest, *, is_session_only: bool, now: datetime) -> BudgetPeriod:
    """The period that a grant raises: the one asked for, or the session's own. Raises Conflict when it is over, Invalid for a session without one."""
    period = request.period
    if is_session_only and period.session_key == "":
        own = session_period_of(request.organization_id, request.session_key, now)
        if own is None:
            raise Invalid(NO_SESSION_LIMIT, field="session_only")
        period = own
    checks.check_in_force(period, now)
    return period


def session_period_of(organization_id: int, session_key: str, now: datetime) -> BudgetPeriod | None:
    """The session's own period, the one nearest its limit where it has several; None when no budget limits it by itself."""
    if not session_key:
        return None
    rows = BudgetPeriod.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=now), organization=organization_id, session_key=session_key, budget__scope_kind=Budget.ScopeKind.SESSION,
        budget__is_active=True,
    ).select_related("budget", "organization")  # fmt: skip
    return min(rows, key=lambda period: (period.frozen_at is None, not period.is_hard, period.left, period.pk), default=None)


def grant(actor: Actor, request: ApprovalRequest, *, amount: Decimal, ends_at: datetime | None, is_session_only: bool = False) -> TopUp:
    """Adds the money to the period. The caller holds the request's row; raises as `period_given` and `check_end` do."""
    now = timezone.now()
    ends_at = ends_at or request.ends_at
    check_end(request, ends_at, now)
    period = period_given(request, is_session_only=is_session_only, now=now)
    return period_topup(
        actor=actor, period_id=period.pk, amount=amount, ends_at=ends_at, reason=f"Asked for by {request.requester}: {request.reason}"[:300]
    )


def decide(
    actor: Actor, request: ApprovalRequest, *, topup: TopUp | None, facts: Mapping[str, Any] | None = None, **fields: Any
) -> Decision:
    """Writes the decision and ends the request with it: a grant where there is a top-up, else a denial. `fields` are the decision's own."""
    decision = Decision.objects.create(
        organization=request.organization, request=request, is_grant=topup is not None, amount=topup.amount if topup else None, topup=topup,
        at=timezone.now(), **fields,
    )  # fmt: skip
    granted = {"granted": decision.amount, "note": decision.note, "ends_at": topup.ends_at if topup else None}
    close(
        actor,
        request,
        State.APPROVED if topup else State.DENIED,
        {"decider": decision.decider_id, "kind": decision.kind, **granted, **(facts or {})},
    )
    tell.decided(request, decision, is_still_frozen=is_frozen(request), held_by=held_otherwise(request) if topup else "")
    return decision


def close(actor: Actor, request: ApprovalRequest, state: ApprovalRequest.State, facts: Mapping[str, Any] | None = None) -> None:
    """Ends the pending request and records it."""
    request.state, request.ended_at, request.open_to, request.escalates_at = state, timezone.now(), [], None
    request.save(update_fields=["state", "ended_at", "open_to", "escalates_at"])
    audit_record(
        actor=actor,
        action=f"request.{state.value}",
        target=("approval_request", request.pk),
        old={"state": State.PENDING.value},
        new={"state": state.value, **(facts or {})},
    )


def is_frozen(request: ApprovalRequest) -> bool:
    """Whether the period still stands frozen, after a top-up in this transaction as well."""
    return BudgetPeriod.objects.filter(organization=request.organization_id, pk=request.period_id, frozen_at__isnull=False).exists()


def held_otherwise(request: ApprovalRequest) -> str:
    """What besides the asked period refuses the session's next call, in words; "" where nothing does."""
    if not request.session_key:
        return ""
    standing = freezes_reaching(access.system_actor(request.organization), request.session_key)
    return ", ".join(
        f"{freeze.period.budget.name} is used up" if freeze.period else f"{freeze.subject} is frozen{f' by {freeze.starter}' if freeze.starter else ''}"
        for freeze in standing if freeze.period_id is None or freeze.period_id != request.period_id
    )  # fmt: skip

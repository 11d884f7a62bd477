"""Tells people about requests: chooses who is told what, and leaves it in the outbox."""

from governance.approvals import selectors
from governance.approvals.models import ApprovalRequest, Decision
from governance.notices import messages
from governance.notices.links import request_link
from governance.notices.messages import Message
from governance.notices.services import notice_add
from governance.tenancy.access import Actor
from governance.tenancy.models import Member


def filed(actor: Actor, request: ApprovalRequest) -> None:
    """To everybody who may decide."""
    period = request.period
    message = messages.request_filed(
        requester=str(request.requester),
        budget=period.budget.name,
        amount=request.amount,
        spent=period.spent,
        limit=period.allowance,
        currency=request.currency,
        reason=request.reason,
        zone=actor.organization.zone,
        ends_at=request.ends_at,
        session=request.session_key,
        link=_link(actor, request),
    )
    _add(actor, request, selectors.deciders(actor, request), message, "filed")


def decided(actor: Actor, request: ApprovalRequest, decision: Decision, *, is_still_frozen: bool) -> None:
    """To the requester, and to whoever is spending the money."""
    budget, decider = request.period.budget.name, str(decision.decider)
    if decision.amount is None:
        message = messages.request_denied(
            decider=decider, budget=budget, asked=request.amount, currency=request.currency, note=decision.note, link=_link(actor, request)
        )
    else:
        message = messages.request_granted(
            decider=decider,
            budget=budget,
            granted=decision.amount,
            asked=request.amount,
            currency=request.currency,
            note=decision.note,
            zone=actor.organization.zone,
            ends_at=decision.topup.ends_at if decision.topup else None,
            is_still_frozen=is_still_frozen,
            session=request.session_key,
            link=_link(actor, request),
        )
    _add(actor, request, _asking(request), message, "decided")


def expired(actor: Actor, request: ApprovalRequest, why: str) -> None:
    """To the requester, and to whoever would have spent the money."""
    message = messages.request_expired(
        budget=request.period.budget.name, asked=request.amount, currency=request.currency, why=why, link=_link(actor, request)
    )
    _add(actor, request, _asking(request), message, "expired")


def _asking(request: ApprovalRequest) -> list[Member]:
    return [request.requester] if request.spender is None else [request.requester, request.spender]


def _link(actor: Actor, request: ApprovalRequest) -> str:
    return request_link(actor.organization.slug, request.pk)


def _add(actor: Actor, request: ApprovalRequest, recipients: list[Member], message: Message, what: str) -> None:  # noqa: PLR0917
    notice_add(
        organization=actor.organization, recipients=recipients, subject=message.subject, body=message.body, key=f"request:{request.pk}:{what}"
    )

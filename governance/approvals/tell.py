"""Tells people about requests: chooses who is told what, and leaves it in the outbox."""

from collections.abc import Sequence

from governance.approvals import selectors
from governance.approvals.models import ApprovalRequest, Decision
from governance.notices import messages
from governance.notices.links import request_link
from governance.notices.messages import Asked, Message
from governance.notices.services import notice_add
from governance.tenancy.access import Actor
from governance.tenancy.models import Member


def filed(actor: Actor, request: ApprovalRequest) -> None:
    """To everybody who may decide."""
    period = request.period
    message = messages.request_filed(
        _asked(request),
        requester=str(request.requester),
        reason=request.reason,
        spent=period.spent,
        limit=period.allowance,
        ends_at=request.ends_at,
    )
    _add(request, selectors.deciders(actor, request), message, cause="filed")


def decided(request: ApprovalRequest, decision: Decision, *, is_still_frozen: bool) -> None:
    """To the requester, and to whoever is spending the money."""
    decider = str(decision.decider)
    if decision.amount is None:
        message = messages.request_denied(_asked(request), decider=decider, note=decision.note)
    else:
        message = messages.request_granted(
            _asked(request),
            decider=decider,
            granted=decision.amount,
            note=decision.note,
            ends_at=decision.topup.ends_at if decision.topup else None,
            is_still_frozen=is_still_frozen,
        )
    _add(request, _concerned(request), message, cause="decided")


def expired(request: ApprovalRequest, why: str) -> None:
    """To the requester, and to whoever would have spent the money."""
    _add(request, _concerned(request), messages.request_expired(_asked(request), why=why), cause="expired")


def _asked(request: ApprovalRequest) -> Asked:
    organization = request.organization
    return Asked(
        budget=request.period.budget.name,
        amount=request.amount,
        currency=request.currency,
        zone=organization.zone,
        link=request_link(organization.slug, request.pk),
        session=request.session_key,
    )


def _concerned(request: ApprovalRequest) -> list[Member]:
    return [request.requester] if request.spender is None else [request.requester, request.spender]


def _add(request: ApprovalRequest, recipients: Sequence[Member], message: Message, *, cause: str) -> None:
    key = f"request:{request.pk}:{cause}"
    notice_add(organization=request.organization, recipients=recipients, subject=message.subject, body=message.body, key=key)

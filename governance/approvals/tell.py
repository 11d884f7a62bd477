"""Tells people and programs about requests: chooses who is told what, and leaves it in the outbox."""

from collections.abc import Callable, Sequence
from typing import Any

from governance.approvals import selectors
from governance.approvals.models import ApprovalRequest, Decision
from governance.notices import messages
from governance.notices.links import request_link
from governance.notices.messages import Asked, Message
from governance.notices.models import Notice, Signal
from governance.notices.services import notice_add
from governance.notices.signals import signal_add
from governance.notices.tokens import link_make
from governance.tenancy.access import Actor
from governance.tenancy.models import Member


def filed(actor: Actor, request: ApprovalRequest) -> None:
    """To everybody who may decide, each with a link of their own."""
    subject = _filed_message(request, request_link(request.organization.slug, request.pk)).subject

    def body(member: Member) -> str:
        return _filed_message(request, link_make(organization=request.organization, request_id=request.pk, member=member)).body

    _add(request, selectors.deciders(actor, request), Message(subject, ""), cause="filed", kind=Notice.Kind.REQUEST_FILED, body=body)
    _signal(request, Signal.Kind.REQUEST_FILED, {"reason": request.reason})


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
    _signal(request, Signal.Kind.REQUEST_CLOSED, {"outcome": request.state, "granted": decision.amount, "decider": decider, "note": decision.note})


def expired(request: ApprovalRequest, why: str) -> None:
    """To the requester, and to whoever would have spent the money."""
    _add(request, _concerned(request), messages.request_expired(_asked(request), why=why), cause="expired")
    _signal(request, Signal.Kind.REQUEST_CLOSED, {"outcome": request.state, "note": why})


def withdrawn(request: ApprovalRequest) -> None:
    """To programs only: the requester knows, and those who may decide find it closed."""
    _signal(request, Signal.Kind.REQUEST_CLOSED, {"outcome": request.state})


def _filed_message(request: ApprovalRequest, link: str) -> Message:
    period = request.period
    return messages.request_filed(
        _asked(request, link),
        requester=str(request.requester),
        reason=request.reason,
        spent=period.spent,
        limit=period.allowance,
        ends_at=request.ends_at,
    )


def _signal(request: ApprovalRequest, kind: Signal.Kind, facts: dict[str, Any]) -> None:
    budget, team = request.period.budget, request.team
    every = {
        "request": request.pk, "budget": budget.pk, "budget_name": budget.name, "team": team.slug if team else None, "session": request.session_key,
        "requester": str(request.requester), "amount": request.amount, "currency": request.currency, "ends_at": request.ends_at, **facts,
        "url": request_link(request.organization.slug, request.pk),
    }  # fmt: skip
    signal_add(organization=request.organization, kind=kind, facts=every, team_id=request.team_id)


def _asked(request: ApprovalRequest, link: str = "") -> Asked:
    organization = request.organization
    return Asked(
        budget=request.period.budget.name,
        amount=request.amount,
        currency=request.currency,
        zone=organization.zone,
        link=link or request_link(organization.slug, request.pk),
        session=request.session_key,
    )


def _concerned(request: ApprovalRequest) -> list[Member]:
    return [request.requester] if request.spender is None else [request.requester, request.spender]


def _add(
    request: ApprovalRequest,
    recipients: Sequence[Member],
    message: Message,
    *,
    cause: str,
    kind: Notice.Kind = Notice.Kind.REQUEST_CLOSED,
    body: Callable[[Member], str] | None = None,
) -> None:
    key = f"request:{request.pk}:{cause}"
    notice_add(organization=request.organization, recipients=recipients, subject=message.subject, body=body or message.body, key=key, kind=kind)

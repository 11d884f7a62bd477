"""Tells people and programs about requests: chooses who is told what, and leaves it in the outbox."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from governance.approvals.models import ApprovalRequest, Decision, Review, Vote
from governance.notices import messages
from governance.notices.links import request_link
from governance.notices.messages import Asked, Message, amount_text, instant_text
from governance.notices.models import Notice, Signal
from governance.notices.services import notice_add
from governance.notices.signals import signal_add
from governance.notices.tokens import link_make
from governance.tenancy.models import Member


def filed(request: ApprovalRequest, deciders: Sequence[Member]) -> None:
    """To everybody whose turn it is, each with a link of their own, and to programs."""
    subject = _filed_message(request, _link(request)).subject
    _add(
        request,
        deciders,
        Message(subject, ""),
        cause="filed",
        kind=Notice.Kind.REQUEST_FILED,
        body=lambda member: _filed_message(request, _own_link(request, member)).body,
    )
    _signal(request, Signal.Kind.REQUEST_FILED, {"reason": request.reason})


def decided(request: ApprovalRequest, decision: Decision, *, is_still_frozen: bool, held_by: str = "") -> None:
    """To the requester, and to whoever is spending the money. `held_by` is what else refuses its calls, in words."""
    if decision.amount is None:
        message = messages.request_denied(_asked(request), decider=decision.by, note=decision.note)
    else:
        message = messages.request_granted(
            _asked(request),
            decider=decision.by,
            granted=decision.amount,
            note=decision.note,
            ends_at=decision.topup.ends_at if decision.topup else None,
            is_still_frozen=is_still_frozen,
            held_by=held_by,
        )
    _add(request, _concerned(request), message, cause="decided")
    _signal(
        request, Signal.Kind.REQUEST_CLOSED,
        {"outcome": request.state, "granted": decision.amount, "decider": decision.by, "note": decision.note, "kind": decision.kind},
    )  # fmt: skip


def expired(request: ApprovalRequest, why: str) -> None:
    """To the requester, and to whoever would have spent the money."""
    _add(request, _concerned(request), messages.request_expired(_asked(request), why=why), cause="expired")
    _signal(request, Signal.Kind.REQUEST_CLOSED, {"outcome": request.state, "note": why})


def withdrawn(request: ApprovalRequest) -> None:
    """To programs only: the requester knows, and those who may decide find it closed."""
    _signal(request, Signal.Kind.REQUEST_CLOSED, {"outcome": request.state})


def voted(request: ApprovalRequest, vote: Vote, *, waiting: Sequence[Member]) -> None:
    """To those whose turn it is now and was not before, and to the requester."""
    what = (
        f"{vote.decider} granted {amount_text(vote.amount, request.currency)}" if vote.amount is not None else f"{vote.decider} denied it"
    )
    _turn(request, waiting, f"{what}; now it is your turn.", cause=f"voted:{vote.pk}")
    body = f"{what}. It is not decided yet: others have to decide as well.\n\n{_link(request)}"
    _add(request, _concerned(request), Message(f"One step further: {_title(request)}", body), cause=f"progress:{vote.pk}")


def escalated(request: ApprovalRequest, waiting: Sequence[Member], *, places: Sequence[int]) -> None:
    """To those who may decide now because others did not."""
    _turn(request, waiting, "Nobody has decided it in time, so it has come to you.", cause=f"escalated:{'-'.join(map(str, places))}")


def reopened(request: ApprovalRequest, waiting: Sequence[Member]) -> None:
    """To those whose turn it is again, because somebody who had decided has left."""
    _turn(
        request,
        waiting,
        "Somebody who had granted it may no longer decide, so it takes another decision.",
        cause=f"reopened:{len(request.opened)}",
    )


def overridden(request: ApprovalRequest, review: Review, reviewers: Sequence[Member]) -> None:
    """To all who may review it."""
    decision = review.decision
    due = instant_text(review.due_at, request.organization.zone)
    lines = [
        f"{decision.by} granted {_money(request, decision)} to {request.requester} in an emergency, without the others who would have decided.",
        "", "Reason given:", f"  {decision.note}", "", f"Somebody else has to review it until {due}:", _link(request),
    ]  # fmt: skip
    _add(
        request,
        reviewers,
        Message(f"Emergency override: {_money(request, decision)} on {request.period.budget.name}", "\n".join(lines)),
        cause="overridden",
        kind=Notice.Kind.OTHER,
    )


def review_due(request: ApprovalRequest, review: Review, reviewers: Sequence[Member], *, now: datetime) -> None:
    """To all who may review it, once a day."""
    due = instant_text(review.due_at, request.organization.zone)
    late = "is late: it was due" if review.due_at <= now else "is due"
    body = f"The review of {review.decision.by}'s override of {_money(request, review.decision)} {late} on {due}.\n\n{_link(request)}"
    subject = f"Review {'late' if review.due_at <= now else 'due'}: {_money(request, review.decision)} on {request.period.budget.name}"
    _add(request, reviewers, Message(subject, body), cause=f"review:{now:%Y-%m-%d}", kind=Notice.Kind.OTHER)


def reviewed(request: ApprovalRequest, review: Review) -> None:
    """To whoever overrode."""
    found = "was right" if review.is_upheld else "was not right"
    note = f"\n\nNote:\n  {review.note}" if review.note else ""
    body = f"{review.reviewer} has reviewed your override and finds that it {found}.{note}\n\n{_link(request)}"
    recipients = [review.decision.decider] if review.decision.decider else []
    _add(
        request,
        recipients,
        Message(f"Reviewed: your override on {request.period.budget.name}", body),
        cause="reviewed",
        kind=Notice.Kind.OTHER,
    )


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


def _turn(request: ApprovalRequest, waiting: Sequence[Member], why: str, *, cause: str) -> None:
    def body(member: Member) -> str:
        lines = [f"{request.requester} asks for {_title(request)}. {why}", "", "Reason given:"]
        lines += [f"  {line}".rstrip() for line in request.reason.splitlines()]
        return "\n".join([*lines, "", "Grant it in full or in part, or deny it:", _own_link(request, member)])

    subject = f"Your turn: {request.requester} asks for {_title(request)}"
    _add(request, waiting, Message(subject, ""), cause=cause, kind=Notice.Kind.REQUEST_FILED, body=body)


def _signal(request: ApprovalRequest, kind: Signal.Kind, facts: dict[str, Any]) -> None:
    budget, team = request.period.budget, request.team
    every = {
        "request": request.pk, "budget": budget.pk, "budget_name": budget.name, "team": team.slug if team else None, "session": request.session_key,
        "requester": str(request.requester), "amount": request.amount, "currency": request.currency, "ends_at": request.ends_at, **facts,
        "url": _link(request),
    }  # fmt: skip
    signal_add(organization=request.organization, kind=kind, facts=every, team_id=request.team_id)


def _asked(request: ApprovalRequest, link: str = "") -> Asked:
    return Asked(
        budget=request.period.budget.name,
        amount=request.amount,
        currency=request.currency,
        zone=request.organization.zone,
        link=link or _link(request),
        session=request.session_key,
    )


def _title(request: ApprovalRequest) -> str:
    return f"{amount_text(request.amount, request.currency)} on {request.period.budget.name}"


def _money(request: ApprovalRequest, decision: Decision) -> str:
    return amount_text(decision.amount, request.currency) if decision.amount is not None else ""


def _link(request: ApprovalRequest) -> str:
    return request_link(request.organization.slug, request.pk)


def _own_link(request: ApprovalRequest, member: Member) -> str:
    return link_make(organization=request.organization, request_id=request.pk, member=member)


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
    notice_add(
        organization=request.organization, recipients=recipients, subject=message.subject, body=body or message.body, key=key, kind=kind
    )

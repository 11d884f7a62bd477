"""Pages: the queue of requests, one request with its decision, and the form that asks for more."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.figures import money_text, plain_decimal
from dashboards.components.tables import Column, Table
from dashboards.forms.approvals import DecisionForm, OverrideForm, RequestForm, ReviewForm
from dashboards.insights.forecast import Lasting
from dashboards.pages.sessions import timeline_of
from dashboards.selectors import requests, sessions
from dashboards.selectors.asking import Asked, asked_for
from dashboards.selectors.evidence import evidence_in
from governance.approvals.answers import chain_answer
from governance.approvals.closing import held_otherwise, is_frozen, session_period_of
from governance.approvals.models import ApprovalRequest, Decision, Vote
from governance.approvals.overrides import override_refusal, review_of, review_refusal, reviews_due
from governance.approvals.selectors import decision_refusal, request_get, requests_to_decide
from governance.approvals.services import request_create, request_decide, request_override, request_withdraw, review_record
from governance.approvals.standing import Standing
from governance.budgets.models import Budget
from governance.errors import DomainError
from governance.tenancy.access import Actor, Right

WORDS = {"pending": "waiting", "approved": "granted"}  # as all pages say it; the others are called what they are
TONES = {"pending": "warn", "approved": "ok", "denied": "danger", "withdrawn": "", "expired": ""}
TENTH = Decimal("0.1")
TABS = ("pending", "decided", "all")
QUEUE_SHOWN = 30


@page()
@require_GET
def request_list(request: PageRequest) -> HttpResponse:
    """The queue by what is blocked now; refreshes itself."""
    actor = request.actor
    state = request.GET.get("state", "pending")
    state = state if state in TABS else "pending"
    rows = requests.queue(actor, state=state)
    table = Table.from_request(
        request,
        id="requests",
        columns=queue_columns(actor),
        rows=rows,
        empty="Nothing waits for a decision." if state == "pending" else "No request yet.",
    )
    if table.is_asked_as_csv:
        return table.csv_response()
    context = {
        "table": table,
        "state": state,
        "tabs": TABS,
        "waiting": rows[:QUEUE_SHOWN] if state == "pending" else (),
        "decidable": set(requests_to_decide(actor).values_list("pk", flat=True)) if state == "pending" else (),
        "reviews": reviews_due(actor)[:QUEUE_SHOWN] if actor.can(Right.VIEW_AUDIT) else (),
        "can_request": actor.can(Right.REQUEST),
    }
    return render(request, "approvals/list.html", context)


def queue_columns(actor: Actor) -> list[Column]:
    slug = actor.organization.slug
    return [
        Column("amount", "Asked", "money", href=lambda row: reverse("request", args=[slug, row.pk])),
        Column(
            "requester",
            "By",
            "strong",
            value=lambda row: str(row.requester),
            href=lambda row: reverse("request", args=[slug, row.pk]),
            is_sortable=False,
        ),
        Column(
            "session_key",
            "For",
            value=lambda row: f"Session {row.session_key}" if row.session_key else row.period.budget.name,
            note=lambda row: row.reason,
        ),
        Column("state", "State", "badge", value=lambda row: (WORDS.get(row.state, row.state), TONES[row.state])),
        Column("decision", "Decided by", value=lambda row: row.decision.by if hasattr(row, "decision") else "", is_sortable=False),
        Column(
            "granted", "Granted", "money", value=lambda row: row.decision.amount if hasattr(row, "decision") else None, is_sortable=False
        ),
        Column("created_at", "Filed", "ago"),
    ]


@page()
@require_http_methods(["GET", "POST"])
def request_page(request: PageRequest, request_id: UUID) -> HttpResponse:
    """One request: the case, the decision form for who may decide, and for everybody else what became of it."""
    asked = request_get(request.actor, request_id)
    if request.method == "POST":
        return request_change(request, asked)
    if request.GET.get("seen") == asked.state and request.headers.get("HX-Request"):
        return HttpResponse(status=204)
    return render(request, "approvals/request.html", request_context(request, asked, decision_form(request, asked)))


def decision_form(request: PageRequest, asked: ApprovalRequest, data: Any = None) -> DecisionForm:
    """The form, filled with what was asked for."""
    zone = request.actor.organization.zone
    initial = {"amount": plain_decimal(Standing(asked).most_open), "until": asked.ends_at.astimezone(zone).date() if asked.ends_at else None}
    return DecisionForm(data, initial=initial, zone=zone, now=timezone.now())


def request_change(request: PageRequest, asked: ApprovalRequest) -> HttpResponse:
    """Decides or withdraws. A refusal (decided meanwhile, one's own, above one's limit) is a sentence on the page."""
    here = HttpResponseRedirect(reverse("request", args=[request.actor.organization.slug, asked.pk]))
    other = {"withdraw": withdraw, "override": override, "review": review}.get(request.POST.get("decision", ""))
    if other is not None:
        try:
            broken = other(request, asked)
        except DomainError as refusal:
            return refused(request, asked, decision_form(request, asked), refusal)
        return here if broken is None else render(request, "approvals/request.html", broken, status=422)
    form = decision_form(request, asked, request.POST)
    if not form.is_valid():
        return render(request, "approvals/request.html", request_context(request, asked, form), status=422)
    is_grant = form.cleaned_data["decision"] == "grant"
    try:
        decision = request_decide(
            actor=request.actor,
            request_id=asked.pk,
            is_grant=is_grant,
            amount=form.cleaned_data["amount"] if is_grant else None,
            note=form.cleaned_data["note"] if is_grant else form.cleaned_data["reason"],
            ends_at=form.ends_at if is_grant else None,
            session_only=is_grant and form.cleaned_data["session_only"],
        )
    except DomainError as refusal:
        return refused(request, asked, form, refusal)
    messages.success(request, outcome_text(decision, asked))
    return here


def outcome_text(decision: Decision | Vote, asked: ApprovalRequest) -> str:
    """What came of the click."""
    if not decision.is_final:
        return "Recorded. It goes on to those who decide next." if decision.is_grant else "Recorded. Others have to deny it as well."
    granted = money_text(decision.amount, asked.currency) if decision.amount else ""
    if not decision.is_grant:
        return "Denied. The requester is told why."
    if is_frozen(asked):
        return f"Granted {granted}. It does not cover what was spent already, so calls are still refused."
    held_by = held_otherwise(asked)
    return f"Granted {granted}. Calls are still refused: {held_by}." if held_by else f"Granted {granted}. The next call passes."


def withdraw(request: PageRequest, asked: ApprovalRequest) -> None:
    request_withdraw(actor=request.actor, request_id=asked.pk)
    messages.success(request, "The request is withdrawn.")


def override(request: PageRequest, asked: ApprovalRequest) -> dict[str, Any] | None:
    """Grants in an emergency. Returns the page's context when the form is broken."""
    form = OverrideForm(request.POST, prefix="override")
    if not form.is_valid():
        return request_context(request, asked, decision_form(request, asked)) | {"override_form": form, "can_override": True}
    request_override(actor=request.actor, request_id=asked.pk, **form.cleaned_data)
    messages.success(request, "Granted in an emergency. Those who may review it are told.")
    return None


def review(request: PageRequest, asked: ApprovalRequest) -> dict[str, Any] | None:
    """Reviews an override. Returns the page's context when the form is broken."""
    form = ReviewForm(request.POST, prefix="review")
    if not form.is_valid():
        return request_context(request, asked, decision_form(request, asked)) | {"review_form": form}
    review_record(actor=request.actor, request_id=asked.pk, is_upheld=form.cleaned_data["upheld"] == "yes", note=form.cleaned_data["note"])
    messages.success(request, "Your review is recorded.")
    return None


def refused(request: PageRequest, asked: ApprovalRequest, form: DecisionForm, refusal: DomainError) -> HttpResponse:
    """The page again as things stand now, with the refusal on top."""
    asked = request_get(request.actor, asked.pk)
    return render(
        request, "approvals/request.html", request_context(request, asked, form) | {"refusal": refusal.detail}, status=refusal.status
    )


def request_context(request: PageRequest, asked: ApprovalRequest, form: DecisionForm) -> dict[str, Any]:
    """Everything the page of one request shows."""
    actor, now = request.actor, timezone.now()
    is_pending = asked.state == ApprovalRequest.State.PENDING
    standing, overridden = Standing(asked, now=now), review_of(asked)
    case = requests.request_case(actor, asked, now=now, standing=standing)
    is_own = actor.member is not None and asked.requester_id == actor.member.pk
    own_periods = sessions.session_periods(actor, asked.session_key) if case.session else []
    marks = sessions.session_marks(actor, asked.session_key, own_periods) if case.session else []
    return {
        "asked": asked,
        "amount_text": round_text(asked.amount, asked.currency),
        "granted_text": round_text(case.amount, asked.currency),
        "amount_hint": amount_hint(actor, asked, most=case.amount),
        "until_hint": "Empty: as it was asked for"
        if asked.ends_at
        else "Empty: to the end of the session"
        if asked.session_key
        else "Empty: to the end of the period",
        "lasts": lasts_text(case.lasting) if case.lasting else "",
        "why_not_lasting": why_not_lasting(case),
        "case": case,
        "resumes": case.is_blocked and case.buys > 0 and all(freeze.period_id == asked.period_id for freeze in case.freezes),
        "tone": TONES[asked.state],
        "state_word": WORDS.get(asked.state, asked.state),
        "form": form,
        "is_pending": is_pending,
        "is_own": is_own,
        "may_decide": is_pending and (refusal := decision_refusal(actor, asked, standing=standing)) == "",
        "why_not": refusal if is_pending else "",
        "rest_href": rest_href(actor, asked, case) if is_own and asked.state == ApprovalRequest.State.APPROVED else "",
        "seats": standing.seats if is_pending else (),
        "stands_in_for": next((seat.in_stead_of for seat in standing.seats_for(actor.member)), None)
        if is_pending and actor.member
        else None,
        "is_last": sum(standing.remaining(place) for place in range(len(standing.chain.steps))) <= 1,
        "chain": chain_answer(asked, standing),
        "evidence": evidence_in(actor, case, now=now),
        "has_session_limit": is_pending and has_session_limit(asked, now),
        "can_override": is_pending and override_refusal(actor, standing) == "",
        "override_form": OverrideForm(prefix="override", initial={"amount": plain_decimal(asked.amount)}),
        "review": overridden,
        "can_review": overridden is not None and overridden.reviewed_at is None and review_refusal(actor, overridden) == "",
        "review_form": ReviewForm(prefix="review"),
        "decision": getattr(asked, "decision", None),
        "next": requests_to_decide(actor).exclude(pk=asked.pk).first(),
        "timeline": timeline_of(
            actor, case.session, list(case.calls), marks=marks, allowance=own_periods[0].allowance if own_periods else None
        )
        if case.session and case.calls
        else None,
        "session_seen": case.session is not None and sessions.is_visible(actor, case.session),
    }


def rest_href(actor: Actor, asked: ApprovalRequest, case: requests.Docket) -> str:
    """Where to ask for what a grant was too small for; empty where no limit is what stands in the way."""
    if not any(freeze.period_id for freeze in case.freezes):
        return ""
    what = {"session": asked.session_key} if asked.session_key else {"period": asked.period_id}
    return f"{reverse('request-new', args=[actor.organization.slug])}?{urlencode(what)}"


def has_session_limit(asked: ApprovalRequest, now: datetime) -> bool:
    """Whether a wider budget is asked for, and the session has a limit of its own that could be raised instead."""
    return asked.period.session_key == "" and session_period_of(asked.organization_id, asked.session_key, now) is not None


def amount_hint(actor: Actor, asked: ApprovalRequest, *, most: Decimal) -> str:
    """How much the actor may grant; `most` is the smallest amount granted so far."""
    limit = actor.member.approval_limit if actor.member else None
    if limit is not None and limit < asked.amount:
        return f"Your limit is {money_text(limit, asked.currency)}: grant a part, or leave it to somebody with a higher one."
    if most < asked.amount:
        return f"{asked.currency}. {money_text(most, asked.currency)} was granted so far: more than that changes nothing"
    return f"{asked.currency}, at most the {money_text(asked.amount, asked.currency)} asked for"


def round_text(amount: Decimal, currency: str) -> str:
    """An amount in a heading: whole ones without cents."""
    text = money_text(amount, currency)
    return text.removesuffix(".00") if amount == amount.to_integral_value() else text


def lasts_text(lasting: Lasting) -> str:
    """The band in words: "38 to 60 min"."""
    low, high = (int(minutes.to_integral_value()) for minutes in (lasting.low, lasting.high))
    if high < 120:
        return f"{low}–{high} min" if low != high else f"{low} min"  # noqa: RUF001
    return f"{(lasting.low / 60).quantize(TENTH)}–{(lasting.high / 60).quantize(TENTH)} h"  # noqa: RUF001


def why_not_lasting(case: requests.Docket) -> str:
    """Why nobody can say how long a grant lasts, or why it does not last at all; empty where it can be said."""
    if case.lasting:
        return ""
    if case.buys <= 0:
        return "it only makes up for what was spent over the limit"
    if case.request.period.budget.measure != Budget.Measure.MONEY:
        return "only money is forecast"
    return "too few calls to say" if case.burn > 0 else "its last calls cost nothing"


@page(Right.REQUEST)
@require_http_methods(["GET", "POST"])
def request_new(request: PageRequest) -> HttpResponse:
    """Asks for more: `?session=<key>` or `?period=<id>` says on what."""
    actor, now = request.actor, timezone.now()
    source = request.POST if request.method == "POST" else request.GET
    asked = asked_for(actor, session_key=source.get("session", ""), period_id=source.get("period", ""), now=now)
    form = request_form(request, asked)
    refusal, status = None, 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = request_create(
                    actor=actor,
                    period_id=form.cleaned_data["period"],
                    amount=form.cleaned_data["amount"],
                    reason=form.cleaned_data["reason"],
                    session_key=asked.session_key,
                    ends_at=form.ends_at,
                    session_only=form.cleaned_data["session_only"],
                )
                return HttpResponseRedirect(reverse("request", args=[actor.organization.slug, made.pk]))
            except DomainError as error:
                refusal, status = error.detail, error.status
    return render(request, "approvals/new.html", {"form": form, "asked": asked, "refusal": refusal, "amount_hint": asking_hint(asked)}, status=status)


def asking_hint(asked: Asked) -> str:
    """Where the amount in the form comes from, and what of it buys nothing."""
    over = money_text(asked.overrun, asked.unit)
    if not asked.suggestion:
        return f"In {asked.unit}." + (f" The first {over} make up for what is over the limit already." if asked.overrun else "")
    hour = "Filled in with one hour at the pace of its last 15 minutes, at most the limit of the budget"
    return f"{hour}; on top of it {over}, which are over the limit already and buy nothing." if asked.overrun else f"{hour}."


def request_form(request: PageRequest, asked: Asked) -> RequestForm:
    """The form with the budgets that can be raised, the one that blocks chosen."""
    return RequestForm(
        request.POST if request.method == "POST" else None,
        initial={"period": asked.chosen, "amount": plain_decimal(asked.suggestion) if asked.suggestion else None},
        periods=asked.choices,
        zone=request.actor.organization.zone,
        now=timezone.now(),
    )


urlpatterns = [
    path("approvals", request_list, name="approvals"),
    path("approvals/new", request_new, name="request-new"),
    path("approvals/<uuid:request_id>", request_page, name="request"),
]

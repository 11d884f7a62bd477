"""Page: the decision that a signed link of a mail or a Slack message leads to. Opening it changes nothing; the form decides, once."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.figures import money_text, plain_decimal
from dashboards.forms.approvals import DecisionForm
from dashboards.pages.approvals import has_session_limit, outcome_text
from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import decision_refusal, request_get
from governance.approvals.services import request_decide
from governance.approvals.standing import Standing
from governance.errors import Conflict, DomainError
from governance.notices import tokens
from governance.notices.tokens import Link

GONE = 410


@never_cache
@page()
@require_http_methods(["GET", "POST"])
def decide_link(request: PageRequest, token: str) -> HttpResponse:
    """The request in short and the form, for the person the link was made for. Used and expired links say so and lead on."""
    link = tokens.link_read(request.actor, token)
    asked = request_get(request.actor, link.request_id)
    if tokens.is_used(link) or link.is_expired:
        return over(request, asked, link)
    if asked.state != ApprovalRequest.State.PENDING:
        return redirect("request", slug=request.actor.organization.slug, request_id=asked.pk)
    form = decision_form(request, asked)
    if request.method == "POST":
        return decide(request, asked, token)
    return shown(request, asked, form)


def over(request: PageRequest, asked: ApprovalRequest, link: Link) -> HttpResponse:
    """A link that has done what it is for, or whose time is over."""
    return render(request, "approvals/link_over.html", {"asked": asked, "is_used": tokens.is_used(link), "link": link}, status=GONE)


def decide(request: PageRequest, asked: ApprovalRequest, token: str) -> HttpResponse:
    """Decides and uses the link up, both or neither."""
    actor, form = request.actor, decision_form(request, asked, request.POST)
    if not form.is_valid():
        return shown(request, asked, form, status=422)
    is_grant, given = form.cleaned_data["decision"] == "grant", form.cleaned_data
    try:
        with transaction.atomic():
            tokens.link_use(actor=actor, token=token)
            outcome = request_decide(
                actor=actor,
                request_id=asked.pk,
                is_grant=is_grant,
                amount=given["amount"] if is_grant else None,
                note=given["note"] if is_grant else given["reason"],
                ends_at=form.ends_at if is_grant else None,
                session_only=is_grant and given["session_only"],
            )
    except Conflict as conflict:
        messages.error(request, conflict.detail)
        return redirect("request", slug=actor.organization.slug, request_id=asked.pk)
    except DomainError as refusal:
        return shown(request, asked, form, refusal=refusal.detail, status=refusal.status)
    messages.success(request, outcome_text(outcome, asked))
    return redirect("request", slug=actor.organization.slug, request_id=asked.pk)


def decision_form(request: PageRequest, asked: ApprovalRequest, data: Any = None) -> DecisionForm:
    """The form, filled with what was asked for."""
    zone = request.actor.organization.zone
    initial = {"amount": plain_decimal(Standing(asked).most_open), "until": asked.ends_at.astimezone(zone).date() if asked.ends_at else None}
    return DecisionForm(data, initial=initial, zone=zone, now=timezone.now())


def shown(request: PageRequest, asked: ApprovalRequest, form: DecisionForm, *, refusal: str = "", status: int = 200) -> HttpResponse:
    """The page; without the form for whom the request is not to decide."""
    values = {
        "asked": asked,
        "amount_text": money_text(asked.amount, asked.currency),
        "form": form,
        "refusal": refusal,
        "why_not": decision_refusal(request.actor, asked),
        "has_session_limit": has_session_limit(asked, timezone.now()),
    }
    return render(request, "approvals/link.html", values, status=status)


urlpatterns = [path("approvals/link/<str:token>", decide_link, name="request-link")]

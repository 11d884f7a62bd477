"""Page: who decides in one's stead while one is away."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.forms.approvals import DelegateForm
from dashboards.pages.settings.frame import done
from governance.approvals.delegations import delegation_create, delegation_end, delegations_of
from governance.ids import row_id
from governance.tenancy.access import Actor, Right, get_scoped, scoped
from governance.tenancy.models import Member, Role


@page(Right.REQUEST)
@require_http_methods(["GET", "POST"])
def delegate(request: PageRequest) -> HttpResponse:
    """Names somebody, or takes it back; and whom one stands in for."""
    actor, now = request.actor, timezone.now()
    here = redirect("delegate", slug=actor.organization.slug)
    ended = row_id(request.POST.get("end", ""))
    if request.method == "POST" and ended is not None:
        delegation_end(actor=actor, delegation_id=ended)
        messages.success(request, "Taken back. You decide yourself again.")
        return here
    form = DelegateForm(request.POST or None, people=people(actor), zone=actor.organization.zone, now=now, initial={"first": now.astimezone(actor.organization.zone).date()})
    if request.method == "POST" and form.is_valid() and name(actor, form):
        messages.success(request, "Named. It is recorded, and every decision says in whose stead it was made.")
        return here
    known = list(delegations_of(actor))
    own = [row for row in known if actor.member is not None and row.delegator_id == actor.member.pk]
    values = {"form": form, "own": own, "others": [row for row in known if row not in own], "limit": actor.member.approval_limit if actor.member else None}
    return render(request, "approvals/delegate.html", values, status=422 if form.is_bound else 200)


def name(actor: Actor, form: DelegateForm) -> bool:
    """Whether somebody was named; a refusal stands beside its field."""
    who = get_scoped(actor, Member.objects.all(), pk=form.cleaned_data["delegate"])
    made = done(form, lambda: delegation_create(actor=actor, delegate=who, starts_at=form.starts_at, ends_at=form.ends_at))
    return made is not None


def people(actor: Actor) -> list[tuple[int, str]]:
    """Who may be named."""
    rows = scoped(actor, Member.objects.filter(is_active=True).exclude(role=Role.AUDITOR).select_related("user")).order_by("user__name", "user__email")
    return [(member.pk, str(member)) for member in rows if member != actor.member]


urlpatterns = [path("approvals/delegate", delegate, name="delegate")]

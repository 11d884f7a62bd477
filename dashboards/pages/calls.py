"""One call: what it was, its cost line by line, who reported it, and what was changed of it since. Reachable also for a call without a session."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.pages.deciding import decided
from dashboards.selectors.arithmetic import bill_of
from dashboards.selectors.calls import call_changes, call_get
from dashboards.selectors.told_twice import reports_of
from governance.tenancy.access import Right


@page()
@require_http_methods(["GET", "POST"])
def call_page(request: PageRequest, call_id: UUID) -> HttpResponse:
    """One call of the organization, by its event's id; the id of one that was joined to another leads to that one. A POST splits off a report."""
    actor, call = request.actor, call_get(request.actor, call_id)
    if request.method == "POST":
        decided(request, call_id=call.id)
    if request.method == "POST" or call.id != call_id:
        return redirect("call", slug=actor.organization.slug, call_id=call.id)
    context = {
        "call": call, "bill": bill_of(call), "changes": call_changes(actor, call), "reports": reports_of(actor, call),
        "can_decide": actor.can(Right.MANAGE_ORGANIZATION),
    }  # fmt: skip
    return render(request, "sessions/call.html", context)


urlpatterns = [path("calls/<uuid:call_id>", call_page, name="call")]

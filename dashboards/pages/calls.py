"""One call: what it was, its cost line by line, and what was changed of it since. Reachable also for a call without a session."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.selectors.arithmetic import bill_of
from dashboards.selectors.calls import call_changes, call_get


@page()
@require_GET
def call_page(request: PageRequest, call_id: UUID) -> HttpResponse:
    """One call of the organization, by its event's id."""
    call = call_get(request.actor, call_id)
    return render(request, "sessions/call.html", {"call": call, "bill": bill_of(call), "changes": call_changes(request.actor, call)})


urlpatterns = [path("calls/<uuid:call_id>", call_page, name="call")]

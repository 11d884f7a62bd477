"""Page: what is frozen now and may be resumed, the kill switch with what it would stop, and what was frozen before."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.selectors import freezes
from governance.budgets.freezes import doubt_about, freezes_visible
from governance.budgets.models import Freeze
from governance.budgets.services import freeze_start, freeze_stop, scope_of
from governance.errors import DomainError
from governance.tenancy import access
from governance.tenancy.access import Right

LONGEST_REASON = 300
STOPPED_SHOWN = 20
OFFERED = (Freeze.ScopeKind.PROVIDER, Freeze.ScopeKind.MODEL, Freeze.ScopeKind.TEAM, Freeze.ScopeKind.MEMBER, Freeze.ScopeKind.KEY, Freeze.ScopeKind.ORGANIZATION)
OF_TEAMS = (Freeze.ScopeKind.TEAM, Freeze.ScopeKind.MEMBER, Freeze.ScopeKind.KEY)


@page()
@require_http_methods(["GET", "POST"])
def freezes_page(request: PageRequest) -> HttpResponse:
    """`?kind=…&key=…` shows what a switch would stop; a POST throws it, or resumes a freeze. Both take a reason."""
    if request.method == "GET":
        if (table := _history(request)).is_asked_as_csv:
            return table.csv_response("freezes")
        return render(request, "freezes/freezes.html", _context(request))
    access.require(request.actor, Right.FREEZE)
    try:
        said = _thrown(request) if request.POST.get("action") == "freeze" else _resumed(request)
    except DomainError as refusal:
        if refusal.status in (403, 404) and request.POST.get("action") != "freeze":
            raise
        context = _context(request) | {"refusal": refusal.detail, "reason": request.POST.get("reason", "")}
        return render(request, "freezes/freezes.html", context, status=422)
    messages.success(request, said)
    return HttpResponseRedirect(reverse("freezes", args=[request.actor.organization.slug]))


def _thrown(request: PageRequest) -> str:
    kind, key = _asked(request)
    freeze = freeze_start(actor=request.actor, scope_kind=kind, scope_key=key, reason=request.POST.get("reason", "")[:LONGEST_REASON])
    doubt = doubt_about(request.actor, scope_kind=kind, name=key)
    return f"Frozen: {freeze.subject}. {doubt or 'The next call is refused.'}"


def _resumed(request: PageRequest) -> str:
    number = request.POST.get("freeze", "")
    freeze = freezes_visible(request.actor).filter(pk=int(number) if number.isdecimal() and len(number) < 19 else 0).first()
    if freeze is None:
        return "There is nothing to resume."
    freeze_stop(actor=request.actor, freeze=freeze, reason=request.POST.get("reason", "")[:LONGEST_REASON])
    return f"Resumed: {freeze.subject}. The next call may go on."


def _asked(request: PageRequest) -> tuple[str, str]:
    given = request.POST if request.method == "POST" else request.GET
    return given.get("kind", ""), given.get("key", "").strip()


def _context(request: PageRequest) -> dict[str, Any]:
    actor, now = request.actor, timezone.now()
    may_freeze = actor.can(Right.FREEZE)
    kinds = [kind for kind in OFFERED if actor.team_ids is None or kind in OF_TEAMS] if may_freeze else []
    return {
        "standing": freezes.freezes_standing(actor, may_freeze=may_freeze, now=now),
        "kinds": [(kind.value, kind.label) for kind in kinds],
        "offered": freezes.names_offered(actor, now=now) if may_freeze else {},
        "table": _history(request),
        **(_preview(request) if may_freeze else {}),
    }


def _preview(request: PageRequest) -> dict[str, Any]:
    """What the switch that is asked for would stop; nothing where none is asked for, a sentence where it cannot be."""
    kind, key = _asked(request)
    if not kind:
        return {}
    try:
        scope = scope_of(actor=request.actor, scope_kind=kind, scope_key=key)
    except DomainError as refusal:
        return {"kind": kind, "key": key, "refusal": refusal.detail}
    stopped = freezes.sessions_stopped(request.actor, kind=kind, key=scope.scope_key, now=timezone.now())
    doubt = doubt_about(request.actor, scope_kind=kind, name=key)
    return {"kind": kind, "key": key, "scope": scope, "doubt": doubt, "stopped": stopped[:STOPPED_SHOWN], "stopped_total": len(stopped)}


def _history(request: PageRequest) -> Table:
    return Table.from_request(
        request, id="history", title="Before", rows=freezes.freezes_ended(request.actor), sort="-ended_at",
        columns=[
            Column("subject", "What", "strong", value=lambda row: row.subject[0].upper() + row.subject[1:], is_sortable=False),
            Column("reason", "Why", is_sortable=False),
            Column("started_by", "By", value=lambda row: row.starter or row.get_cause_display(), is_sortable=False),
            Column("started_at", "Frozen", kind="at"),
            Column("ended_at", "Resumed", kind="at"),
            Column("end_reason", "Because", is_sortable=False),
        ],
    )  # fmt: skip


urlpatterns = [path("freezes", freezes_page, name="freezes")]

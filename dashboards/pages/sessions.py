"""Pages: the live list of sessions, and one session with its calls, marks, holds, and freeze and resume by hand."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, register_converter, reverse
from django.urls.converters import PathConverter
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.charts import session as session_charts
from dashboards.charts.base import Chart
from dashboards.components.figures import money_text
from dashboards.components.filters import FilterBar
from dashboards.components.findings import state_of
from dashboards.components.tables import CSV_ROWS, Column, Table
from dashboards.pages.deciding import DECISIONS, decided
from dashboards.selectors import burn, narrowing, sessions
from dashboards.selectors.arithmetic import bill_of
from dashboards.selectors.calls import call_changes
from dashboards.selectors.narrowing import Narrowing
from dashboards.selectors.periods import requests_pending
from dashboards.selectors.told_twice import pairs_listed, reports_of
from governance.approvals.selectors import may_decide
from governance.budgets.models import Budget, Session
from governance.budgets.refused import refused_of_session
from governance.budgets.selectors import binding_periods, freezes_reaching
from governance.budgets.services import session_freeze, session_resume
from governance.errors import DomainError, NotFound
from governance.notices.links import addressed, key_addressed
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from ingest.guard.selectors import findings_of_session
from ingest.guard.tell import sentence
from ingest.models import UsageEvent

TONES = {"running": "ok", "idle": "", "frozen": "ice", "closed": ""}
STATES = ("live", "running", "idle", "frozen", "closed", "all")
FEW_CALLS = 25
FEW_PAIRS = 50
ON_SEVERAL = "on more than one provider"


@dataclass
class Rows:
    """Names and burn of the sessions that are about to be written, fetched once for all of them."""

    actor: Actor
    now: datetime
    names: sessions.Names = field(default_factory=lambda: sessions.Names({}, {}, {}))
    burns: dict[str, Decimal] = field(default_factory=dict)

    def load(self, rows: Iterable[sessions.ListedSession]) -> None:
        found = list(rows)
        self.names = sessions.names_of(self.actor, found)
        alive = [row.key for row in found if row.last_at > self.now - burn.BURN_WINDOW]
        self.burns = burn.burn_by_session(self.actor, alive, now=self.now)

    def member(self, row: Session) -> str:
        return self.names.members.get(row.member_id or 0, "no member")

    def team(self, row: Session) -> str:
        return self.names.teams.get(row.team_id or 0, "unallocated")

    def columns(self) -> list[Column]:
        slug, currency = self.actor.organization.slug, self.actor.organization.currency
        return [
            Column("key", "Session", "strong", href=lambda row: reverse("session", args=[slug, row.key]), note=lambda row: row.task),
            Column("state", "State", "badge", value=lambda row: (row.state, TONES[row.state])),
            Column("last_at", "Last call", "ago", is_for_wide=True),
            Column("member", "Member", value=self.member, note=self.team, is_sortable=False, is_for_wide=True),
            Column("model", "Model", note=lambda row: row.harness, title="of the latest call, and the harness that made it", is_for_wide=True),
            Column(
                "burn", "Burn / min", "money", value=lambda row: self.burns.get(row.key), is_sortable=False, currency=currency,
                title="billed cost per minute over the last 15 minutes", is_for_wide=True,
            ),
            Column("cost", "Spent", "money", currency=currency, note=limit_note(currency), title="and the limit of its own, with top-ups"),
            Column("share", "Of limit", "meter", value=meter_of, order="share", currency=currency, is_for_wide=True),
            Column("context_tokens", "Context", "tokens", title="input of the latest call, cached or not", is_for_wide=True),
            Column("calls", "Calls", "count", is_for_wide=True),
        ]  # fmt: skip

    def columns_of_file(self) -> list[Column]:
        """What the CSV holds: every fact in a column of its own."""
        return [
            Column("key", "Session"),
            Column("parent_key", "Started by"),
            Column("task", "Task"),
            Column("state", "State"),
            Column("member", "Member", value=lambda row: self.names.members.get(row.member_id or 0, "")),
            Column("team", "Team", value=lambda row: self.names.teams.get(row.team_id or 0, "")),
            Column("project", "Project", value=lambda row: self.names.projects.get(row.project_id or 0, "")),
            Column("harness", "Harness"),
            Column("gateway", "Gateway"),
            Column("model", "Latest model"),
            Column("burn", "Burn per minute", "money", value=lambda row: self.burns.get(row.key)),
            Column("cost", f"Spent ({self.actor.organization.currency})", "money"),
            Column("notional_cost", "Subscription usage at list price", "money"),
            Column("allowance", "Limit with top-ups", "money"),
            Column("period_spent", "Spent of limit", "money"),
            Column("held", "Held", "money"),
            Column("calls", "Calls", "count"),
            Column("errors", "Failed calls", "count"),
            Column("unpriced_calls", "Calls without a cost", "count"),
            Column("tokens", "Tokens", "count"),
            Column("context_tokens", "Context tokens", "count"),
            Column("first_at", "First call", "at"),
            Column("last_at", "Last call", "at"),
        ]


def limit_note(currency: str) -> Callable[[sessions.ListedSession], str]:
    """The session's own limit, to stand below what it spent."""
    return lambda row: f"of {money_text(row.allowance, currency)}" if row.allowance is not None else ""


def meter_of(row: sessions.ListedSession) -> tuple[Decimal | None, Decimal, Decimal | None, None] | None:
    return (row.period_spent, row.allowance, row.held, None) if row.allowance is not None else None


@page()
@require_GET
def session_list(request: PageRequest) -> HttpResponse:
    """The live list; refreshes itself. It takes the same narrowing as the explorer of spend does: `?provider=anthropic&range=7d`."""
    actor, now = request.actor, timezone.now()
    wanted = Narrowing.from_query(actor, request.GET, now)
    usual = "live" if wanted.range is None else "all"
    state = request.GET.get("state", usual)
    state = state if state in STATES else usual
    rows = Rows(actor, now)
    table = Table.from_request(
        request,
        id="sessions",
        columns=rows.columns(),
        rows=sessions.sessions_listed(actor, state=state, wanted=wanted, now=now),
        sort="-last_at",
        search=("key", "task"),
        empty="No session passes all of this. Look at another state, or lift a filter.",
    )
    if table.is_asked_as_csv:
        return csv_of(table, rows)
    rows.load(table.rows)
    counts = sessions.counts_by_state(actor, wanted=wanted, now=now)
    context = {
        "table": table,
        "state": state,
        "range": wanted.range,
        "tabs": [(name, tab_href(request, name, usual), counts.get(name) if name != "live" else sum(counts.values())) for name in STATES],
        "burn_total": sum(rows.burns.values(), Decimal(0)),
        "can_connect": actor.can(Right.MANAGE_ORGANIZATION),
        "is_empty": not table.rows and not wanted.is_any and not sessions.any_session(actor),
    }
    if request.headers.get("HX-Target") not in ("live", "sessions"):
        context |= filters_of(request, wanted, now)
    return render(request, "sessions/list.html", context)


def csv_of(table: Table, rows: Rows) -> HttpResponse:
    """Every session that passes, as a file."""
    found = table.every_row
    table.every_row = list(found[:CSV_ROWS]) if isinstance(found, QuerySet) else found
    rows.load(table.every_row)
    table.columns = rows.columns_of_file()
    return table.csv_response()


def filters_of(request: PageRequest, wanted: Narrowing, now: datetime) -> dict[str, Any]:
    """The pills, and for what has none a chip that lifts it."""
    options = narrowing.choices(request.actor, wanted, now=now)
    lifted = [
        {"label": label, "name": name, "href": address(request, **{slug: [kept for kept in request.GET.getlist(slug) if kept != value]})}
        for slug, value, label, name in narrowing.chips(request.actor, wanted)
    ]
    if wanted.range is not None:
        lifted.append({"label": "A call in", "name": wanted.range.label, "href": address(request, range=[], **{"from": [], "to": []})})
    if wanted.is_on_several:
        lifted.append({"label": "Ran", "name": ON_SEVERAL, "href": address(request, providers=[])})
    bar = FilterBar.from_query(request.GET, [(slug, narrowing.OFFERED[slug], options[slug]) for slug in options])
    offered = [] if wanted.is_on_several else [{"name": ON_SEVERAL.capitalize(), "href": address(request, providers=["several"])}]
    return {"bar": bar, "chips": lifted, "offered": offered}


def address(request: PageRequest, **changes: list[str]) -> str:
    """This list with some parameters changed, from its first page."""
    query = request.GET.copy()
    for name in ("page", "format", "table"):
        query.pop(name, None)
    for name, values in changes.items():
        query.setlist(name, values)
    text = query.urlencode()
    return f"{request.path}?{text}" if text else request.path


def tab_href(request: PageRequest, state: str, usual: str) -> str:
    """The same list narrowed to another state."""
    return address(request, state=[] if state == usual else [state])


@page()
@require_http_methods(["GET", "POST"])
def session_page(request: PageRequest, key: str) -> HttpResponse:
    """One session. `?call=<id>` answers one call's arithmetic; a POST freezes or resumes by hand."""
    session = sessions.session_get(request.actor, key, now=timezone.now())
    if request.method == "POST":
        return reports_decide(request, session) if request.POST.get("action") in DECISIONS else session_switch(request, session)
    if request.GET.get("call"):
        return call_detail(request, session)
    return render(request, "sessions/detail.html", session_context(request, session))


def session_switch(request: PageRequest, session: sessions.ListedSession) -> HttpResponse:
    """Freezes or resumes by hand. The reason is required; a refusal is shown where it was asked."""
    access.require(request.actor, Right.FREEZE)
    reason = request.POST.get("reason", "").strip()
    action = request.POST.get("action", "")
    error = ""
    if action not in ("freeze", "resume"):
        error = "Say whether to freeze or to resume."
    elif not reason:
        error = "Say why: the reason is kept in the record and shown to the session's owner."
    elif len(reason) > 300:
        error = "The reason is longer than 300 characters."
    if not error:
        try:
            service = session_freeze if action == "freeze" else session_resume
            service(actor=request.actor, session_key=session.key, reason=reason)
        except DomainError as refusal:
            if refusal.status in (403, 404):
                raise
            error = refusal.detail
    if error:
        context = session_context(request, session) | {"switch_error": error, "switch_reason": reason}
        return render(request, "sessions/detail.html", context, status=422)
    messages.success(request, "The session is frozen." if action == "freeze" else "The session may go on.")
    return HttpResponseRedirect(reverse("session", args=[request.actor.organization.slug, session.key]))


def reports_decide(request: PageRequest, session: sessions.ListedSession) -> HttpResponse:
    """Splits a report off its call, joins two calls of the session, or keeps them apart. A refusal is said on the page that follows."""
    access.require(request.actor, Right.MANAGE_ORGANIZATION)
    is_split = request.POST["action"] == "split"
    call = sessions.session_call(session, uuid_of(request.POST.get("call", ""))) if is_split else None
    decided(request, call_id=call.id if call is not None else None, session=session.key)
    return HttpResponseRedirect(reverse("session", args=[request.actor.organization.slug, session.key]))


def uuid_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such call.") from None


def session_context(request: PageRequest, session: sessions.ListedSession) -> dict[str, Any]:
    """Everything one session's page shows, from a fixed number of queries."""
    actor, now = request.actor, timezone.now()
    calls = sessions.session_calls(session)
    own_periods = sessions.session_periods(actor, session.key)
    marks = sessions.session_marks(actor, session.key, own_periods)
    found_by_guard = findings_of_session(actor, session.key)
    seen_by_guard = [sessions.Mark(found.at, "guard", found.rule.name) for found in found_by_guard]
    covering = binding_periods(actor, session.key)
    children = sessions.sessions_below(actor, session.key, now=now)
    names = sessions.names_of(actor, [session])
    is_first = request.GET.get("calls") != "all"
    standing = freezes_reaching(actor, session.key)
    freezing = {found.period_id for found in standing}
    # Of what was asked on wider budgets only that which would let this session go on.
    asked = requests_pending(actor, [period.pk for period in own_periods] + [period.pk for period in covering])
    waiting = [row for row in asked if row.session_key == session.key or row.period_id in freezing]
    recent_burn = burn.burn_of(calls, until=now)
    uncosted = sessions.uncosted_calls(session, calls)
    # Only where several sources report can two calls be one.
    is_shared = session.source_least != session.source_greatest and actor.can(Right.MANAGE_ORGANIZATION)
    return {
        "session": session,
        "pairs": pairs_listed(actor, most=FEW_PAIRS, session=session.key)[0] if is_shared else [],
        "tone": TONES[session.state],
        "who": {
            "member": names.members.get(session.member_id or 0),
            "team": names.teams.get(session.team_id or 0),
            "project": names.projects.get(session.project_id or 0),
        },
        "calls": [
            (call, sessions.cache_writes_of(call), sessions.is_measured(call)) for call in (calls[-FEW_CALLS:] if is_first else calls)[::-1]
        ],
        "clock": clock_of(session, now),
        "calls_loaded": len(calls),
        "unmeasured_calls": uncosted.unmeasured,
        "without_price": uncosted.lacking,
        "calls_before": session.calls - len(calls),
        "is_shortened": is_first and len(calls) > FEW_CALLS,
        "timeline": timeline_of(actor, session, calls, marks=[*marks, *seen_by_guard], allowance=session.allowance) if calls else None,
        "context_chart": session_charts.context_growth(bars_of(actor, session, calls), zone=actor.organization.zone) if calls else None,
        "burn": recent_burn,
        "burn_hour": recent_burn * 60,
        "burn_at_end": burn.burn_of(calls, until=calls[-1].occurred_at) if calls else Decimal(0),
        "freeze": next(iter(standing), None),
        "more_freezes": standing[1:],
        "is_resumable": any(found.period_id is None and found.session_key == session.key for found in standing),
        "refused": refused_of_session(actor, session.key),
        "findings": [
            (found, sentence(found.rule.kind, found.evidence, actor.organization.zone), state_of(found)) for found in found_by_guard
        ],
        "marks": marks[::-1],
        "periods": covering,
        "waiting": waiting,
        "to_decide": next((row for row in waiting if row.session_key == session.key and may_decide(actor, row)), None),
        "own_request": next((row for row in waiting if actor.member is not None and row.requester_id == actor.member.pk), None),
        "own_period": next((period for period in own_periods if period.budget.measure == Budget.Measure.MONEY), None),
        "children": children,
        "holds": sessions.session_holds(actor, session.key),
        "can_freeze": actor.can(Right.FREEZE),
        "can_request": actor.can(Right.REQUEST) and bool(covering),
        "request_href": f"{reverse('request-new', args=[actor.organization.slug])}?{urlencode({'session': session.key})}",
        "is_live": session.last_at > now - timedelta(hours=1) or session.state == "frozen",
    }


def clock_of(session: Session, now: datetime) -> str:
    """How the instants of its calls are written: to the second, with the day where they are not all of today."""
    zone = session.organization.zone
    return "H:i:s" if session.first_at.astimezone(zone).date() == now.astimezone(zone).date() else "j M H:i:s"


def bars_of(actor: Actor, session: Session, calls: Iterable[UsageEvent]) -> list[session_charts.CallBar]:
    """The calls as the charts take them."""
    here = reverse("session", args=[actor.organization.slug, session.key])
    return [
        session_charts.CallBar(
            at=call.occurred_at,
            model=call.model,
            maker=call.maker or call.provider,
            cost=call.cost,
            is_billed=burn.is_billed(call),
            context_tokens=sessions.context_of(call),
            is_measured=sessions.is_measured(call),
            href=f"{here}?call={call.id}",
        )
        for call in calls
    ]


def timeline_of(
    actor: Actor, session: Session, calls: list[UsageEvent], *, marks: Iterable[sessions.Mark], allowance: Decimal | None
) -> Chart:
    """The timeline of the latest calls, beginning at what the earlier ones cost."""
    bars = bars_of(actor, session, calls)
    before = max(session.cost - sum((bar.owed for bar in bars), Decimal(0)), Decimal(0))
    return session_charts.timeline(
        bars,
        happenings=[session_charts.Happening(mark.at, mark.kind, mark.label) for mark in marks],
        allowance=allowance,
        cost_before=before,
        calls_before=session.calls - len(calls),
        zone=actor.organization.zone,
        currency=actor.organization.currency,
    )


def call_detail(request: PageRequest, session: Session) -> HttpResponse:
    """One call: its facts, its price row and its cost line by line."""
    try:
        call_id = UUID(request.GET["call"])
    except ValueError:
        return HttpResponse(status=404)
    call = sessions.session_call(session, call_id)
    can_decide = request.actor.can(Right.MANAGE_ORGANIZATION)
    context = {
        "session": session, "call": call, "reports": reports_of(request.actor, call), "can_decide": can_decide, "bill": bill_of(call), "changes": call_changes(request.actor, call),
        "is_fragment": bool(request.headers.get("HX-Request")),
    }  # fmt: skip
    return render(request, "sessions/_call.html" if context["is_fragment"] else "sessions/call.html", context)


class SessionKey(PathConverter):
    """A session's key in an address, none of whose parts a browser resolves."""

    def to_python(self, value: str) -> str:
        return key_addressed(value)

    def to_url(self, value: str) -> str:
        return addressed(str(value))


register_converter(SessionKey, "session_key")
urlpatterns = [
    path("sessions", session_list, name="sessions"),
    path("sessions/<session_key:key>", session_page, name="session"),
]

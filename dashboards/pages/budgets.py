"""Pages: the tree of budgets, one budget with its course and history, and the forms that make, change and retire one."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.charts import base as chart_base
from dashboards.charts.budget import burn_down, period_bars
from dashboards.components.figures import money_text, plain_decimal
from dashboards.components.ranges import days_text
from dashboards.components.tables import Column, Table
from dashboards.forms.budgets import BudgetForm, LimitForm
from dashboards.pages.spend import spend_address
from dashboards.selectors import periods, previews
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.services import budget_change, budget_create, budget_retire
from governance.errors import DomainError
from governance.tenancy import access
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.models import Member, Project, Team

HISTORY_SHOWN = 30
AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")
HISTORY_WORDS = {"name": "Name", "limit_amount": "Limit", "is_hard": "At the limit", "thresholds": "Tells at (%)"}


@page()
@require_GET
def budget_list(request: PageRequest) -> HttpResponse:
    """The tree, with what is spent, held and left, and when it runs out."""
    actor, now = request.actor, timezone.now()
    is_retired = request.GET.get("state") == "retired"
    lines = periods.budget_lines(actor, now=now, is_active=not is_retired)
    table = Table.from_request(request, id="budgets", columns=csv_columns(actor), rows=lines, page_size=max(len(lines), 1))
    if table.is_asked_as_csv:
        return table.csv_response()
    running = [line for line in lines if line.below is None]
    context = {
        "lines": lines,
        "table": table,
        "is_retired": is_retired,
        "can_manage": actor.can(Right.MANAGE_BUDGETS),
        "frozen": [line for line in lines if line.is_frozen],
        "at_risk": [
            line for line in running if not line.is_frozen and line.forecast and line.forecast.exhausted_at and line.period.ends_at
        ],
        "frozen_sessions": sum(line.below.frozen for line in lines if line.below),
    }
    return render(request, "budgets/list.html", context)


def csv_columns(actor: Actor) -> list[Column]:
    currency = actor.organization.currency
    return [
        Column("name", "Budget", value=lambda line: line.budget.name),
        Column("scope", "Scope", value=lambda line: line.budget.scope_kind),
        Column("period", "Period", value=lambda line: line.budget.period_kind),
        Column("limit", "Limit", "money", value=lambda line: line.period.limit_amount, currency=currency),
        Column("topup", "Top-ups", "money", value=lambda line: line.period.topup, currency=currency),
        Column("spent", "Spent", "money", value=lambda line: line.below.spent if line.below else line.period.spent, currency=currency),
        Column("held", "Held", "money", value=lambda line: line.period.held, currency=currency),
        Column("left", "Left", "money", value=lambda line: None if line.below else line.left, currency=currency),
        Column("frozen", "Frozen", value=lambda line: "yes" if line.is_frozen else "no"),
        Column("runs_out", "Runs out by forecast", "at", value=lambda line: line.forecast.exhausted_at if line.forecast else None),
    ]


@page()
@require_http_methods(["GET", "POST"])
def budget_page(request: PageRequest, budget_id: int) -> HttpResponse:
    """One budget. A POST changes it, retires it, or asks what a change would do."""
    budget = periods.budget_seen(request.actor, budget_id)
    if request.method == "POST":
        return budget_post(request, budget)
    return render(request, "budgets/detail.html", budget_context(request, budget, limit_form(budget)))


def limit_form(budget: Budget, data: Any = None) -> LimitForm:
    initial = {
        "name": budget.name,
        "limit_amount": plain_decimal(budget.limit_amount),
        "is_hard": "hard" if budget.is_hard else "soft",
        "thresholds": ", ".join(str(percent) for percent in budget.thresholds),
    }
    return LimitForm(data, initial=initial)


def budget_post(request: PageRequest, budget: Budget) -> HttpResponse:
    """Preview, change or retire; needs the right to manage budgets."""
    actor = request.actor
    access.require(actor, Right.MANAGE_BUDGETS)
    here = reverse("budget", args=[actor.organization.slug, budget.pk])
    if request.POST.get("step") == "retire":
        budget_retire(actor=actor, budget=budget)
        messages.success(request, f"{budget.name} is retired: nothing counts against it any more, its history stays.")
        return HttpResponseRedirect(here)
    form = limit_form(budget, request.POST)
    if not form.is_valid():
        return render(request, "budgets/detail.html", budget_context(request, budget, form) | {"is_editing": True}, status=422)
    if request.POST.get("step") == "preview":
        context = budget_context(request, budget, form) | {"is_editing": True}
        asked = {"limit_amount": form.cleaned_data["limit_amount"], "is_hard": form.cleaned_data["is_hard"]}
        context["preview"] = previews.change_preview(actor, budget, context["line"].period, **asked)
        return render(request, "budgets/detail.html", context)
    try:
        budget_change(actor=actor, budget=budget, **form.cleaned_data)
    except DomainError as refusal:
        form.add_error(None, refusal.detail)
        return render(request, "budgets/detail.html", budget_context(request, budget, form) | {"is_editing": True}, status=refusal.status)
    messages.success(request, f"{form.cleaned_data['name']} is changed.")
    return HttpResponseRedirect(here)


def budget_context(request: PageRequest, budget: Budget, form: LimitForm) -> dict[str, Any]:
    """Everything one budget's page shows."""
    actor, now = request.actor, timezone.now()
    line = periods.budget_line(actor, budget, now=now)
    shown = chosen_period(actor, budget, request.GET.get("period", "")) or line.period
    is_template = periods.is_template(budget)
    past = [] if is_template else periods.periods_of(actor, budget)
    context: dict[str, Any] = {
        "budget": budget,
        "line": line,
        "form": form,
        "is_template": is_template,
        "period": shown,
        "period_name": period_name(shown),
        "is_present": shown.pk == line.period.pk,
        "past": [(row, period_name(row)) for row in past],
        "topups": periods.topups_of(actor, budget),
        "crossings": periods.crossings_of(actor, shown),
        "freezes": periods.freezes_of(actor, budget),
        "requests": periods.requests_of(actor, budget),
        "history": history_of(actor, budget),
        "can_manage": actor.can(Right.MANAGE_BUDGETS) and budget.is_active,
        "can_request": actor.can(Right.REQUEST) and budget.is_active and line.period.pk is not None,
        "is_editing": False,
    }
    if is_template:
        context["table"] = sessions_table(request, budget)
        return context
    context["spend_href"] = spend_href(actor, budget, shown) if actor.can(Right.VIEW_SPEND) else ""
    context["over"] = over_text(actor, budget, shown) if shown.left < 0 else ""
    context["chart"] = course_chart(actor, budget, shown, line, now=now)
    if len(past) > 1:
        bars = [(short_name(row), row.spent, row.allowance, row.pk == line.period.pk) for row in past[:12][::-1]]
        context["periods_chart"] = period_bars(bars, currency=budget.currency)
    return context


def spend_href(actor: Actor, budget: Budget, period: BudgetPeriod) -> str:
    """What the period's spend was made of: the explorer with its days and its scope."""
    zone = actor.organization.zone
    last = period.ends_at - timedelta(seconds=1) if period.ends_at else timezone.now()
    days = {"range": "custom", "from": f"{period.starts_at.astimezone(zone):%Y-%m-%d}", "to": f"{last.astimezone(zone):%Y-%m-%d}"}
    scope: dict[str, Sequence[str]] = {}
    if budget.team_id:
        scope["team"] = [str(team_id) for team_id in sorted(periods.teams_below(actor).get(budget.team_id, {budget.team_id}))]
    elif budget.project_id:
        scope["project"] = [str(budget.project_id)]
    elif budget.member_id:
        scope["member"] = [str(budget.member_id)]
    return spend_address(actor.organization.slug, days, "model", scope)


def over_text(actor: Actor, budget: Budget, period: BudgetPeriod) -> str:
    """Why more is spent and held than allowed, as far as it is known."""
    before = periods.spent_before(actor, budget, period)
    if before <= 0:
        return "usage counts at what it cost, authorized first or not"
    if before >= period.spent:
        return "spent before the budget was made"
    early = money_text(before, budget.currency)
    return f"{early} was spent before the budget was made; usage since counts at what it cost, authorized first or not"


def chosen_period(actor: Actor, budget: Budget, text: str) -> BudgetPeriod | None:
    """An earlier period named in the address; what names none is ignored."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    row = scoped(actor, BudgetPeriod.objects.filter(budget=budget, pk=int(text), session_key="")).first()
    if row is not None:
        row.budget, row.organization = budget, actor.organization
    return row


def course_chart(actor: Actor, budget: Budget, period: BudgetPeriod, line: periods.Line, *, now: datetime) -> chart_base.Chart:
    """The burn-down of a period: with the forecast when it is the running one."""
    is_present = period.pk == line.period.pk
    marks = [
        chart_base.Mark(freeze.started_at, "frozen", tone=chart_base.ICE)
        for freeze in periods.freezes_of(actor, budget)
        if freeze.period_id is not None and freeze.period_id == period.pk
    ]
    marks += [
        chart_base.Mark(topup.granted_at, f"+{money_text(topup.amount, budget.currency)}", tone=chart_base.OK)
        for topup in periods.topups_of(actor, budget)
        if topup.period_id == period.pk
    ]
    return burn_down(
        periods.period_levels(actor, period, now=now),
        allowance=period.allowance,
        limit=period.limit_amount,
        forecast=line.forecast if is_present else None,
        ends_at=period.ends_at,
        marks=sorted(marks, key=lambda mark: str(mark.at))[-6:],
        zone=actor.organization.zone,
        currency=budget.currency,
    )


def sessions_table(request: PageRequest, budget: Budget) -> Table:
    """The sessions that a session budget gave a period, frozen ones first."""
    slug, currency = request.actor.organization.slug, budget.currency
    columns = [
        Column("session_key", "Session", "strong", href=lambda row: reverse("session", args=[slug, row.session_key])),
        Column("state", "State", "badge", value=lambda row: ("frozen", "ice") if row.frozen_at else ("open", ""), is_sortable=False),
        Column("spent", "Spent", "money", currency=currency),
        Column("limit_amount", "Limit", "money", currency=currency),
        Column("topup", "Top-ups", "money", currency=currency),
        Column("share", "Of limit", "meter", value=lambda row: (row.spent, row.allowance, row.held, None), currency=currency),
        Column("calls", "Calls", "count"),
        Column("last_at", "Last call", "ago"),
    ]
    return Table.from_request(
        request, id="budget-sessions", columns=columns, rows=periods.sessions_of(request.actor, budget), search=("session_key",),
        title="Sessions under it", empty="No session has spent anything under this budget yet.",
    )  # fmt: skip


def history_of(actor: Actor, budget: Budget) -> list[dict[str, Any]] | None:
    """Who changed the budget, latest first, with (what, before, after); None for those who may not read the record."""
    if not (actor.can(Right.VIEW_AUDIT) or actor.can(Right.MANAGE_BUDGETS)):
        return None
    rows = scoped(actor, AuditRecord.objects.filter(target_kind="budget", target_id=str(budget.pk)))
    return [
        {
            "action": record.action.partition(".")[2].capitalize(),
            "actor_label": record.actor_label,
            "at": record.at,
            "changes": changes_of(record, budget.currency),
        }
        for record in rows.order_by("-at", "-id")[:HISTORY_SHOWN]
    ]


def changes_of(record: AuditRecord, currency: str) -> list[tuple[str, str | None, str]]:
    """What a change moved, in words; for the making of a budget only its limit."""
    new, old = record.new or {}, record.old or {}
    names = [name for name in new if name in HISTORY_WORDS and (old or name == "limit_amount")]
    return [
        (HISTORY_WORDS[name], value_words(old[name], currency) if name in old else None, value_words(new[name], currency)) for name in names
    ]


def value_words(value: Any, currency: str) -> str:
    """A value of the record as people write it; the only numbers among those shown are amounts."""
    if isinstance(value, bool):
        return "freezes" if value else "tells only"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    text = str(value)
    return money_text(Decimal(text), currency) if AMOUNT.fullmatch(text) else text


def period_name(period: BudgetPeriod) -> str:
    """The window in words, its days without repeating month or year; "all time" where it never ends."""
    if period.session_key:
        return f"Session {period.session_key}"
    if period.ends_at is None:
        return "all time"
    zone = period.organization.zone
    last = (period.ends_at - timedelta(seconds=1)).astimezone(zone).date()
    return days_text(period.starts_at.astimezone(zone).date(), last)


def short_name(period: BudgetPeriod) -> str:
    """The window as a label under a bar."""
    local = period.starts_at.astimezone(period.organization.zone)
    forms = {"month": f"{local:%b %Y}", "year": f"{local.year}", "quarter": f"from {local:%b %Y}"}
    return forms.get(period.budget.period_kind, f"{local.day} {local:%b}")


@page(Right.MANAGE_BUDGETS)
@require_http_methods(["GET", "POST"])
def budget_new(request: PageRequest) -> HttpResponse:
    """The form of a new budget, with a preview of what it would freeze at once."""
    actor = request.actor
    form = budget_form(request)
    context: dict[str, Any] = {"form": form}
    if request.method == "GET":
        return render(request, "budgets/new.html", context)
    if not form.is_valid():
        # A look ahead while the form is being filled in is answered with what it still needs; nothing failed.
        is_look = request.POST.get("step") == "preview"
        return render(request, "budgets/new.html", context | {"is_look": is_look}, status=200 if is_look else 422)
    if request.POST.get("step") == "preview":
        context["preview"] = previews.creation_preview(actor, form.cleaned_data, now=timezone.now())
        return render(request, "budgets/new.html", context)
    try:
        budget = budget_create(actor=actor, **scope_rows(actor, form.cleaned_data))
    except DomainError as refusal:
        form.add_error(refusal.extra.get("field") if refusal.extra.get("field") in form.fields else None, refusal.detail)
        return render(request, "budgets/new.html", context, status=refusal.status)
    messages.success(request, f"{budget.name} is in force.")
    return HttpResponseRedirect(reverse("budget", args=[actor.organization.slug, budget.pk]))


def budget_form(request: PageRequest) -> BudgetForm:
    """The form with the organization's teams, projects and members to choose from."""
    actor = request.actor
    return BudgetForm(
        request.POST if request.method == "POST" else None,
        initial={
            "thresholds": "50, 80, 100",
            "scope_kind": request.GET.get("scope", Budget.ScopeKind.TEAM.value),
            "team": request.GET.get("team"),
        },
        teams=list(scoped(actor, Team.objects.order_by("name")).values_list("pk", "name")),
        projects=list(scoped(actor, Project.objects.order_by("name")).values_list("pk", "name")),
        members=[
            (row.pk, str(row))
            for row in scoped(actor, Member.objects.filter(is_active=True).select_related("user").order_by("user__name", "id"))
        ],
    )


def scope_rows(actor: Actor, cleaned: dict[str, Any]) -> dict[str, Any]:
    """The form's answers with rows in place of the ids of team, project and member."""
    rows: dict[str, Any] = {"team": Team.objects.all(), "project": Project.objects.all(), "member": Member.objects.all()}
    found = {name: access.get_scoped(actor, rows[name], pk=cleaned[name]) if cleaned.get(name) else None for name in rows}
    return cleaned | found


urlpatterns = [
    path("budgets", budget_list, name="budgets"),
    path("budgets/new", budget_new, name="budget-new"),
    path("budgets/<int:budget_id>", budget_page, name="budget"),
]

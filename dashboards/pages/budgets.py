"""Pages: the tree of budgets, and one budget with its course and history, from which it is changed, retired and moved from."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboards.access import PageRequest, page
from dashboards.charts import base as chart_base
from dashboards.charts.budget import burn_down, period_bars
from dashboards.components.budget_words import filter_words, pool_names, window_words
from dashboards.components.figures import COUNTED, money_text, plain_decimal
from dashboards.components.ranges import days_text
from dashboards.components.tables import Column, Table
from dashboards.forms.budgets import ChangeForm, TransferForm
from dashboards.pages.spend import spend_address
from dashboards.selectors import periods
from dashboards.selectors.budget_history import history_of
from dashboards.selectors.quoted_limits import quoted_of
from governance.budgets.calls import POOLS, TAG
from governance.budgets.commands import HEADER, answered_once
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.previews import change_preview
from governance.budgets.refused import refused_by_periods
from governance.budgets.rules import rules_of
from governance.budgets.services import budget_change, budget_retire, budget_transfer
from governance.budgets.services.transfers import period_movable
from governance.budgets.tree import budget_seen, budgets_visible, present_periods, teams_below
from governance.errors import DomainError
from governance.ids import row_id
from governance.tenancy import access
from governance.tenancy.access import Actor, Right, scoped
from governance.tenancy.directory import directory_of
from ingest.later import Later, later_of

MONEY_IN_SPEND = ("environment", TAG)


@page()
@require_GET
def budget_list(request: PageRequest) -> HttpResponse:
    """The tree, with what is spent, held and left, and when it runs out."""
    actor, now = request.actor, timezone.now()
    is_retired = request.GET.get("state") == "retired"
    lines = periods.budget_lines(actor, now=now, is_active=not is_retired)
    table = Table.from_request(request, id="budgets", columns=csv_columns(), rows=lines, page_size=max(len(lines), 1))
    if table.is_asked_as_csv:
        return table.csv_response()
    running = [line for line in lines if line.below is None]
    names = pool_names(actor, [line.budget for line in lines])
    context = {
        "lines": lines,
        "narrowed": {line.budget.pk: filter_words(line.budget, names) for line in lines if line.budget.filters},
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


def csv_columns() -> list[Column]:
    """The file's columns; `unit` says what each line's amounts are."""
    return [
        Column("name", "Budget", value=lambda line: line.budget.name),
        Column("scope", "Scope", value=lambda line: line.budget.scope_kind),
        Column("period", "Period", value=lambda line: window_words(line.budget)),
        Column("unit", "Unit", value=lambda line: line.budget.unit),
        Column("limit", "Limit", "money", value=lambda line: line.period.limit_amount, currency=""),
        Column("topup", "Top-ups", "money", value=lambda line: line.period.topup, currency=""),
        Column("spent", "Spent", "money", value=lambda line: line.below.spent if line.below else line.period.spent, currency=""),
        Column("held", "Held", "money", value=lambda line: line.period.held, currency=""),
        Column("left", "Left", "money", value=lambda line: None if line.below else line.left, currency=""),
        Column("frozen", "Frozen", value=lambda line: "yes" if line.is_frozen else "no"),
        Column("runs_out", "Runs out by forecast", "at", value=lambda line: line.forecast.exhausted_at if line.forecast else None),
    ]


@page()
@require_http_methods(["GET", "POST"])
def budget_page(request: PageRequest, budget_id: int) -> HttpResponse:
    """One budget. A POST changes it, retires it, moves what it has left, or asks what a change would do."""
    budget = budget_seen(request.actor, budget_id)
    if request.method == "POST":
        access.require(request.actor, Right.MANAGE_BUDGETS)
        step = request.POST.get("step")
        steps = {"retire": retire_post, "transfer": transfer_post, "change": change_post, "preview": change_post}
        return steps[step](request, budget) if step in steps else shown(request, budget, status=422)
    return shown(request, budget)


def shown(request: PageRequest, budget: Budget, *, status: int = 200, **more: Any) -> HttpResponse:
    """The page, with forms as they were sent where some were."""
    return render(request, "budgets/detail.html", budget_context(request, budget, more.pop("form", None)) | more, status=status)


def here(request: PageRequest, budget: Budget) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("budget", args=[request.actor.organization.slug, budget.pk]))


def change_form(budget: Budget, data: Any = None) -> ChangeForm:
    initial = {
        "seen": budget.version,
        "name": budget.name,
        "limit_amount": plain_decimal(budget.limit_amount if budget.quoted_limit is None else budget.quoted_limit),
        "action": budget.action,
        "downgrade_models": ", ".join(budget.downgrade_models),
        "thresholds": ", ".join(str(percent) for percent in budget.thresholds),
        "warns_ahead": budget.warns_ahead,
        "rollover_cap": None if budget.rollover_cap is None else plain_decimal(budget.rollover_cap),
        "fails_open": "open" if budget.fails_open else "closed",
    }
    return ChangeForm(data, initial=initial, budget=budget)


def retire_post(request: PageRequest, budget: Budget) -> HttpResponse:
    budget_retire(actor=request.actor, budget=budget)
    messages.success(request, f"{budget.name} is retired: nothing counts against it any more, its history stays.")
    return here(request, budget)


def change_post(request: PageRequest, budget: Budget) -> HttpResponse:
    """Looks ahead or changes."""
    form = change_form(budget, request.POST)
    if not form.is_valid():
        return shown(request, budget, form=form, is_editing=True, status=422)
    seen, changes = form.cleaned_data["seen"], {name: value for name, value in form.cleaned_data.items() if name != "seen"}
    try:
        if request.POST.get("step") == "preview":
            preview = change_preview(request.actor, budget, changes, now=timezone.now())
            return shown(request, budget, form=form, is_editing=True, preview=preview)
        budget_change(actor=request.actor, budget=budget, seen=seen, **changes)
    except DomainError as refusal:
        field = refusal.extra.get("field")
        form.add_error(field if field in form.fields else None, refusal.detail)
        return shown(request, budget, form=form, is_editing=True, status=refusal.status)
    messages.success(request, f"{form.cleaned_data['name']} is changed.")
    return here(request, budget)


def transfer_targets(actor: Actor, budget: Budget, *, now: datetime) -> list[tuple[int, str]]:
    """The present periods that what this budget has left can be moved to: (id, budget with what it has left)."""
    rows = [
        row for row in budgets_visible(actor).filter(is_active=True).exclude(pk=budget.pk)
        if row.unit == budget.unit and periods.has_course(row)
    ]  # fmt: skip
    present = present_periods(actor, rows, now=now) if rows else {}
    return [(present[row.pk].pk, f"{row.name}, {money_text(present[row.pk].left, row.unit)} left") for row in rows if not present[row.pk]._state.adding]


def transfer_post(request: PageRequest, budget: Budget) -> HttpResponse:
    """Moves what the present period has left to another budget."""
    actor, now = request.actor, timezone.now()
    source = present_periods(actor, [budget], now=now)[budget.pk]
    form = TransferForm(request.POST, targets=transfer_targets(actor, budget, now=now))
    status = 422
    if form.is_valid():
        asked = form.cleaned_data
        try:
            name, is_repeated = _transferred(request, source.pk or 0, asked)
        except DomainError as refusal:
            field = refusal.extra.get("field")
            said = "This form was sent before, with something else in it. Nothing was moved now." if field == HEADER else refusal.detail
            form.add_error(field if field in form.fields else None, said)
            status = refusal.status
        else:
            was = "were moved already" if is_repeated else "moved"
            messages.success(request, f"{money_text(asked['amount'], budget.unit)} {was} to {name}.")
            return here(request, budget)
    return shown(request, budget, transfer_form=form, is_moving=True, status=status)


@transaction.atomic
def _transferred(request: PageRequest, from_period_id: int, asked: dict[str, Any]) -> tuple[str, bool]:
    """Moves it, once for each form that was shown. Returns the name of the budget it went to, and whether it had been moved before."""

    def act() -> tuple[int, Any]:
        moved = budget_transfer(
            actor=request.actor, from_period_id=from_period_id, to_period_id=asked["to_period"], amount=asked["amount"], reason=asked["reason"]
        )
        return 200, {"to": moved.received.period.budget.name}

    sent = f"{asked['to_period']} {asked['amount']} {asked['reason']}".encode()
    key = f"page {asked['once']}" if asked["once"] else None
    _, answer, is_repeated = answered_once(actor=request.actor, key=key, request=(f"POST {request.path}", sent), act=act)
    return str(answer["to"]), is_repeated


def budget_context(request: PageRequest, budget: Budget, form: ChangeForm | None) -> dict[str, Any]:
    """Everything one budget's page shows."""
    actor, now = request.actor, timezone.now()
    line = periods.budget_line(actor, budget, now=now)
    period = chosen_period(actor, budget, request.GET.get("period", "")) or line.period
    past = [] if budget.is_template else periods.periods_of(actor, budget)
    can_manage = actor.can(Right.MANAGE_BUDGETS) and budget.is_active
    context: dict[str, Any] = {
        "budget": budget,
        "line": line,
        "form": form or change_form(budget),
        "narrowed": filter_words(budget, pool_names(actor, [budget])),
        "is_template": budget.is_template,
        "is_rolling": budget.period_kind == Budget.Kind.ROLLING,
        "is_money": budget.measure == Budget.Measure.MONEY,
        "period": period,
        "period_name": period_name(period),
        "quoted": quoted_of(budget, period),
        "is_present": period.pk == line.period.pk,
        "past": [(row, period_name(row)) for row in past],
        "topups": periods.topups_of(actor, budget),
        "crossings": periods.crossings_of(actor, period),
        "refused": refused_by_periods(actor, [period.pk]).get(period.pk) if period.pk else None,
        "freezes": periods.freezes_of(actor, budget),
        "requests": periods.requests_of(actor, budget),
        "history": history_of(actor, budget),
        "can_manage": can_manage,
        "can_request": actor.can(Right.REQUEST) and budget.is_active and not line.period._state.adding,
        "is_editing": False,
    }
    if budget.is_template:
        context["table"] = subjects_table(request, budget)
        return context
    if can_manage and not line.period._state.adding and periods.has_course(budget):
        targets = transfer_targets(actor, budget, now=now)
        context |= {"movable": max(period_movable(line.period), 0), "transfer_form": TransferForm(targets=targets) if targets else None}
    context["spend_href"] = spend_href(actor, budget, period) if actor.can(Right.VIEW_SPEND) else ""
    context["over"] = over_text(actor, budget, period) if period.left < 0 else ""
    context["later"] = later_of_period(actor, budget, period)
    context["chart"] = course_chart(actor, budget, period, line, now=now)
    if len(past) > 1:
        bars = [(short_name(row), row.spent, row.allowance, row.pk == line.period.pk) for row in past[:12][::-1]]
        context["periods_chart"] = period_bars(bars, currency=budget.unit)
    return context


def later_of_period(actor: Actor, budget: Budget, period: BudgetPeriod) -> Later | None:
    """What the period counts for months that were closed."""
    if not budget.is_active or period._state.adding or budget.measure != Budget.Measure.MONEY:
        return None
    rules = rules_of(directory_of(actor.organization, actor.organization.config_version))
    rule = rules.by_id.get(budget.pk)
    return None if rule is None else later_of(rules.directory, rule, starts_at=period.slides_from or period.starts_at, ends_at=period.ends_at)


def spend_href(actor: Actor, budget: Budget, period: BudgetPeriod) -> str:
    """What the period's spend was made of: the explorer with its days, its scope and its filters; nothing where it knows them not."""
    zone = actor.organization.zone
    if budget.service_account_id or budget.api_key_id or any(name.startswith(MONEY_IN_SPEND) for name in budget.filters):
        return ""
    begins, last = period.slides_from or period.starts_at, period.ends_at - timedelta(seconds=1) if period.ends_at else timezone.now()
    days = {"range": "custom", "from": f"{begins.astimezone(zone):%Y-%m-%d}", "to": f"{last.astimezone(zone):%Y-%m-%d}"}
    scope: dict[str, Sequence[str]] = {name: [str(value) for value in values] for name, values in budget.filters.items() if name not in POOLS}
    below = teams_below(actor) if budget.team_id or "team" in budget.filters else {}
    teams = [budget.team_id] if budget.team_id else budget.filters.get("team", [])
    if teams:
        scope["team"] = sorted({str(team) for team_id in teams for team in below.get(team_id, {team_id})})
    owned = {"project": budget.project_id, "member": budget.member_id}
    scope |= {name: [str(value) for value in ([own] if own else budget.filters.get(name, []))] for name, own in owned.items()}
    return spend_address(actor.organization.slug, days, "model", {name: values for name, values in scope.items() if values})


def over_text(actor: Actor, budget: Budget, period: BudgetPeriod) -> str:
    """Why more is spent and held than allowed, as far as it is known."""
    before = periods.spent_before(actor, budget, period)
    if before <= 0:
        return "usage counts at what it cost, authorized first or not"
    if before >= period.spent:
        return "spent before the budget was made"
    early = money_text(before, budget.unit)
    return f"{early} was {'used' if budget.unit in COUNTED else 'spent'} before the budget was made; usage since counts at what it cost, authorized first or not"


def chosen_period(actor: Actor, budget: Budget, text: str) -> BudgetPeriod | None:
    """An earlier period named in the address; what names none is ignored."""
    number = row_id(text)
    if number is None:
        return None
    row = scoped(actor, BudgetPeriod.objects.filter(budget=budget, pk=number, session_key="", task_key="")).first()
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
        chart_base.Mark(topup.granted_at, f"{'+' if topup.amount > 0 else ''}{money_text(topup.amount, budget.unit)}", tone=chart_base.OK)
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
        currency=budget.unit,
        leaving=periods.leaving_levels(actor, period, now=now) if budget.period_kind == Budget.Kind.ROLLING else (),
    )


def subjects_table(request: PageRequest, budget: Budget) -> Table:
    """The sessions (tasks) that a template gave a period, frozen ones first."""
    slug, unit = request.actor.organization.slug, budget.unit
    is_task = budget.scope_kind == Budget.ScopeKind.TASK
    key = "task_key" if is_task else "session_key"
    address = None if is_task else lambda row: reverse("session", args=[slug, row.session_key])
    used = "Spent" if budget.measure == Budget.Measure.MONEY else "Used"
    columns = [
        Column(key, "Task" if is_task else "Session", "strong", href=address),
        Column("state", "State", "badge", value=lambda row: ("frozen", "ice") if row.frozen_at else ("open", ""), is_sortable=False),
        Column("spent", used, "money", currency=unit),
        Column("limit_amount", "Limit", "money", currency=unit),
        Column("topup", "Top-ups", "money", currency=unit),
        Column("share", "Of limit", "meter", value=lambda row: (row.spent, row.allowance, row.held, None), currency=unit),
        Column("calls", "Calls", "count"),
        Column("last_at", "Last call", "ago"),
    ]
    word = "task" if is_task else "session"
    return Table.from_request(
        request, id="budget-sessions", columns=columns, rows=periods.sessions_of(request.actor, budget), search=(key,),
        title=f"{word.capitalize()}s under it", empty=f"No {word} has {used.lower()} anything under this budget yet.",
    )  # fmt: skip


def period_name(period: BudgetPeriod) -> str:
    """The window in words, its days without repeating month or year; "all time" where it never ends."""
    if period.session_key:
        return f"Session {period.session_key}"
    if period.slides_from is not None:
        return f"last {window_words(period.budget).removeprefix('any ')}"
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


urlpatterns = [
    path("budgets", budget_list, name="budgets"),
    path("budgets/<int:budget_id>", budget_page, name="budget"),
]

"""Prices: seats and the people who have them, what each is worth, and the forms that give and end them."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.ranges import Range
from dashboards.components.tables import Column, Table
from dashboards.forms.billing import EndForm, PlanForm, SeatEndForm, SeatFileForm, SeatForm, TermsForm
from dashboards.pages.prices import shown
from dashboards.pages.settings.frame import done
from dashboards.selectors.seats import PlanRow, SeatRow, SeatsView
from governance.billing.models import SeatPlan
from governance.billing.plans import plan_change, plan_create, plan_end
from governance.billing.proration import Days
from governance.billing.seats import seat_end, seat_give, seats_import
from governance.billing.selectors import plans_of
from governance.errors import NotFound
from governance.tenancy.access import Actor, Right, require

TAB = "prices-seats"
IDLE_DAYS = (14, 30, 60, 90)
STATES = {"active": ("active", "ok"), "idle": ("idle", "warn"), "new": ("new", ""), "ended": ("ended", "")}
VERDICTS = {"seat": ("worth its fee", "ok"), "metered": ("cheaper by the call", "warn")}


@page(Right.VIEW_SPEND)
def seat_list(request: PageRequest) -> HttpResponse:
    """Who has a seat, when it was last used, what it costs and what it is worth; forms for who manages prices."""
    if request.method == "POST":
        return _posted(request)
    return _listed(request)


def _posted(request: PageRequest) -> HttpResponse:
    actor = request.actor
    require(actor, Right.MANAGE_PRICES)
    action = request.POST.get("action", "")
    if action not in ACTIONS:
        return _listed(request, status=422)
    form, act, said = ACTIONS[action](request)
    if form.is_valid() and (found := done(form, act)) is not None:
        messages.success(request, said(found))
        return redirect(TAB, slug=actor.organization.slug)
    return _listed(request, {action: form}, status=422)


def _plan_add(request: PageRequest) -> tuple[Any, Callable[[], Any], Callable[[Any], str]]:
    form = PlanForm(request.POST)
    return form, lambda: plan_create(actor=request.actor, **form.cleaned_data), lambda plan: f"{plan} is there. Give its seats now."


def _seat_give(request: PageRequest) -> tuple[Any, Callable[[], Any], Callable[[Any], str]]:
    form = SeatForm(request.POST, actor=request.actor)
    return form, lambda: seat_give(actor=request.actor, **form.cleaned_data), lambda seat: f"{seat.member} has a seat from {seat.valid_from} on."


def _seat_end(request: PageRequest) -> tuple[Any, Callable[[], Any], Callable[[Any], str]]:
    form = SeatEndForm(request.POST, actor=request.actor)
    return form, lambda: seat_end(actor=request.actor, **form.cleaned_data), lambda seat: f"The seat of {seat.member} ends on {seat.valid_to}."


def _seats_file(request: PageRequest) -> tuple[Any, Callable[[], Any], Callable[[Any], str]]:
    form = SeatFileForm(request.POST, request.FILES, actor=request.actor)

    def act() -> Any:
        return seats_import(actor=request.actor, plan=form.cleaned_data["plan"], data=form.cleaned_data["file"].read())

    return form, act, lambda done_: f"{done_.given} given, {done_.ended} ended, {done_.unchanged} as they were."


ACTIONS = {"plan": _plan_add, "give": _seat_give, "end": _seat_end, "file": _seats_file}


def _listed(request: PageRequest, bound: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    organization = actor.organization
    span = Range.from_query(request.GET, organization.zone, now, default="30d", year_starts_in=organization.year_starts_in)
    asked = request.GET.get("idle", "")
    idle_days = int(asked) if asked in map(str, IDLE_DAYS) else 30
    view = SeatsView(actor, days=Days.of(span.first, span.last), today=span.today, idle_days=idle_days)
    tables = [_seats_table(request, view), _plans_table(request, view), _candidates_table(request, view)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(table.id)
    forms = _forms(actor, bound or {}) if actor.can(Right.MANAGE_PRICES) else None
    values = {"view": view, "range": span, "tables": tables, "forms": forms, "idle_choices": IDLE_DAYS, "is_broken": bool(bound), "currency": organization.currency}
    return shown(request, "seats", TAB, values, status=status)


def _forms(actor: Actor, bound: dict[str, Any]) -> dict[str, Any]:
    """A form of each kind, the broken one as it was sent."""
    fresh = {
        "plan": PlanForm(initial={"currency": actor.organization.currency}), "give": SeatForm(actor=actor), "end": SeatEndForm(actor=actor),
        "file": SeatFileForm(actor=actor),
    }  # fmt: skip
    return fresh | bound


def _seats_table(request: PageRequest, view: SeatsView) -> Table:
    currency = request.actor.organization.currency

    def money(key: str, label: str, **options: Any) -> Column:
        return Column(key, label, "money", currency=currency, **options)

    columns = [
        Column("member", "Person", "strong", value=lambda row: str(row.seat.member), href=_person_href(request)),
        Column("team", "Team", value=lambda row: row.seat.member.team.name if row.seat.member.team else None, is_for_wide=True),
        Column("plan", "Plan", value=lambda row: row.seat.plan.name),
        Column("since", "Since", "day", value=lambda row: row.seat.valid_from, is_for_wide=True),
        Column("last", "Last use", "day", title="Last day with a call of what the plan covers, however it was billed"),
        Column("state", "State", "badge", value=lambda row: STATES[row.state]),
        money("fee", "Fee", value=lambda row: row.fee.amount, title="For the days of the range, prorated by the days of the billing period"),
        money("notional", "At list price", value=lambda row: row.use.notional, title="What the calls under the seat would have cost by the call"),
        money("gain", "Worth more than its fee by", title="At list price, less the fee; below zero, calls would have been cheaper", is_for_wide=True),
        Column("verdict", "Break-even", "badge", value=lambda row: VERDICTS.get(row.verdict)),
        money("metered", "Billed besides", value=lambda row: row.use.metered or None, title="Calls of the same person on the same harness that were billed by the call", is_for_wide=True),
        Column("included", "Included use", "percent", value=_included_share, title="Used in the running billing period, of what is included"),
    ]
    # What says the same on every line only takes room from the rest.
    silent = _silent(view) if request.GET.get("format") != "csv" else frozenset()
    columns = [column for column in columns if column.key not in silent]
    return Table.from_request(
        request, id="seats", title="Seats", note=f"idle: nothing for {view.idle_days} days", columns=columns, rows=view.rows,
        search=tuple(key for key in ("member", "team", "plan") if key not in silent), sort="member",
        empty="Nobody had a seat in these days. Make a plan below, then give its seats, one by one or from a CSV.",
    )  # fmt: skip


def _silent(view: SeatsView) -> frozenset[str]:
    """Columns with nothing to tell apart: of one plan only, all since one day, of nothing included."""
    since = {row.seat.valid_from for row in view.rows}
    alike = ("since", len(view.rows) > 1 and len(since) == 1), ("plan", len({row.seat.plan_id for row in view.rows}) < 2), ("included", all(row.included is None for row in view.rows))
    return frozenset(name for name, is_silent in alike if is_silent)


def _included_share(row: SeatRow) -> Any:
    return None if row.included is None else row.included[0] / row.included[1]


def _person_href(request: PageRequest) -> Callable[[SeatRow], str]:
    spend = reverse("spend", args=[request.actor.organization.slug])
    return lambda row: f"{spend}?range=30d&by=billing-mode&member={row.seat.member_id}"


def _plans_table(request: PageRequest, view: SeatsView) -> Table:
    actor = request.actor

    def href(row: PlanRow) -> str | None:
        return reverse("prices-plan", args=[actor.organization.slug, row.plan.pk]) if actor.can(Right.MANAGE_PRICES) else None

    columns = [
        Column("plan", "Plan", "strong", value=lambda row: row.plan.name, href=href, note=lambda row: "" if row.terms else "not sold today"),
        Column("covers", "For", value=lambda row: " of ".join(filter(None, (row.plan.harness, row.plan.provider)))),
        Column("fee", "Fee per seat", "money", value=lambda row: row.terms.fee if row.terms else None, currency=lambda row: row.terms.currency if row.terms else actor.organization.currency,
               note=lambda row: f"a {row.terms.period}" if row.terms else ""),
        Column("seats", "Seats", "count", value=lambda row: len(row.rows) - row.number("ended")),
        Column("active", "Active", "count", value=lambda row: row.number("active")),
        Column("idle", "Idle", "count", value=lambda row: row.number("idle")),
        Column("fees", "Fees", "money", currency=actor.organization.currency),
        Column("each", "Per active seat", "money", value=lambda row: row.cost_per_active, currency=actor.organization.currency),
        Column("notional", "At list price", "money", currency=actor.organization.currency),
    ]  # fmt: skip
    return Table.from_request(request, id="plans", prefix="plans-", title="Plans", columns=columns, rows=view.of_plans, sort="plan", empty="No plan yet.")


def _candidates_table(request: PageRequest, view: SeatsView) -> Table:
    currency = request.actor.organization.currency
    columns = [
        Column("member", "Person", "strong", value=lambda row: str(row.member)),
        Column("team", "Team", value=lambda row: row.member.team.name if row.member.team else None, is_for_wide=True),
        Column("plan", "Plan", value=lambda row: row.plan.name),
        Column("billed", "Billed by the call", "money", currency=currency),
        Column("fee", "A seat", "money", currency=currency, title="For the same days, at the terms of today"),
        Column("saving", "A seat would save", "money", currency=currency),
    ]
    return Table.from_request(
        request, id="cheaper-on-a-seat", prefix="cheaper-", title="Cheaper on a seat", note="people without one whose calls cost more than its fee", columns=columns,
        rows=view.candidates, sort="-saving", search=("member", "team"), empty="Nobody's calls cost more than a seat would in these days.",
    )  # fmt: skip


@page(Right.MANAGE_PRICES)
def plan_page(request: PageRequest, plan_id: int) -> HttpResponse:
    """One plan: what it cost and includes, since when; other terms from a day on; its end."""
    actor = request.actor
    plan: SeatPlan | None = plans_of(actor).filter(pk=plan_id).first()
    if plan is None:
        raise NotFound("There is no such plan here.")
    rows = list(plan.terms.all())
    current = next((row for row in rows if row.valid_to is None), None)
    action = request.POST.get("action", "") if request.method == "POST" else ""
    initial = {name: getattr(current, name) for name in TermsForm.base_fields if name != "valid_from"} if current else {}
    initial |= {name: f"{initial[name].normalize():f}" for name in ("fee", "included_amount") if initial.get(name) is not None}
    change, end = (TermsForm(request.POST if action == "change" else None, initial=initial), EndForm(request.POST if action == "end" else None))
    if action == "change" and change.is_valid() and done(change, lambda: plan_change(actor=actor, plan=plan, **change.cleaned_data)):
        messages.success(request, "Saved. What held before that day stays as it was.")
        return redirect("prices-plan", slug=actor.organization.slug, plan_id=plan_id)
    if action == "end" and end.is_valid() and done(end, lambda: plan_end(actor=actor, plan=plan, **end.cleaned_data)):
        messages.success(request, f"{plan} and its seats end on {end.cleaned_data['ends_on']}.")
        return redirect(TAB, slug=actor.organization.slug)
    values = {"plan": plan, "terms": rows, "current": current, "change": change, "end": end}
    return shown(request, "plan", TAB, values, status=422 if request.method == "POST" else 200)


urlpatterns = [
    path("prices/seats", seat_list, name="prices-seats"),
    path("prices/seats/plans/<int:plan_id>", plan_page, name="prices-plan"),
]

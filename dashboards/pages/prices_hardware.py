"""Prices: hardware of one's own, what it makes of a million tokens month by month beside a hosted one, and who used it."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.billing import EndForm, FleetChangeForm, FleetForm, HoursForm
from dashboards.pages.prices import shown
from dashboards.pages.settings.frame import done
from dashboards.selectors.hardware import HardwareRow, Share, hardware_rows, shares_of
from governance.billing.fleets import fleet_change, fleet_create, fleet_end, fleet_hours_enter
from governance.billing.models import Fleet
from governance.billing.selectors import fleets_of
from governance.errors import NotFound
from governance.tenancy.access import Actor, Right, require

TAB = "prices-hardware"
STATES = {"fixed": ("fixed", ""), "running": ("running", "accent"), "open": ("not fixed yet", ""), "hours": ("hours are missing", "warn")}


@page(Right.VIEW_SPEND)
def hardware_list(request: PageRequest) -> HttpResponse:
    """The months of each model, who used it this month, and the fleets; the form of a new one for who manages prices."""
    actor, now = request.actor, timezone.now()
    form = None
    if actor.can(Right.MANAGE_PRICES) or request.method == "POST":
        require(actor, Right.MANAGE_PRICES)
        form = FleetForm(request.POST or None, initial={"currency": actor.organization.currency})
    if form is not None and request.method == "POST" and form.is_valid() and done(form, lambda: fleet_create(actor=actor, **form.cleaned_data)):
        messages.success(request, f"{form.cleaned_data['name']} is there.")
        return redirect(TAB, slug=actor.organization.slug)
    fleets = list(fleets_of(actor))
    rows = hardware_rows(actor, fleets, now=now)
    running = [row for row in rows if row.state == "running"]
    tables = [_months_table(request, rows), _shares_table(request, shares_of(actor, fleets, running, now=now)), _fleets_table(request, fleets)]
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(table.id)
    values = {"tables": tables, "running": running, "form": form, "currency": actor.organization.currency, "has_fleets": bool(fleets), "is_broken": request.method == "POST"}
    return shown(request, "hardware", TAB, values, status=422 if request.method == "POST" else 200)


def _months_table(request: PageRequest, rows: list[HardwareRow]) -> Table:
    currency = request.actor.organization.currency

    def money(key: str, label: str, title: str = "") -> Column:
        return Column(key, label, "money", currency=currency, title=title)

    columns = [
        Column("month", "Month", value=lambda row: f"{row.month:%Y-%m}"),
        Column("model", "Model", "strong"),
        Column("gpu_hours", "GPU-hours", "count", value=lambda row: None if row.gpu_hours is None else round(row.gpu_hours)),
        money("amount", "Cost"),
        Column("tokens", "Tokens", "tokens"),
        money("per_mtok", "Per Mtok", "The month's cost over its tokens; nothing where none were served"),
        money("hosted_per_mtok", "Hosted, per Mtok", "The same tokens at the list price of who sells the model"),
        Column("hosted_name", "Hosted is", value=lambda row: row.hosted_name or None, is_for_wide=True),
        Column("utilisation", "Utilisation", "percent", title="Tokens served, of those it could have served in its hours"),
        Column("state", "State", "badge", value=lambda row: STATES[row.state]),
    ]
    return Table.from_request(
        request, id="months", title="Month by month", note="months of the past are fixed three days after they end", columns=columns, rows=rows, sort="-month",
        empty="No hardware of one's own yet.",
    )  # fmt: skip


def _shares_table(request: PageRequest, shares: list[Share]) -> Table:
    columns = [
        Column("model", "Model"), Column("team", "Team", "strong"), Column("calls", "Calls", "count"), Column("tokens", "Tokens", "tokens"), Column("share", "Share", "percent"),
        Column("amount", "Its part of the cost", "money", currency=request.actor.organization.currency, title="By tokens. Beside spend, in no total of it"),
    ]  # fmt: skip
    return Table.from_request(
        request, id="shares", prefix="shares-", title="Who used it this month", note="the month's cost so far, allocated by tokens", columns=columns, rows=shares, sort="-tokens",
        empty="No call on own hardware this month.",
    )  # fmt: skip


def _fleets_table(request: PageRequest, fleets: list[Fleet]) -> Table:
    actor = request.actor

    def href(fleet: Fleet) -> str | None:
        return reverse("prices-fleet", args=[actor.organization.slug, fleet.pk]) if actor.can(Right.MANAGE_PRICES) else None

    columns = [
        Column("name", "Fleet", "strong", href=href), Column("model", "Serves"), Column("gpus", "GPUs", "count", note=lambda row: row.gpu_kind),
        Column("rate", "Per GPU-hour", "money", currency=lambda row: row.currency), Column("basis", "Paid", value=lambda row: row.get_basis_display(), is_for_wide=True),
        Column("schedule", "Hours", value=lambda row: row.get_schedule_display(), is_for_wide=True), Column("tokens_per_hour", "Tokens an hour", "tokens", is_for_wide=True),
        Column("valid_from", "From", "day"), Column("valid_to", "Until before", "day"),
    ]  # fmt: skip
    return Table.from_request(
        request, id="fleets", prefix="fleets-", title="Hardware", note="a change ends one row and begins the next", columns=columns, rows=fleets, sort="name", empty="None yet."
    )


@page(Right.MANAGE_PRICES)
def fleet_page(request: PageRequest, fleet_id: int) -> HttpResponse:
    """One row of a fleet: what it is from a day on, its end, and the hours of its months."""
    actor = request.actor
    fleet = fleets_of(actor).filter(pk=fleet_id).first()
    if fleet is None:
        raise NotFound("There is no such hardware here.")
    forms = _fleet_forms(request, fleet)
    action = request.POST.get("action", "") if request.method == "POST" else ""
    form = forms.get(action)
    if form is not None and form.is_valid() and (found := done(form, lambda: _fleet_act(actor, fleet, action, form.cleaned_data))):
        messages.success(request, "Saved. What held before stays as it was.")
        return redirect("prices-fleet", slug=actor.organization.slug, fleet_id=found.pk if action == "change" else fleet_id)
    values = {"fleet": fleet, "forms": forms, "hours": list(fleet.hours.all())}
    return shown(request, "fleet", TAB, values, status=422 if request.method == "POST" else 200)


def _fleet_forms(request: PageRequest, fleet: Fleet) -> Mapping[str, Any]:
    """The forms that the row takes, the one that was sent as it was sent."""
    action = request.POST.get("action", "") if request.method == "POST" else ""

    def data(name: str) -> Any:
        return request.POST if action == name else None

    forms: dict[str, Any] = {}
    if fleet.valid_to is None:
        initial = {name: getattr(fleet, name) for name in FleetChangeForm.base_fields if name != "valid_from"} | {"rate": f"{fleet.rate.normalize():f}"}
        forms = {"change": FleetChangeForm(data("change"), initial=initial), "end": EndForm(data("end"))}
    if fleet.schedule == Fleet.Schedule.ENTERED:
        forms["hours"] = HoursForm(data("hours"))
    return forms


def _fleet_act(actor: Actor, fleet: Fleet, action: str, given: dict[str, Any]) -> Any:
    if action == "change":
        return fleet_change(actor=actor, fleet=fleet, **given)
    return fleet_end(actor=actor, fleet=fleet, **given) if action == "end" else fleet_hours_enter(actor=actor, fleet=fleet, **given)


urlpatterns = [
    path("prices/own-hardware", hardware_list, name="prices-hardware"),
    path("prices/own-hardware/<int:fleet_id>", fleet_page, name="prices-fleet"),
]

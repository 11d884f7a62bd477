"""API edge of own hardware."""

from typing import Any

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from governance.billing import description_fleets as description
from governance.billing.api import BillingView, given, id_check
from governance.billing.description import EndIn
from governance.billing.fleets import fleet_change, fleet_create, fleet_end, fleet_hours_enter
from governance.billing.models import Fleet, FleetMonth
from governance.billing.selectors import fleets_of, months_fixed
from governance.budgets.views import body_of
from governance.errors import NotFound
from governance.money import digits
from governance.tenancy.access import Actor, scoped


class Fleets(BillingView):
    """GET and POST /api/v1/fleets."""

    @description.fleets_list
    def get(self, request: Request) -> Response:
        months = [month_out(month) for month in months_fixed(self.actor)]
        return Response({"items": [fleet_out(fleet) for fleet in fleets_of(self.actor)], "months": months})

    @description.fleets_create
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            made = fleet_create(actor=self.actor, **msgspec.structs.asdict(body_of(request, description.FleetIn)))
            return 201, fleet_out(fleet_seen(self.actor, made.pk))

        return self.answer(act)


class OneFleet(BillingView):
    """GET and PATCH /api/v1/fleets/<id>."""

    @description.fleet_get
    def get(self, request: Request, fleet_id: int) -> Response:
        return Response(fleet_out(fleet_seen(self.actor, fleet_id)))

    @description.fleet_change
    def patch(self, request: Request, fleet_id: int) -> Response:
        fleet = fleet_seen(self.actor, fleet_id)

        def act() -> tuple[int, Any]:
            row = fleet_change(actor=self.actor, fleet=fleet, **given(body_of(request, description.FleetChange)))
            return 200, fleet_out(fleet_seen(self.actor, row.pk))

        return self.answer(act)


class FleetEnd(BillingView):
    """POST /api/v1/fleets/<id>/end."""

    @description.fleet_end
    def post(self, request: Request, fleet_id: int) -> Response:
        fleet = fleet_seen(self.actor, fleet_id)

        def act() -> tuple[int, Any]:
            fleet_end(actor=self.actor, fleet=fleet, ends_on=body_of(request, EndIn).ends_on)
            return 200, fleet_out(fleet_seen(self.actor, fleet_id))

        return self.answer(act)


class FleetHoursEntered(BillingView):
    """POST /api/v1/fleets/<id>/hours."""

    @description.fleet_hours
    def post(self, request: Request, fleet_id: int) -> Response:
        fleet = fleet_seen(self.actor, fleet_id)

        def act() -> tuple[int, Any]:
            asked = body_of(request, description.HoursIn)
            fleet_hours_enter(actor=self.actor, fleet=fleet, month=asked.month, hours=asked.hours)
            return 200, fleet_out(fleet_seen(self.actor, fleet_id))

        return self.answer(act)


def fleet_seen(actor: Actor, fleet_id: int) -> Fleet:
    """The organization's fleet row with its hours. Raises NotFound."""
    fleet = scoped(actor, Fleet.objects.filter(pk=id_check(fleet_id))).prefetch_related("hours").first()
    if fleet is None:
        raise NotFound("There is no such fleet.")
    return fleet


def fleet_out(fleet: Fleet) -> dict[str, Any]:
    """A fleet row as the API shows it, with the number that counts for each month entered."""
    names = (
        "name",
        "model",
        "provider",
        "gpus",
        "gpu_kind",
        "currency",
        "basis",
        "schedule",
        "tokens_per_hour",
        "hosted_provider",
        "hosted_model",
    )
    hours = {row.month: row.hours for row in fleet.hours.all()}
    return {
        "id": fleet.pk, **{name: getattr(fleet, name) for name in names}, "rate": digits(fleet.rate), "valid_from": fleet.valid_from, "valid_to": fleet.valid_to,
        "hours": [{"month": month, "hours": digits(number)} for month, number in hours.items()],
    }  # fmt: skip


def month_out(month: FleetMonth) -> dict[str, Any]:
    """A fixed month as the API shows it."""
    amounts = {name: getattr(month, name) for name in ("gpu_hours", "amount", "per_mtok", "hosted_per_mtok")}
    return {
        "model": month.model, "month": month.month, "tokens": month.tokens, "calls": month.calls,
        **{name: None if value is None else digits(value) for name, value in amounts.items()},
    }  # fmt: skip

"""API edge of plans and seats."""

from datetime import date, timedelta
from typing import Any

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.billing import description
from governance.billing.models import Seat, SeatPlan
from governance.billing.plans import plan_change, plan_create, plan_end
from governance.billing.proration import Days
from governance.billing.seats import seat_end, seat_give
from governance.billing.selectors import fees_in, plans_of, seats_visible
from governance.budgets.views import CommandView, body_of
from governance.errors import Invalid, NotFound
from governance.money import digits
from governance.periods import add_months
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import Member

LONGEST = timedelta(days=3660)


class BillingView(CommandView):
    """Reading takes the scope `read` and the right to see spend, all else `admin` and the right to manage prices."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        require(self.actor, Right.VIEW_SPEND if request.method == "GET" else Right.MANAGE_PRICES)


class Plans(BillingView):
    """GET and POST /api/v1/plans."""

    @description.plans_list
    def get(self, request: Request) -> Response:
        return Response({"items": [plan_out(plan) for plan in plans_of(self.actor)]})

    @description.plans_create
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            made = plan_create(actor=self.actor, **msgspec.structs.asdict(body_of(request, description.PlanIn)))
            return 201, plan_out(plan_seen(self.actor, made.pk))

        return self.answer(act)


class OnePlan(BillingView):
    """GET and PATCH /api/v1/plans/<id>."""

    @description.plan_get
    def get(self, request: Request, plan_id: int) -> Response:
        return Response(plan_out(plan_seen(self.actor, plan_id)))

    @description.plan_change
    def patch(self, request: Request, plan_id: int) -> Response:
        plan = plan_seen(self.actor, plan_id)

        def act() -> tuple[int, Any]:
            plan_change(actor=self.actor, plan=plan, **given(body_of(request, description.TermsChange)))
            return 200, plan_out(plan_seen(self.actor, plan_id))

        return self.answer(act)


class PlanEnd(BillingView):
    """POST /api/v1/plans/<id>/end."""

    @description.plan_end
    def post(self, request: Request, plan_id: int) -> Response:
        plan = plan_seen(self.actor, plan_id)

        def act() -> tuple[int, Any]:
            plan_end(actor=self.actor, plan=plan, ends_on=body_of(request, description.EndIn).ends_on)
            return 200, plan_out(plan_seen(self.actor, plan_id))

        return self.answer(act)


class Seats(BillingView):
    """GET and POST /api/v1/seats."""

    @description.seats_list
    def get(self, request: Request) -> Response:
        days = days_asked(request, self.actor)
        fees = fees_in(self.actor, days)
        items = [seat_out(fee.seat) | {"days": fee.days, "cost": None if fee.amount is None else digits(fee.amount)} for fee in fees.seats]
        total = {"from": days.first, "to": days.until, "currency": self.actor.organization.currency, "cost": digits(fees.total)}
        return Response({**total, "unconverted": fees.unconverted, "items": items})

    @description.seats_give
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.SeatIn)
            plan = scoped(self.actor, SeatPlan.objects.filter(pk=id_check(asked.plan))).first()
            member = scoped(self.actor, Member.objects.filter(user__email=asked.member.strip().lower().replace("\x00", ""))).first()
            if plan is None:
                raise Invalid("There is no such plan.", field="plan")
            if member is None:
                raise Invalid("Nobody here goes by this e-mail.", field="member")
            made = seat_give(actor=self.actor, plan=plan, member=member, valid_from=asked.valid_from, valid_to=asked.valid_to)
            return 201, seat_out(Seat.objects.select_related("plan", "member__user").get(pk=made.pk))

        return self.answer(act)


class SeatEnd(BillingView):
    """POST /api/v1/seats/<id>/end."""

    @description.seat_end
    def post(self, request: Request, seat_id: int) -> Response:
        seat = seats_visible(self.actor).filter(pk=id_check(seat_id)).first()
        if seat is None:
            raise NotFound("There is no such seat.")

        def act() -> tuple[int, Any]:
            return 200, seat_out(seat_end(actor=self.actor, seat=seat, ends_on=body_of(request, description.EndIn).ends_on))

        return self.answer(act)


def plan_seen(actor: Actor, plan_id: int) -> SeatPlan:
    """The organization's plan with its terms. Raises NotFound."""
    plan = plans_of(actor).filter(pk=id_check(plan_id)).first()
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan


def plan_out(plan: SeatPlan) -> dict[str, Any]:
    """A plan as the API shows it."""
    terms = [
        {
            "fee": digits(row.fee), "currency": row.currency, "period": row.period, "anchor": row.anchor, "included_measure": row.included_measure,
            "included_amount": None if row.included_amount is None else digits(row.included_amount), "valid_from": row.valid_from, "valid_to": row.valid_to,
        }
        for row in plan.terms.all()
    ]  # fmt: skip
    return {"id": plan.pk, "name": plan.name, "harness": plan.harness, "provider": plan.provider, "terms": terms}


def seat_out(seat: Seat) -> dict[str, Any]:
    """A seat as the API shows it."""
    return {
        "id": seat.pk, "plan": seat.plan_id, "plan_name": seat.plan.name, "member": seat.member.user.email,
        "valid_from": seat.valid_from, "valid_to": seat.valid_to,
    }  # fmt: skip


def given(change: msgspec.Struct) -> dict[str, Any]:
    """What a change names."""
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}


def id_check(number: int) -> int:
    """The id, or one that nothing has for numbers no id can be."""
    return number if 0 < number < 2**63 else 0


def days_asked(request: Request, actor: Actor) -> Days:
    """The days [from, to) of the query; the running local month by default. Raises Invalid."""
    month = timezone.now().astimezone(actor.organization.zone).date().replace(day=1)
    first = day_of(request, "from", month)
    until = day_of(request, "to", add_months(first.replace(day=1), 1))
    if not first < until <= first + LONGEST:
        raise Invalid("The days end after they begin, at most ten years later.", field="to")
    return Days(first, until)


def day_of(request: Request, name: str, default: date) -> date:
    """The day of a query's parameter. Raises Invalid."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid("Write a day as 2026-11-01.", field=name) from None
    if not 2000 <= day.year <= 2200:
        raise Invalid("This day lies too far away.", field=name)
    return day

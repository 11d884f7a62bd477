"""API edge of budgets themselves: the tree, one budget, making, changing, retiring, looking ahead, and moving what is left."""

from typing import Any, cast

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets import description_budgets as description
from governance.budgets import services
from governance.budgets.answers import budget_detail, budgets_out, period_out, preview_out
from governance.budgets.owners import facts_of
from governance.budgets.previews import change_preview, creation_preview
from governance.budgets.tree import budget_seen, budgets_visible, present_periods
from governance.budgets.views import CommandView, body_of
from governance.errors import DomainError, Invalid
from governance.tenancy.access import Right, require

# What the service calls a field, and what the body does.
API_NAMES = {"limit_amount": "limit", "scope_kind": "scope", "period_kind": "period", "from_period": "to", "to_period": "to"}


class BudgetView(CommandView):
    """Reading takes the scope `read`, all else `admin` and the right to manage budgets."""

    def handle_exception(self, exc: Exception) -> Response:
        """A refusal names the field as the body does."""
        if isinstance(exc, DomainError) and exc.extra.get("field") in API_NAMES:
            exc.extra["field"] = API_NAMES[exc.extra["field"]]
        return super().handle_exception(exc)



def changes_of(change: description.BudgetChange) -> dict[str, Any]:
    """The changes as the service names them."""
    given = {name: getattr(change, name) for name in change.__struct_fields__}
    return {"limit_amount" if name == "limit" else name: value for name, value in given.items() if value is not msgspec.UNSET}


class Budgets(BudgetView):
    """GET and POST /api/v1/budgets."""

    @description.budgets_list
    def get(self, request: Request) -> Response:
        wanted = request.query_params.get("active", "true")
        if wanted not in ("true", "false"):
            raise Invalid("`active` is true or false.", field="active")
        rows = list(budgets_visible(self.actor).filter(is_active=wanted == "true"))
        return Response({"items": budgets_out(self.actor, rows, now=timezone.now())})

    @description.budgets_create
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)

        def act() -> tuple[int, Any]:
            made = services.budget_create(actor=self.actor, **facts_of(self.actor, body_of(request, description.BudgetIn)))
            return 201, budget_detail(self.actor, budget_seen(self.actor, made.pk), now=timezone.now())

        return self.answer(act)


class BudgetsPreview(BudgetView):
    """POST /api/v1/budgets/preview."""

    @description.budgets_preview
    def post(self, request: Request) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        facts = facts_of(self.actor, body_of(request, description.BudgetIn))
        return Response(preview_out(creation_preview(self.actor, facts, now=timezone.now())))


class OneBudget(BudgetView):
    """GET and PATCH /api/v1/budgets/<id>."""

    @description.budget_get
    def get(self, request: Request, budget_id: int) -> Response:
        return Response(budget_detail(self.actor, budget_seen(self.actor, budget_id), now=timezone.now()))

    @description.budget_change
    def patch(self, request: Request, budget_id: int) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        budget = budget_seen(self.actor, budget_id)

        def act() -> tuple[int, Any]:
            services.budget_change(actor=self.actor, budget=budget, **changes_of(body_of(request, description.BudgetChange)))
            return 200, budget_detail(self.actor, budget_seen(self.actor, budget_id), now=timezone.now())

        return self.answer(act)


class BudgetPreview(BudgetView):
    """POST /api/v1/budgets/<id>/preview."""

    @description.budget_preview
    def post(self, request: Request, budget_id: int) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        budget = budget_seen(self.actor, budget_id)
        changes = changes_of(body_of(request, description.BudgetChange))
        return Response(preview_out(change_preview(self.actor, budget, changes, now=timezone.now())))


class BudgetRetire(BudgetView):
    """POST /api/v1/budgets/<id>/retire."""

    @description.budget_retire
    def post(self, request: Request, budget_id: int) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        budget = budget_seen(self.actor, budget_id)

        def act() -> tuple[int, Any]:
            services.budget_retire(actor=self.actor, budget=budget)
            return 200, budget_detail(self.actor, budget_seen(self.actor, budget_id), now=timezone.now())

        return self.answer(act)


class BudgetTransfer(BudgetView):
    """POST /api/v1/budgets/<id>/transfer."""

    @description.budget_transfer
    def post(self, request: Request, budget_id: int) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        source = budget_seen(self.actor, budget_id)

        def act() -> tuple[int, Any]:
            asked = body_of(request, description.TransferIn)
            target = budget_seen(self.actor, asked.to)
            present = present_periods(self.actor, [source, target], now=timezone.now())
            moved = services.budget_transfer(
                actor=self.actor, from_period_id=present[source.pk].pk or 0, to_period_id=present[target.pk].pk or 0, amount=asked.amount, reason=asked.reason
            )
            return 201, cast("dict[str, Any]", plain({"given": period_out(moved.given.period), "received": period_out(moved.received.period)}))

        return self.answer(act)

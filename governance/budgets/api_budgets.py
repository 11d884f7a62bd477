"""API edge of budgets themselves: the tree, one budget, making, changing, retiring, looking ahead, and moving what is left."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.audit.services import plain
from governance.budgets import description_budgets as description
from governance.budgets import services
from governance.budgets.answers import budget_detail, budgets_out, period_out, preview_out
from governance.budgets.commands import HEADER, REPLAYED, answered_once
from governance.budgets.owners import facts_of
from governance.budgets.previews import change_preview, creation_preview
from governance.budgets.tree import budget_seen, budgets_visible, present_periods
from governance.errors import DomainError, Invalid
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.models import Scope

MAX_BODY_BYTES = 64 * 1024
# What the service calls a field, and what the body does.
API_NAMES = {"limit_amount": "limit", "scope_kind": "scope", "period_kind": "period", "from_period": "to", "to_period": "to"}
Body = TypeVar("Body", bound=msgspec.Struct)


class BudgetView(APIView):
    """Reading takes the scope `read`, all else `admin` and the right to manage budgets."""

    @property
    def scope(self) -> str:
        return Scope.READ if self.request.method == "GET" else Scope.ADMIN

    def handle_exception(self, exc: Exception) -> Response:
        """A refusal names the field as the body does."""
        if isinstance(exc, DomainError) and exc.extra.get("field") in API_NAMES:
            exc.extra["field"] = API_NAMES[exc.extra["field"]]
        return super().handle_exception(exc)

    @property
    def actor(self) -> Actor:
        return self.request.user  # type: ignore[return-value]

    def answer(self, act: Callable[[], tuple[int, Any]]) -> Response:
        """The change's answer, or the first one under the same key."""
        request = (f"{self.request.method} {self.request.path}", self.request.body)
        status, answer, is_replayed = answered_once(actor=self.actor, key=self.request.headers.get(HEADER), request=request, act=act)
        return Response(answer, status=status, headers={REPLAYED: "true"} if is_replayed else None)


def body_of(request: Request, shape: type[Body]) -> Body:
    """The body as the struct. Raises Invalid with the field."""
    if len(request.body) > MAX_BODY_BYTES:
        raise Invalid(f"A body has at most {MAX_BODY_BYTES:,} bytes.")
    try:
        return msgspec.json.decode(request.body or b"{}", type=shape)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$.")
        raise Invalid(f"{sentence}.", **({"field": place.rstrip("`")} if place else {})) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("The body is not JSON.") from error


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

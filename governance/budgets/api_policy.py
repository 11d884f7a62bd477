"""API edge of the policy document: GET /api/v1/policy, 304 while nothing has changed."""

from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.budgets.api import actor_of
from governance.budgets.description import StandingFreeze
from governance.budgets.policy import policy_of, policy_version
from governance.tenancy.models import Scope


class PolicyBudget(msgspec.Struct, frozen=True):
    """A budget as gateways go by it."""

    id: int
    name: str
    scope: str
    covers: dict[str, str]
    filters: dict[str, list[Any]]
    period: str
    rolling_hours: int | None
    measure: Literal["money", "tokens", "calls"]
    limit: Decimal
    currency: str
    is_hard: bool
    action: Literal["freeze", "ask", "downgrade", "notify"]
    downgrade_models: list[str]
    fails_open: bool
    counts_notional: bool
    unpriced_call_amount: Decimal | None

    field_notes: ClassVar[dict[str, str]] = {
        "covers": "Whose calls count: a team (with those below), project, member, service account or key by the name usage carries. Empty: everybody's.",
        "filters": "What calls must be besides: label → the values that count. Teams, projects and members are given by id here.",
        "limit": "Without top-ups. How it stands is told with each authorization.",
        "fails_open": "Whether a call that it covers goes on while Weighhouse cannot be reached. Of several budgets one that says no decides.",
        "downgrade_models": "At the limit of a budget with action `downgrade`, the models that go on.",
        "unpriced_call_amount": "Held and charged for a call without a price.",
    }


class Policy(msgspec.Struct, frozen=True):
    """What a gateway keeps."""

    version: str
    organization: str
    budgets: list[PolicyBudget]
    freezes: list[StandingFreeze]
    stream: str

    field_notes: ClassVar[dict[str, str]] = {
        "version": "The same as the ETag. Changes with every change of budgets, of whom they cover, and of wide freezes.",
        "freezes": "Of teams, members, providers, models, keys and everything. Those of sessions and budgets are told with each authorization.",
        "stream": "Where changes are heard of.",
    }


EXAMPLE = {
    "version": "1.17", "organization": "acme",
    "budgets": [{
        "id": 4, "name": "Platform", "scope": "team", "covers": {"team": "platform"}, "filters": {}, "period": "month", "rolling_hours": None,
        "measure": "money", "limit": "5000", "currency": "USD", "is_hard": True, "action": "freeze", "downgrade_models": [], "fails_open": False,
        "counts_notional": False, "unpriced_call_amount": None,
    }],
    "freezes": [{
        "id": 9, "scope": "model", "name": "gpt-5", "cause": "hand", "reason": "leaks prompts", "started_at": "2026-11-21T10:05:00Z", "started_by": "Kim",
        "period": None, "url": "https://weighhouse.example.com/o/acme/freezes",
    }],
    "stream": "https://weighhouse.example.com/api/v1/stream",
}  # fmt: skip


class PolicyDocument(APIView):
    """GET /api/v1/policy."""

    scope = Scope.AUTHORIZE

    @extend_schema(
        operation_id="policy",
        tags=["policy"],
        summary="What a gateway goes by: budgets, switches, and what to do while Weighhouse cannot be reached",
        description=(
            "Keep it, and ask again with `If-None-Match` when the stream tells of a freeze, or once a minute. "
            "docs/budgets.md says what a gateway does with it while Weighhouse cannot be reached."
        ),
        parameters=[OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The `ETag` of the document at hand.")],
        responses={(200, "application/json"): Policy, 304: OpenApiResponse(description="The document at hand is the present one.")},
        examples=[OpenApiExample("A month's budget, and a model that is switched off", value=EXAMPLE, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        actor = actor_of(request)
        version = policy_version(actor)
        # Kept by the gateway alone: keys of members are told less than those of the organization.
        headers = {"ETag": f'"{version}"', "Cache-Control": "private, no-cache"}
        asked = [tag.strip().removeprefix("W/") for tag in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")]
        if f'"{version}"' in asked:
            return Response(status=304, headers=headers)
        return Response({"version": version, **policy_of(actor)}, headers=headers)

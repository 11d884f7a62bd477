"""API edge of budgets: ask for an authorization, give it back, and see how a session stands."""

from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.budgets import services
from governance.budgets.models import Authorization, Session
from governance.budgets.selectors import binding_periods, session_freeze_of
from governance.errors import Invalid, NotFound
from governance.tenancy.access import visible
from governance.tenancy.models import Scope

MAX_BODY_BYTES = 64 * 1024
_decoder = msgspec.json.Decoder(services.AuthorizationIn)


def decoded(request: Request) -> services.AuthorizationIn:
    """The request's body. Raises Invalid with the field that is wrong."""
    body = request._request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise Invalid(f"An authorization is at most {MAX_BODY_BYTES} bytes.")
    try:
        found = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message, _, path = str(error).partition(" - at `$.")
        raise Invalid(message, field=path.rstrip("`")) from error
    if any("\x00" in value for value in msgspec.structs.astuple(found) if isinstance(value, str)):
        raise Invalid("Text must not contain NUL characters.")
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    return msgspec.structs.replace(found, id=key[:200]) if key and found.id is None else found


def authorization_facts(found: Authorization) -> dict[str, Any]:
    """The authorization as answers show it."""
    return {
        "id": found.pk, "state": found.state, "amount": found.amount, "currency": found.currency, "session": found.session_key,
        "created_at": found.created_at, "expires_at": found.expires_at, "settled_cost": found.settled_cost,
    }


class Authorizations(APIView):
    """POST /api/v1/authorizations."""

    scope = Scope.AUTHORIZE

    @extend_schema(
        summary="Ask whether a call may go on, and hold its estimate",
        request=OpenApiTypes.OBJECT,
        responses={
            201: OpenApiResponse(OpenApiTypes.OBJECT, "held against every budget that applies; `left` is what the tightest has left"),
            402: OpenApiResponse(OpenApiTypes.OBJECT, "a budget or a freeze stands against it; says which, by how much, and who can grant more"),
        },
        examples=[OpenApiExample("estimate by tokens", request_only=True, value={
            "session": "s-7f31", "team": "platform", "provider": "anthropic", "model": "claude-sonnet-4-5",
            "input_tokens": 12000, "max_output_tokens": 4000, "ttl_seconds": 300,
        })],
    )
    def post(self, request: Request) -> Response:
        held = services.authorization_hold(actor=request.user, api_key=request.auth, request=decoded(request))
        return Response(authorization_facts(held.authorization) | {"left": held.left}, status=201 if held.is_new else 200)


class OneAuthorization(APIView):
    """GET and DELETE /api/v1/authorizations/<id>."""

    scope = Scope.AUTHORIZE

    @extend_schema(summary="See an authorization", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, authorization_id: UUID) -> Response:
        found = Authorization.objects.filter(organization=request.user.organization, pk=authorization_id).first()
        if found is None:
            raise NotFound("There is no such authorization here.")
        return Response(authorization_facts(found))

    @extend_schema(summary="Give a hold back because the call is not made", responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, authorization_id: UUID) -> Response:
        return Response(authorization_facts(services.authorization_void(actor=request.user, authorization_id=authorization_id)))


class OneSession(APIView):
    """GET /api/v1/sessions/<key>."""

    scope = Scope.READ

    @extend_schema(summary="How a session stands: its totals, whether it is frozen, and its budgets", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, key: str) -> Response:
        session = visible(request.user, Session.objects.filter(Q(key=key))).first()
        if session is None:
            raise NotFound("There is no such session here.")
        freeze = session_freeze_of(request.user, key)
        periods = binding_periods(request.user, key)
        is_blocked = any(period.refused_at is not None for period in periods if period.session_key)
        return Response({
            "session": session.key, "state": "frozen" if freeze else "blocked" if is_blocked else "running",
            "freeze": freeze and {"cause": freeze.cause, "reason": freeze.reason, "started_at": freeze.started_at, "period": freeze.period_id},
            "calls": session.calls, "errors": session.errors, "unpriced_calls": session.unpriced_calls, "tokens": session.tokens,
            "cost": session.cost, "notional_cost": session.notional_cost, "currency": request.user.organization.currency,
            "first_at": session.first_at, "last_at": session.last_at,
            "budgets": [_period_facts(period) for period in periods],
            "url": f"{settings.PUBLIC_URL}/o/{request.user.organization.slug}/sessions/{session.key}",
        })


def _period_facts(period: Any) -> dict[str, Any]:
    return {
        "id": period.budget_id, "name": period.budget.name, "scope": period.budget.scope_kind, "period": period.pk, "is_hard": period.is_hard,
        "starts_at": period.starts_at, "ends_at": period.ends_at, "limit": period.limit_amount, "topup": period.topup, "spent": period.spent,
        "held": period.held, "left": period.left, "frozen_at": period.frozen_at,
    }

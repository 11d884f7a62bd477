"""API edge of authorizations beyond the single one: extensions and batches."""

from typing import Any
from uuid import UUID

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.budgets import description, services
from governance.budgets.api import MAX_BODY_BYTES, actor_of, api_key_of, body_of, decoded_as, granted_facts, with_idempotency_key
from governance.tenancy.models import Scope

_extensions = msgspec.json.Decoder(services.ExtensionIn)


class ExtendAuthorization(APIView):
    """POST /api/v1/authorizations/<id>/extend."""

    scope = Scope.AUTHORIZE

    @description.authorization_extend_post
    def post(self, request: Request, authorization_id: UUID) -> Response:
        asked = with_idempotency_key(decoded_as(_extensions, body_of(request, MAX_BODY_BYTES)), request.META.get("HTTP_IDEMPOTENCY_KEY"))
        held = services.authorization_extend(actor=actor_of(request), api_key=api_key_of(request), authorization_id=authorization_id, request=asked)
        facts: dict[str, Any] = granted_facts(held)
        return Response({name: value for name, value in facts.items() if name not in ("priced", "bound_by", "notice")})

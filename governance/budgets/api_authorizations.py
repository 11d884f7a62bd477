"""API edge of authorizations beyond the single one: extensions and batches."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.audit.services import plain
from governance.budgets import description, services
from governance.budgets.api import (
    MAX_BODY_BYTES,
    actor_of,
    api_key_of,
    authorization_in,
    body_of,
    decoded_as,
    granted_facts,
    with_idempotency_key,
)
from governance.errors import DomainError, Invalid
from governance.tenancy.models import Scope
from governance.tenancy.problems import document
from governance.tenancy.views import ProgramView

MAX_BATCH_BYTES = 4 * 1024 * 1024
LARGEST_BATCH = 1000
# What leaves room for the place of every entry behind it.
LONGEST_BATCH_KEY = 196


class BatchIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several authorizations, each still to be read."""

    authorizations: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=LARGEST_BATCH)]


_batches = msgspec.json.Decoder(BatchIn)
_extensions = msgspec.json.Decoder(services.ExtensionIn)


class BatchOfAuthorizations(ProgramView):
    """POST /api/v1/authorizations/batch."""

    scope = Scope.AUTHORIZE

    @description.authorizations_batch_post
    def post(self, request: Request) -> Response:
        batch = decoded_as(_batches, body_of(request, MAX_BATCH_BYTES))
        asked = [_read(bytes(one)) for one in batch.authorizations]
        if key := request.META.get("HTTP_IDEMPOTENCY_KEY"):
            if len(key) > LONGEST_BATCH_KEY:
                raise Invalid(f"An Idempotency-Key of a batch has at most {LONGEST_BATCH_KEY} characters: each entry's place is added to it.", field="Idempotency-Key")
            asked = [_under(one, f"{key}/{place}") for place, one in enumerate(asked)]
        verdicts = services.authorizations_hold(actor=actor_of(request), api_key=api_key_of(request), requests=asked, now=timezone.now())
        return Response({"authorizations": [_answer(verdict) for verdict in verdicts]})


def _read(body: bytes) -> services.AuthorizationIn | DomainError:
    try:
        return authorization_in(body)
    except DomainError as error:
        return error


def _under(asked: services.AuthorizationIn | DomainError, key: str) -> services.AuthorizationIn | DomainError:
    """The entry under its place in the batch's key, unless it has an id of its own."""
    if isinstance(asked, DomainError) or asked.id is not None:
        return asked
    try:
        return with_idempotency_key(asked, key)
    except DomainError as error:
        return error


def _answer(verdict: services.Held | DomainError) -> dict[str, Any]:
    """The body that the single request would have got, with its status."""
    if isinstance(verdict, DomainError):
        problem: dict[str, Any] = document(verdict.status, verdict.code, verdict.title, verdict.detail) | plain(verdict.extra)
        return problem
    return {"status": 201 if verdict.is_new else 200} | granted_facts(verdict)


class ExtendAuthorization(ProgramView):
    """POST /api/v1/authorizations/<id>/extend."""

    scope = Scope.AUTHORIZE

    @description.authorization_extend_post
    def post(self, request: Request, authorization_id: UUID) -> Response:
        asked = with_idempotency_key(decoded_as(_extensions, body_of(request, MAX_BODY_BYTES)), request.META.get("HTTP_IDEMPOTENCY_KEY"))
        held = services.authorization_extend(actor=actor_of(request), api_key=api_key_of(request), authorization_id=authorization_id, request=asked)
        facts: dict[str, Any] = granted_facts(held)
        return Response({name: value for name, value in facts.items() if name not in ("priced", "bound_by", "notice")})

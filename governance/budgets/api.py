"""API edge of budgets: ask for an authorization, give it back, and see how a session stands."""

from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.budgets import description, services
from governance.budgets.answers import refused_out
from governance.budgets.models import Authorization, Session
from governance.budgets.refused import refused_of_session
from governance.budgets.selectors import authorization_of, binding_periods, lease_remaining, session_freeze_of
from governance.budgets.services.refusals import freeze_facts
from governance.errors import DomainError, Invalid, NotFound
from governance.money import digits, written
from governance.notices.links import session_link
from governance.tenancy.access import Actor, visible
from governance.tenancy.authentication import KeyMoved, RememberedKeyAuthentication, confirmed, unconfirmed_of
from governance.tenancy.models import ApiKey, Scope
from governance.tenancy.rendering import json_answer
from governance.tenancy.views import ProgramView

MAX_BODY_BYTES = 64 * 1024
LONGEST_KEY = 200
Asked = TypeVar("Asked", bound=msgspec.Struct)
Keyed = TypeVar("Keyed", services.AuthorizationIn, services.ExtensionIn)
_decoder = msgspec.json.Decoder(services.AuthorizationIn)


def decoded(request: Request) -> services.AuthorizationIn:
    """The request's body. Raises Invalid with the field that is wrong."""
    found = authorization_in(body_of(request, MAX_BODY_BYTES))
    return with_idempotency_key(found, request.META.get("HTTP_IDEMPOTENCY_KEY"))


def body_of(request: Request, most: int) -> bytes:
    """The body's bytes. Raises Invalid when there are more than `most`."""
    body = request._request.read(most + 1)
    if len(body) > most:
        raise Invalid(f"This takes at most {most:,} bytes.")
    return body


def decoded_as(decoder: msgspec.json.Decoder[Asked], body: bytes) -> Asked:
    """What the decoder makes of a body. Raises Invalid with the field that is wrong."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message, _, path = str(error).partition(" - at `$.")
        raise Invalid(message, field=path.rstrip("`")) from error


def authorization_in(body: bytes) -> services.AuthorizationIn:
    """One authorization that is asked for. Raises Invalid with the field that is wrong."""
    found = decoded_as(_decoder, body)
    texts = [value for value in msgspec.structs.astuple(found) if isinstance(value, str)] + [word for pair in (found.tags or {}).items() for word in pair]
    if any("\x00" in text for text in texts):
        raise Invalid("Text must not contain NUL characters.")
    return found


def with_idempotency_key(found: Keyed, key: str | None) -> Keyed:
    """The request under its key: the body's `id`, else the header. Raises Invalid when the two differ."""
    if found.id is not None and "\0" in found.id:
        raise Invalid("Text must not contain NUL characters.", field="id")
    if key is None:
        return found
    if not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Invalid(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable characters.", field="Idempotency-Key")
    if found.id is not None and found.id != key:
        raise Invalid("`id` and Idempotency-Key name different keys; send one of them.", field="Idempotency-Key")
    return msgspec.structs.replace(found, id=key)


def actor_of(request: Request) -> Actor:
    """Who asks: authentication by key puts the actor where DRF has its user."""
    actor = request.user
    if not isinstance(actor, Actor):
        raise TypeError("this view is reached with an API key only")
    return actor


def api_key_of(request: Request) -> ApiKey:
    """The key the request came with."""
    if not isinstance(request.auth, ApiKey):
        raise TypeError("this view is reached with an API key only")
    return request.auth


def _digits(amount: Decimal | None) -> str | None:
    return None if amount is None else digits(amount)


def authorization_facts(found: Authorization) -> dict[str, Any]:
    """The authorization as answers show it."""
    return {
        "id": found.pk, "state": found.state, "amount": digits(found.amount), "currency": found.currency, "session": found.session_key,
        "created_at": found.created_at, "expires_at": found.expires_at, "reported_cost": _digits(found.reported_cost),
        "settled_cost": _digits(found.settled_cost), "lease": found.is_lease, "remaining": _digits(lease_remaining(found)),
    }


def granted_facts(held: services.Held) -> dict[str, Any]:
    """The answer to a call that may go on."""
    facts = authorization_facts(held.authorization) | {"left": _digits(held.left), "priced": held.is_priced, "bound_by": held.bound_by}
    if held.bound_by is not None and held.tokens is not None:
        facts["tokens"] = held.tokens
    return facts | ({} if held.is_priced else {"notice": _unpriced_notice(held)})


def _unpriced_notice(held: services.Held) -> str:
    """Why an authorization that names no amount holds what it does."""
    amount = held.authorization.amount
    what = f"The budgets' placeholder of {written(amount)} {held.authorization.currency} is held" if amount else "Nothing is held"
    return f"Not priced: {what}. Send `amount`, or a model that the price book knows with its tokens."


class Authorizations(ProgramView):
    """POST /api/v1/authorizations."""

    scope = Scope.AUTHORIZE
    authentication_classes = (RememberedKeyAuthentication,)

    @description.authorization_post
    def post(self, request: Request) -> HttpResponse:
        held = self.held(request)
        return json_answer(granted_facts(held), status=201 if held.is_new else 200)

    def held(self, request: Request) -> services.Held:
        """What is held; a key that was only remembered is asked for by the statement that holds, or before anything else is told."""
        unconfirmed, hold = unconfirmed_of(request), services.authorization_hold_queued
        try:
            asked = decoded(request)
            if unconfirmed is not None:
                with suppress(KeyMoved):
                    return hold(actor=actor_of(request), api_key=api_key_of(request), request=asked, unconfirmed=unconfirmed)
        except DomainError:
            confirmed(request)
            raise
        confirmed(request)
        return hold(actor=actor_of(request), api_key=api_key_of(request), request=asked)


class OneAuthorization(ProgramView):
    """GET and DELETE /api/v1/authorizations/<id>."""

    scope = Scope.AUTHORIZE

    @description.authorization_get
    def get(self, request: Request, authorization_id: UUID) -> Response:
        return Response(authorization_facts(authorization_of(actor_of(request), authorization_id)))

    @description.authorization_delete
    def delete(self, request: Request, authorization_id: UUID) -> Response:
        return Response(authorization_facts(services.authorization_void(actor=actor_of(request), authorization_id=authorization_id)))


class OneSession(ProgramView):
    """GET /api/v1/sessions/<key>."""

    scope = Scope.READ

    @description.session_get
    def get(self, request: Request, key: str) -> Response:
        actor = actor_of(request)
        session = visible(actor, Session.objects.filter(Q(key=key))).first()
        if session is None:
            raise NotFound("There is no such session here.")
        freeze = session_freeze_of(actor, key)
        periods = binding_periods(actor, key)
        is_blocked = any(period.refused_at is not None for period in periods if period.session_key)
        return Response({
            "session": session.key, "state": "frozen" if freeze else "blocked" if is_blocked else session.stands_at(timezone.now()),
            "freeze": freeze and freeze_facts(actor, freeze),
            "calls": session.calls, "errors": session.errors, "unpriced_calls": session.unpriced_calls, "tokens": session.tokens,
            "cost": digits(session.cost), "notional_cost": digits(session.notional_cost), "currency": actor.organization.currency,
            "first_at": session.first_at, "last_at": session.last_at,
            **refused_out(refused_of_session(actor, key)),
            "budgets": [_period_facts(period) for period in periods],
            "url": session_link(actor.organization.slug, session.key),
        })


def _period_facts(period: Any) -> dict[str, Any]:
    return {
        "id": period.budget_id, "name": period.budget.name, "scope": period.budget.scope_kind, "period": period.pk, "is_hard": period.is_hard,
        "starts_at": period.starts_at, "ends_at": period.ends_at, "limit": digits(period.limit_amount), "topup": digits(period.topup),
        "spent": digits(period.spent), "held": digits(period.held), "left": digits(period.left), "frozen_at": period.frozen_at,
    }

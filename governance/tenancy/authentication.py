"""API authentication by bearer key, and the scope each view asks for."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from governance.tenancy import access, keys
from governance.tenancy.models import ApiKey

USE_RESOLUTION = timedelta(minutes=1)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer wh_…` → request.user is the Actor, request.auth the ApiKey."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise AuthenticationFailed("Send the API key as 'Authorization: Bearer <key>'.", code="key_malformed")
        key = key_for(secret.strip())
        return access.key_actor(key, request.META.get("REMOTE_ADDR")), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="weighhouse"'


def key_for(secret: str) -> ApiKey:
    """The live key with this secret. Raises AuthenticationFailed (401) for unknown, revoked and expired keys."""
    key = (
        ApiKey.objects.select_related("organization", "member__user", "member__organization", "service_account")
        .filter(secret_hash=keys.secret_hash(secret))
        .first()
    )
    if key is None:
        raise AuthenticationFailed("This API key is not known.", code="key_unknown")
    if key.revoked_at is not None:
        raise AuthenticationFailed("This API key was revoked.", code="key_revoked")
    now = timezone.now()
    if key.expires_at is not None and key.expires_at <= now:
        raise AuthenticationFailed("This API key has expired.", code="key_expired")
    if (key.member is not None and not key.member.is_active) or (key.service_account is not None and not key.service_account.is_active):
        raise AuthenticationFailed("The holder of this API key is no longer active.", code="key_holder_inactive")
    if key.last_used_at is None or now - key.last_used_at > USE_RESOLUTION:
        note_use(key.pk)
    return key


def note_use(key_id: int) -> None:
    """Notes that the key was used just now; gives way to whoever else is noting it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE api_key SET last_used_at = now() WHERE id = (SELECT id FROM api_key WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)", [key_id]
        )


class HasScope(BasePermission):
    """The key has the scope the view names in `scope`. A view without one is refused."""

    message = "This API key lacks the scope that this needs."

    def has_permission(self, request: Request, view: Any) -> bool:
        needed = getattr(view, "scope", None)
        return needed is not None and request.auth is not None and needed in request.auth.scopes

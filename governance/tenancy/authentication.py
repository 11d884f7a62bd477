"""API authentication by bearer key, and the scope each view asks for."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from governance import sql
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
    key = _key_with(keys.secret_hash(secret))
    if key is None:
        raise AuthenticationFailed("This API key is not known.", code="key_unknown")
    if key.revoked_at is not None:
        raise AuthenticationFailed("This API key was revoked.", code="key_revoked")
    now = timezone.now()
    if key.expires_at is not None and key.expires_at <= now:
        raise AuthenticationFailed("This API key has expired.", code="key_expired")
    if (key.member is not None and not (key.member.is_active and key.member.user.is_active)) or (key.service_account is not None and not key.service_account.is_active):
        raise AuthenticationFailed("The holder of this API key is no longer active.", code="key_holder_inactive")
    if key.last_used_at is None or now - key.last_used_at > USE_RESOLUTION:
        note_use(key.pk)
    return key


# Which version of its row each part of a key is: xmin and ctid together are never the same for two versions of a row.
STAMP = """
SELECT k.id, concat_ws(' ', k.xmin, k.ctid, o.xmin, o.ctid, m.xmin, m.ctid, u.xmin, u.ctid, s.xmin, s.ctid) AS stamp
FROM api_key k JOIN organization o ON o.id = k.organization_id
LEFT JOIN member m ON m.id = k.member_id LEFT JOIN user_account u ON u.id = m.user_id LEFT JOIN service_account s ON s.id = k.service_account_id
WHERE k.secret_hash = %s
"""
REMEMBERED_KEYS = 10_000
_remembered: dict[str, tuple[str, ApiKey]] = {}


def _key_with(secret_hash: str) -> ApiKey | None:
    """The key with its holder, from memory as long as none of their rows has changed: the database is asked each time, for little."""
    found = sql.rows(STAMP, [secret_hash])
    if not found:
        return None
    remembered = _remembered.get(secret_hash)
    if remembered is not None and remembered[0] == found[0].stamp:
        return remembered[1]
    key = ApiKey.objects.select_related("organization", "member__user", "member__organization", "service_account").filter(pk=found[0].id).first()
    if key is not None:
        if len(_remembered) >= REMEMBERED_KEYS:
            _remembered.clear()
        _remembered[secret_hash] = found[0].stamp, key
    return key


def note_use(key_id: int) -> None:
    """Notes that the key was used just now; gives way to whoever else is noting it."""
    sql.execute("UPDATE api_key SET last_used_at = now() WHERE id = (SELECT id FROM api_key WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)", [key_id])


class HasScope(BasePermission):
    """The key has the scope the view names in `scope`. A view without one is refused."""

    message = "This API key lacks the scope that this needs."

    def has_permission(self, request: Request, view: Any) -> bool:
        needed = getattr(view, "scope", None)
        return needed is not None and isinstance(request.auth, ApiKey) and needed in request.auth.scopes

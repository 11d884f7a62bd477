"""API authentication by bearer key, and the scope each view asks for."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from governance import sql
from governance.tenancy import access, keys
from governance.tenancy.models import ApiKey

USE_RESOLUTION_S = 60.0
NOTE_USE = """
INSERT INTO api_key_use AS noted (api_key_id, organization_id, last_used_at)
SELECT id, organization_id, now() FROM api_key WHERE id = %(key)s AND revoked_at IS NULL
ON CONFLICT (api_key_id) DO UPDATE SET last_used_at = excluded.last_used_at WHERE noted.last_used_at < excluded.last_used_at
"""


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer wh_…` → request.user is the Actor, request.auth the ApiKey."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        secret = bearer_secret(request)
        return None if secret is None else acting(key_for(secret), request)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="weighhouse"'


class RememberedKeyAuthentication(ApiKeyAuthentication):
    """For a view that has its own transaction ask whether the key still stands: takes a key as it was remembered.

    `unconfirmed` is what has to be asked then, None for a key that was looked up just now. Nothing may be told or
    written before, but `confirmed` has answered or the question was.
    """

    unconfirmed: "Remembered | None" = None

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        secret = self.secret_of(request)
        if secret is None:
            return None
        if self.remembers(request):
            self.unconfirmed = remembered_for(secret, scope=getattr(request.parser_context["view"], "scope", None))
        return acting(key_for(secret) if self.unconfirmed is None else self.unconfirmed.key, request)

    def secret_of(self, request: Request) -> str | None:
        """The key that was sent; None without one."""
        return bearer_secret(request)

    def remembers(self, request: Request) -> bool:
        """Whether the view asks itself about a key that was only remembered."""
        return request.method == "POST"


def bearer_secret(request: Request) -> str | None:
    """The key that was sent; None without one. Raises AuthenticationFailed for a header that holds none."""
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if not header:
        return None
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise AuthenticationFailed("Send the API key as 'Authorization: Bearer <key>'.", code="key_malformed")
    return str(secret.strip())


def acting(key: ApiKey, request: Request) -> tuple[access.Actor, ApiKey]:
    return access.key_actor(key, request.META.get("REMOTE_ADDR")), key


def confirmed(request: Request) -> None:
    """Looks up the key of a request that was let in as remembered.

    Raises AuthenticationFailed when the key does not stand any more, PermissionDenied when it has lost the view's scope.
    """
    found = request.successful_authenticator
    if isinstance(found, RememberedKeyAuthentication) and found.unconfirmed is not None:
        found.unconfirmed = None
        request.user, request.auth = acting(key_for(found.secret_of(request) or ""), request)  # type: ignore[assignment]
        request.parser_context["view"].check_permissions(request)


def unconfirmed_of(request: Request) -> "Remembered | None":
    """What has still to be asked of the request's key, by whoever writes for it."""
    found = request.successful_authenticator
    return found.unconfirmed if isinstance(found, RememberedKeyAuthentication) else None


def key_for(secret: str) -> ApiKey:
    """The live key with this secret. Raises AuthenticationFailed (401) for unknown, revoked and expired keys."""
    key = _key_with(keys.secret_hash(secret))
    if key is None:
        raise AuthenticationFailed("This API key is not known.", code="key_unknown")
    _check(key, timezone.now())
    _note_use(key)
    return key


def remembered_for(secret: str, *, scope: str | None) -> "Remembered | None":
    """The key from memory without asking the database, where it was live and had the scope; None where it has to be looked up."""
    found = _remembered.get(keys.secret_hash(secret))
    if found is None or scope not in found.key.scopes:
        return None
    try:
        _check(found.key, timezone.now())
    except AuthenticationFailed:
        return None
    _note_use(found.key)
    return found


def _check(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None:
        raise AuthenticationFailed("This API key was revoked.", code="key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise AuthenticationFailed("This API key has expired.", code="key_expired")
    is_held = key.member is None or (key.member.is_active and key.member.user.is_active)
    if not is_held or (key.service_account is not None and not key.service_account.is_active):
        raise AuthenticationFailed("The holder of this API key is no longer active.", code="key_holder_inactive")


# When this process noted that each key was used, by the monotonic clock.
_noted: dict[int, float] = {}


def _note_use(key: ApiKey) -> None:
    """Notes once in a while that the key was used just now, if it was not revoked meanwhile."""
    now = time.monotonic()
    if now - _noted.get(key.pk, -math.inf) < USE_RESOLUTION_S:
        return
    sql.execute(NOTE_USE, {"key": key.pk})
    # A try that is taken back takes its note with it.
    transaction.on_commit(lambda: _noted.__setitem__(key.pk, now))


class RowVersion(NamedTuple):
    """One version of a row: where it lies, and which transaction made it."""

    table: str
    id: int
    ctid: str
    xmin: str


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """A key as it was when its rows had this stamp."""

    secret_hash: str
    stamp: str
    key: ApiKey
    # The versions of the rows that it was read from: the key's own first.
    rows: tuple[RowVersion, ...] = ()


class KeyMoved(Exception):
    """The key, its holder or its organization changed since the key was remembered: it has to be looked up."""


# Which version of its row each part of a key is: xmin and ctid together are never the same for two versions of a row.
VERSIONS = "concat_ws(' ', k.xmin, k.ctid, o.xmin, o.ctid, m.xmin, m.ctid, u.xmin, u.ctid, s.xmin, s.ctid)"
KEYS = """api_key k JOIN organization o ON o.id = k.organization_id
LEFT JOIN member m ON m.id = k.member_id LEFT JOIN user_account u ON u.id = m.user_id LEFT JOIN service_account s ON s.id = k.service_account_id"""
STAMP = f"SELECT k.id, {VERSIONS} AS stamp FROM {KEYS} WHERE k.secret_hash = %(secret_hash)s"  # noqa: S608 - built from constants
# Whether none of the keys of `remembered_parameters` has changed: a condition for the statement that writes for them.
UNMOVED = f"""NOT EXISTS (
    SELECT FROM unnest(%(key_hash)s::text[], %(key_stamp)s::text[]) AS remembered (secret_hash, stamp)
    WHERE NOT EXISTS (SELECT FROM {KEYS} WHERE k.secret_hash = remembered.secret_hash AND {VERSIONS} = remembered.stamp)
)"""  # noqa: S608 - built from constants
REMEMBERED_KEYS = 10_000


def remembered_parameters(keys: Iterable["Remembered | None"]) -> dict[str, list[str]]:
    """What UNMOVED is told: the keys that are still to be asked for."""
    pending = {key.secret_hash: key.stamp for key in keys if key is not None}
    return {"key_hash": list(pending), "key_stamp": list(pending.values())}


_remembered: dict[str, Remembered] = {}


def _key_with(secret_hash: str) -> ApiKey | None:
    """The key with its holder, from memory as long as none of their rows has changed: the database is asked each time, for little."""
    found = sql.rows(STAMP, {"secret_hash": secret_hash})
    if not found:
        return None
    remembered = _remembered.get(secret_hash)
    if remembered is not None and remembered.stamp == found[0].stamp:
        return remembered.key
    key = ApiKey.objects.select_related("organization", "member__user", "member__organization", "service_account").filter(pk=found[0].id).first()
    if key is not None:
        if len(_remembered) >= REMEMBERED_KEYS:
            _remembered.clear()
        if rows := _rows_of(key, found[0].stamp):
            _remembered[secret_hash] = Remembered(secret_hash, found[0].stamp, key, rows)
    return key


def _rows_of(key: ApiKey, stamp: str) -> tuple[RowVersion, ...]:
    """The row versions that the stamp lists. None where the key has come to consist of other rows meanwhile."""
    ids: dict[str, int | None] = {"api_key": key.pk, "organization": key.organization_id}
    if key.member is not None:
        ids |= {"member": key.member_id, "user_account": key.member.user_id}
    ids["service_account"] = key.service_account_id
    there = [(table, number) for table, number in ids.items() if number is not None]
    words = stamp.split()
    if len(words) != 2 * len(there):
        return ()
    return tuple(RowVersion(table, number, ctid, xmin) for (table, number), xmin, ctid in zip(there, words[::2], words[1::2], strict=True))


class HasScope(BasePermission):
    """The key has the scope the view names in `scope`. A view without one is refused."""

    message = "This API key lacks the scope that this needs."

    def has_permission(self, request: Request, view: Any) -> bool:
        needed = getattr(view, "scope", None)
        return needed is not None and isinstance(request.auth, ApiKey) and needed in request.auth.scopes

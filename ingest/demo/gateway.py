"""The simulated gateway's REST side: it asks before a call, reports it afterwards, and holds a key of its own."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import stamina

from governance.budgets.services import key_revoke
from governance.errors import Conflict, DomainError
from governance.tenancy import keys
from governance.tenancy import services as tenancy
from governance.tenancy.access import system_actor
from governance.tenancy.models import ApiKey, Organization, Scope, ServiceAccount
from ingest.demo.organization import private_write
from ingest.formats.event import UsageEvent

KEY_NAME = "Demo gateway"
KEY_FILE = "demo-gateway-key"
HTTP_TIMEOUT_S = 10.0
# What no repetition changes: the key is refused, or no Weighhouse answers there.
UNWELCOME = (401, 403, 404, 405)
NAMED = ("session", "team", "project", "member", "provider", "model", "harness", "gateway", "role")


class Unwelcome(DomainError):
    """The server does not take this gateway, now or later."""

    code = "gateway_unwelcome"


class Away(Exception):
    """The server did not answer, or could not; the same request may be sent again."""


class Gateway:
    """Asks and reports, and tells being refused from the server being away."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def ask(self, event: UsageEvent, *, request_id: str, amount: str | None) -> UUID | None:
        """The authorization's id, or None when a budget stands against the call (402). Raises Away, Unwelcome and Conflict.

        Without an amount (USD, as text) the server estimates what to hold from the model and the tokens.
        """
        body: dict[str, object] = {"id": request_id, "ttl_seconds": 120, "max_output_tokens": event.output_tokens or 0}
        body |= {name: value for name in NAMED if (value := getattr(event, name))}
        if amount is None:
            body |= {"input_tokens": event.input_tokens or 0, "cache_read_tokens": event.cache_read_tokens or 0}
        else:
            body["amount"] = amount
        status, answer = self._post("/api/v1/authorizations", body)
        if status == httpx.codes.PAYMENT_REQUIRED:
            return None
        return UUID(answer["id"])

    def report(self, event: UsageEvent) -> str:
        """Posts the event; what the server says became of it: accepted, or duplicate when it had arrived before."""
        _, answer = self._post("/api/v1/events", msgspec.to_builtins(event))
        return str(answer["results"][0]["status"])

    @stamina.retry(on=Away, attempts=4, timeout=8.0, wait_initial=0.2, wait_max=2.0)
    def _post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """The status (201, 200 or 402) and the answer's JSON."""
        try:
            answer = self.client.post(path, json=body)
        except httpx.TransportError as error:
            raise Away(str(error) or type(error).__name__) from error
        status = answer.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise Away(f"HTTP {status}")
        if status in UNWELCOME:
            raise Unwelcome(f"{answer.url} answered {status}: {answer.text[:200]}")
        if answer.is_client_error and status != httpx.codes.PAYMENT_REQUIRED:
            raise Conflict(f"{path} answered {status}: {answer.text[:300]}")
        try:
            return status, answer.json()
        except ValueError:
            raise Unwelcome(f"{answer.url} answered {status} without JSON: this is no Weighhouse.") from None


def gateway_secret(organization: Organization, folder: Path) -> str:
    """The secret of the gateway's key: the one kept in the folder while its key lives, else a new key's; the old one is revoked."""
    path = folder / KEY_FILE
    live = ApiKey.objects.filter(organization=organization, name=KEY_NAME, revoked_at=None).first()
    if live is not None and path.is_file():
        secret = path.read_text().strip()
        if keys.secret_hash(secret) == live.secret_hash:
            return secret
    actor = system_actor(organization)
    if live is not None:
        key_revoke(actor=actor, key=live)
    account = ServiceAccount.objects.filter(organization=organization, name=KEY_NAME).first()
    account = account or tenancy.service_account_create(actor=actor, name=KEY_NAME)
    _, secret = tenancy.api_key_create(actor=actor, name=KEY_NAME, scopes=[Scope.INGEST, Scope.AUTHORIZE], service_account=account)
    private_write(path, secret)
    return secret

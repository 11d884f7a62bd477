"""Programs' addresses are served without sessions and cookies, and with the protections that concern them."""

import gc
import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from governance.budgets.services import budget_create
from governance.conf.machines import PREFIXES, MachineHandler
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from tests.conftest import KeyInHand

pytestmark = pytest.mark.django_db
EVENT = b'{"occurred_at": "2026-11-20T10:00:00Z", "model": "gpt-5", "provider": "openai", "id": "%s"}'


def asked(
    path: str, *, method: str = "POST", body: bytes = b"", secret: str = "", host: str = "localhost", handler: MachineHandler | None = None
) -> tuple[int, dict[str, str], bytes]:
    """What the handler answers: status, headers, body."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": host,
        "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
    }
    if secret:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    found: list[Any] = []

    def begin(status: str, headers: list[tuple[str, str]], error: object = None, /) -> Callable[[bytes], object]:
        found.extend((status, headers))
        return lambda _: None

    answer = (handler or MachineHandler())(environ, begin)
    return int(found[0][:3]), dict(found[1]), b"".join(answer)


def test_event_is_taken(api_key: KeyInHand) -> None:
    status, headers, body = asked("/api/v1/events", body=EVENT % b"a", secret=api_key.secret)
    assert (status, headers["Content-Length"]) == (201, str(len(body)))
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("path", "body", "answered"),
    [
        ("/api/v1/events", EVENT % b"c%d", 201),
        ("/api/v1/events", b'{"id": "c%d", "model": "gpt-5", "occurred_at": "then"}', 422),
        ("/api/v1/authorizations", b'{"id": "c%d", "model": "gpt-5", "amount": "0.01", "session": "s"}', 201),
        ("/api/v1/authorizations", b'{"id": "c%d", "model": "gpt-5", "amount": "10", "session": "s"}', 402),
        ("/api/v1/check", b"", 200),
    ],
)
def test_calls_leave_no_garbage(admin: Member, api_key: KeyInHand, path: str, body: bytes, answered: int) -> None:
    """What lies in circles stays until all requests stop for it to be looked for."""
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    handler = MachineHandler()

    def call(number: int) -> None:
        method = "POST" if body else "GET"
        assert asked(path, method=method, body=body.replace(b"%d", b"%d" % number), secret=api_key.secret, handler=handler)[0] == answered

    for number in range(3):
        call(number)
    gc.collect()
    gc.disable()
    try:
        for number in range(3, 13):
            call(number)
        # Three of each refusal are the ORM's own, which looks up who can approve.
        assert gc.collect() < 40
    finally:
        gc.enable()


def test_without_a_key_nothing_is_taken() -> None:
    status, headers, _ = asked("/api/v1/events", body=EVENT % b"b")
    assert (status, headers["Content-Type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_unknown_address_is_a_problem_document(prefix: str) -> None:
    status, headers, body = asked(f"{prefix}nothing-here", method="GET")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert b'"not_found"' in body


@override_settings(ALLOWED_HOSTS=["weighhouse.example"])
def test_foreign_host_is_refused(api_key: KeyInHand) -> None:
    assert asked("/api/v1/events", body=EVENT % b"c", secret=api_key.secret, host="evil.example")[0] == 400


@override_settings(SECURE_SSL_REDIRECT=True)
def test_plain_http_is_sent_to_tls_where_that_is_asked_for(api_key: KeyInHand) -> None:
    assert asked("/api/v1/events", body=EVENT % b"d", secret=api_key.secret)[0] == 301

"""Whose address a request carries: the proxy's word counts only where the operator says that there is a proxy."""

from typing import Any

import pytest

from governance.conf import wsgi

FORWARDED = "203.0.113.9, 198.51.100.7"


def address_seen(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(wsgi, "django", lambda environ, start_response: [environ["REMOTE_ADDR"].encode()])
    environ = {"PATH_INFO": "/", "REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": FORWARDED}
    return b"".join(wsgi.application(environ, lambda *_: None)).decode()


def test_proxy_names_the_client(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.BEHIND_PROXY = True
    assert address_seen(monkeypatch) == "198.51.100.7"


def test_without_a_proxy_the_header_is_anybodys_claim(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.BEHIND_PROXY = False
    assert address_seen(monkeypatch) == "127.0.0.1"

"""A server that takes webhooks, and channels that lead to it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from governance.notices.endpoints import Made, endpoint_create
from governance.notices.models import Signal
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from tests.governance.notices.hook_server import HookServer, taking

Makes = Callable[..., Made]


@pytest.fixture
def hooks(settings: Settings) -> Iterator[HookServer]:
    """The server, which the operator's setting allows to be here."""
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    with taking() as server:
        yield server


@pytest.fixture
def channel(admin: Member, hooks: HookServer) -> Makes:
    """Makes channels that lead to the server."""

    def make(kind: str = "webhook", **fields: Any) -> Made:
        given = {"name": f"{kind} channel", "address": hooks.url, "kinds": list(Signal.Kind.values), **fields}
        return endpoint_create(actor=member_actor(admin), channel=kind, **given)

    return make

"""A gateway that is told: stream and signed webhook carry one freeze and its end, as they are committed, and the check agrees with both."""

from typing import Any

import pytest
from celery import current_app
from rest_framework.test import APIClient
from standardwebhooks import Webhook

from governance.budgets.services import freeze_stop
from governance.notices import nudge
from governance.notices.deliveries import Sent, deliveries_send
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.conftest import KeyInHand, client_with
from tests.governance.budgets.test_check import check
from tests.governance.budgets.test_freezes import freeze, seen
from tests.governance.enforcement.test_litellm_guard import eventually
from tests.governance.notices.conftest import Makes, channel, hooks
from tests.governance.notices.hook_server import HookServer
from tests.governance.notices.test_stream import Stream, process, stream

__all__ = ["channel", "hooks", "process", "stream"]
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]


def test_gateway_hears_of_freeze_and_resumption_by_stream_and_by_webhook(
    stream: Stream,
    channel: Makes,
    hooks: HookServer,
    api_key: KeyInHand,
    admin: Member,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda task, **_: woken.append(task))
    seen(organization, "s1")
    made, api, reading = channel(), client_with(api_key), stream.read(api_key)
    assert check(api, "s1").status_code == 200

    stop = freeze(admin, "session", "s1")
    heard = reading.take(1)[0]
    assert (heard["type"], heard["data"]["session"], heard["data"]["reason"]) == ("freeze.started", "s1", "looks like a loop")
    assert agrees(api, 402, heard["data"]["url"])
    # The commit wakes the delivery: nobody waits for the schedule.
    eventually(lambda: nudge.DELIVERIES_TASK in woken)
    assert deliveries_send() == Sent(taken=1)
    assert told(made.secret, hooks)[-1]["data"] == heard["data"]

    freeze_stop(actor=member_actor(admin), freeze=stop, reason="it was none")
    heard = reading.take(1)[0]
    assert (heard["type"], heard["data"]["freeze"]) == ("freeze.ended", stop.pk)
    assert check(api, "s1").status_code == 200
    assert deliveries_send() == Sent(taken=1)
    assert [one["type"] for one in told(made.secret, hooks)] == ["freeze.started", "freeze.ended"]


def agrees(api: APIClient, status: int, url: str) -> bool:
    answer = check(api, "s1")
    return (answer.status_code, answer["X-Weighhouse-Link"]) == (status, url)


def told(secret: str, hooks: HookServer) -> list[dict[str, Any]]:
    """What was posted, each with a signature that holds before an independent implementation."""
    return [Webhook(secret).verify(taken.body, taken.headers) for taken in hooks.taken]

"""From a freeze over the API to a gateway, with nothing stood in for: the broker, the worker and the stream are processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, current_app
from django.conf import settings
from django.db import connection
from rest_framework.test import APIClient

from governance.conf import embedded
from governance.tenancy.models import Organization, Scope
from tests.conftest import KeyInHand, client_with, key_of
from tests.governance.budgets.test_freezes import seen
from tests.governance.enforcement.test_litellm_guard import eventually
from tests.governance.enforcement.test_told import told
from tests.governance.notices.conftest import Makes, channel, hooks
from tests.governance.notices.hook_server import HookServer
from tests.governance.notices.test_stream import Stream, process, stream

__all__ = ["channel", "hooks", "process", "stream"]
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
# As `up` starts it, but for what a worker asks for at its start: the day's work, such as reading price lists.
WORKER = """
from celery.signals import worker_ready
from governance.conf import celery
worker_ready.disconnect(celery.begin)
celery.app.worker_main(["worker", "--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle", "--loglevel", "INFO"])
"""


@pytest.fixture
def broker_url(tmp_path: Path, process: Stream) -> Iterator[str]:
    """A broker, with a worker on the tests' database that may send webhooks to this machine."""
    embedded.prepare(tmp_path, ("valkey",))
    (broker,) = embedded.programs(tmp_path, ("valkey",))
    where = connection.connection.info
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{where.user}:{where.password}@/{where.dbname}?host={where.host}&port={where.port}",
        "BROKER_URL": embedded.broker_url(tmp_path), "WEBHOOKS_ALLOW_PRIVATE": "1",
    }  # fmt: skip
    with (tmp_path / "worker.log").open("wb") as said, subprocess.Popen(broker.command, stdout=said, stderr=said) as valkey:
        try:
            embedded.wait_until_ready(tmp_path, {"valkey": valkey})
            with subprocess.Popen([sys.executable, "-c", WORKER], cwd=settings.BASE_DIR, env=environment, stdout=said, stderr=said) as worker:
                try:
                    yield environment["BROKER_URL"]
                finally:
                    worker.kill()
        finally:
            valkey.kill()


def test_freeze_over_the_api_reaches_webhook_and_stream_through_a_worker(
    broker_url: str, stream: Stream, channel: Makes, hooks: HookServer, api_key: KeyInHand, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Celery(broker=broker_url, set_as_current=False) as sender:
        monkeypatch.setattr(current_app, "send_task", sender.send_task)
        seen(organization, "s1")
        made, reading = channel(), stream.read(api_key)
        manage: APIClient = client_with(key_of(organization, Scope.READ, Scope.ADMIN, name="terraform"))
        frozen = manage.post("/api/v1/freezes", {"scope": "session", "name": "s1", "reason": "it loops"})
        assert frozen.status_code == 201, frozen.content
        heard = reading.take(1)[0]
        eventually(lambda: len(hooks.taken) == 1)
        posted = told(made.secret, hooks)[0]
        assert (posted["type"], posted["data"]) == ("freeze.started", heard["data"])
        assert posted["data"]["freeze"] == frozen.json()["id"]
        assert manage.post(f"/api/v1/freezes/{frozen.json()['id']}/end", {"reason": "it was none"}).status_code == 200
        assert reading.take(1)[0]["type"] == "freeze.ended"
        eventually(lambda: len(hooks.taken) == 2)
        assert [one["type"] for one in told(made.secret, hooks)] == ["freeze.started", "freeze.ended"]

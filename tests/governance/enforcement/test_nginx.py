"""The lines of docs/connect/nginx.md in an nginx of its own, before a real server of ours."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from governance.budgets.models import Refusal
from governance.budgets.services import freeze_stop
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from tests.conftest import KeyInHand
from tests.governance.budgets.test_freezes import freeze, seen
from tests.ingest.doors.test_live import free_port

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("transactional_db")]
PAGE = settings.BASE_DIR / "docs/connect/nginx.md"
AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{vendor};
        location /v1/messages {{ return 200 "the vendor's answer"; }}
        location /v1/forbidden {{ return 403 "the vendor's refusal"; }}
    }}
{documented}
}}
"""
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def nginx() -> str:
    """The program; without one the test fails and says how to get it."""
    found = subprocess.run(["sh", "tools/nginx"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr)
    return str(settings.BASE_DIR / found.stdout.strip())


@pytest.fixture
def serve(nginx: str, tmp_path: Path, live_server: LiveServer, api_key: KeyInHand) -> Iterator[Serve]:
    """Starts nginx with the documented lines, changed by pairs of texts, and returns its address."""
    with ExitStack() as stack:

        def start(*changes: tuple[str, str], weighhouse: str = live_server.url.removeprefix("http://")) -> str:
            port, vendor, folder = free_port(), free_port(), tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            given = (
                ("weighhouse.example.com:8000", weighhouse),
                ("Host weighhouse.example.com", f"Host {weighhouse.partition(':')[0]}"),
                ("8080", f"127.0.0.1:{port}"),
                ("https://api.anthropic.com", f"http://127.0.0.1:{vendor}"),
                ("wh_…", api_key.secret),
            )
            (folder / "nginx.conf").write_text(
                AROUND.format(folder=folder, vendor=vendor, temporary=temporary(folder), documented=documented(*given, *changes)),
                encoding="utf-8",
            )
            stack.enter_context(running(nginx, folder, f"http://127.0.0.1:{port}"))
            return f"http://127.0.0.1:{port}"

        yield start


def documented(*changes: tuple[str, str]) -> str:
    """The configuration of the page; each change has to find its place."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    lines = found[1]
    for old, new in changes:
        assert old in lines, old
        lines = lines.replace(old, new)
    return lines


def temporary(folder: Path) -> str:
    """Where nginx may write, so that it needs nothing of the system's."""
    return "\n    ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


@contextmanager
def running(nginx: str, folder: Path, url: str) -> Iterator[None]:
    with subprocess.Popen([nginx, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]) as process:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and process.poll() is None:
                with suppress(httpx.TransportError):
                    httpx.get(f"{url}/nothing-here")
                    break
                time.sleep(0.05)
            assert process.poll() is None, (folder / "error.log").read_text()
            yield
        finally:
            process.terminate()


def call(url: str, session: str = "s1", path: str = "/v1/messages") -> httpx.Response:
    """A model call through the proxy, as Claude Code makes it."""
    return httpx.post(
        url + path,
        json={"model": "claude-sonnet-4-5"},
        headers={"Authorization": "Bearer sk-own", "X-Claude-Code-Session-Id": session},
        timeout=60,
    )


def test_frozen_session_is_stopped_with_reason_and_link_until_it_is_resumed(
    serve: Serve, organization: Organization, admin: Member
) -> None:
    seen(organization, "s1")
    url = serve()
    assert (call(url).status_code, call(url).text) == (200, "the vendor's answer")
    stop = freeze(admin, "session", "s1")
    refused = call(url)
    assert (refused.status_code, refused.headers["Content-Type"]) == (402, "application/problem+json")
    told = refused.json()
    assert (told["status"], told["code"]) == (402, "budget_exceeded")
    assert told["error"]["message"] == f"Session s1 was frozen by hand by Admin: looks like a loop {settings.PUBLIC_URL}/o/acme/sessions/s1"
    assert call(url, "s2").status_code == 200
    assert Refusal.objects.get().freeze_id == stop.pk
    freeze_stop(actor=member_actor(admin), freeze=stop, reason="done")
    assert call(url).status_code == 200


def test_label_of_the_proxy_goes_before_the_callers(serve: Serve, admin: Member, lead: Member) -> None:
    freeze(admin, "team", str(lead.team_id))
    url = serve()
    answer = httpx.post(f"{url}/v1/messages", headers={"X-Weighhouse-Team": "another"}, timeout=60)
    assert answer.status_code == 402


def test_vendors_own_refusal_passes_as_it_is(serve: Serve) -> None:
    answer = call(serve(), path="/v1/forbidden")
    assert (answer.status_code, answer.text) == (403, "the vendor's refusal")


def test_while_weighhouse_is_away_calls_go_on_or_not_as_configured(serve: Serve) -> None:
    away = f"127.0.0.1:{free_port()}"
    assert call(serve(weighhouse=away)).status_code == 200
    refused = call(serve(("return 204;", "return 403;"), weighhouse=away))
    assert (refused.status_code, json.loads(refused.text)["error"]["type"]) == (402, "unavailable")


def test_wrong_key_is_treated_as_weighhouse_away_and_not_shown_to_callers(serve: Serve, api_key: KeyInHand) -> None:
    assert call(serve((api_key.secret, "wh_wrong"))).status_code == 200
    assert call(serve((api_key.secret, "wh_wrong"), ("return 204;", "return 403;"))).status_code == 402

"""The guard of docs/connect/litellm.md in a real LiteLLM proxy, between a vendor's stand-in and a real server of ours."""

import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from pytest_django.live_server_helper import LiveServer

from governance.budgets import api_policy
from governance.budgets.models import Authorization, Freeze, Refusal
from governance.budgets.services import budget_create
from governance.tenancy import keys
from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope
from ingest.models import UsageEvent
from tests.apart import apart
from tests.governance.budgets.test_freezes import freeze, seen
from tests.governance.enforcement.vendor import Vendor, vendor_running
from tests.ingest.doors.test_live import free_port
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]
pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("litellm"), pytest.mark.usefixtures("transactional_db")]
FILE = settings.BASE_DIR / "dashboards/static/weighhouse/weighhouse_litellm.py"
MASTER = "sk-tests-of-the-guard-8c1f"
SECRET, PREFIX = keys.new_secret()
CONFIG = """
model_list:
  - {{model_name: sonnet, litellm_params: {{model: anthropic/claude-sonnet-4-5, api_base: "{vendor}", api_key: none}}}}
  - {{model_name: streamed, litellm_params: {{model: openai/gpt-4o, api_base: "{vendor}/v1", api_key: none}}}}
  - {{model_name: broken, litellm_params: {{model: openai/gpt-fail, api_base: "{vendor}/v1", api_key: none}}}}
litellm_settings:
  callbacks: weighhouse_litellm.guard
  num_retries: 0
  telemetry: false
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
Call = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with vendor_running() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(vendor: Vendor, live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy's address; one for all tests here, because it takes long to start."""
    program = apart("litellm[proxy]==1.106.2") / "bin/litellm"
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    shutil.copy(FILE, folder)
    (folder / "config.yaml").write_text(CONFIG.format(vendor=vendor.url), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")} | {
        "LITELLM_MASTER_KEY": MASTER, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "WEIGHHOUSE_URL": live_server.url, "WEIGHHOUSE_KEY": SECRET,
        "WEIGHHOUSE_POLICY_S": "0", "WEIGHHOUSE_TIMEOUT_S": "30", "HOME": str(folder),
    }  # fmt: skip
    command = [str(program), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/liveliness", timeout=10).status_code == 200:
                return
        time.sleep(0.3)
    pytest.fail(log.read_text()[-3000:])


@pytest.fixture
def key(organization: Organization, few_prices: None) -> ApiKey:
    """The key that the proxy knows, of this test's organization."""
    scopes = [Scope.INGEST, Scope.AUTHORIZE]
    return ApiKey.objects.create(
        organization=organization, name="proxy", prefix=PREFIX, secret_hash=keys.secret_hash(SECRET), scopes=scopes
    )


class Traffic:
    """What the proxy asks of us: how often each address was answered, and how many questions are under way."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.under_way = 0
        self._lock, self._mine = threading.Lock(), threading.local()

    def begins(self, environ: dict[str, Any], **_: Any) -> None:
        self._mine.path = environ["PATH_INFO"]
        with self._lock:
            self.under_way += 1

    def ends(self, **_: Any) -> None:
        path, self._mine.path = getattr(self._mine, "path", None), None
        if path is None:  # it began before anybody looked
            return
        with self._lock:
            self.under_way -= 1
            self.answered[path] += 1


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    found = Traffic()
    request_started.connect(found.begins)
    request_finished.connect(found.ends)
    yield found
    request_started.disconnect(found.begins)
    request_finished.disconnect(found.ends)


@pytest.fixture
def call(proxy: str, key: ApiKey, vendor: Vendor, traffic: Traffic) -> Iterator[Call]:
    vendor.asked.clear()
    vendor.goes_on.set()

    def send(model: str = "sonnet", path: str = "/v1/chat/completions", session: str = "s1", **body: Any) -> httpx.Response:
        given = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50} | body
        headers = {"Authorization": f"Bearer {MASTER}", "x-litellm-session-id": session, "User-Agent": "claude-cli/2.1"}
        return httpx.post(proxy + path, json=given, headers=headers, timeout=90)

    yield send
    # The proxy reports beside the call, in the order of the calls, and what it still reports must not meet the tables being emptied. So
    # one more call is made: once that is reported, all before it are. For each call that was held for it asks for the policy as well.
    if not ApiKey.objects.exists():
        key.save(force_insert=True)
    assert send(session="last").status_code == 200
    eventually(lambda: UsageEvent.objects.filter(session="last").exists())
    eventually(lambda: traffic.answered["/api/v1/policy"] >= Authorization.objects.count() and not traffic.under_way)


def eventually(holds: Callable[[], bool]) -> None:
    """What is reported beside the call arrives when it does."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, list(Authorization.objects.values("state", "amount", "settled_cost", "session_key"))
        time.sleep(0.05)


def ended(state: str) -> bool:
    return set(Authorization.objects.values_list("state", flat=True)) == {state}


def test_call_is_held_for_and_settled_by_its_own_event(call: Call) -> None:
    answer = call()
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 57)
    eventually(lambda: ended("settled"))
    held, event = Authorization.objects.get(), UsageEvent.objects.get()
    assert (held.session_key, held.model, held.amount > Decimal("0.0007"), held.settled_cost) == (
        "s1",
        "claude-sonnet-4-5",
        True,
        event.cost,
    )
    assert (event.session, event.harness, event.gateway, event.output_tokens) == ("s1", "claude-code", "litellm", 57)


def test_stream_is_settled_when_it_has_ended(call: Call) -> None:
    answer = call("streamed", stream=True)
    assert "[DONE]" in answer.text
    eventually(lambda: ended("settled"))
    assert UsageEvent.objects.get().output_tokens == 200


def test_failed_call_gives_its_hold_back(call: Call, vendor: Vendor) -> None:
    assert call("broken").status_code == 429
    assert set(vendor.asked) == {"gpt-fail"}
    eventually(lambda: ended("voided"))


def test_caller_who_goes_away_in_the_middle_of_a_stream_leaves_no_hold(call: Call, proxy: str, vendor: Vendor) -> None:
    vendor.goes_on.clear()
    body = {"model": "streamed", "stream": True, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {MASTER}", "x-litellm-session-id": "s1"}
    with httpx.stream("POST", f"{proxy}/v1/chat/completions", json=body, headers=headers, timeout=90) as answer:
        assert "hel" in next(answer.iter_lines())
    vendor.goes_on.set()
    eventually(lambda: Authorization.objects.filter(state__in=("settled", "voided")).count() == 1)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_frozen_session_is_refused_with_reason_and_link_before_the_vendor_is_called(
    path: str, call: Call, vendor: Vendor, organization: Organization, admin: Member
) -> None:
    seen(organization, "s1")
    stop = freeze(admin, "session", "s1")
    refused = call(path=path)
    assert refused.status_code == 402, refused.text
    assert (
        f"Session s1 was frozen by hand by Admin: looks like a loop {settings.PUBLIC_URL}/o/acme/sessions/s1"
        in refused.json()["error"]["message"]
    )
    assert (vendor.asked, Refusal.objects.get().freeze_id) == ([], stop.pk)


def test_while_weighhouse_cannot_be_asked_the_policy_decides(
    call: Call, key: ApiKey, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy keeps the document of the test before, whose version must not be this organization's by chance.
    Organization.objects.update(config_version=time.time_ns())
    told: list[Any] = []
    policy_of = api_policy.policy_of

    def noted(actor: Any) -> dict[str, Any]:
        told.append(found := policy_of(actor))
        return found

    monkeypatch.setattr(api_policy, "policy_of", noted)
    assert call().status_code == 200
    eventually(lambda: bool(told))
    key.delete()
    assert call().status_code == 200
    key.save(force_insert=True)
    budget_create(
        actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(50), fails_open=False
    )
    assert call().status_code == 200
    eventually(lambda: any(policy["budgets"] for policy in told))
    key.delete()
    eventually(lambda: call().status_code == 503)
    assert "the budget “Month” lets no call pass meanwhile" in call().json()["error"]["message"]
    assert not Freeze.objects.exists()

"""The middleware in docs/connect/vendors.md, run as it stands there against a real server, with a stand-in for the vendor."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_django.live_server_helper import LiveServer

from ingest.models import UsageEvent
from tests.conftest import KeyInHand
from tests.golden.answers import CHAT

PAGE = Path(__file__).resolve().parents[3] / "docs" / "connect" / "vendors.md"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db")
def test_the_middleware_reports_each_answer_and_harms_none(live_server: LiveServer, api_key: KeyInHand) -> None:
    # The first request of a process loads prices and names, which takes longer than the middleware waits.
    httpx.post(
        f"{live_server.url}/api/v1/events/openai",
        json=[{**CHAT, "id": "chatcmpl-Warm00000001"}],
        headers={"Authorization": f"Bearer {api_key.secret}"},
        timeout=60,
    )
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    names: dict[str, Any] = {}
    exec(code.replace("https://weighhouse.example.com", live_server.url).replace("wh_…", api_key.secret), names)
    answers = {
        "/v1/chat/completions": httpx.Response(200, json=CHAT),
        "/v1/models": httpx.Response(200, text="gpt-5"),
        "/v1/broken": httpx.Response(429, json={}),
    }
    vendor = httpx.Client(transport=httpx.MockTransport(lambda request: answers[request.url.path]), event_hooks=names["client"].event_hooks)
    with names["weighhouse"], names["client"], vendor:
        assert vendor.post("https://api.openai.com/v1/chat/completions").json() == CHAT
        assert vendor.get("https://api.openai.com/v1/models").text == "gpt-5"
        assert vendor.get("https://api.openai.com/v1/broken").status_code == 429
    event = UsageEvent.objects.get(request_id=CHAT["id"])
    assert UsageEvent.objects.count() == 2
    assert (event.request_id, event.session, event.team_label, event.input_tokens) == (CHAT["id"], "nightly-7", "platform", 476)

"""Each client's lines stand in its page of the documentation, and its sample goes through its own door."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.test import Client as Browser
from django.utils import timezone
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from dashboards.connecting.clients import BY_SLUG, CLIENTS, Client, clients_of
from dashboards.connecting.samples import SAMPLES, Moment
from dashboards.connecting.stopping import doors, lines_of
from dashboards.connecting.trying import connection_try
from dashboards.selectors.connections import connections
from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member, Organization, Scope, Team
from ingest.models import ArrivalHour, EventIdentity, RejectedInput, ReportedLabel, UsageEvent, UsageRollup
from ingest.once.selectors import Shares
from tests.conftest import KeyInHand, client_with, key_of

DOCS = Path(__file__).resolve().parents[3] / "docs" / "connect"
CONNECTIONS = "/o/acme/settings/connections"
FENCED = re.compile(r"^```[a-z]*\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
# What the sample of each says of its call: the buckets of the calls that the formats' golden tests hold.
OPENAI = (476, 1024, 200)
EXPECTED = {
    "claude-code": (120, 10240, 57),
    "collector": (120, 10240, 57),
    "gemini-cli": (300, 1000, 130),
    "rest": (1200, None, 350),
    "kong": (28, None, 20),
}
WITHOUT_CACHES = dict.fromkeys(("portkey", "helicone", "cloudflare"), (1500, None, 200))


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.slug)
def test_the_page_and_the_documentation_have_the_same_lines(client: Client) -> None:
    page = (DOCS / f"{client.slug}.md").read_text()
    blocks = FENCED.findall(page)
    assert [lines.where for lines in client.lines if lines.text.strip() not in [block.strip() for block in blocks]] == []
    assert "How this was checked" in page


def test_every_page_of_the_documentation_is_of_a_client() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} >= BY_SLUG.keys() == SAMPLES.keys()


def test_the_lines_of_each_door_that_stops_calls_hold_the_key_and_ask_by_the_scheme_of_the_address() -> None:
    """A key that stands in none of them would be lost with the page; nginx that asks a TLS server in clear would let every call go on."""
    filled = {
        slug: "\n".join(lines.filled(address="https://ai.acme.example", secret="wh_mine") for lines in lines_of(door))
        for slug, door in doors().items()
    }
    assert [slug for slug, text in filled.items() if "wh_mine" not in text or "weighhouse.example.com" in text] == []
    assert "server ai.acme.example:443;" in filled["nginx"]
    assert "proxy_pass https://weighhouse/" in filled["nginx"]
    assert "proxy_ssl_name ai.acme.example;" in filled["nginx"]


@pytest.mark.django_db
@pytest.mark.parametrize("slug", SAMPLES)
def test_a_sample_is_counted_by_its_door_and_nothing_of_it_stays(organization: Organization, admin: Member, team: Team, slug: str) -> None:
    key = key_of(organization, Scope.INGEST, defaults={"team": team.slug})
    now = timezone.now()
    found = connection_try(actor=member_actor(admin), client=BY_SLUG[slug], secret=key.secret, now=now)
    assert found.refusal == ""
    assert found.call is not None
    fresh, cached, output = {**WITHOUT_CACHES, **EXPECTED}.get(slug, OPENAI)
    assert found.call.tokens_input == fresh + (cached or 0) + (2048 if (fresh, cached) == (120, 10240) else 0)
    assert (found.call.tokens_output, found.call.team) == (output, str(team))
    source = "otlp" if found.path.startswith("/otlp") else found.path.rpartition("/events")[2].strip("/") or "rest"
    assert slug in clients_of(source, harness=found.call.harness, gateway=found.call.gateway)
    for model in (UsageEvent, EventIdentity, UsageRollup, ReportedLabel, RejectedInput, ArrivalHour):
        assert not model.objects.exists()


@pytest.mark.django_db
def test_a_key_that_may_not_report_is_said_to_be_refused(
    organization: Organization, other_organization: Organization, admin: Member
) -> None:
    actor, now = member_actor(admin), timezone.now()
    for key, status in ((key_of(organization, Scope.READ), 403), (key_of(other_organization, name="theirs"), None)):
        for slug in ("rest", "codex"):
            found = connection_try(actor=actor, client=BY_SLUG[slug], secret=key.secret, now=now)
            assert (found.status, found.call) == (status, None)
            assert found.refusal


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["rest", "claude-code", "litellm", "codex"])
def test_what_a_test_says_was_answered_is_what_the_door_answers(
    organization: Organization, admin: Member, client: Browser, slug: str
) -> None:
    """And the page's own status only says whether it could ask."""
    revoked = key_of(organization, name="revoked", revoked_at=timezone.now())
    client.force_login(admin.user)
    for key in (key_of(organization, name="engineers"), key_of(organization, Scope.READ, name="reads"), revoked):
        page = client.post(f"{CONNECTIONS}/{slug}/test", {"secret": key.secret}, headers={"HX-Request": "true"})
        answer = sent(key, slug)
        assert (page.status_code, f"answered {answer.status_code}" in page.content.decode()) == (200, True)


def sent(key: KeyInHand, slug: str, at: datetime | None = None) -> Any:
    sample = SAMPLES[slug](Moment(at or timezone.now(), f"{slug}-1"))
    return client_with(key).generic("POST", sample.path, sample.body, content_type=sample.content_type, **sample.headers)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_a_connection_tells_how_it_does(organization: Organization, admin: Member) -> None:
    ours, theirs = key_of(organization, name="engineers"), key_of(organization, name="proxy")
    for slug, key in (("claude-code", ours), ("litellm", theirs), ("collector", ours)):
        assert sent(key, slug).status_code in (200, 201)
    client_with(theirs).post("/api/v1/events/portkey", [{"id": "x"}])
    actor, now = member_actor(admin), timezone.now()
    found = {one.client.slug: one for one in connections(actor, now=now)}
    assert {slug: one.state for slug, one in found.items() if one.state != "never"} == {
        "claude-code": "live", "collector": "live", "litellm": "live", "portkey": "failing",
    }  # fmt: skip
    assert [key.name for key in found["claude-code"].keys] == ["engineers"]
    assert (found["claude-code"].coverage, found["litellm"].coverage) == (Shares(harness_only=2), Shares(gateway_only=1))
    assert (found["litellm"].calls, sum(found["litellm"].by_hour), found["portkey"].refused) == (1, 1, 1)
    assert [one.state for one in connections(actor, now=now + timedelta(days=2)) if one.client.slug == "litellm"] == ["quiet"]


@pytest.mark.django_db
def test_what_is_refused_is_of_the_client_that_sent_it_whatever_else_its_key_was_used_for(
    organization: Organization, admin: Member
) -> None:
    key = key_of(organization)
    api, now = client_with(key), timezone.now()
    for slug in ("claude-code", "litellm", "codex", "rest", "opentelemetry", "vendors"):
        assert sent(key, slug).status_code in (200, 201)
    assert {one.state for one in connections(member_actor(admin), now=timezone.now())} == {"live", "never"}
    api.post("/api/v1/events", {"events": [{"id": "x", "occurred_at": now.isoformat()}]})
    api.generic("POST", "/api/v1/events", "{", content_type="application/json")
    api.post("/api/v1/events", {"events": [{"id": str(number), "harness": "Qwen-Code"} for number in range(260)]})
    api.post(
        "/api/v1/events", {"events": [{"id": "y", "gateway": "kong", "harness": "qwen-code"}, {"id": "z", "harness": "write me a poem"}]}
    )
    api.post("/api/v1/events/bedrock", {"nothing": "to read"}, format="json")
    api.post("/api/v1/events/litellm", [{"nothing": "to read"}])
    bad = ExportLogsServiceRequest.FromString(SAMPLES["claude-code"](Moment(now, "bad")).body)
    for one in bad.resource_logs[0].scope_logs[0].log_records[0].attributes:
        if one.key == "input_tokens":
            one.value.string_value = "-5"
    answer = api.generic("POST", "/otlp/v1/logs", cast("str", bad.SerializeToString()), content_type="application/x-protobuf")
    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 1
    found = {one.client.slug: one.refused for one in connections(member_actor(admin), now=timezone.now()) if one.refused}
    assert found == {"rest": 3, "qwen-code": 260, "kong": 1, "vendors": 1, "litellm": 1, "claude-code": 1}
    assert {one.client.slug for one in connections(member_actor(admin), now=timezone.now()) if one.state == "failing"} == set(found)


@pytest.mark.django_db
def test_a_key_is_made_put_into_the_lines_tried_and_watched(client: Browser, admin: Member, organization: Organization) -> None:
    client.force_login(admin.user)
    page = client.post(f"{CONNECTIONS}/litellm", {"name": "Proxy in production", "days": "90"})
    key = ApiKey.objects.get(name="Proxy in production")
    (secret,) = set(re.findall(r"wh_[\w-]{20,}", page.content.decode()))
    assert f"Authorization=Bearer {secret}" in page.content.decode()
    assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert (sorted(key.scopes), key.expires_at is not None) == (["authorize", "ingest"], True)
    assert secret not in client.get(f"{CONNECTIONS}/litellm").content.decode()
    tried = client.post(f"{CONNECTIONS}/litellm/test", {"secret": secret}, headers={"HX-Request": "true"})
    assert (tried.status_code, "It arrives." in tried.content.decode()) == (200, True)
    wait = f"{CONNECTIONS}/litellm/keys/{key.pk}"
    assert "every 2s" in client.get(wait).content.decode()
    hand = KeyInHand(key, secret)
    client_with(hand).post("/api/v1/events/litellm", [{"nothing": "to read"}])
    assert "could not be counted" in client.get(wait).content.decode()
    sent(hand, "litellm")
    assert "It arrived." in (arrived := client.get(wait).content.decode())
    assert "every 2s" not in arrived
    assert "Proxy in production" in client.get(CONNECTIONS).content.decode()


@pytest.mark.django_db
def test_a_test_without_a_key_asks_for_one_and_a_broken_key_is_named(client: Browser, admin: Member) -> None:
    client.force_login(admin.user)
    for secret, words, status in (("", "Make a key first", 422), ("wh_nonsense", "Nothing was sent.</strong> No key of Acme", 200)):
        answer = client.post(f"{CONNECTIONS}/rest/test", {"secret": secret})
        assert (answer.status_code, words in answer.content.decode()) == (status, True)
    assert client.get(f"{CONNECTIONS}/teapot").status_code == 404


def test_doors_that_stop_calls_have_the_lines_of_their_pages() -> None:
    assert "nginx" in doors()
    for door in doors().values():
        filled = [lines.filled(address="https://wh.acme.example", secret="wh_real") for lines in lines_of(door)]
        assert filled
        assert "example.com" not in "".join(filled)
        assert not any("wh_…" in text for text in filled)


@pytest.mark.django_db
def test_a_door_that_stops_calls_is_given_a_key_and_watched(client: Browser, admin: Member, organization: Organization) -> None:
    client.force_login(admin.user)
    assert "nginx" in client.get(CONNECTIONS).content.decode()
    assert client.get(f"{CONNECTIONS}/nginx").status_code == 200
    page = client.post(f"{CONNECTIONS}/nginx", {"name": "Edge"}).content.decode()
    key = ApiKey.objects.get(name="Edge")
    (secret,) = set(re.findall(r"wh_[\w-]{20,}", page))
    wait = f"{CONNECTIONS}/nginx/keys/{key.pk}"
    assert "every 2s" in client.get(wait).content.decode()
    assert client_with(KeyInHand(key, secret)).get("/api/v1/check").status_code == 200
    assert "It asked." in (asked := client.get(wait).content.decode())
    assert "every 2s" not in asked

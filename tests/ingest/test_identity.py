"""One call is one call, however its provider is spelled; two calls are two where their ids are short."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from governance.tenancy.access import member_actor
from governance.tenancy.models import ApiKey, Member
from ingest.formats.event import UsageEvent
from ingest.models import UsageEvent as StoredEvent
from ingest.services import events_store
from ingest.services.identity import body_hash, identity_key, is_unmistakable

VENDOR_IDS = (
    "req_011CQ4pvX7", "req_011CVJh8wR4s9QJ2mKq1bXyZ", "msg_01XFDUDYJgAACzvnptvVoYEL", "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "resp_67ccd2bed1ec8190b14f964abc054267", "gen-1732184640-kGhTqYpJwq3", "5f1c2a34-9c1e-4f57-8a4b-1f2e3d4c5b6a", "5f1c2a349c1e4f578a4b1f2e3d4c5b6a",
    "Z9JBaOXnFpKJmNAPz4yR8A8",
)
OWN_IDS = ("1", "call-7", "chatcmpl-123", "req_1", "req_000000000000", "request-2026-11-21-000000000017", "run-2026-11-21-call-000001")
SPELLINGS = (
    ("aws", "aws.bedrock", "amazon-bedrock", "Bedrock", " aws "),
    ("google", "gcp.vertex_ai", "gcp.gemini", "gcp.gen_ai", "vertex", "google-vertex"),
    ("azure", "azure.ai.openai", "az.ai.openai", "azure_ai", "foundry", "azure.ai.inference"),
    ("anthropic", " anthropic", "firstParty"),
    ("x-ai", "x_ai", "xai"),
    ("mistral", "mistral_ai"),
    ("", "unknown", "auto"),
)


def event(**fields: Any) -> UsageEvent:
    facts: dict[str, Any] = {"occurred_at": datetime(2026, 11, 21, 10, 4, tzinfo=UTC), "model": "claude-sonnet-4-5", "input_tokens": 10}
    return UsageEvent(**(facts | fields))


@pytest.mark.parametrize("request_id", VENDOR_IDS)
def test_a_vendors_id_counts_by_itself(request_id: str) -> None:
    providers = ("anthropic", "", " anthropic", "aws.bedrock", "litellm")
    keys = {identity_key(event(request_id=request_id, provider=provider), "rest") for provider in providers}
    keys |= {identity_key(event(request_id=f" {request_id} "), "otlp", default_provider="anthropic")}
    assert len(keys) == 1


@pytest.mark.parametrize("request_id", OWN_IDS)
def test_an_id_that_others_may_have_counts_within_its_provider(request_id: str) -> None:
    assert not is_unmistakable(request_id)
    keys = {identity_key(event(request_id=request_id, provider=provider), "rest") for provider in ("anthropic", "openai", "")}
    assert len(keys) == 3
    assert identity_key(event(request_id=request_id), "otlp", default_provider="openai") in keys


@pytest.mark.parametrize("names", SPELLINGS)
def test_all_spellings_of_a_provider_are_one(names: tuple[str, ...]) -> None:
    told = [event(request_id="7", provider=name) for name in names]
    assert len({identity_key(one, "rest") for one in told}) == len({body_hash(one) for one in told}) == 1


@pytest.mark.django_db
def test_a_call_told_with_and_without_its_provider_is_counted_once(admin: Member, api_key: Any) -> None:
    key = api_key.row
    ApiKey.objects.filter(pk=key.pk).update(defaults={"provider": "anthropic"})
    key.refresh_from_db()
    request_id, now = f"req_{uuid4().hex}", datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
    told = [
        event(request_id=request_id, provider="anthropic"), event(request_id=request_id), event(request_id=request_id, provider=" anthropic"),
        event(request_id="1", provider="anthropic"), event(request_id="1"), event(request_id="1", provider="openai"),
    ]
    outcomes = events_store(actor=member_actor(admin), api_key=key, source="rest", events=told, now=now)
    assert [outcome.status for outcome in outcomes] == ["accepted", "duplicate", "duplicate", "accepted", "duplicate", "accepted"]
    unnamed = event(request_id=request_id)
    (outcome,) = events_store(actor=member_actor(admin), api_key=None, source="otlp", events=[unnamed], now=now)
    assert (outcome.status, outcome.id) == ("duplicate", outcomes[0].id)
    assert StoredEvent.objects.count() == 3

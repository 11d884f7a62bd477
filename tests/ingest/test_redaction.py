"""Of what was not counted, prompts and secrets are taken out before it is kept; what is needed to mend it stays."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingest.formats.event import UsageEvent
from ingest.formats.secrets import labels_redacted, without_secrets
from ingest.redaction import broken_redacted, payload_redacted

GOOD = {
    "id": "call-1",
    "occurred_at": "2026-11-21T10:00:00Z",
    "model": "gpt-5",
    "input_tokens": -1,
    "reported_cost": "0.10",
    "tags": {"a": "b"},
}
PROMPT = "Write a poem about my mother's illness"
SECRETS = [
    "sk-ant-api03-AAAAAAAAAAAAAAAAAAAA",
    "sk-proj-abcdefghijklmnop1234",
    "wh_54bd1b91_DD_rlqGF7hfbJx1C83dIVkM0",
    "Bearer abcdef123456",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz",
    "AIzaSyA1234567890abcdefghijk",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "gsk_" + "aB3dE6gH" * 6,
    "xai-" + "aB3dE6gH" * 10,
    "pplx-" + "aB3dE6gH" * 6,
    "nvapi-aB3_dE6-gH" + "aB3dE6gH" * 6,
    "r8_" + "aB3dE6gH" * 4,
    "ya29.a0AfB_byC-1234567890abcdef",
    "hf_" + "aB3dE6gH" * 4,
    "glpat-aB3dE6gH-aB3dE6gH",
    "dapi0123456789abcdef0123456789abcdef",
    "fw_" + "aB3dE6gH" * 3,
    "tgp_v1_aB3dE6gH-aB3dE6gH_aB3dE6gH",
    "co_" + "aB3dE6gH" * 4,
    "csk-" + "ab3de6gh" * 6,
    "lsv2_pt_0123456789abcdef_0123456789",
    "ABSK" + "aB3dE6gH" * 10,
    "Bearer%20abcdef123456",
]
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def kept(document: Any) -> Any:
    return json.loads(payload_redacted(json.dumps(document).encode()).payload)


def test_an_event_of_known_fields_is_kept_as_it_came() -> None:
    payload = json.dumps(GOOD, indent=1).encode()
    found = payload_redacted(payload)
    assert (found.payload, found.is_whole) == (payload, True)


@pytest.mark.parametrize(
    "wrap", [lambda event: event, lambda event: {"events": [GOOD, event]}, lambda event: {"events": [event], "note": PROMPT}]
)
@pytest.mark.parametrize(
    "odd",
    [
        {"prompt": PROMPT},
        {"messages": [{"role": "user", "content": PROMPT}]},
        {"model": {"x": PROMPT}},
        {"tags": {"a": [PROMPT]}},
        {"task": PROMPT * 20},
    ],
)
def test_what_somebody_wrote_is_taken_out_of_anything_that_is_json(wrap: Any, odd: dict[str, Any]) -> None:
    found = payload_redacted(json.dumps(wrap(GOOD | odd)).encode())
    assert b"mother" not in found.payload
    assert b"call-1" in found.payload
    assert not found.is_whole


def test_numbers_under_unknown_names_stay() -> None:
    assert kept(GOOD | {"retries": 3, "is_cached": True, "prompt": "hello"}) == GOOD | {
        "retries": 3,
        "is_cached": True,
        "prompt": "[removed: text of 5 characters]",
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_cut_to_their_first_letters_wherever_they_stand(secret: str) -> None:
    for document in (
        {"task": f"with {secret}"},
        {"tags": {"key": secret}},
        {"tags": {secret: "x"}},
        {secret: 1},
        {"events": [{"id": secret}]},
    ):
        assert secret not in json.dumps(kept(document))
        assert secret not in broken_redacted(json.dumps(document).encode()[:-1]).payload.decode()
    assert secret not in without_secrets(f"There is no field `{secret}`.")


@pytest.mark.parametrize(
    "name",
    [
        "task-abcdefghijklmnopqrst",
        "req_011CQ4pvX7abcdefghijkl",
        "97e8544a-a043-4d89-ad42-4e8480be4b00",
        "basic",
        "xai-org/grok-code-fast-1",
        "xai-grok-4-fast-non-reasoning",
        "r8-model",
        "pplx-70b-online",
        "nvapi-team",
        "hf_text_generation_inference",
        "fw_platform_of_the_backend",
        "co_founders",
        "dapi-service",
        "secretary",
        "secret: none",
        "password-reset-of-the-backend",
        "the field api_key: it is unknown",
        "global-platform-engineering",
        "accounts/fireworks/models/llama-v3p1-405b-instruct",
    ],
)
def test_ids_and_names_are_no_secrets(name: str) -> None:
    assert without_secrets(name) == name
    assert kept({"tags": {"a": name}}) == {"tags": {"a": name}}


@pytest.mark.parametrize("before", ["Bearer%20", "key%3D", "a%2C", "\\n", "\\u0020", "task-", "task_"])
def test_a_secret_is_seen_behind_a_sign_that_is_written_with_letters(before: str) -> None:
    for secret in SECRETS:
        assert secret not in without_secrets(before + secret)


@pytest.mark.parametrize(
    "written",
    [
        "AKIAIOSFODNN7EXAMPLE {}",
        "AKIAIOSFODNN7EXAMPLE:{}",
        "AWS_SECRET_ACCESS_KEY={}",
        "aws_secret_access_key: '{}'",
        "clientSecret%3D{}",
        "https://gateway.example/v1?api_key={}",
    ],
)
def test_a_secret_without_a_beginning_of_its_own_is_known_by_what_stands_before_it(written: str) -> None:
    text = written.format(AWS_SECRET)
    assert AWS_SECRET[6:] not in without_secrets(text)
    assert AWS_SECRET[6:] not in json.dumps(kept(GOOD | {"task": text}))


def test_a_tag_whose_name_says_secret_keeps_its_first_letters_only() -> None:
    found = kept(GOOD | {"tags": {"aws_secret_access_key": AWS_SECRET, "secret": "no", "team": "secret-santa-of-the-year"}})["tags"]
    assert found == {"aws_secret_access_key": "wJalrX…[secret removed]", "secret": "no", "team": "secret-santa-of-the-year"}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"events": [{"id": "call-1", "prompt": "' + PROMPT.encode(),
        b'{"id": "call-1", "input_tokens": NaN, "messages": [{"content": "' + PROMPT.encode() + b'"}]}',
        b'{"id": "call-1", prompt: ' + PROMPT.encode() + b"}",
        b'{"id": "call-1", "prompt": "say \\"' + PROMPT.encode() + b'\\"", "x": }',
    ],
)
def test_broken_json_keeps_its_shape_and_ids_only(payload: bytes) -> None:
    found = payload_redacted(payload)
    assert b"mother" not in found.payload
    assert b'"call-1"' in found.payload
    assert not found.is_whole


def test_broken_json_of_known_fields_is_kept_as_it_came() -> None:
    payload = b'{"events": [{"id": "call-1", "input_tokens": NaN}, '
    assert payload_redacted(payload).is_whole
    assert payload_redacted(payload).payload == payload


@given(some.binary(max_size=300))
def test_any_bytes_can_be_redacted(payload: bytes) -> None:
    assert payload_redacted(payload).payload.decode() is not None


def test_a_long_body_is_redacted_in_a_moment() -> None:
    for piece in (b'"', b'\\"', b'"a":"b",', b"[", b"sk-", b"eyJ", b'{"events":[', b'"events":"bearer ', b"\xff"):
        payload_redacted(piece * (65_536 // len(piece)))


@pytest.mark.parametrize("name", ["modle", "Mdoel", "modell", "mode1", "usr_email", "provider_"])
def test_a_word_under_a_misspelt_name_is_kept_so_that_a_rule_can_read_it(name: str) -> None:
    assert kept(GOOD | {name: "gpt-5.1-mini"})[name] == "gpt-5.1-mini"
    assert "poem" not in str(kept(GOOD | {name: PROMPT})[name])
    for secret in SECRETS:
        assert secret not in str(kept(GOOD | {name: secret})[name])


@pytest.mark.parametrize(
    "name",
    [
        "prompt",
        "message",
        "content",
        "text",
        "input",
        "output",
        "query",
        "answer",
        "password",
        "secret",
        "token",
        "api_key",
        "reasoning",
        "note",
        "mood",
    ],
)
def test_a_word_under_a_name_that_is_none_of_ours_is_taken_out(name: str) -> None:
    assert kept(GOOD | {name: "hunter2"})[name] == "[removed: text of 7 characters]"


def test_secrets_in_the_labels_of_a_call_are_cut_and_nothing_else_of_it() -> None:
    event = UsageEvent(
        occurred_at=datetime(2026, 11, 21, tzinfo=UTC),
        model="gpt-5",
        id="sk-proj-abcdefghijklmnop1234",
        session="sk-proj-abcdefghijklmnop1234",
        member="sk-proj-abcdefghijklmnop1234",
        team="platform-engineering",
        tags={
            "repository": "https://x-access-token:hunter2hunter2@github.com/acme/shop.git",
            "aws_secret_access_key": AWS_SECRET,
            "api_key_alias": "checkout-service-production",
            "command": "serve --token sk-proj-abcdefghijklmnop1234",
            "sk-proj-abcdefghijklmnop1234": "true",
        },
    )
    kept = labels_redacted(event)
    assert kept.tags == {
        "repository": "https://github.com/acme/shop.git",
        "aws_secret_access_key": "wJalrX…[secret removed]",
        "api_key_alias": "checkout-service-production",
        "command": "serve --token sk-pro…[secret removed]",
        "sk-pro…[secret removed]": "true",
    }
    assert kept == msgspec.structs.replace(event, member="sk-pro…[secret removed]", tags=kept.tags)
    plain = msgspec.structs.replace(
        event, member="kim@acme.example", project="sk-learn-experiments-2026", task="basic authentication", tags={"feature": "checkout-and-payment"}
    )
    assert labels_redacted(plain) is plain

"""Every captured OpenTelemetry request gives exactly the events written down for it, in both encodings and however it is cut up."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.formats.event import UsageEvent as Reported
from ingest.formats.wire import LENGTH, parts, varint_bytes
from ingest.models import UsageEvent
from ingest.services.identity import identity_key
from tests.golden.captures import CAPTURES_OF_OTLP as CAPTURES
from tests.golden.captures import FOLDER, ITEMS, PROTOBUF, Capture, joined, singles, twin, written

EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "otlp_events.json").read_text())
WITH_CALLS = [name for name, sent in CAPTURES.items() if sent.signal != "metrics"]
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
# What the vendors' stand-ins counted, whatever the client makes of it: fresh input, cache read, write 5 min, write 1 h, output, reasoning.
ANTHROPIC, OPENAI, GEMINI, EMBEDDING = (120, 10240, 1536, 512, 57), (476, 1024, 200, 64), (300, 1000, 130, 40), (9,)
# Clients that leave out a part of what they were told: no cached and reasoning tokens; no reasoning on streams, or at all; not how long caches last.
NO_PARTS, NO_REASONING, NO_REASONING_OF_GEMINI, NO_LIFETIMES, NOTHING = (
    (1500, 200),
    (476, 1024, 200),
    (300, 1000, 130),
    (120, 10240, 2048, 57),
    (),
)


def as_written(event: Reported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(event))
    return found


def keys_of(sent: Capture) -> dict[UUID, Reported]:
    return {identity_key(event, "otlp"): event for event in sent.parsed().usage.events}


@pytest.mark.parametrize("name", WITH_CALLS)
def test_each_request_gives_exactly_these_events(name: str) -> None:
    found = CAPTURES[name].parsed()
    assert [as_written(event) for event in found.usage.events] == EXPECTED[name]
    assert (found.usage.refused, found.unread) == ([], Counter())


@pytest.mark.parametrize("name", WITH_CALLS)
def test_the_counts_are_those_of_the_vendor(name: str) -> None:
    known = {ANTHROPIC, (*ANTHROPIC, 0), OPENAI, GEMINI, EMBEDDING, NO_PARTS, NO_REASONING, NO_REASONING_OF_GEMINI, NO_LIFETIMES, NOTHING}
    for event in CAPTURES[name].parsed().usage.events:
        counts = tuple(
            count
            for field in COUNTS
            if (count := getattr(event, field)) is not None and not (field == "cache_write_5m_tokens" and count == 0)
        )
        assert counts in known


@pytest.mark.parametrize("name", list(CAPTURES))
def test_the_other_encoding_says_the_same(name: str) -> None:
    sent = CAPTURES[name]
    other = twin(sent)
    assert other.content_type != sent.content_type
    if sent.signal != "metrics":
        assert other.parsed().usage.events == sent.parsed().usage.events


def of_service(sent: Capture, service: str, **scope: str) -> Capture:
    """The request as a company that names its services and strips its scopes passes it on."""
    document = sent.document
    for group in next(iter(document.values())):
        for attribute in group["resource"]["attributes"]:
            if attribute["key"] == "service.name":
                attribute["value"] = {"stringValue": service}
        for scoped in group[ITEMS[sent.signal][0]]:
            scoped["scope"] |= scope
    return written(document, sent)


@pytest.mark.parametrize("name", ["claude-code/001", "codex-cli/004", "gemini-cli/002", "qwen-code/001"])
def test_a_service_of_any_name_loses_no_call(name: str) -> None:
    sent = CAPTURES[name]
    other = of_service(sent, "acme-agents", name="").parsed()
    assert (other.usage.events, other.unread) == (sent.parsed().usage.events, Counter())
    assert sent.parsed().usage.events


def test_a_service_that_is_named_like_codex_is_read_by_what_its_spans_say() -> None:
    sent = CAPTURES["openinference-openai/001"]
    found = of_service(sent, "codex-review-bot").parsed().usage.events
    assert [msgspec.structs.replace(event, harness=None) for event in found] == [
        msgspec.structs.replace(event, harness=None) for event in sent.parsed().usage.events
    ]


def renamed(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, list):
        return [renamed(one, change) for one in node]
    return {change(key): renamed(one, change) for key, one in node.items()} if isinstance(node, dict) else node


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def before_0_15(name: str) -> str:
    return {"scope": "instrumentationLibrary", "logRecords": "logs"}.get(name, re.sub("^scope(?=[LS])", "instrumentationLibrary", name))


def groups_of_0_15(sent: Capture) -> Capture:
    """The request with the scopes of its resources in the field that OTLP 0.15 to 0.18 had for old senders."""
    body = bytearray()
    for resource in parts((twin(sent) if sent.is_json else sent).body):
        inside = b"".join(
            part.raw if part.number == 1 else varint_bytes(1000 << 3 | LENGTH) + varint_bytes(len(part.content)) + part.content
            for part in parts(resource.content)
        )
        body += resource.raw[:1] + varint_bytes(len(inside)) + inside
    return Capture(sent.path, PROTOBUF, bytes(body))


@pytest.mark.parametrize("name", ["claude-code/001", "openinference-openai/001"])
def test_names_of_the_protobuf_and_those_of_old_exporters_say_the_same(name: str) -> None:
    sent = CAPTURES[name]
    old = renamed(sent.document, before_0_15)
    spellings = [written(document, sent) for document in (renamed(sent.document, snake), old, renamed(old, snake))]
    for other in (*spellings, groups_of_0_15(sent)):
        found = other.parsed()
        assert (found.usage.events, found.usage.refused) == (sent.parsed().usage.events, [])


@pytest.mark.parametrize("name", WITH_CALLS)
def test_however_a_request_is_cut_up_the_same_calls_count(name: str) -> None:
    """Also with wrappers and what they wrap in requests of their own, since one id names both."""
    sent = CAPTURES[name]
    whole, parts = keys_of(sent), singles(sent)
    chance = random.Random(name)
    for _ in range(5):
        chance.shuffle(parts)
        cut = chance.randrange(len(parts) + 1)
        found = [keys_of(joined(piece)) for piece in (parts[:cut], parts[cut:]) if piece]
        assert set().union(*found) == set(whole)
    alone = [keys_of(part) for part in parts]
    assert set().union(*alone) == set(whole)


@pytest.mark.django_db
def test_all_captures_in_any_order_and_twice_count_the_same(api: APIClient) -> None:
    def table() -> list[tuple[Any, ...]]:
        return sorted(UsageEvent.objects.values_list(*COUNTS, "session", "harness", "gateway"), key=str)

    chance = random.Random(7)
    sent = list(CAPTURES.values())
    with time_machine.travel("2026-11-21T12:00:00Z"):
        for one in sent:
            assert one.post(api).status_code == 200
        first = table()
        chance.shuffle(sent)
        for one in sent:
            assert twin(one).post(api).status_code == 200
        assert table() == first
    # Two of the calls are told of by Claude Code and by the LiteLLM they went through.
    assert len(first) == len({key for one in CAPTURES.values() if one.signal != "metrics" for key in keys_of(one)}) - 2

"""What was captured, written as another encoder, collector or version might write it, says the same calls.

Members and attributes in another order, numbers as text and text as numbers, fields that nobody knows, records of others in
between, several requests in one, and JSON as protobuf. That requests are cut up is in test_otlp.
"""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.formats import records
from tests.golden.answers import CHAT, CONVERSED, GENERATED, MESSAGE, OLLAMA, RESPONSE
from tests.golden.captures import CAPTURES_OF_OTLP, FOLDER, ITEMS, Capture, joined, twin, written
from tests.golden.harness_files import FILES, qwen_chat
from tests.golden.test_otlp import as_written

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WITH_CALLS = {name: sent for name, sent in CAPTURES_OF_OTLP.items() if sent.signal != "metrics" and sent.parsed().usage.events}
NUMBERS = ("intValue", "doubleValue", "stringValue")
STRANGE = {"aFieldOfTomorrow": {"nested": [1, None, "x"]}}
UNRELATED = {
    "logs": {"timeUnixNano": "1795255928000000000", "body": {"stringValue": "started"}, "attributes": [{"key": "retries", "value": {"intValue": 3}}]},
    "traces": {
        "traceId": "0f" * 16, "spanId": "0f" * 8, "name": "GET /health", "startTimeUnixNano": "1795255928000000000", "endTimeUnixNano": "1795255929000000000",
        "attributes": [{"key": "http.request.method", "value": {"stringValue": "GET"}}],
    },
}  # fmt: skip


def shuffled(node: Any, chance: random.Random) -> Any:
    """The same document with the members of each object, and the attributes of each list of them, in another order."""
    if isinstance(node, dict):
        items = list(node.items())
        chance.shuffle(items)
        return {key: shuffled(value, chance) for key, value in items}
    if isinstance(node, list):
        found = [shuffled(value, chance) for value in node]
        if found and all(isinstance(one, dict) and set(one) == {"key", "value"} for one in found):
            chance.shuffle(found)
        return found
    return node


def retyped(node: Any, chance: random.Random) -> None:
    """Counts of tokens in any of the types that exporters have sent them in."""
    for one in node.values() if isinstance(node, dict) else node:
        if isinstance(one, dict) and "token" in str(one.get("key")) and isinstance(one.get("value"), dict):
            number = next(iter(one["value"].values()), "")
            if str(number).isdigit():
                kind = chance.choice(NUMBERS)
                one["value"] = {
                    kind: float(number)
                    if kind == "doubleValue"
                    else chance.choice([int, str])(number)
                    if kind == "intValue"
                    else str(number)
                }
        elif isinstance(one, dict | list):
            retyped(one, chance)


def among_others(document: dict[str, Any], signal: str) -> None:
    """Fields that nobody knows on every level, and a record of somebody else before and after each."""
    scopes, items = ITEMS[signal]
    document.update(STRANGE)
    for group in next(value for value in document.values() if isinstance(value, list)):
        group.update(STRANGE)
        for scoped in group[scopes]:
            scoped.update(STRANGE)
            for item in scoped.get(items, ()):
                item.update(STRANGE, droppedAttributesCount=2)
        stranger = {"scope": {"name": "my.application", "version": "1"}, items: [UNRELATED[signal]]}
        group[scopes] = [stranger, *group[scopes], stranger]


def said(sent: Capture) -> list[str]:
    parsed = sent.parsed()
    assert parsed.usage.refused == []
    assert not parsed.unread
    return sorted(json.dumps(as_written(event), sort_keys=True) for event in parsed.usage.events)


@pytest.mark.parametrize("name", WITH_CALLS)
@pytest.mark.parametrize("seed", [1, 2])
def test_telemetry_written_in_another_way_tells_of_the_same_calls(name: str, seed: int) -> None:
    sent, chance = WITH_CALLS[name], random.Random(f"{name}{seed}")
    document = json.loads(json.dumps(sent.document))
    retyped(document, chance)
    plain = shuffled(document, chance)
    among_others(document, sent.signal)
    for other in (written(plain, sent), written(shuffled(document, chance), sent), twin(written(document, sent))):
        assert said(other) == said(sent)


@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_requests_of_many_clients_in_one_tell_of_the_calls_of_each(signal: str) -> None:
    """As a collector between them and Weighhouse batches them. Calls that two of them tell of are one here already."""
    sent = [one for one in WITH_CALLS.values() if one.signal == signal]
    random.Random(signal).shuffle(sent)
    ids = {event.request_id or event.id for one in sent for event in one.parsed().usage.events}
    found = [event.request_id or event.id for event in joined(sent).parsed().usage.events]
    assert (set(found), len(found)) == (ids, len(ids))
    assert said(twin(joined(sent))) == said(joined(sent))


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


RECORDS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    **{file.path.name: (file.harness, lines(str(file.path.relative_to(FOLDER)))) for file in FILES if file.path.suffix == ".jsonl"},
    "qwen chat": ("qwen-code", qwen_chat()),
    **{name: ("litellm", json.loads((FOLDER / f"{name}.json").read_text())["body"]) for name in ("litellm/001", "litellm/002", "claude-code-via-litellm/005")},
    "chat": ("openai", [CHAT]),
    "responses": ("openai", [RESPONSE]),
    "messages": ("anthropic", [MESSAGE]),
    "gemini": ("gemini", [GENERATED]),
    "converse": ("bedrock", [{**CONVERSED, "modelId": "amazon.nova-pro-v1:0"}]),
    "ollama": ("ollama", [OLLAMA]),
}  # fmt: skip
# A record of a kind that no version here knows, which every harness's file may come to hold.
NO_CALL: dict[str, Any] = {"type": "a-type-of-tomorrow", "role": "user", "done": False, "cache_hit": True, "candidates": [{}]}


def told(name: str, rows: list[dict[str, Any]]) -> list[str]:
    parsed = records.parse("\n".join(map(json.dumps, rows)).encode(), name=name, labels={}, received_at=NOW, is_lines=True)
    assert parsed.refused == []
    return sorted(json.dumps(as_written(event), sort_keys=True) for event in parsed.events)


def counts_as_text(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: str(value) if "token" in key.lower() and type(value) is int else counts_as_text(value) for key, value in node.items()}
    return [counts_as_text(one) for one in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", RECORDS)
def test_records_written_in_another_way_tell_of_the_same_calls(name: str) -> None:
    harness, rows = RECORDS[name]
    chance = random.Random(name)
    strange = [shuffled({**row, "a_field_of_tomorrow": {"usage": [1]}}, chance) for row in counts_as_text(rows)]
    expected = told(harness, rows)
    assert expected
    assert told(harness, strange) == expected


@pytest.mark.parametrize(
    "name", [name for name, (harness, _) in RECORDS.items() if harness not in ("openai", "anthropic", "gemini", "bedrock")]
)
def test_a_record_of_tomorrow_between_them_changes_nothing(name: str) -> None:
    harness, rows = RECORDS[name]
    among = [one for row in rows for one in (NO_CALL, row, NO_CALL)]
    assert told(harness, among) == told(harness, rows)

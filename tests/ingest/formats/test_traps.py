"""The nineteen ways in which clients' usage goes wrong, each posted to the door that meets it and looked for in the table.

What formats make of each by itself, in more shapes, stands in tests/golden/test_pitfalls.py under the same numbers; what telemetry and
files of one call come to together in tests/ingest/once; that nothing written is kept (17) also in tests/ingest/quarantine.
"""

import gzip
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import pytest
import time_machine
from rest_framework.test import APIClient

from ingest.models import RejectedInput, UsageEvent
from tests.golden.captures import FOLDER, capture, twin, written

pytestmark = pytest.mark.django_db
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
# Fresh input, cache read, written for five minutes and for an hour, output, reasoning.
ANTHROPIC, ANTHROPIC_0 = (120, 10240, 1536, 512, 57, None), (120, 10240, 1536, 512, 57, 0)
OPENAI, CODEX, QWEN = (476, 1024, None, None, 200, 64), (476, 1024, 0, None, 200, 64), (476, 1024, None, None, 200, 64)
GEMINI = (300, 1000, None, None, 130, 40)
OMNIGENT = (476, 1024, None, None, 200, None)
PLAIN, UNKNOWN = (1500, None, None, None, 200, None), (None,) * 6


class Trap(NamedTuple):
    """What is posted, and the calls that are in it: each one's counts. Names ending in a file's are posted to the door of records."""

    posts: tuple[str, ...]
    calls: list[tuple[int | None, ...]]


TRANSCRIPT = "claude-code:claude-code-via-litellm/transcript-09cdacfa.jsonl"
ROLLOUT = "codex:codex-cli/sessions/rollout-2026-11-21T10-04-01-01a1fd90-17f4-7822-bd3d-fdfa2624eb70.jsonl"
CHAT = "gemini-cli:gemini-cli/chats/session-2026-11-21T10-06-12403391.jsonl"
OPENCODE = "opencode:opencode/opencode.db.rows.jsonl"
TRAPS = {
    "01 input means two things": Trap(("claude-code/001", "anthropic-sdk-native/001", "omnigent/001"), [ANTHROPIC, ANTHROPIC, OMNIGENT]),
    "02 output means two things": Trap(("gemini-cli/002", "qwen-code/001", OPENCODE), [GEMINI, QWEN, QWEN, CODEX, CODEX]),
    "03 Gemini's metrics overlap, its chat counts once": Trap(("gemini-cli/003", CHAT), [GEMINI]),
    "04 every signal repeats the spend": Trap(
        ("claude-code/009", "claude-code/010", "claude-code/011", "codex-cli/001", "codex-cli/003", "codex-cli/004", "gemini-cli/001", "gemini-cli/002", "gemini-cli/003"),
        [ANTHROPIC, ANTHROPIC, CODEX, CODEX, GEMINI],
    ),
    "05 agents repeat their calls' sum": Trap(("codex-cli/002", "pydantic-ai/001", "omnigent/001"), [OPENAI, OPENAI, OMNIGENT]),
    "06 two instrumentations of one call": Trap(("pydantic-ai/002", "openinference-langchain/001"), [ANTHROPIC, OPENAI, OPENAI]),
    "07 streams without usage": Trap(("otel-genai-openai/002", "otel-openai-v2/003", "openllmetry-openai/002", "openinference-openai/002"), [UNKNOWN] * 4),
    "08 a request is many lines of a transcript": Trap((TRANSCRIPT,), [ANTHROPIC_0] * 2),
    "09 numbers that cumulate": Trap((ROLLOUT,), [CODEX] * 3),
    "10 Codex says counts as text, no time and one response twice": Trap(("codex-cli/004",), [CODEX] * 2),
    "12 names drift": Trap(("otel-openai-v2/001", "otel-genai-openai/001", "openllmetry-openai/001"), [PLAIN, OPENAI, OPENAI]),
    "14 what is never said is unknown": Trap(("otel-openai-v2/001",), [PLAIN]),
    "16 LiteLLM's lists": Trap(("litellm:claude-code-via-litellm/005.json",), [ANTHROPIC_0] * 2),
    "18 Gemini's server is not where it says": Trap(("gemini-cli/001", "gemini-cli/002"), [GEMINI]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def day_of_the_captures() -> Iterator[None]:
    with time_machine.travel("2026-11-21T12:00:00Z"):
        yield


def post(api: APIClient, name: str, *, other_encoding: bool = False) -> dict[str, Any]:
    """Posts a capture to its door, `door:file` to that of records, and gives the answer."""
    door, _, file = name.partition(":")
    if file:
        content = (FOLDER / file).read_bytes()
        body = json.dumps(json.loads(content)["body"]).encode() if file.endswith(".json") else content
        answer = api.generic(
            "POST",
            f"/api/v1/events/{door}",
            cast("str", gzip.compress(body)),
            content_type="application/json",
            HTTP_CONTENT_ENCODING="gzip",
        )
    else:
        answer = (twin(capture(name)) if other_encoding else capture(name)).post(api)
    assert answer.status_code == 200, answer.content
    return cast("dict[str, Any]", json.loads(answer.content)) if answer.headers["Content-Type"].startswith("application/json") else {}


def stored() -> list[tuple[int | None, ...]]:
    return sorted(UsageEvent.objects.values_list(*COUNTS), key=str)


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
@pytest.mark.parametrize("again", [False, True], ids=["in order", "backwards, and again in the other encoding"])
def test_a_trap(api: APIClient, trap: Trap, again: bool) -> None:
    for name in reversed(trap.posts) if again else trap.posts:
        post(api, name)
    for name in trap.posts if again else ():
        post(api, name, other_encoding=True)
    assert stored() == sorted(trap.calls, key=str)
    assert not RejectedInput.objects.exists()


@pytest.mark.parametrize("kind", ["intValue", "stringValue", "doubleValue"])
def test_11_numbers_come_in_every_type(api: APIClient, kind: str) -> None:
    sent = capture("claude-code/001")
    document = sent.document
    for record in (one for group in document["resourceLogs"] for scoped in group["scopeLogs"] for one in scoped["logRecords"]):
        for attribute in record["attributes"]:
            if "token" in attribute["key"]:
                (number,) = attribute["value"].values()
                attribute["value"] = {kind: float(number) if kind == "doubleValue" else str(number)}
    assert written(document, sent).post(api).status_code == 200
    assert stored() == [ANTHROPIC]


def test_13_the_model_is_the_one_that_answered_and_no_agents_name(api: APIClient) -> None:
    for name in ("otel-genai-openai/001", "claude-code-via-litellm/007", "omnigent/001"):
        post(api, name)
    assert set(UsageEvent.objects.values_list("model", flat=True)) == {"gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "unknown"}


def test_15_whose_a_call_is_stands_on_the_resource_or_on_the_record(api: APIClient) -> None:
    for name in ("claude-code/001", "codex-cli/004", "gemini-cli/002", "qwen-code/001"):
        post(api, name)
    assert set(UsageEvent.objects.values_list("team_label", flat=True)) == {"platform"}
    assert {event.tags["cost_center"] for event in UsageEvent.objects.all()} == {"eng-123"}


def test_16_a_call_that_litellm_tells_of_in_both_its_ways_is_one(api: APIClient) -> None:
    post(api, "litellm:claude-code-via-litellm/005.json")
    post(api, "claude-code-via-litellm/007")
    assert stored() == [ANTHROPIC_0] * 2
    assert {(event.session, event.latency_ms) for event in UsageEvent.objects.all()} == {("09cdacfa-cfd4-4d44-8ee3-a838dd393702", None)}


def test_17_nothing_that_was_written_is_kept(api: APIClient) -> None:
    for name in (
        "gemini-cli/001",
        "gemini-cli/002",
        "codex-cli/004",
        "openinference-openai/001",
        "claude-code-via-litellm/007",
        TRANSCRIPT,
        CHAT,
    ):
        post(api, name)
    kept = "".join(str(row) for row in UsageEvent.objects.values())
    assert not [text for text in ("Hello from the mock", "Say hello", "You are", "echo hi") if text in kept]


def test_19_a_clients_cost_stands_beside_and_is_never_made_up(api: APIClient) -> None:
    for name in ("claude-code/001", "codex-cli/004", "omnigent/001"):
        post(api, name)
    told = {event.harness: event.reported_cost for event in UsageEvent.objects.all()}
    assert {harness: cost is not None for harness, cost in told.items()} == {"claude-code": True, "codex": False, "omnigent": False}

"""What clients were captured to send comes out the same in any order, cut anywhere, and sent again."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.tenancy.models import Organization
from ingest.formats import records
from ingest.formats.event import UsageEvent
from ingest.models import EventSighting
from ingest.once.later import pass_run
from tests.golden.captures import FOLDER, capture
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import assert_true, sums, told

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
Report = tuple[str, UsageEvent]


def from_telemetry(*names: str) -> list[Report]:
    return [("otlp", event) for name in names for event in capture(name).parsed().usage.events]


def from_records(door: str, body: bytes, *, is_lines: bool = False) -> list[Report]:
    return [(door, event) for event in records.parse(body, name=door, labels={}, received_at=NOW, is_lines=is_lines).events]


def combo() -> list[Report]:
    """Two calls of Claude Code through LiteLLM, by the telemetry of both, LiteLLM's callback and the transcript."""
    folder = FOLDER / "claude-code-via-litellm"
    batch = msgspec.json.encode(msgspec.json.decode((folder / "005.json").read_bytes())["body"])
    transcript = (folder / "transcript-09cdacfa.jsonl").read_bytes()
    return [
        *from_telemetry("claude-code-via-litellm/003", "claude-code-via-litellm/007"),
        *from_records("litellm", batch),
        *from_records("claude-code", transcript, is_lines=True),
    ]


def codex() -> list[Report]:
    """Telemetry, which has no id of a response, and the rollout, which has."""
    (path,) = (FOLDER / "codex-cli" / "sessions").glob("*.jsonl")
    return [*from_telemetry("codex-cli/004"), *from_records("codex", path.read_bytes(), is_lines=True)]


def claude() -> list[Report]:
    """A session's telemetry and its transcript, which name the same requests."""
    path = next((FOLDER / "claude-code" / "transcripts").rglob("959ca271*.jsonl"))
    return [*from_telemetry("claude-code/003"), *from_records("claude-code", path.read_bytes(), is_lines=True)]


def proxy() -> list[Report]:
    """LiteLLM's callback and its spans: one has the vendor's id of a request, the other LiteLLM's and that one as a tag."""
    batch = msgspec.json.encode(msgspec.json.decode((FOLDER / "litellm-proxy" / "001.json").read_bytes())["body"])
    return [*from_telemetry("litellm-proxy/004"), *from_records("litellm", batch)]


def gemini() -> list[Report]:
    """The same question asked twice, once written to a chat file and once told by telemetry, as if of one session."""
    (path,) = (FOLDER / "gemini-cli" / "chats").glob("*.jsonl")
    ((door, written),) = from_records("gemini-cli", path.read_bytes(), is_lines=True)
    ((_, telling),) = from_telemetry("gemini-cli/002")
    at = written.occurred_at + timedelta(milliseconds=40)
    return [(door, written), ("otlp", msgspec.structs.replace(telling, session=written.session, occurred_at=at))]


CASES: list[tuple[Callable[[], list[Report]], int]] = [(combo, 2), (claude, 2), (codex, 3), (gemini, 1)]


def outcome(organization: Organization, parts: Sequence[Sequence[Report]]) -> dict[str, Any]:
    """What counts after the parts, each sent by its doors; nothing of it is kept."""
    with transaction.atomic():
        for part in parts:
            for door in dict.fromkeys(door for door, _ in part):
                told(organization, door, *(event for name, event in part if name == door), now=NOW)
        pass_run(organization=organization, now=NOW + timedelta(minutes=1))
        assert_true(organization)
        found = sums(organization)
        assert not EventSighting.objects.filter(is_settled=False).exists()
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize(("reports", "calls"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_captured_calls_count_once(organization: Organization, reports: Callable[[], list[Report]], calls: int) -> None:
    found = outcome(organization, [[report] for report in reports()])
    assert found["calls"] == calls


@pytest.mark.parametrize(("reports", "calls"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_captured_calls_count_once_in_any_order_and_cut_anywhere(
    organization: Organization, reports: Callable[[], list[Report]], calls: int
) -> None:
    made = reports()
    expected = outcome(organization, [made])
    assert expected["calls"] == calls

    @settings(max_examples=8, database=None)
    @given(st.permutations(made), st.lists(st.integers(0, len(made)), max_size=4), st.integers(0, len(made)))
    def hold(order: list[Report], cuts: list[int], again: int) -> None:
        edges = [0, *sorted(cuts), len(order)]
        parts = [order[start:end] for start, end in pairwise(edges)]
        # Yesterday's file comes once more.
        assert outcome(organization, [*parts, order[:again]]) == expected

    hold()


# Orders in which a guess was wrong: each report as its door and the end of its id, batches parted by None.
A, B = "505", "506"
GA, GB = "f8f6a", "bcab90"
WRONG_GUESSES = {
    # The batch with both of the gateway's spans says by an id which call is the stored one: the other is not guessed to be it.
    "another of the batch": [
        ("litellm", GB), None, ("otlp", B), ("otlp", GA), ("otlp", GB), ("litellm", GA), ("otlp", A), ("claude-code", A), ("claude-code", B),
    ],
    # A harness's first report is guessed to be of the only call there is; what comes with ids shows it to be of the other.
    "the only one there is": [
        ("litellm", GB), None, ("otlp", A), None, ("otlp", GA), None, ("otlp", GB), None, ("otlp", B), ("claude-code", A), ("claude-code", B),
        ("litellm", GA),
    ],
    # The report whose ids say so cannot join before the one that was guessed has left.
    "one in the other's place": [
        ("otlp", B), ("otlp", GA), ("claude-code", B), ("litellm", GA), ("claude-code", A), None, ("litellm", GB), ("otlp", A), ("otlp", GB),
    ],
}  # fmt: skip


@pytest.mark.parametrize("order", WRONG_GUESSES.values(), ids=WRONG_GUESSES)
@pytest.mark.parametrize("is_reversed", [False, True], ids=["", "reversed"])
def test_guesses_give_way_to_ids(organization: Organization, order: list[tuple[str, str] | None], is_reversed: bool) -> None:
    made = combo()
    parts: list[list[Report]] = [[]]
    for place in reversed(order) if is_reversed else order:
        if place is None:
            parts.append([])
        else:
            parts[-1].append(next(one for one in made if one[0] == place[0] and one[1].request_id.endswith(place[1])))
    assert sum(map(len, parts)) == len(made)
    assert outcome(organization, parts) == outcome(organization, [made])

"""OpenClaw told of by its plugin's spans, one a run, and by its transcript, one an answer, which share no id."""

import json
from datetime import datetime
from typing import Any

import pytest

from governance.tenancy.models import Organization
from ingest.formats import records
from ingest.formats.event import UsageEvent
from ingest.models import SightingPair
from ingest.once.later import pass_run
from tests.golden.captures import FOLDER
from tests.ingest.few_prices import few_prices
from tests.ingest.once.told import NOW, assert_true, statuses, sums, told
from tests.ingest.telemetry_made import NOON, SECOND, call

__all__ = ["few_prices"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
ROWS = (FOLDER / "openclaw" / "transcript_events.jsonl").read_bytes().splitlines()


def answers(number: int) -> list[UsageEvent]:
    """The first answers of the run that was captured, which has two with the same counts."""
    found = records.parse(b"\n".join(ROWS), name="openclaw", labels={}, received_at=NOW, is_lines=True).events
    assert [event.output_tokens for event in found] == [200, 200]
    return found[:number]


def run(of: list[UsageEvent], **changes: Any) -> UsageEvent:
    """The span that the plugin makes of a run with these answers (extensions/diagnostics-otel/src): their sums, and the session in versions that tell it."""
    counts = {
        "input": sum(event.input_tokens or 0 for event in of), "cache_read": sum(event.cache_read_tokens or 0 for event in of), "cache_write": 0,
        "output": sum(event.output_tokens or 0 for event in of),
    }  # fmt: skip
    told_by = {"openclaw.provider": "mock", "openclaw.model": "gpt-5", "openclaw.sessionId": of[0].session, **changes}
    counted = {f"openclaw.tokens.{name}": value for name, value in {**counts, "total": sum(counts.values())}.items()}
    start, end = (since_noon(event.occurred_at) for event in (of[0], of[-1]))
    return call({**told_by, **counted}, "openclaw", name="openclaw.model.usage", start=start - 2.5, end=end + 0.3)


def since_noon(at: datetime) -> float:
    return at.timestamp() - NOON / SECOND


@pytest.mark.parametrize("is_span_first", [False, True])
def test_a_run_of_one_answer_counts_once(organization: Organization, is_span_first: bool) -> None:
    alone = answers(1)
    reports = [("openclaw", alone[0]), ("otlp", run(alone))]
    for door, event in reversed(reports) if is_span_first else reports:
        told(organization, door, event)
    assert (sums(organization)["calls"], sums(organization)["output"]) == (1, 200)
    assert_true(organization)


@pytest.mark.parametrize("is_span_first", [False, True])
def test_a_run_of_several_answers_is_none_of_them(organization: Organization, is_span_first: bool) -> None:
    """Its span has only their sum, so nothing in it tells of one of them: it is counted besides them, and never taken for one."""
    both = answers(2)
    reports = [("openclaw", event) for event in both] + [("otlp", run(both))]
    for door, event in reversed(reports) if is_span_first else reports:
        assert statuses(told(organization, door, event)) == ["accepted"]
    pass_run(organization=organization, now=NOW)
    assert sums(organization)["calls"] == 3
    assert not SightingPair.objects.exists()


def test_a_run_whose_session_is_not_told_is_recognised_by_nothing(organization: Organization) -> None:
    alone = answers(1)
    told(organization, "openclaw", *alone)
    assert statuses(told(organization, "otlp", run(alone, **{"openclaw.sessionId": ""}))) == ["accepted"]


def test_the_transcript_is_the_one_that_was_captured() -> None:
    assert {json.loads(row)["session_id"] for row in ROWS} == {"7897496e-af26-4275-981e-b07030a53737"}

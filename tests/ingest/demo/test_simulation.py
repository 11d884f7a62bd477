"""The simulated history is a pure function of its plan."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise

import msgspec
import pytest

from ingest.demo.simulation import Plan, Streamed, simulate
from ingest.demo.stories import frozen_session
from ingest.formats.event import UsageEvent, fault

UNTIL = datetime(2026, 10, 28, 15, 20, 30, tzinfo=UTC)  # two days after the clocks went back
PLAN = Plan(7, 12, 3000, UNTIL)
PRINT = "from tests.ingest.demo.test_simulation import *; print(digest(Plan(7, 12, 3000, UNTIL)))"


def everything(plan: Plan) -> Iterator[Streamed]:
    for day in simulate(plan):
        yield from day


def digest(plan: Plan) -> str:
    """A hash of every byte of the plan's events, the frozen session's included."""
    found = sha256()
    for stream, event in everything(plan):
        found.update(stream.encode() + msgspec.json.encode(event))
    for event in frozen_session(plan.until, plan.tag):
        found.update(msgspec.json.encode(event))
    return found.hexdigest()


def test_the_same_plan_gives_the_same_bytes_in_any_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True)
    assert digest(Plan(7, 12, 3000, UNTIL)) == digest(PLAN) == other.stdout.strip()


@pytest.mark.parametrize("plan", [Plan(8, 12, 3000, UNTIL), Plan(7, 12, 3000, UNTIL + timedelta(seconds=1)), Plan(7, 12, 3001, UNTIL)])
def test_another_plan_shares_no_event_with_it(plan: Plan) -> None:
    ours = {item.event.id for item in everything(PLAN)}
    assert ours.isdisjoint(item.event.id for item in everything(plan))


def test_days_can_be_simulated_in_any_order() -> None:
    parts = [day for part in range(3) for day in simulate(PLAN, part=part, parts=3)]
    assert sorted(item.event.id for day in parts for item in day) == sorted(item.event.id for item in everything(PLAN))


@pytest.mark.parametrize("plan", [PLAN, Plan(1, 1, 1, UNTIL), Plan(1, 3, 40, datetime(2026, 10, 27, 23, 0, 1, tzinfo=UTC))])
def test_a_plan_gives_as_many_events_as_it_says_within_its_window(plan: Plan) -> None:
    events = [item.event for item in everything(plan)]
    begins = plan.calendar[0].starts_at
    assert len(events) == plan.events == len({event.id for event in events})
    assert all(begins <= event.occurred_at <= max(plan.until, begins + timedelta(seconds=1)) for event in events)


def test_every_event_is_one_that_the_doors_take() -> None:
    decode = msgspec.json.Decoder(UsageEvent).decode
    for _, event in everything(PLAN):
        assert decode(msgspec.json.encode(event)) == event
        assert fault(event) is None


def test_failed_calls_say_what_is_known_of_them() -> None:
    failed = [event for _, event in everything(PLAN) if event.status != "ok"]
    assert {event.status for event in failed} == {"rate_limited", "overloaded", "timeout", "error"}
    for event in failed:
        expected = 0 if event.status in ("rate_limited", "overloaded") else None
        assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (expected, expected, None)


def test_the_frozen_session_is_spread_out_and_reads_what_it_wrote() -> None:
    calls = frozen_session(UNTIL, PLAN.tag, calls=300)
    times = [call.occurred_at for call in calls]
    assert times[-1] == UNTIL - timedelta(minutes=5)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > timedelta(seconds=4)
    assert sum(time > UNTIL - timedelta(minutes=35) for time in times) >= 20
    planners = [call for call in calls if call.role == "planner"]
    reads, writes = (sum(getattr(call, name) for call in planners) for name in ("cache_read_tokens", "cache_write_5m_tokens"))
    assert reads > 10 * writes
    expired = [gap for gap, call in zip(gaps, calls[1:], strict=True) if call.role == "planner" and call.cache_write_5m_tokens > 10_000]
    assert 5 < len(expired) < 30
    assert sum(gap > timedelta(minutes=5) for gap in expired) >= len(expired) / 2


def test_the_frozen_session_has_the_same_calls_however_many_follow() -> None:
    few, many = frozen_session(UNTIL, PLAN.tag, calls=40), frozen_session(UNTIL, PLAN.tag, calls=90)
    assert [msgspec.structs.replace(call, occurred_at=UNTIL) for call in many[:40]] == [msgspec.structs.replace(call, occurred_at=UNTIL) for call in few]

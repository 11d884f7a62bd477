"""Two things that happened to the simulated organization: a job that ran away overnight, and a session that reached its limit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random

import msgspec

from governance.pricing.usage import Usage
from ingest.demo import cast, offers
from ingest.demo.rhythm import Day
from ingest.formats.event import UsageEvent

RUNAWAY_CALLS = 94
RUNAWAY_SESSIONS = 3
RUNAWAY_HOURS = 6
RUNAWAY_DAYS_AGO = 7
RISE_DAYS_AGO = 12

FROZEN_SESSION = "cc-7f31d04b92ae"
FROZEN_AGO = timedelta(minutes=5)
FROZEN_CEILING = 172_000
PROMPT_TOKENS = 18_000
UNSET_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
FROZEN_CALLS = 1200  # more than its limit pays for
REQUEST_AMOUNT = "60"
REQUEST_REASON = (
    "Halfway through the ledger migration, 31 of 54 files converted and tests green. Stopping here means redoing the context."
)


def runaway(day: Day, tag: str) -> Iterator[UsageEvent]:
    """About 205 USD in six hours: one call asked again and again, its context grown past 230,000 tokens and never cached.

    Three sessions follow each other, so that none of them alone reaches a session's limit.
    """
    begins = day.starts_at + timedelta(hours=1, minutes=40)
    step = timedelta(hours=RUNAWAY_HOURS) / RUNAWAY_CALLS
    for number in range(RUNAWAY_CALLS):
        context = 200_000 + 31_400 * number // (RUNAWAY_CALLS - 1)
        part = number * RUNAWAY_SESSIONS // RUNAWAY_CALLS + 1
        yield UsageEvent(
            id=f"{tag}-runaway-{number}",
            occurred_at=begins + step * number,
            provider="anthropic",
            model=offers.FABLE.model,
            harness="openclaw",
            harness_version="2026.10.2",
            session=f"oc-enrich-{day.date:%m%d}-{part}",
            task="nightly-enrichment",
            role="worker",
            task_class="web-scraping",
            environment="production",
            input_tokens=context * 47 // 50,
            cache_read_tokens=context - context * 47 // 50,
            cache_write_5m_tokens=0,
            output_tokens=2_600,
            ttft_ms=5_200,
            latency_ms=73_000,
            status="ok",
        )


def frozen_session(until: datetime, tag: str, *, calls: int = FROZEN_CALLS) -> list[UsageEvent]:
    """The first so many calls of Mira's ledger migration, the last of them some minutes before `until`.

    One growing history: each call reads it from the cache and writes what came since. After a pause of more than five
    minutes the cache is gone and all of it is written again; near its ceiling it is compacted. Every sixth call is a
    subagent of its own history. The same call has the same tokens however many follow it.
    """
    found = list(islice(ledger_calls(Random(f"frozen/{tag}"), tag), calls))  # noqa: S311
    at = until - FROZEN_AGO
    events: list[UsageEvent] = []
    for pause, event in reversed(found):
        events.append(msgspec.structs.replace(event, occurred_at=at))
        # Each call begins when the one before it was answered and its tools have run.
        at -= pause
    return events[::-1]


def ledger_calls(rng: Random, tag: str) -> Iterator[tuple[timedelta, UsageEvent]]:
    """The calls without end, their instants not set, each with the time since the one before it began."""
    context = 46_000
    is_cold = True
    before = timedelta(0)
    for number in count():
        is_worker = number % 6 == 5
        is_break = number % 31 == 30
        is_cold = is_cold or is_break
        added = rng.randrange(900, 3_400)
        if is_worker:
            reads, writes, output = rng.randrange(24_000, 60_000), added, rng.randrange(500, 1_400)
        else:
            if context + added > FROZEN_CEILING:
                context, is_cold = 52_000, True
            # What comes before the conversation, the harness's own prompt and tools, stays cached by its other sessions.
            reads, writes = (PROMPT_TOKENS, context + added - PROMPT_TOKENS) if is_cold else (context, added)
            context, is_cold, output = context + added, False, rng.randrange(2_200, 5_800)
        event = ledger_call(f"{tag}-ledger-{number}", is_worker=is_worker, is_late=number > 40, reads=reads, writes=writes, output=output)
        away = rng.randrange(330, 560) if is_break else rng.randrange(2, 12)
        yield before + timedelta(seconds=away), event
        before = timedelta(milliseconds=event.latency_ms or 0)


def ledger_call(name: str, *, is_worker: bool, is_late: bool, reads: int, writes: int, output: int) -> UsageEvent:
    """One call of the ledger migration, its instant not set yet."""
    offer = offers.HAIKU if is_worker else offers.FABLE
    return UsageEvent(
        id=name,
        occurred_at=UNSET_INSTANT,
        provider=offer.provider,
        model=offer.model,
        gateway=offer.gateway,
        harness="claude-code",
        harness_version="2.1.4",
        team="platform",
        project="ledger-migration",
        member=cast.ENGINEER,
        session=FROZEN_SESSION,
        task="NW-1482",
        role="worker" if is_worker else "planner",
        task_class="format-conversion" if is_late else "code",
        environment="development",
        input_tokens=3 + output % 9,
        cache_read_tokens=reads,
        cache_write_5m_tokens=writes,
        output_tokens=output,
        reasoning_tokens=None if is_worker else output // 4,
        ttft_ms=offer.ttft_ms + writes // 60,
        latency_ms=offer.ttft_ms + writes // 60 + output * 9,
        status="ok",
    )


def usage_of(event: UsageEvent) -> Usage:
    """What is billed of the call."""
    return Usage(
        input_tokens=event.input_tokens,
        cache_read_tokens=event.cache_read_tokens,
        cache_write_5m_tokens=event.cache_write_5m_tokens,
        cache_write_1h_tokens=event.cache_write_1h_tokens,
        output_tokens=event.output_tokens,
        reasoning_tokens=event.reasoning_tokens,
    )

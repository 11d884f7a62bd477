"""Two things that happened to the simulated organization: a job that ran away overnight, and a session that reached its limit."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from ingest.demo import cast, offers
from ingest.demo.rhythm import Day
from ingest.formats.event import UsageEvent

RUNAWAY_CALLS = 94
RUNAWAY_SESSIONS = 3
RUNAWAY_HOURS = 6
RUNAWAY_DAYS_AGO = 7
RISE_DAYS_AGO = 12

FROZEN_SESSION = "cc-7f31d04b92ae"
FROZEN_MINUTES = 96
FROZEN_CALLS = 160
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


def frozen_session(until: datetime, tag: str) -> Iterator[UsageEvent]:
    """Mira's ledger migration up to some minutes ago: more calls than 100 USD pay for, each with the whole history written anew.

    Whoever stores them stops at the one that freezes the session.
    """
    rng = Random(f"frozen/{tag}")  # noqa: S311
    at = until - timedelta(minutes=FROZEN_MINUTES)
    step = timedelta(minutes=FROZEN_MINUTES - 6) / 60
    context = 52_000
    for number in range(FROZEN_CALLS):
        is_worker = number % 4 == 3
        context += rng.randrange(900, 2_400)
        offer = offers.DEEPSEEK if is_worker else offers.OPUS
        at = min(at + step * rng.uniform(0.7, 1.3), until - timedelta(minutes=5))
        yield UsageEvent(
            id=f"{tag}-ledger-{number}",
            occurred_at=at,
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
            task_class="format-conversion" if number > 40 else "code",
            environment="development",
            input_tokens=context if is_worker else rng.randrange(120, 400),
            cache_read_tokens=None if is_worker else 0,
            cache_write_1h_tokens=None if is_worker else context,
            output_tokens=rng.randrange(24_000, 36_000),
            reasoning_tokens=None if is_worker else rng.randrange(8_000, 20_000),
            ttft_ms=2_300,
            latency_ms=rng.randrange(40_000, 70_000),
            status="ok",
        )

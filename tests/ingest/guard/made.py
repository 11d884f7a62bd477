"""Calls for the tests of the guard's rules."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ingest.guard.rules import CallSeen

ZONE = ZoneInfo("Europe/Berlin")
MONDAY_TEN = datetime(2026, 6, 1, 10, tzinfo=ZONE)


def seen(minutes: float = 0, *, at: datetime = MONDAY_TEN, **fields: Any) -> CallSeen:
    """One call so many minutes after Monday ten o'clock: 50,000 tokens in, 500 out, 50 cents."""
    facts: dict[str, Any] = {"model": "big", "context_tokens": 50_000, "output_tokens": 500, "cost": Decimal("0.50")}
    return CallSeen(at=at + timedelta(minutes=minutes), **(facts | fields))

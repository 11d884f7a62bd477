"""Sessions stored through the real pipeline, and an admin to make rules with."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from governance.tenancy.access import Actor, member_actor, system_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import UsageEvent
from ingest.guard import looking, rule_sets
from ingest.services import events_store
from tests.dashboards.conftest import prices

__all__ = ["prices"]
_numbers = count(1)
Store = Callable[..., None]


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    """Nothing is kept in memory from the test before."""
    for kept in (looking._looked_at, looking._looked_inline, rule_sets._inline, rule_sets._team_pasts):
        kept.clear()


@pytest.fixture
def by_admin(admin: Member) -> Actor:
    return member_actor(admin)


def call(minutes_ago: float, **fields: Any) -> UsageEvent:
    """One Opus call of 100,000 uncached tokens so many minutes ago: about half a dollar."""
    facts: dict[str, Any] = {
        "id": f"guarded-{next(_numbers)}", "occurred_at": timezone.now() - timedelta(minutes=minutes_ago), "provider": "anthropic", "model": "claude-opus-4-5",
        "harness": "openclaw", "session": "s-1", "input_tokens": 100_000, "output_tokens": 500,
    }  # fmt: skip
    return UsageEvent(**(facts | fields))


def store(organization: Organization, calls: Iterable[UsageEvent], now: datetime | None = None) -> None:
    """Stores the calls; all of them must be accepted."""
    outcomes = events_store(actor=system_actor(organization), api_key=None, source="test", events=list(calls), now=now)
    assert {outcome.status for outcome in outcomes} <= {"accepted"}


def loop(minutes_ago: float = 30, calls: int = 20, **fields: Any) -> list[UsageEvent]:
    """The same call every minute, the last of them ending so many minutes before now less their number."""
    return [call(minutes_ago - number, **fields) for number in range(calls)]



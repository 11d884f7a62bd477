"""Usage for the tests of the pages, stored through the real pipeline."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from governance.periods import Window
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization
from ingest.formats.event import UsageEvent
from ingest.services import events_store

NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)  # a Wednesday, 16:30 in Berlin
MONTH = Window(NOW - timedelta(days=30), NOW + timedelta(days=1))
_numbers = count(1)


def call(**fields: Any) -> UsageEvent:
    """One call of an hour before NOW, unless said otherwise."""
    facts: dict[str, Any] = {
        "id": f"made-{next(_numbers)}", "occurred_at": NOW - timedelta(hours=1), "provider": "anthropic", "model": "claude-sonnet-4-5",
        "harness": "claude-code", "input_tokens": 1000, "output_tokens": 100,
    }  # fmt: skip
    return UsageEvent(**(facts | fields))


def use(organization: Organization, calls: Iterable[UsageEvent]) -> None:
    """Stores the calls; all of them must be accepted."""
    outcomes = events_store(actor=system_actor(organization), api_key=None, source="test", events=list(calls), now=NOW)
    refused = [outcome for outcome in outcomes if outcome.status != "accepted"]
    assert not refused, refused

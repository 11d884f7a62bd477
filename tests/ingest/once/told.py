"""Reports of calls as several sources make them, and what became of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from governance.tenancy.access import system_actor
from governance.tenancy.models import ApiKey, Organization
from ingest.formats.event import Outcome, UsageEvent
from ingest.models import UsageEvent as Stored
from ingest.services import events_store
from ingest.verify import differences

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def harness(number: int = 1, *, after: float = 0, **fields: Any) -> UsageEvent:
    """A call as Claude Code tells of it."""
    facts: dict[str, Any] = {
        "occurred_at": AT + timedelta(seconds=after), "model": "claude-sonnet-4-5", "provider": "anthropic", "harness": "claude-code", "session": "s-1",
        "request_id": f"req_011CQ4pvX7abcd{number:04}", "input_tokens": 120, "cache_read_tokens": 10240, "cache_write_5m_tokens": 2048,
        "output_tokens": 57,
    }  # fmt: skip
    return UsageEvent(**(facts | fields))


def gateway(number: int = 1, *, after: float = 0, **fields: Any) -> UsageEvent:
    """The same call as LiteLLM tells of it."""
    facts: dict[str, Any] = {
        "gateway": "litellm", "harness": "", "model": "claude-sonnet-4-5-20250929", "request_id": f"2c3bd870-bb5a-45fd-a8b3-9a24380f{number:04}",
        "team": "platform",
    }  # fmt: skip
    return harness(number, after=after, **(facts | fields))


def told(organization: Organization, door: str, *events: UsageEvent, api_key: ApiKey | None = None, now: datetime = NOW) -> list[Outcome]:
    return events_store(actor=system_actor(organization), api_key=api_key, source=door, events=events, now=now)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def sums(organization: Organization) -> dict[str, Any]:
    """What counts, whatever event it stands in."""
    rows = Stored.objects.filter(organization=organization)
    found = rows.aggregate(
        input=Sum("input_tokens"), read=Sum("cache_read_tokens"), written=Sum("cache_write_5m_tokens"), output=Sum("output_tokens")
    )
    cost = sum((row.cost or Decimal(0) for row in rows), Decimal(0))
    return {
        "calls": rows.count(),
        "cost": cost,
        **found,
        "names": sorted((row.session, row.harness, row.gateway, row.team_label) for row in rows),
    }


def assert_true(organization: Organization) -> None:
    assert differences(organization) == []

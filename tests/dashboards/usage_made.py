"""Usage for the tests of the pages, stored through the real pipeline."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.db import connection

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


MODELS = [("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-opus-4-5"), ("openai", "gpt-5"), ("deepseek", "deepseek-chat"), ("", "no-such-model")]
TASKS = ("code", "extract", "")


def varied_calls(number: int = 60) -> list[UsageEvent]:
    """Calls over ten days with every kind of gap: no team, no member, no price, subscription, errors, unknown size."""
    return [
        call(
            provider=MODELS[index % 5][0], model=MODELS[index % 5][1], occurred_at=NOW - timedelta(hours=4 * index + 1),
            team=("platform", "", "data")[index % 3], member=("admin@acme.example", "")[index % 2], harness=("claude-code", "opencode", "")[index % 3],
            gateway=("", "litellm")[index % 2], role=("planner", "worker")[index % 2], task_class=TASKS[index // 2 % 3],
            input_tokens=None if index % 11 == 0 else 1000 + 37 * index, output_tokens=None if index % 11 == 0 else 10 + index,
            cache_read_tokens=index * 113, status="error" if index % 7 == 0 else "ok", session=f"s{index % 4}",
            billing_mode="subscription" if index % 6 == 0 else None,
        )
        for index in range(number)
    ]  # fmt: skip


def events_sql(organization: Organization, columns: str, *, where: str = "TRUE", rest: str = "", first: str = "2026-10-20", last: str = "2026-11-18") -> list[tuple[Any, ...]]:
    """Sums straight from the stored events of the organization's local days first to last: what pages must agree with."""
    statement = f"""
        SELECT {columns} FROM (SELECT *, (occurred_at AT TIME ZONE %s)::date AS day FROM usage_event WHERE organization_id = %s) e
        WHERE day BETWEEN %s AND %s AND {where} {rest}
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [organization.time_zone, organization.pk, first, last])
        return list(cursor.fetchall())

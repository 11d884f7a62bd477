"""Whatever is changed of stored events, in whatever order, every sum stays that of the events."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.formats.event import UsageEvent as UsageEventIn
from ingest.models import UsageEvent
from ingest.services import events_store
from ingest.services.amend import Amendment, Cause, events_amend
from ingest.verify import differences
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import event

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
CALLS = 12
COSTS = st.none() | st.decimals(min_value=0, max_value=3, places=15)
COUNTS = st.none() | st.integers(0, 5000)


def changes(teams: list[int | None]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={
        "cost": COSTS, "price_id": st.none() | st.integers(1, 9), "team_id": st.sampled_from(teams), "provider": st.sampled_from(["", "anthropic", "openai", "Ärger"]),
        "model": st.sampled_from(["a", "b"]), "tier": st.sampled_from(["unknown", "economy"]), "session": st.sampled_from(["", "s0", "s1", "new"]),
        "task": st.sampled_from(["", "t1"]), "environment": st.sampled_from(["", "prod"]), "tags": st.sampled_from([None, {}, {"job": "x"}, {"job": "y"}]),
        "billing_mode": st.sampled_from(["metered", "subscription"]), "input_tokens": COUNTS, "output_tokens": COUNTS, "cache_read_tokens": COUNTS,
        "status": st.sampled_from(["ok", "error"]), "latency_ms": st.none() | st.integers(0, 900), "harness": st.sampled_from(["", "codex", "own"]),
        "member_id": st.none(), "role": st.sampled_from(["", "judge"]),
    })  # fmt: skip


@pytest.fixture
def other(admin: Member, team: Team, organization: Organization) -> Team:
    """A team below the first, and a budget of each kind that looks at something else."""
    actor, other = member_actor(admin), Team.objects.create(organization=organization, slug="web", name="Web", parent=team)
    whole: dict[str, Any] = {"scope_kind": "organization", "limit_amount": Decimal(2)}
    budget_create(actor=actor, name="month", period_kind="month", unpriced_call_amount=Decimal("0.25"), **whole)
    budget_create(actor=actor, name="tokens", period_kind="day", measure="tokens", **(whole | {"limit_amount": Decimal(9000)}))
    budget_create(actor=actor, name="rolling", period_kind="rolling", rolling_hours=3, counts_notional=True, **whole)
    budget_create(actor=actor, name="tagged", period_kind="lifetime", filters={"tag:job": ["x"]}, **whole)
    budget_create(actor=actor, name="production", period_kind="lifetime", filters={"environment": ["prod"], "provider": ["openai", "anthropic"]}, **whole)
    budget_create(actor=actor, name="team", scope_kind="team", team=team, period_kind="week", limit_amount=Decimal(1))
    budget_create(actor=actor, name="session", scope_kind="session", period_kind="session", limit_amount=Decimal(1))
    budget_create(actor=actor, name="task", scope_kind="task", period_kind="task", measure="calls", limit_amount=Decimal(3))
    return other


def day_of_calls() -> list[UsageEventIn]:
    base = datetime.now(UTC) - timedelta(hours=4)
    return [
        event(
            number, occurred_at=base + timedelta(minutes=17 * number), session=f"s{number % 3}" if number % 4 else "", task="t1" if number % 2 else "",
            tags={"job": "x"} if number % 3 else None,
        )
        for number in range(CALLS)
    ]


def drawn(data: st.DataObject, rows: Iterable[UsageEvent], teams: list[int | None]) -> Iterator[Amendment]:
    for row in rows:
        what = data.draw(st.sampled_from(["leave", "change", "change", "change", "remove"]), "what")
        if what == "remove":
            yield Amendment(row.id, row.occurred_at, is_removed=True)
        elif what == "change":
            yield Amendment(row.id, row.occurred_at, data.draw(changes(teams), "changes"))


@settings(max_examples=30)
@given(data=st.data())
def test_any_mixture_of_amendments_keeps_every_sum_true(admin: Member, team: Team, other: Team, organization: Organization, data: st.DataObject) -> None:
    actor, before = member_actor(admin), transaction.savepoint()
    try:
        events_store(actor=actor, api_key=None, source="rest", events=day_of_calls())
        for _ in range(data.draw(st.integers(1, 3), "rounds")):
            amendments = list(drawn(data, UsageEvent.objects.filter(organization=organization), [None, team.pk, other.pk]))
            events_amend(organization=organization, actor=actor, amendments=amendments, cause=Cause("correction", "any"))
            assert differences(organization) == []
    finally:
        transaction.savepoint_rollback(before)

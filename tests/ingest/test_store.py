"""The storing transaction: each call counted once, rollups and budgets moved with it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Sum
from django.utils import timezone

from governance.budgets.models import BudgetPeriod, Freeze, Session
from governance.budgets.services import budget_create
from governance.pricing.models import PriceRow
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.formats.event import Outcome, UsageEvent
from ingest.models import EventIdentity, ReportedLabel, UsageRollup, UsageRollupDay
from ingest.models import UsageEvent as StoredEvent
from ingest.services import counting, events_store
from tests.backends import backend_end
from tests.price_books import KeptBook

pytestmark = pytest.mark.django_db


@pytest.fixture
def prices(db: None, whole_book: KeptBook) -> None:
    """All bundled prices."""
    whole_book.put()


def event(number: int = 1, **fields: Any) -> UsageEvent:
    facts: dict[str, Any] = {
        "id": f"call-{number}", "occurred_at": timezone.now() - timedelta(minutes=1), "provider": "anthropic", "model": "claude-sonnet-4-5",
        "session": "s1", "team": "platform", "input_tokens": 1000, "output_tokens": 100,
    }
    return UsageEvent(**(facts | fields))


def store(member: Member, *events: UsageEvent, source: str = "rest") -> list[Outcome]:
    return events_store(actor=member_actor(member), api_key=None, source=source, events=events)


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


COST = Decimal("0.0045")  # 1000 x 3 + 100 x 15 per million


def test_event_is_priced_and_counted_everywhere(prices: None, admin: Member, team: Any) -> None:
    assert statuses(store(admin, event())) == ["accepted"]
    stored = StoredEvent.objects.get()
    assert (stored.cost, stored.team_id, stored.provider) == (COST, team.pk, "anthropic")
    assert UsageRollup.objects.get().cost == UsageRollupDay.objects.get().cost == Session.objects.get().cost == COST
    assert Session.objects.get().context_tokens == 1000


def test_resent_event_is_counted_once(prices: None, admin: Member) -> None:
    sent = event()
    assert statuses(store(admin, sent, sent)) == ["accepted", "duplicate"]
    assert statuses(store(admin, sent)) == ["duplicate"]
    assert StoredEvent.objects.count() == 1
    assert EventIdentity.objects.get().sightings == 2


def test_same_identity_with_other_content_is_a_conflict(prices: None, admin: Member) -> None:
    sent = event()
    store(admin, sent)
    outcome = store(admin, event(occurred_at=sent.occurred_at, output_tokens=101))[0]
    assert (outcome.status, outcome.field) == ("conflict", "id")
    assert UsageRollup.objects.get().output_tokens == 100


def test_unknown_names_are_kept_and_listed(prices: None, admin: Member) -> None:
    store(admin, event(team="nobody", model="made-up-9", provider="acme-ai"))
    stored = StoredEvent.objects.get()
    assert (stored.cost, stored.team_id, stored.team_label, stored.model) == (None, None, "nobody", "made-up-9")
    assert UsageRollup.objects.get().unpriced_calls == 1
    assert set(ReportedLabel.objects.values_list("kind", "value")) == {("team", "nobody"), ("model", "made-up-9")}


def test_unknown_counts_are_not_zero(prices: None, admin: Member) -> None:
    store(admin, event(input_tokens=None, output_tokens=None))
    stored = StoredEvent.objects.get()
    assert (stored.input_tokens, stored.cost) == (None, None)
    assert UsageRollup.objects.get().unmeasured_calls == 1


def test_instants_far_away_are_rejected(prices: None, admin: Member) -> None:
    now = timezone.now()
    outcomes = store(admin, event(1, occurred_at=now - timedelta(days=500)), event(2, occurred_at=now + timedelta(days=2)), event(3))
    assert statuses(outcomes) == ["rejected", "rejected", "accepted"]
    assert outcomes[0].field == "occurred_at"


def test_month_without_partition_is_not_lost(prices: None, admin: Member) -> None:
    store(admin, event(occurred_at=timezone.now() - timedelta(days=390)))
    assert StoredEvent.objects.count() == 1


def test_budget_is_charged_and_freezes_the_session_that_reaches_it(prices: None, admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Session", scope_kind="session", period_kind="session", limit_amount=Decimal("0.009"))
    store(admin, event(1))
    assert not Freeze.objects.exists()
    store(admin, event(2))
    period = BudgetPeriod.objects.get()
    assert (period.spent, period.session_key) == (2 * COST, "s1")
    assert period.frozen_at is not None
    assert Freeze.objects.get().session_key == "s1"
    store(admin, event(3))
    assert StoredEvent.objects.get(external_id="call-3").is_after_freeze
    assert BudgetPeriod.objects.get().spent == 3 * COST


def test_new_budget_counts_what_its_window_already_holds(prices: None, admin: Member) -> None:
    store(admin, *(event(number) for number in range(20)))
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    assert BudgetPeriod.objects.get().spent == 20 * COST == StoredEvent.objects.aggregate(total=Sum("cost"))["total"]
    store(admin, event(99))
    assert BudgetPeriod.objects.get().spent == 21 * COST


def test_budget_counts_nothing_from_before_its_first_window(prices: None, admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Day", scope_kind="organization", period_kind="day", limit_amount=Decimal(1))
    store(admin, event(1, occurred_at=datetime.now(UTC) - timedelta(days=3)))
    assert not BudgetPeriod.objects.filter(spent__gt=0).exists()


def test_subscription_usage_is_notional(prices: None, admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    store(admin, event(billing_mode="subscription"))
    rollup = UsageRollup.objects.get()
    assert (rollup.cost, rollup.notional_cost) == (0, COST)
    assert not BudgetPeriod.objects.filter(spent__gt=0).exists()


def test_organizations_do_not_share_identities(prices: None, admin: Member, stranger: Member, other_organization: Organization) -> None:
    sent = event()
    assert statuses(store(admin, sent)) == statuses(store(stranger, sent)) == ["accepted"]


@pytest.mark.parametrize(
    ("provider", "model", "tags", "cost"),
    [
        ("anthropic", "claude-sonnet-4-5", None, COST),
        ("anthropic", "claude-sonnet-4-5", {"processing": "batch", "attempt": "2"}, COST / 2),
        ("anthropic", "claude-sonnet-4-5", {"processing": "nonsense"}, COST),
        ("openai", "gpt-5.4", {"service_tier": "flex"}, Decimal("0.002")),
        ("openai", "gpt-5.4", {"service_tier": "priority"}, Decimal("0.008")),
    ],
)
def test_tags_choose_the_price_of_special_calls(
    prices: None, admin: Member, provider: str, model: str, tags: dict[str, str] | None, cost: Decimal
) -> None:
    store(admin, event(provider=provider, model=model, tags=tags))
    assert StoredEvent.objects.get().cost == cost


def test_long_contexts_are_priced_by_their_tier(prices: None, admin: Member) -> None:
    long = {"provider": "google", "model": "gemini-3.1-pro-preview", "output_tokens": 1000}
    store(admin, event(1, input_tokens=200_000, **long), event(2, input_tokens=200_001, **long))
    below, above = StoredEvent.objects.order_by("input_tokens").values_list("cost", flat=True)
    assert (below, above) == (Decimal("0.412"), Decimal("0.818004"))


def test_the_hour_of_the_day_chooses_the_price(prices: None, admin: Member) -> None:
    book = PriceRow.objects.filter(daily_from__isnull=False, daily_to__isnull=False, valid_to=None, context={}).select_related("model__provider")
    row = book.first()
    assert row is not None
    assert row.daily_from is not None
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    inside = datetime.combine(hour.date() - timedelta(days=2), row.daily_from, tzinfo=UTC)
    call = {"provider": row.model.provider.slug, "model": row.model.slug}
    store(admin, event(1, occurred_at=inside, **call), event(2, occurred_at=inside - timedelta(seconds=1), **call))
    in_hours, before = StoredEvent.objects.order_by("-occurred_at")
    assert in_hours.price_id == row.pk
    assert before.price_id not in (None, row.pk)
    assert in_hours.cost != before.cost


@pytest.mark.usefixtures("transactional_db")
def test_what_is_settled_later_is_not_acknowledged_where_the_connection_ended(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settling may fail and nothing is lost, but with the connection ends the transaction around it, such as that of a post with an Idempotency-Key."""
    monkeypatch.setattr("ingest.once.settled.sightings_settle", transaction.atomic(lambda **_: backend_end()))

    @transaction.atomic
    def post() -> None:
        store(admin, event())
        counting._settle(admin.organization, {(timezone.now(), uuid4())})

    with pytest.raises(OperationalError):
        post()
    connection.close()
    assert not StoredEvent.objects.exists()

"""Stored events change, and every sum they are part of with them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import Authorization, BudgetPeriod, Freeze, Session, ThresholdCrossing
from governance.budgets.services import authorization_hold, budget_create
from governance.errors import Invalid
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.models import ReportedLabel, UsageEvent, UsageRollup, UsageRollupDay
from ingest.services import events_store
from ingest.services.amend import Amended, Amendment, Cause, events_amend
from ingest.verify import differences
from tests.ingest.concurrency.work import asking
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event, statuses, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
CAUSE = Cause("correction", "the gateway was wrong")


def amend(member: Member, *amendments: Amendment) -> Amended:
    done = events_amend(organization=member.organization, actor=member_actor(member), amendments=amendments, cause=CAUSE)
    assert differences(member.organization) == []
    return done


def stored(number: int) -> UsageEvent:
    return UsageEvent.objects.get(external_id=f"call-{number}")


def amending(number: int, **changes: Any) -> Amendment:
    row = stored(number)
    return Amendment(row.id, row.occurred_at, changes)


def removing(number: int, *, is_forgotten: bool = False) -> Amendment:
    row = stored(number)
    return Amendment(row.id, row.occurred_at, is_removed=True, is_forgotten=is_forgotten)


def test_other_cost_moves_every_sum_and_keeps_old_and_new(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    budget_create(actor=member_actor(admin), name="Each", scope_kind="session", period_kind="session", limit_amount=Decimal(1))
    budget_create(actor=member_actor(admin), name="Hours", scope_kind="organization", period_kind="rolling", rolling_hours=5, limit_amount=Decimal(1))
    store(admin, event(1), event(2))
    done = amend(admin, amending(1, cost=Decimal("0.5"), price_id=77))
    assert (done.changed, done.cost_before, done.cost_after) == (1, COST, Decimal("0.5"))
    total = COST + Decimal("0.5")
    assert UsageRollup.objects.get().cost == UsageRollupDay.objects.get().cost == Session.objects.get().cost == total
    assert set(BudgetPeriod.objects.values_list("spent", flat=True)) == {total}
    kept = EventAmendment.objects.get()
    assert (kept.old_cost, kept.new_cost, kept.new_price_id, kept.old, kept.cause.reason) == (COST, Decimal("0.5"), 77, None, CAUSE.reason)
    assert AuditRecord.objects.get(action="events.amended").new["changed"] == 1


def test_what_changes_nothing_is_not_written(admin: Member) -> None:
    store(admin, event(1))
    done = amend(admin, amending(1, cost=stored(1).cost, provider="anthropic"))
    assert (done.changed, done.unchanged) == (0, 1)
    assert not EventAmendment.objects.exists()
    assert not AuditRecord.objects.filter(action="events.amended").exists()


def test_event_goes_to_another_team_and_the_budgets_of_both_move(admin: Member, team: Team, organization: Organization) -> None:
    other = Team.objects.create(organization=organization, slug="web", name="Web")
    for one in (team, other):
        budget_create(actor=member_actor(admin), name=one.slug, scope_kind="team", team=one, period_kind="month", limit_amount=Decimal(1))
    store(admin, event(1), event(2))
    amend(admin, amending(1, team_id=other.pk), amending(2, team_id=other.pk))
    assert dict(BudgetPeriod.objects.values_list("budget__name", "spent")) == {"platform": 0, "web": 2 * COST}
    assert Session.objects.get().team_id == other.pk
    assert UsageRollup.objects.get().team_id == other.pk
    assert EventAmendment.objects.filter(old={"team_id": team.pk}, new={"team_id": other.pk}).count() == 2


def test_unpriced_call_gets_a_price_and_is_off_the_list(admin: Member) -> None:
    budget_create(
        actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1), unpriced_call_amount=Decimal("0.2")
    )
    store(admin, event(1, model="made-up-9"), event(2))
    assert BudgetPeriod.objects.get().spent == COST + Decimal("0.2")
    amend(admin, amending(1, cost=Decimal("0.1"), price_id=5, maker="acme", tier="economy"))
    assert BudgetPeriod.objects.get().spent == COST + Decimal("0.1")
    assert not ReportedLabel.objects.filter(kind="model").exists()
    assert Session.objects.get().unpriced_calls == 0


def test_lower_cost_thaws_and_higher_cost_freezes_again(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Each", scope_kind="session", period_kind="session", limit_amount=2 * COST, thresholds=[80])
    store(admin, event(1), event(2))
    assert BudgetPeriod.objects.get().frozen_at is not None
    done = amend(admin, amending(1, cost=Decimal(0)))
    assert done.thawed == [BudgetPeriod.objects.get().pk]
    assert BudgetPeriod.objects.get().frozen_at is None
    assert Freeze.objects.get().ended_at is not None
    assert ThresholdCrossing.objects.filter(ended_at=None).count() == 0
    done = amend(admin, amending(2, cost=Decimal(1)))
    assert done.frozen == [BudgetPeriod.objects.get().pk]
    assert Freeze.objects.filter(ended_at=None).count() == 1
    assert ThresholdCrossing.objects.filter(ended_at=None).count() == 1


def test_removed_event_leaves_nothing_behind(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Month", scope_kind="organization", period_kind="month", limit_amount=Decimal(1))
    sent = event(1, team="nobody")
    store(admin, sent)
    done = amend(admin, removing(1))
    assert (done.removed, BudgetPeriod.objects.get().spent) == (1, 0)
    for rows in (UsageEvent, UsageRollup, UsageRollupDay, Session, ReportedLabel):
        assert not rows.objects.exists()
    kept = EventAmendment.objects.get()
    assert (kept.is_removed, kept.old["team_label"], kept.old_cost) == (True, "nobody", COST)
    assert statuses(store(admin, sent)) == ["duplicate"]


def test_forgotten_event_counts_anew_when_it_is_reported_again(admin: Member) -> None:
    sent = event(1)
    store(admin, sent)
    amend(admin, removing(1, is_forgotten=True))
    assert statuses(store(admin, sent)) == ["accepted"]
    assert differences(admin.organization) == []


def test_session_is_read_anew_from_what_is_left(admin: Member) -> None:
    now = timezone.now()
    store(
        admin, event(1, occurred_at=now - timedelta(minutes=3), input_tokens=9000), event(2, occurred_at=now - timedelta(minutes=2)),
        event(3, occurred_at=now - timedelta(minutes=1), provider="openai", model="gpt-unheard", input_tokens=5),
    )
    amend(admin, removing(1), removing(3))
    left = Session.objects.get()
    assert (left.calls, left.first_at, left.last_at) == (1, now - timedelta(minutes=2), now - timedelta(minutes=2))
    assert (left.context_tokens_max, left.context_tokens, left.model) == (1000, 1000, "claude-sonnet-4-5")
    assert (left.provider_least, left.provider_greatest) == ("anthropic", "anthropic")


def test_event_moves_to_a_session_of_its_own(admin: Member) -> None:
    store(admin, event(1), event(2))
    amend(admin, amending(2, session="s2"))
    assert dict(Session.objects.values_list("key", "calls")) == {"s1": 1, "s2": 1}
    amend(admin, amending(1, session=""))
    assert dict(Session.objects.values_list("key", "calls")) == {"s2": 1}


def test_other_token_counts_move_budgets_of_tokens(admin: Member) -> None:
    budget_create(
        actor=member_actor(admin), name="Tokens", scope_kind="organization", period_kind="month", measure="tokens", limit_amount=Decimal(100_000)
    )
    store(admin, event(1))
    amend(admin, amending(1, input_tokens=4000, cache_read_tokens=7, tags={"a": 'quoted " and \\'}))
    assert BudgetPeriod.objects.get().spent == 4107
    assert stored(1).tags == {"a": 'quoted " and \\'}
    assert Session.objects.get().context_tokens_max == 4007


def test_what_an_authorizations_calls_cost_follows(admin: Member) -> None:
    actor = member_actor(admin)
    made = authorization_hold(actor=actor, api_key=None, request=asking("0.01", {"session": "s1"})).authorization
    events_store(actor=actor, api_key=None, source="rest", events=[event(1, authorization=made.pk, occurred_at=timezone.now())])
    amend(admin, amending(1, cost=Decimal("0.02")))
    assert Authorization.objects.get().settled_cost == Decimal("0.02")


def test_event_that_is_not_there_is_named(admin: Member) -> None:
    store(admin, event(1))
    gone = amending(1, cost=Decimal(1))
    amend(admin, removing(1))
    assert amend(admin, gone).missing == [gone.key]


def test_events_of_others_are_not_found(admin: Member, stranger: Member) -> None:
    store(admin, event(1))
    row = stored(1)
    done = amend(stranger, Amendment(row.id, row.occurred_at, {"cost": Decimal(9)}))
    assert done.missing == [row.id]
    assert stored(1).cost == COST


@pytest.mark.parametrize("changes", [{"occurred_at": timezone.now()}, {"request_id": "other"}, {"cost; DROP TABLE usage_event": 1}])
def test_what_an_event_was_stored_as_stays(admin: Member, changes: dict[str, Any]) -> None:
    store(admin, event(1))
    with pytest.raises(Invalid):
        amend(admin, amending(1, **changes))


def test_event_is_not_named_twice(admin: Member) -> None:
    store(admin, event(1))
    with pytest.raises(Invalid):
        amend(admin, amending(1, cost=Decimal(1)), amending(1, cost=Decimal(2)))


def test_call_that_names_its_authorization_late_is_told_by_its_tags(admin: Member) -> None:
    actor = member_actor(admin)
    budget_create(
        actor=actor, name="Job", scope_kind="organization", period_kind="lifetime", limit_amount=Decimal(1), filters={"tag:job": ["x"]}
    )
    made = authorization_hold(actor=actor, api_key=None, request=asking("0.01", {"session": "s1"}, lease=True, tags={"job": "x"})).authorization
    sent = event(1, occurred_at=timezone.now(), tags={"job": "x"})
    store(admin, sent)
    store(admin, msgspec.structs.replace(sent, authorization=made.pk))
    assert BudgetPeriod.objects.get().held == Decimal("0.01") - COST
    amend(admin, amending(1, tags={"job": "y"}))
    assert BudgetPeriod.objects.get().spent == 0

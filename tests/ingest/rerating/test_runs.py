"""Re-rating runs: worked out first, then applied in chunks; paused, resumed, cancelled; one at a time over the same calls."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod
from governance.budgets.services import budget_create
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_cancel, run_create, run_pause, run_start
from ingest.rerating.unpriced import unpriced_rerate
from ingest.rerating.working import run_work, runs_stalled
from ingest.verify import differences
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import model_made_up, price_of_sonnet
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def around(days: float = 2) -> dict[str, Any]:
    return {"starts_at": timezone.now() - timedelta(days=days), "ends_at": timezone.now()}


def worked_out(member: Member, **fields: Any) -> ReratingRun:
    asked: dict[str, Any] = {"reason": "The vendor's list was wrong", **around()} | fields
    run = run_create(actor=member_actor(member), **asked)
    run_work(run.pk)
    run.refresh_from_db()
    return run


def twice_as_dear() -> None:
    price_of_sonnet(input_amount="6", output_amount="30")


def test_preview_says_what_would_change_and_changes_nothing(admin: Member, team: Team) -> None:
    budget_create(actor=member_actor(admin), name="Each", scope_kind="session", period_kind="session", limit_amount=3 * COST)
    store(admin, event(1), event(2), event(3, model="made-up-9"))
    twice_as_dear()
    run = worked_out(admin)
    assert (run.state, run.events_total, run.preview["events"]) == ("ready", 3, 2)
    assert Decimal(run.preview["delta"]) == 2 * COST
    assert [line["delta"] for line in run.preview["months"]] == [run.preview["delta"]]
    assert run.preview["teams"][0]["team"] == "Platform"
    assert [(line["name"], line["freezes"], line["thaws"]) for line in run.preview["budgets"]] == [("Each", 1, 0)]
    assert run.preview["budgets"][0]["named"][0]["session"] == "s1"
    assert BudgetPeriod.objects.get().spent == 2 * COST
    assert not EventAmendment.objects.exists()


def test_run_rates_every_call_anew_and_keeps_old_and_new(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="Each", scope_kind="session", period_kind="session", limit_amount=3 * COST)
    store(admin, event(1), event(2))
    twice_as_dear()
    run = worked_out(admin)
    run_start(actor=member_actor(admin), run=run)
    assert not run_work(run.pk, chunk=1)
    run.refresh_from_db()
    assert (run.state, run.events_seen, run.events_changed, run.cost_before, run.cost_after) == ("done", 2, 2, 2 * COST, 4 * COST)
    assert set(UsageEvent.objects.values_list("cost", flat=True)) == {2 * COST}
    assert BudgetPeriod.objects.get().frozen_at is not None
    assert differences(admin.organization) == []
    kept = EventAmendment.objects.filter(cause=run.cause)
    assert {(row.old_cost, row.new_cost) for row in kept} == {(COST, 2 * COST)}
    assert run.cause.actor_label == str(admin)
    assert set(AuditRecord.objects.filter(target_kind="rerating_run").values_list("action", flat=True)) == {
        "rerating_run.created", "rerating_run.running", "rerating_run.done",
    }  # fmt: skip


def test_run_that_finds_nothing_to_change_leaves_no_trace_of_events(admin: Member) -> None:
    store(admin, event(1))
    run = worked_out(admin)
    run_start(actor=member_actor(admin), run=run)
    run_work(run.pk)
    run.refresh_from_db()
    assert (run.state, run.events_seen, run.events_changed) == ("done", 1, 0)
    assert not EventAmendment.objects.exists()


def test_run_touches_only_its_scope(admin: Member, team: Team, organization: Organization) -> None:
    Team.objects.create(organization=organization, slug="core", name="Core", parent=team)
    store(admin, event(1), event(2, team="core"), event(3, team=""), event(4, occurred_at=timezone.now() - timedelta(days=3)))
    twice_as_dear()
    assert worked_out(admin, team_ids=[team.pk]).preview["events"] == 2
    assert worked_out(admin, models=["claude-opus-4-1"]).preview["events"] == 0
    assert worked_out(admin, models=["claude-sonnet-4-5"], providers=["anthropic"]).preview["events"] == 3
    assert worked_out(admin, is_unpriced_only=True).preview["seen"] == 0


def test_run_is_paused_and_goes_on_where_it_was(admin: Member) -> None:
    actor = member_actor(admin)
    store(admin, *(event(number) for number in range(5)))
    twice_as_dear()
    run = run_start(actor=actor, run=worked_out(admin))
    assert run_work(run.pk, seconds=0.001, chunk=2)
    run_pause(actor=actor, run=run)
    assert not run_work(run.pk, chunk=2)
    assert EventAmendment.objects.count() == 2
    assert differences(admin.organization) == []
    run_start(actor=actor, run=run)
    run_work(run.pk, chunk=2)
    assert EventAmendment.objects.count() == 5
    assert ReratingRun.objects.get().state == "done"


def test_cancelled_run_leaves_what_it_did_and_cannot_go_on(admin: Member) -> None:
    actor = member_actor(admin)
    store(admin, *(event(number) for number in range(5)))
    twice_as_dear()
    run = run_start(actor=actor, run=worked_out(admin))
    run_work(run.pk, seconds=0.001, chunk=2)
    run_cancel(actor=actor, run=run)
    run_work(run.pk, chunk=2)
    assert EventAmendment.objects.count() == 2
    with pytest.raises(Conflict):
        run_start(actor=actor, run=run)
    assert differences(admin.organization) == []


def test_two_runs_over_the_same_calls_do_not_run_at_once(admin: Member) -> None:
    actor = member_actor(admin)
    first, second, earlier = worked_out(admin), worked_out(admin), worked_out(admin, **{name: at - timedelta(days=9) for name, at in around().items()})
    run_start(actor=actor, run=first)
    with pytest.raises(Conflict, match=f"Run {first.pk}"):
        run_start(actor=actor, run=second)
    run_start(actor=actor, run=earlier)
    run_cancel(actor=actor, run=first)
    run_start(actor=actor, run=second)


def test_call_with_a_price_keeps_it_where_the_book_knows_none(admin: Member) -> None:
    store(admin, event(1))
    UsageEvent.objects.update(model_reported="forgotten-model", provider="acme-ai", price_id=4)
    run = worked_out(admin)
    assert run.preview["events"] == 0


def test_run_that_no_worker_has_is_found(admin: Member) -> None:
    run = run_create(actor=member_actor(admin), reason="why", **around())
    assert runs_stalled(timezone.now()) == [run.pk]
    ReratingRun.objects.update(worked_at=timezone.now())
    assert runs_stalled(timezone.now()) == []
    assert runs_stalled(timezone.now() + timedelta(minutes=1)) == [run.pk]


# In UTC it lies before the year 1, which no page could read from the table again.
YEAR_ONE = {"starts_at": datetime.fromisoformat("0001-01-01T00:00:00+14:00"), "ends_at": datetime.fromisoformat("0001-01-02T00:00:00+14:00")}


@pytest.mark.parametrize("fields", [{"reason": " "}, {"ends_at": timezone.now() - timedelta(days=9)}, {"team_ids": [987654]}, {"models": ["x"] * 3 + ["y" * 201]}, YEAR_ONE])
def test_run_that_makes_no_sense_is_refused(admin: Member, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        worked_out(admin, **fields)


def test_only_who_manages_prices_runs_anything(admin: Member, lead: Member, stranger: Member) -> None:
    with pytest.raises(Forbidden):
        worked_out(lead)
    run = worked_out(admin)
    for change in (run_start, run_pause, run_cancel):
        with pytest.raises(Forbidden):
            change(actor=member_actor(lead), run=run)
        with pytest.raises(NotFound):
            change(actor=member_actor(stranger), run=run)


def test_unpriced_calls_are_rated_as_soon_as_a_price_is_there(admin: Member, organization: Organization) -> None:
    store(admin, event(1, model="made-up-9", provider="acme-ai"), event(2), event(3, model="other", provider="acme-ai"))
    assert unpriced_rerate(organization) == []
    model_made_up()
    (run_id,) = unpriced_rerate(organization)
    assert unpriced_rerate(organization) == []
    run_work(run_id)
    assert UsageEvent.objects.get(external_id="call-1").cost == Decimal("0.011")
    assert UsageEvent.objects.get(external_id="call-3").cost is None
    run = ReratingRun.objects.get()
    assert (run.state, run.events_changed, run.maker_label) == ("done", 1, "Weighhouse")
    assert differences(organization) == []


def test_unpriced_calls_wait_for_a_run_that_is_at_work_on_them(admin: Member, organization: Organization) -> None:
    store(admin, event(1, model="made-up-9", provider="acme-ai"))
    at_work = run_start(actor=member_actor(admin), run=worked_out(admin))
    model_made_up()
    assert unpriced_rerate(organization) == []
    run_cancel(actor=member_actor(admin), run=at_work)
    assert len(unpriced_rerate(organization)) == 1


def test_calls_of_unknown_size_start_no_run(admin: Member, organization: Organization) -> None:
    store(admin, event(1, model="made-up-9", provider="acme-ai", input_tokens=None, output_tokens=None))
    model_made_up()
    assert unpriced_rerate(organization) == []

"""Runs under real processes: a worker that dies, two workers on one run, calls stored meanwhile, and prices that change while calls are stored."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.budgets.services import budget_create
from governance.pricing.agreements import term_add
from governance.pricing.models import PriceRow, Term
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create, run_start
from ingest.rerating.unpriced import unpriced_rerate
from ingest.rerating.working import run_work
from ingest.services import events_store
from ingest.verify import organization_verify
from tests.ingest.concurrency import work
from tests.ingest.concurrency.crash import crash_at
from tests.ingest.concurrency.crew import Job, crew_run
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import model_made_up, price_of_sonnet

__all__ = ["few_prices"]

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]
CALLS = 60


def started(admin: Member, calls: int) -> ReratingRun:
    actor, day = member_actor(admin), datetime.now(UTC) - timedelta(hours=2)
    budget_create(actor=actor, name="All", scope_kind="organization", period_kind="month", limit_amount=work.COST * calls)
    budget_create(actor=actor, name="Each", scope_kind="session", period_kind="session", limit_amount=work.COST * 3)
    events_store(actor=actor, api_key=None, source="rest", events=[work.call(number, day=day) for number in range(calls)])
    price_of_sonnet(input_amount="6", output_amount="30")
    run = run_create(actor=actor, reason="dearer", starts_at=day - timedelta(days=1), ends_at=timezone.now())
    run_work(run.pk)
    return run_start(actor=actor, run=ReratingRun.objects.get())


def go_on(run_id: int, chunk: int) -> bool:
    return run_work(run_id, seconds=30, chunk=chunk)


def post(organization_id: int, first: int, times: int) -> Any:
    actor, day = work.actor_of(organization_id), datetime.now(UTC) - timedelta(minutes=10)
    for start in range(first, first + times * 20, 20):
        events_store(actor=actor, api_key=None, source="rest", events=[work.call(number, day=day) for number in range(start, start + 20)])
    return organization_verify(actor.organization)


def change_prices(organization_id: int, times: int) -> None:
    """Changes the model's price and the organization's term for it, one after the other; halfway a model gets its first price."""
    actor, begins = work.actor_of(organization_id), timezone.now() - timedelta(days=5)
    for number in range(times):
        price_of_sonnet(input_amount=str(10 + number), output_amount="0")
        term_add(actor=actor, name=f"term {number}", valid_from=begins + timedelta(minutes=number), provider="anthropic", percent_off=Decimal(1 + number))
        if number == times // 2:
            model_made_up()


def post_both(organization_id: int, first: int, times: int) -> None:
    """Calls of both models, twenty in one transaction, which their trace names."""
    actor, day = work.actor_of(organization_id), datetime.now(UTC) - timedelta(minutes=10)
    unknown = {"provider": "acme-ai", "model": "made-up-9"}
    for start in range(first, first + times * 20, 20):
        calls = [work.call(number, day=day, trace=f"batch {start}", **(unknown if number % 2 else {})) for number in range(start, start + 20)]
        events_store(actor=actor, api_key=None, source="rest", events=calls)


def look_and_rerate(organization_id: int, times: int) -> None:
    organization = Organization.objects.get(pk=organization_id)
    for _ in range(times):
        for run_id in unpriced_rerate(organization):
            while run_work(run_id):
                pass


def test_calls_are_rated_by_the_prices_of_one_moment_and_none_stays_without_one(admin: Member, organization: Organization) -> None:
    crew_run([Job(change_prices, (organization.pk, 12)), Job(post_both, (organization.pk, 0, 25)), Job(post_both, (organization.pk, 10_000, 25)), Job(look_and_rerate, (organization.pk, 6))])
    percents = {term.pk: term.percent_off for term in Term.objects.all()}
    amounts = {row.pk: Decimal(row.rates["input_tokens"]["base"]) for row in PriceRow.objects.filter(model__slug="claude-sonnet-4-5", context={})}
    output = {row.pk: Decimal(row.rates["output_tokens"]["base"]) for row in PriceRow.objects.filter(model__slug="claude-sonnet-4-5", context={})}
    by_batch: dict[str, set[Any]] = {}
    for call in UsageEvent.objects.filter(model="claude-sonnet-4-5"):
        assert call.price_id is not None
        assert call.list_cost == (1000 * amounts[call.price_id] + 100 * output[call.price_id]) / 1_000_000
        assert call.cost == call.list_cost * (100 - (percents[call.term_id] if call.term_id else 0)) / 100
        by_batch.setdefault(call.trace, set()).add((call.price_id, call.term_id))
    assert {len(found) for found in by_batch.values()} == {1}
    look_and_rerate(organization.pk, 1)
    assert set(UsageEvent.objects.filter(model="made-up-9").values_list("cost", flat=True)) == {Decimal("0.011")}
    assert organization_verify(organization) == []


def test_worker_that_dies_anywhere_loses_nothing_and_does_nothing_twice(admin: Member, team: Team) -> None:
    run = started(admin, CALLS)
    died = 0
    for place in (3, 9, 14, 18, 22, 27):
        died += crash_at(place, Job(go_on, (run.pk, 20))) is None
        assert organization_verify(admin.organization) == []
        assert EventAmendment.objects.count() == ReratingRun.objects.get().events_seen
    assert died > 2
    run_work(run.pk, chunk=20)
    found = ReratingRun.objects.get()
    assert (found.state, found.events_seen, found.events_changed) == ("done", CALLS, CALLS)
    assert EventAmendment.objects.count() == CALLS
    assert set(UsageEvent.objects.values_list("cost", flat=True)) == {2 * work.COST}
    assert organization_verify(admin.organization) == []


def test_two_workers_and_posts_meanwhile(admin: Member, team: Team, organization: Organization) -> None:
    run = started(admin, 400)
    answers = crew_run([Job(go_on, (run.pk, 10)), Job(go_on, (run.pk, 10)), Job(post, (organization.pk, 10_000, 15)), Job(post, (organization.pk, 20_000, 15))])
    assert answers == [False, False, [], []]
    found = ReratingRun.objects.get()
    assert found.state == "done"
    assert EventAmendment.objects.count() == found.events_changed >= 400
    assert organization_verify(organization) == []

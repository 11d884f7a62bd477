"""Runs under real processes: a worker that dies, two workers on one run, and calls stored meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create, run_start
from ingest.rerating.working import run_work
from ingest.services import events_store
from ingest.verify import organization_verify
from tests.ingest.concurrency import work
from tests.ingest.concurrency.crash import crash_at
from tests.ingest.concurrency.crew import Job, crew_run
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import price_of_sonnet

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

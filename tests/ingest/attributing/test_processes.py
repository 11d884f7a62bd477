"""A run over history under real processes: two workers, calls stored meanwhile, and rules that change under both."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_change, rule_create
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.amending.models import EventAmendment
from ingest.attributing.services import attribution_run_create
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_start
from ingest.rerating.working import run_work
from ingest.services import events_store
from ingest.verify import organization_verify
from tests.ingest.concurrency import work
from tests.ingest.concurrency.crew import Job, crew_run
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.test_processes import go_on, post

__all__ = ["few_prices"]

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("transactional_db", "few_prices")]
CALLS = 200


def change_rules(organization_id: int, times: int) -> None:
    actor = work.actor_of(organization_id)
    for number in range(times):
        rule_change(actor=actor, rule=AttributionRule.objects.get(), role=f"role {number}")


def test_two_workers_posts_and_changes_of_rules_meanwhile(admin: Member, team: Team, organization: Organization) -> None:
    actor, day = member_actor(admin), datetime.now(UTC) - timedelta(hours=2)
    budget_create(actor=actor, name="Team", scope_kind="team", team=team, period_kind="month", limit_amount=Decimal(100))
    events_store(actor=actor, api_key=None, source="rest", events=[work.call(number, day=day) for number in range(CALLS)])
    rule_create(actor=actor, name="All", conditions=[{"field": "team", "op": "is_set"}], team=team, is_overriding=True)
    run = attribution_run_create(actor=actor, reason="all", starts_at=day - timedelta(days=1), ends_at=timezone.now())
    run_work(run.pk)
    run_start(actor=actor, run=ReratingRun.objects.get())
    jobs = [
        Job(go_on, (run.pk, 10)),
        Job(go_on, (run.pk, 10)),
        Job(post, (organization.pk, 10_000, 8)),
        Job(change_rules, (organization.pk, 6)),
    ]
    assert crew_run(jobs)[:3] == [False, False, []]
    found = ReratingRun.objects.get()
    assert found.state == "done"
    assert EventAmendment.objects.count() == found.events_changed
    assert set(UsageEvent.objects.values_list("team_id", flat=True)) == {team.pk}
    assert organization_verify(organization) == []

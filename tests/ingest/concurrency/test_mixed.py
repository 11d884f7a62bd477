"""Everything at once, by real processes: no deadlock, no error but refusals, and every sum true in every snapshot and at the end."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command

from governance.audit.models import AuditRecord
from governance.budgets.models import Authorization, Freeze
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import UsageEvent
from tests.ingest.concurrency import mixed
from tests.ingest.concurrency.crew import Job, crew_run

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("few_prices")]
SECONDS = float(os.environ.get("MIXED_LOAD_SECONDS", "15"))


def first_budgets(admin: Member, team: Team) -> None:
    actor = member_actor(admin)
    for slug in ("core", "data", "web"):
        Team.objects.create(organization=team.organization, slug=slug, name=slug, parent=team if slug == "core" else None)
    budget_create(actor=actor, name="All", scope_kind="organization", period_kind="month", limit_amount=Decimal(50))
    budget_create(actor=actor, name="Sessions", scope_kind="session", period_kind="session", limit_amount=Decimal("0.6"))
    budget_create(actor=actor, name="Platform", scope_kind="team", team=team, period_kind="day", limit_amount=Decimal(5))
    budget_create(actor=actor, name="Soft", scope_kind="organization", period_kind="day", limit_amount=Decimal(1), is_hard=False)


def test_everything_at_once(
    organization: Organization, admin: Member, lead: Member, engineer: Member, team: Team, deadlocks: Callable[[], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first_budgets(admin, team)
    world = mixed.World(organization.pk, admin.pk, lead.pk, engineer.pk, datetime.now(UTC) - timedelta(hours=1))
    parts = {
        "poster 1": mixed.poster, "poster 2": mixed.poster, "poster 3": mixed.poster, "gateway 1": mixed.gateway, "gateway 2": mixed.gateway,
        "sweeper": mixed.sweeper, "manager 1": mixed.manager, "manager 2": mixed.manager, "people 1": mixed.people, "people 2": mixed.people,
        "amender 1": mixed.amender, "amender 2": mixed.amender, "verifier": mixed.verifier,
    }
    jobs = [Job(part, (world, SECONDS, seed)) for seed, part in enumerate(parts.values(), start=1)]
    answers: dict[str, Counter[str]] = dict(zip(parts, crew_run(jobs, patience_s=SECONDS + 120), strict=True))
    with capsys.disabled():
        if SECONDS > 30:
            print(*(f"{name}: {dict(found)}" for name, found in answers.items()), sep="\n")
    assert deadlocks() == 0
    assert all(answers.values())
    assert answers["verifier"]["verified"] > 1
    assert {"settled", "voided", "expired"} <= set(Authorization.objects.values_list("state", flat=True))
    assert UsageEvent.objects.count() > 100
    assert Freeze.objects.exists()
    assert AuditRecord.objects.filter(action="request.approved").exists()
    call_command("verify")

"""Hard limits and single counting under real processes: never passed at any commit, every grant that fits is given."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import EventIdentity, UsageEvent
from tests.ingest.concurrency import work
from tests.ingest.concurrency.crew import Job, crew_run

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("few_prices")]
CALLERS = 64


def worst_balance() -> tuple[int, Decimal]:
    """How many balances were committed, and the least that a hard one ever had left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), min(allowance - spent - held) FROM balance_seen")
        count, least = cursor.fetchone()
    return count, least


def tree(admin: Member, team: Team, *, organization: str, teams: str, session: str) -> None:
    """A hard budget on the organization, on each of four teams (two of them below platform) and on every session."""
    actor = member_actor(admin)
    places = {"platform": None, "core": team, "data": team, "web": None}
    for slug, parent in places.items():
        found = team if slug == "platform" else Team.objects.create(organization=team.organization, slug=slug, name=slug, parent=parent)
        limit = Decimal(teams) * (3 if slug == "platform" else 1)  # it answers for the two below as well
        budget_create(actor=actor, name=slug, scope_kind="team", team=found, period_kind="month", limit_amount=limit)
    budget_create(actor=actor, name="all", scope_kind="organization", period_kind="month", limit_amount=Decimal(organization))
    budget_create(actor=actor, name="session", scope_kind="session", period_kind="session", limit_amount=Decimal(session))


def labels(number: int) -> dict[str, str]:
    return {"session": f"session-{number % 16}", "team": work.TEAMS[number % 4]}


def test_64_processes_on_one_hard_budget(organization: Organization, admin: Member, balances_watched: None, deadlocks: Callable[[], int]) -> None:
    budget_create(
        actor=member_actor(admin), name="Session", scope_kind="session", period_kind="session", limit_amount=Decimal(100)
    )
    callers = [Job(work.ask, (organization.pk, {"session": "s1"}, 3))] * CALLERS
    *answers, (looks, wrong) = crew_run([*callers, Job(work.observe, (organization.pk, 2.0))])
    assert sum(answers, Counter()) == {"held": 100, "refused": 92}
    assert BudgetPeriod.objects.get().held == 100 == Authorization.objects.count()
    assert (wrong, looks > 0) == ([], True)
    assert worst_balance() == (1 + 100 + 92, 0)  # made, held, and noted as refused
    assert deadlocks() == 0


def test_64_processes_on_a_tree_of_budgets(
    organization: Organization, admin: Member, team: Team, balances_watched: None, deadlocks: Callable[[], int]
) -> None:
    """Sessions of 12 in teams of 40 (16 x 12 and 4 x 40 are more than 100) below an organization of 100: 100 are granted."""
    tree(admin, team, organization="100", teams="40", session="12")
    callers = [Job(work.ask, (organization.pk, labels(number), 4)) for number in range(CALLERS)]
    *answers, (_, wrong) = crew_run([*callers, Job(work.observe, (organization.pk, 3.0))])
    assert sum(answers, Counter()) == {"held": 100, "refused": 4 * CALLERS - 100}
    assert wrong == []
    assert worst_balance()[1] == 0
    assert BudgetPeriod.objects.get(budget__name="all").held == 100
    assert BudgetPeriod.objects.filter(session_key__gt="").aggregate(total=Sum("held"))["total"] == 100
    assert deadlocks() == 0
    call_command("verify")


def test_authorized_calls_never_pass_a_limit_however_their_holds_end(
    organization: Organization, admin: Member, team: Team, balances_watched: None, deadlocks: Callable[[], int]
) -> None:
    """Each call costs 0.0045 and holds 0.01; the organization has room for about half of what is asked."""
    tree(admin, team, organization="0.5", teams="0.2", session="0.06")
    callers = [Job(work.call_under_authorization, (organization.pk, labels(number), number * 100, 15, number)) for number in range(16)]
    *answers, (_, wrong) = crew_run([*callers, Job(work.observe, (organization.pk, 3.0))])
    found: Counter[str] = sum(answers, Counter())
    assert wrong == []
    assert worst_balance()[1] >= 0
    assert found["refused"] > 0
    assert UsageEvent.objects.count() == found["event"] > 0
    assert BudgetPeriod.objects.get(budget__name="all").spent == found["event"] * work.COST
    assert not BudgetPeriod.objects.exclude(held=0).exists()
    assert deadlocks() == 0
    call_command("verify")


def test_same_batch_from_16_clients_is_counted_once(organization: Organization, admin: Member, team: Team, deadlocks: Callable[[], int]) -> None:
    tree(admin, team, organization="1000", teams="1000", session="1000")
    day = datetime.now(UTC) - timedelta(hours=1)
    jobs = []
    for seed in range(16):
        numbers = list(range(400))
        random.Random(seed).shuffle(numbers)
        jobs.append(Job(work.post, (organization.pk, numbers, day)))
    answers = crew_run(jobs)
    assert sum(answers, Counter()) == {"accepted": 400, "duplicate": 15 * 400}
    assert UsageEvent.objects.count() == EventIdentity.objects.filter(sightings=16).count() == 400
    assert BudgetPeriod.objects.get(budget__name="all").spent == 400 * work.COST
    assert deadlocks() == 0
    call_command("verify")

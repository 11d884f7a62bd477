"""A process that dies between any two statements leaves nothing half done, and whoever does it again gets it done once."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.services import request_create, request_decide
from governance.budgets.models import Authorization, BudgetPeriod, Freeze, TopUp
from governance.budgets.services import authorization_hold, authorization_settle, authorization_void, budget_create
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from ingest.models import UsageEvent
from ingest.services import events_store
from ingest.verify import organization_verify
from tests.ingest.concurrency import work
from tests.ingest.concurrency.crash import crash_at
from tests.ingest.concurrency.crew import Job

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("few_prices")]
LABELS = {"session": "s1", "team": "platform"}


def just_now() -> datetime:
    """When a call took place; said once, so that who does it again says the same."""
    return datetime.now(UTC) - timedelta(minutes=2)


def hold(organization_id: int, key: str) -> UUID:
    """Asked under an id, so that it may be asked again."""
    return authorization_hold(actor=work.actor_of(organization_id), api_key=None, request=work.asking("0.01", LABELS, id=key)).authorization.pk


def report(organization_id: int, number: int, day: datetime, made: UUID | None) -> None:
    event = work.call(number, day=day, authorization=made, **LABELS)
    events_store(actor=work.actor_of(organization_id), api_key=None, source="rest", events=[event])


def report_many(organization_id: int, first: int, day: datetime) -> None:
    events = [work.call(number, day=day) for number in range(first, first + 100)]
    events_store(actor=work.actor_of(organization_id), api_key=None, source="rest", events=events)


def settle(organization_id: int, made: UUID) -> None:
    authorization_settle(actor=work.actor_of(organization_id), authorization_id=made, amount=work.COST)


def void(organization_id: int, made: UUID) -> None:
    authorization_void(actor=work.actor_of(organization_id), authorization_id=made)


def grant(member_id: int, request_id: UUID, key: str) -> None:
    request_decide(actor=work.person_of(member_id), request_id=request_id, is_grant=True, idempotency_key=key)


def crashed_everywhere(prepare: Callable[[], Job], check: Callable[[], Mapping[str, Any]]) -> int:
    """Does a fresh job for each place it can die at: dies there, is done again, and must come to what an undisturbed one adds.

    Returns at how many places it died. `check` says what there is; each job, done once in the end, adds the same to it.
    """
    job, before = prepare(), check()
    job.work(*job.arguments)
    added = {name: value - before[name] for name, value in check().items()}
    for place in count(1):
        job, before = prepare(), check()
        steps = crash_at(place, job)
        between = check()
        assert between in (before, {name: value + added[name] for name, value in before.items()}), f"half done before step {place}"
        job.work(*job.arguments)
        assert check() == {name: value + added[name] for name, value in before.items()}, f"died before step {place}"
        if steps is not None:
            return place - 1
    raise AssertionError("unreachable")


@pytest.fixture
def world(organization: Organization, admin: Member, team: Team) -> Organization:
    actor = member_actor(admin)
    for slug in ("core", "data", "web"):
        Team.objects.create(organization=organization, slug=slug, name=slug)
    budget_create(actor=actor, name="all", scope_kind="organization", period_kind="month", limit_amount=Decimal(1000))
    budget_create(actor=actor, name="hours", scope_kind="team", team=team, period_kind="rolling", rolling_hours=24, limit_amount=Decimal(500))
    budget_create(actor=actor, name="session", scope_kind="session", period_kind="session", limit_amount=Decimal(100))
    return organization


def balances() -> dict[str, Any]:
    periods = list(BudgetPeriod.objects.all())
    return {
        "spent": sum((period.spent for period in periods), Decimal(0)), "held": sum((period.held for period in periods), Decimal(0)),
        "events": UsageEvent.objects.count(), "topups": TopUp.objects.count(), "decisions": Decision.objects.count(),
        "freezes": Freeze.objects.count(),
    }


def books_are_true(organization: Organization) -> None:
    assert organization_verify(organization) == []


def test_hold(world: Organization) -> None:
    numbers = count()
    died = crashed_everywhere(lambda: Job(hold, (world.pk, f"key-{next(numbers)}")), lambda: {**balances(), "rows": Authorization.objects.count()})
    assert died > 2
    books_are_true(world)


@pytest.mark.parametrize("is_authorized", [True, False])
def test_event(world: Organization, is_authorized: bool) -> None:
    numbers = count()

    def job() -> Job:
        number = next(numbers)
        return Job(report, (world.pk, number, just_now(), hold(world.pk, f"key-{number}") if is_authorized else None))

    assert crashed_everywhere(job, balances) > 4
    books_are_true(world)


def test_batch(world: Organization) -> None:
    numbers = count(step=100)
    assert crashed_everywhere(lambda: Job(report_many, (world.pk, next(numbers), just_now())), lambda: {"events": UsageEvent.objects.count()}) > 4
    books_are_true(world)


@pytest.mark.parametrize("end", [settle, void])
def test_end_of_a_hold(world: Organization, end: Callable[[int, UUID], None]) -> None:
    numbers = count()
    assert crashed_everywhere(lambda: Job(end, (world.pk, hold(world.pk, f"key-{next(numbers)}"))), balances) > 3
    books_are_true(world)


def test_grant(world: Organization, admin: Member, engineer: Member) -> None:
    """Request, decision, top-up and the end of the freeze: all of it or nothing."""
    own = work.call(1, day=just_now(), session="own", team="platform", member=engineer.user.email)
    events_store(actor=work.actor_of(world.pk), api_key=None, source="rest", events=[own])
    numbers = count()

    def job() -> Job:
        period = BudgetPeriod.objects.get(session_key="own")
        ApprovalRequest.objects.filter(state="pending").update(state="withdrawn")
        asked = request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(1), reason="more", session_key="")
        return Job(grant, (admin.pk, asked.pk, f"key-{next(numbers)}"))

    assert crashed_everywhere(job, balances) > 5
    books_are_true(world)

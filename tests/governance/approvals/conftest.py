"""Budget periods to ask on, and the person they freeze."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from governance.budgets.models import Budget, BudgetPeriod, Freeze, Session
from governance.periods import BEGINNING
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person

LIMIT = Decimal(100)
FROZEN_SESSION = "run-1"


def budget_of(organization: Organization, *, name: str, scope_kind: str, period_kind: str = "month", **fields: Any) -> Budget:
    return Budget.objects.create(
        organization=organization,
        name=name,
        scope_kind=scope_kind,
        period_kind=period_kind,
        limit_amount=LIMIT,
        counts_from=BEGINNING,
        **fields,
    )


def period_of(
    budget: Budget, *, spent: Decimal = Decimal(0), ends_at: datetime | None = None, session_key: str = "", **fields: Any
) -> BudgetPeriod:
    starts_at = fields.pop("starts_at", BEGINNING if session_key else timezone.now() - timedelta(days=3))
    if not session_key and ends_at is None:
        ends_at = timezone.now() + timedelta(days=20)
    return BudgetPeriod.objects.create(
        organization=budget.organization,
        budget=budget,
        starts_at=starts_at,
        ends_at=ends_at,
        session_key=session_key,
        limit_amount=LIMIT,
        is_hard=True,
        spent=spent,
        **fields,
    )


def session_of(member: Member, key: str) -> Session:
    now = timezone.now()
    return Session.objects.create(
        organization=member.organization, key=key, team_id=member.team_id, member_id=member.pk, first_at=now, last_at=now
    )


def frozen_session_period(member: Member, budget: Budget, *, key: str = FROZEN_SESSION, spent: Decimal = Decimal("100.25")) -> BudgetPeriod:
    """The member's session, frozen at the limit of a session budget."""
    session_of(member, key)
    now = timezone.now()
    period = period_of(budget, spent=spent, session_key=key, frozen_at=now)
    Freeze.objects.create(
        organization=member.organization, cause="budget", period=period, session_key=key, reason="limit reached", started_at=now
    )
    return period


@pytest.fixture
def session_budget(organization: Organization, team: Team) -> Budget:
    return budget_of(organization, name="Platform session", scope_kind="session", period_kind="session", team=team)


@pytest.fixture
def frozen(engineer: Member, session_budget: Budget) -> BudgetPeriod:
    """The engineer's session, frozen 0.25 over its 100 USD."""
    return frozen_session_period(engineer, session_budget)


@pytest.fixture
def team_period(organization: Organization, team: Team) -> BudgetPeriod:
    return period_of(budget_of(organization, name="Platform month", scope_kind="team", team=team), spent=Decimal(40))


@pytest.fixture
def organization_period(organization: Organization) -> BudgetPeriod:
    return period_of(budget_of(organization, name="Acme month", scope_kind="organization"), spent=Decimal(40))


@pytest.fixture
def owner(organization: Organization) -> Member:
    return person(organization, email="owner@acme.example", role=Role.OWNER)


@pytest.fixture
def second_lead(organization: Organization, team: Team) -> Member:
    return person(organization, email="second@acme.example", role=Role.APPROVER, team=team)


@pytest.fixture
def other_team(organization: Organization) -> Team:
    return Team.objects.create(organization=organization, slug="research", name="Research")


@pytest.fixture
def other_lead(organization: Organization, other_team: Team) -> Member:
    return person(organization, email="research-lead@acme.example", role=Role.APPROVER, team=other_team)


@pytest.fixture
def other_engineer(organization: Organization, other_team: Team) -> Member:
    return person(organization, email="researcher@acme.example", role=Role.ENGINEER, team=other_team)

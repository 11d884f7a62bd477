"""Small grants that nobody decides: within the caps of the day to the last cent, whatever comes at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum

from governance.approvals.models import ApprovalRequest, Decision
from governance.approvals.policies import policy_set
from governance.approvals.policy import ADMINS, APPROVERS, Automatic, Band, Rules, Step
from governance.approvals.services import request_create
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetPeriod, TopUp
from governance.budgets.selectors import session_freeze_of
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from tests.conftest import person
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, frozen_session_period, period_of

CHAIN = (Band((Step((APPROVERS, ADMINS)),)),)


def write(admin: Member, up_to: int = 10, person_daily: int = 25, team_daily: int = 40, team: Team | None = None) -> None:
    automatic = Automatic(Decimal(up_to), Decimal(person_daily), Decimal(team_daily))
    policy_set(actor=member_actor(admin), team=team, rules=Rules(CHAIN, automatic=automatic))


def ask(member: Member, period: BudgetPeriod, amount: str = "10") -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(amount), reason="Nearly done.")


def test_a_small_request_is_granted_at_once(admin: Member, lead: Member, engineer: Member, frozen: BudgetPeriod) -> None:
    write(admin)
    request = ask(engineer, frozen)

    decision = Decision.objects.get()
    assert (request.state, decision.kind, decision.decider, decision.amount, decision.by) == (
        "approved",
        "automatic",
        None,
        10,
        "The policy",
    )
    assert session_freeze_of(member_actor(engineer), FROZEN_SESSION) is None
    assert not Notice.objects.filter(recipient=lead.user.email).exists()
    assert Notice.objects.filter(recipient=engineer.user.email, subject__startswith="Granted").count() == 1
    assert AuditRecord.objects.get(action="request.approved").actor_kind == "system"


def test_what_is_larger_or_past_a_cap_waits_for_people(
    admin: Member, engineer: Member, frozen: BudgetPeriod, session_budget: Budget
) -> None:
    write(admin)
    assert ask(engineer, frozen, "10.01").state == "pending"
    others = [frozen_session_period(engineer, session_budget, key=f"run-{place}") for place in range(2, 6)]
    assert [ask(engineer, period, amount).state for period, amount in zip(others, ("10", "10", "5.01", "5"), strict=True)] == [
        "approved", "approved", "pending", "approved",
    ]  # fmt: skip


def test_the_team_has_a_cap_of_its_own(
    admin: Member, engineer: Member, lead: Member, organization: Organization, team: Team, team_period: BudgetPeriod
) -> None:
    write(admin)
    third = person(organization, email="third@acme.example", role=Role.ENGINEER, team=team)
    states = [ask(member, team_period).state for member in (engineer, engineer, lead, lead, third)]
    assert states == ["approved"] * 4 + ["pending"]


def test_the_next_day_of_the_organization_begins_anew(admin: Member, engineer: Member, organization: Organization, team: Team) -> None:
    evening = datetime(2026, 3, 1, 23, 50, tzinfo=ZoneInfo("Europe/Berlin"))
    with time_machine.travel(evening, tick=False):
        write(admin, person_daily=10, team_daily=10)
        period = period_of(budget_of(organization, name="Platform", scope_kind="team", team=team))
        assert [ask(engineer, period).state for _ in range(2)] == ["approved", "pending"]
        ApprovalRequest.objects.filter(state="pending").delete()
    with time_machine.travel(evening + timedelta(minutes=11), tick=False):
        assert ask(engineer, period).state == "approved"


def test_tokens_and_other_currencies_are_never_granted_automatically(
    admin: Member, engineer: Member, organization: Organization, team: Team
) -> None:
    write(admin)
    for fields in ({"measure": "tokens"}, {"currency": "EUR"}):
        period = period_of(budget_of(organization, name=str(fields), scope_kind="team", team=team, **fields))
        assert ask(engineer, period).state == "pending"


def test_another_teams_policy_grants_nothing_here(admin: Member, engineer: Member, other_team: Team, frozen: BudgetPeriod) -> None:
    write(admin, team=other_team)
    assert ask(engineer, frozen).state == "pending"


@pytest.mark.django_db(transaction=True)
def test_caps_hold_when_requests_come_at_the_same_time(
    admin: Member, engineer: Member, organization: Organization, team: Team, session_budget: Budget, team_period: BudgetPeriod
) -> None:
    """Six people with two requests each, on budgets of their own and on a shared one: 20 each and 65 together at most."""
    write(admin, up_to=10, person_daily=15, team_daily=65)
    people = [engineer, *[person(organization, email=f"p{place}@acme.example", role=Role.ENGINEER, team=team) for place in range(5)]]
    calls: list[Callable[[], ApprovalRequest]] = []
    for place, member in enumerate(people):
        for amount in ("10", "9", "5"):
            period = frozen_session_period(member, session_budget, key=f"at-once-{place}-{amount}")
            calls.append(lambda member=member, period=period, amount=amount: ask(member, period, amount))  # type: ignore[misc]
        calls.append(lambda member=member: ask(member, team_period, "5"))  # type: ignore[misc]
    start = Barrier(len(calls))

    def run(call: Callable[[], ApprovalRequest]) -> ApprovalRequest:
        try:
            start.wait(30)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        answers = [running.result(60) for running in [threads.submit(run, call) for call in calls]]

    granted = Decision.objects.filter(kind="automatic")
    by_person = dict(granted.order_by().values_list("request__requester").annotate(total=Sum("amount")))
    total = sum(by_person.values())
    assert max(by_person.values()) <= 15
    assert 60 < total <= 65  # nothing of 5 that still fits is left out
    assert sum(topup.amount for topup in TopUp.objects.all()) == total
    assert sum(1 for answer in answers if answer.state == "approved") == granted.count()

"""Two people at one request in the same moment: real threads, real commits, one outcome."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection, transaction
from django.utils import timezone

from governance.approvals.delegations import delegation_create
from governance.approvals.models import ApprovalPolicy, ApprovalRequest, Decision, Vote
from governance.approvals.policies import policy_set
from governance.approvals.policy import ADMINS, APPROVERS, Band, Override, Rules, Step
from governance.approvals.services import request_create, request_decide, request_override, request_withdraw
from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, TopUp
from governance.budgets.services import budget_change, period_topup
from governance.errors import Conflict
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 6


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Runs the calls in threads that start together; a Conflict is an answer, anything else is raised."""
    start = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        try:
            start.wait(10)
            return call()
        except Conflict as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [running.result(30) for running in [threads.submit(run, call) for call in calls]]


def ask(member: Member, period: BudgetPeriod, amount: int = 10, **fields: str) -> ApprovalRequest:
    return request_create(actor=member_actor(member), period_id=period.pk, amount=Decimal(amount), reason="Nearly done.", **fields)  # type: ignore[arg-type]


def decide(member: Member, request: ApprovalRequest, **fields: object) -> Decision | Vote:
    return request_decide(actor=member_actor(member), request_id=request.pk, **fields)  # type: ignore[arg-type]


def conflicts(answers: list[object]) -> list[Conflict]:
    return [answer for answer in answers if isinstance(answer, Conflict)]


def test_two_approvers_decide_at_once(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    for done in range(1, ROUNDS + 1):
        request = ask(engineer, frozen)

        answers = at_once(lambda: decide(lead, request, is_grant=True), lambda: decide(admin, request, is_grant=True))  # noqa: B023 - awaited below

        assert len(conflicts(answers)) == 1
        assert (Decision.objects.count(), TopUp.objects.count()) == (done, done)
        assert AuditRecord.objects.filter(action="request.approved").count() == done
        frozen.refresh_from_db()
        assert frozen.topup == 10 * done


def test_grant_against_denial(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    for done in range(1, ROUNDS + 1):
        request = ask(engineer, frozen)

        answers = at_once(lambda: decide(lead, request, is_grant=True), lambda: decide(admin, request, is_grant=False, note="No."))  # noqa: B023

        assert len(conflicts(answers)) == 1
        assert Decision.objects.count() == done
        frozen.refresh_from_db()
        assert frozen.topup == 10 * Decision.objects.filter(is_grant=True).count()


def test_decision_against_a_change_of_the_budget(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    """Both go through: neither waits for what the other needs."""
    for done in range(1, 2 * ROUNDS + 1):
        request = ask(engineer, frozen)

        answers = at_once(
            lambda: decide(lead, request, is_grant=True),  # noqa: B023
            lambda: budget_change(actor=member_actor(admin), budget=frozen.budget, limit_amount=Decimal(100 + done)),  # noqa: B023
        )

        assert conflicts(answers) == []
        frozen.refresh_from_db()
        assert (frozen.topup, frozen.limit_amount) == (10 * done, 100 + done)


def test_decision_against_withdrawal(engineer: Member, lead: Member, frozen: BudgetPeriod) -> None:
    for _ in range(ROUNDS):
        request = ask(engineer, frozen)

        answers = at_once(
            lambda: decide(lead, request, is_grant=True),  # noqa: B023
            lambda: request_withdraw(actor=member_actor(engineer), request_id=request.pk),  # noqa: B023
        )

        assert len(conflicts(answers)) == 1
        request.refresh_from_db()
        assert Decision.objects.filter(request=request).exists() == (request.state == "approved")
    frozen.refresh_from_db()
    assert frozen.topup == 10 * ApprovalRequest.objects.filter(state="approved").count()


def test_double_click_on_grant(engineer: Member, lead: Member, frozen: BudgetPeriod) -> None:
    request = ask(engineer, frozen)

    answers = at_once(*[lambda: decide(lead, request, is_grant=True)] * 4)

    assert len(conflicts(answers)) == 3
    assert TopUp.objects.count() == 1


def test_double_click_with_an_idempotency_key_gives_one_answer(engineer: Member, lead: Member, frozen: BudgetPeriod) -> None:
    asked = at_once(*[lambda: ask(engineer, frozen, idempotency_key="k-1")] * 4)
    assert len(set(asked)) == 1
    request = ApprovalRequest.objects.get()

    decided = at_once(*[lambda: decide(lead, request, is_grant=True, idempotency_key="d-1")] * 4)

    assert decided == [Decision.objects.get()] * 4
    assert AuditRecord.objects.filter(action__startswith="request.").count() == 2


def test_double_click_on_asking(engineer: Member, frozen: BudgetPeriod) -> None:
    answers = at_once(*[lambda: ask(engineer, frozen)] * 4)

    assert len(conflicts(answers)) == 3
    assert {refusal.extra["request"] for refusal in conflicts(answers)} == {ApprovalRequest.objects.get().pk}


def test_decisions_on_one_period_wait_for_each_other(
    engineer: Member, lead: Member, admin: Member, owner: Member, team_period: BudgetPeriod
) -> None:
    first, second = ask(engineer, team_period), ask(lead, team_period)

    at_once(
        lambda: decide(admin, first, is_grant=True),
        lambda: decide(owner, second, is_grant=True),
        *[lambda: period_topup_alone(owner, team_period)] * 2,
    )

    team_period.refresh_from_db()
    assert team_period.topup == 22
    assert sum(topup.amount for topup in TopUp.objects.all()) == 22


def period_topup_alone(member: Member, period: BudgetPeriod) -> TopUp:
    with transaction.atomic():
        return period_topup(actor=member_actor(member), period_id=period.pk, amount=Decimal(1))


def test_the_last_two_votes_of_a_chain_at_once(
    engineer: Member, lead: Member, second_lead: Member, admin: Member, owner: Member, frozen: BudgetPeriod
) -> None:
    """Four people at a step of two, each clicking twice: two count, one of them pays, the rest are told."""
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS, ADMINS), 2),)),)))
    for done in range(1, ROUNDS + 1):
        request = ask(engineer, frozen)
        people = (lead, second_lead, admin, owner)

        answers = at_once(*[lambda member=member: decide(member, request, is_grant=True) for member in people * 2])  # noqa: B023

        assert len(conflicts(answers)) == 6
        assert (Vote.objects.filter(request=request).count(), TopUp.objects.count()) == (2, done)
        frozen.refresh_from_db()
        assert frozen.topup == 10 * done


def test_a_vote_against_an_override(engineer: Member, lead: Member, admin: Member, frozen: BudgetPeriod) -> None:
    policy_set(actor=member_actor(admin), team=None, rules=Rules((Band((Step((APPROVERS,)),)),), override=Override((ADMINS,))))
    for done in range(1, ROUNDS + 1):
        request = ask(engineer, frozen)

        answers = at_once(
            lambda: decide(lead, request, is_grant=True),  # noqa: B023
            lambda: request_override(actor=member_actor(admin), request_id=request.pk, reason="Now."),  # noqa: B023
        )

        assert len(conflicts(answers)) == 1
        assert (Decision.objects.count(), TopUp.objects.count()) == (done, done)


def test_two_policies_written_at_once_give_two_versions_and_one_in_force(admin: Member, owner: Member) -> None:
    rules = [Rules((Band((Step((ADMINS,), needed),)),)) for needed in (1, 2, 3, 4)]
    at_once(*[lambda rule=rule: policy_set(actor=member_actor(admin), team=None, rules=rule) for rule in rules])
    assert sorted(ApprovalPolicy.objects.values_list("number", flat=True)) == [1, 2, 3, 4]
    assert ApprovalPolicy.objects.filter(ended_at=None).count() == 1


def test_two_people_naming_each_other_at_once(lead: Member, admin: Member) -> None:
    now = timezone.now()
    answers = at_once(
        lambda: delegation_create(actor=member_actor(lead), delegate=admin, starts_at=now, ends_at=now + timedelta(days=1)),
        lambda: delegation_create(actor=member_actor(admin), delegate=lead, starts_at=now, ends_at=now + timedelta(days=1)),
    )
    assert len(conflicts(answers)) == 1

"""By how much each kind of traffic can pass a hard limit: docs/budgets.md names each of these tests beside the bound that it shows."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from governance.budgets.models import Authorization, BudgetPeriod
from governance.budgets.services import (
    AuthorizationIn,
    ExtensionIn,
    Held,
    authorization_extend,
    authorization_hold,
    authorization_void,
    authorizations_hold,
    holds_expire,
)
from governance.errors import Conflict, PaymentRequired
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.services import events_store
from ingest.verify import differences
from tests.governance.budgets.test_holds import budget
from tests.governance.budgets.test_leases import call, lease
from tests.governance.budgets.test_settling import balance, hold, store
from tests.ingest.few_prices import few_prices
from tests.ingest.test_store import COST, event

__all__ = ["few_prices"]

pytestmark = pytest.mark.django_db


def test_call_that_costs_more_than_it_held_passes_by_the_difference(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "0.004")
    made = UUID(hold(api, "0.004"))
    store(admin, event(authorization=made))
    assert balance() == (COST, 0)
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.0001"}).json()["is_frozen"] is True


def test_calls_on_a_lease_pass_by_what_they_cost_beyond_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, str(2 * COST))
    made = lease(api, str(2 * COST))
    for number in range(3):
        store(admin, call(number, made))
    assert balance() == (3 * COST, 0)
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.0001"}).status_code == 402


def test_single_calls_without_authorization_pass_by_the_last_of_them(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, str(2 * COST - Decimal("0.001")))
    for number in range(2):
        assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0"}).status_code == 201
        store(admin, event(number))
    assert balance()[0] == 2 * COST
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0"}).json()["is_frozen"] is True


def test_calls_that_were_checked_pass_by_all_that_are_under_way(few_prices: None, admin: Member, api: APIClient) -> None:
    """Whoever checks and reports one call after the other passes by the last; callers who check at once are all told to go on."""
    budget(admin, str(2 * COST - Decimal("0.001")))
    assert api.get("/api/v1/check?session=s1").status_code == 200
    store(admin, event(0))
    assert [api.get("/api/v1/check?session=s1").status_code for _ in range(3)] == [200] * 3
    for number in (1, 2, 3):
        store(admin, event(number))
    assert balance()[0] == 4 * COST
    assert api.get("/api/v1/check?session=s1").json()["is_frozen"] is True


def test_batch_without_authorization_passes_by_what_is_in_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, str(COST))
    events_store(actor=member_actor(admin), api_key=None, source="rest", events=[event(number) for number in range(5)])
    assert balance()[0] == 5 * COST
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0"}).json()["is_frozen"] is True


def test_calls_made_while_we_could_not_be_reached_pass_by_all_they_cost(few_prices: None, admin: Member, api: APIClient) -> None:
    """Of a gateway that goes on without us (`fails_open`) everything counts when it comes, and the next call that asks is refused."""
    budget(admin, str(COST), fails_open=True)
    for number in range(4):
        store(admin, event(number, occurred_at=timezone.now() - timedelta(minutes=number)))
    assert balance()[0] == 4 * COST
    assert api.post("/api/v1/authorizations", {"session": "s1", "amount": "0.0001"}).json()["is_frozen"] is True


def test_cheaper_models_go_on_past_a_limit_that_downgrades(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, "1", is_hard=False, action="downgrade", downgrade_models=["claude-haiku-4-5"])
    asked = {"session": "s1", "provider": "anthropic", "amount": "2"}
    assert api.post("/api/v1/authorizations", asked | {"model": "claude-sonnet-4-5"}).status_code == 402
    assert api.post("/api/v1/authorizations", asked | {"model": "claude-haiku-4-5"}).status_code == 201
    assert balance() == (0, 2)


def test_rolling_window_refuses_until_the_quarter_hour_has_left_it(few_prices: None, admin: Member, api: APIClient) -> None:
    budget(admin, str(2 * COST), name="Three hours", scope_kind="organization", period_kind="rolling", rolling_hours=3)
    store(admin, event(1, occurred_at=timezone.now() - timedelta(hours=2)))
    assert api.post("/api/v1/authorizations", {"amount": str(COST)}).status_code == 201
    assert api.post("/api/v1/authorizations", {"amount": "0.000000000000001"}).status_code == 402
    period = BudgetPeriod.objects.get()
    assert period.spent + period.held == period.limit_amount


@pytest.mark.parametrize(("measure", "each", "unit"), [("tokens", {"input_tokens": 60, "max_output_tokens": 40}, 100), ("calls", {}, 1)])
def test_tokens_and_calls_are_held_to_the_last_one(
    admin: Member, api: APIClient, measure: str, each: dict[str, Any], unit: int
) -> None:
    budget(admin, str(3 * unit), name="Month", scope_kind="organization", period_kind="month", measure=measure)
    answers = [api.post("/api/v1/authorizations", {"session": "s1", "amount": "0"} | each).status_code for _ in range(4)]
    assert answers == [201, 201, 201, 402]
    assert BudgetPeriod.objects.get().held == 3 * unit


LIMIT = Decimal("0.2")


@pytest.mark.django_db(transaction=True)
def test_leases_holds_parts_batches_events_and_expiry_at_once_never_pass_the_limit(
    few_prices: None, admin: Member, organization: Organization
) -> None:
    """Eight threads do everything at once on one month; another looks at the balance all the time. Each call costs less than it holds."""
    budget(admin, str(LIMIT), name="Month", scope_kind="organization", period_kind="month")
    budget(admin, "1")
    over: list[tuple[Decimal, Decimal]] = []
    failed: list[BaseException] = []
    ended, done = threading.Event(), Counter[str]()

    def observe() -> None:
        try:
            while not ended.is_set():
                over.extend(row for row in BudgetPeriod.objects.filter(session_key="").values_list("spent", "held") if sum(row) > LIMIT)
                done["looks"] += 1
        finally:
            connection.close()

    def work(number: int) -> None:
        try:
            _Traffic(admin, number, done).run(25)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    observer = threading.Thread(target=observe)
    for thread in (observer, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    observer.join()
    assert (failed, over) == ([], [])
    assert all(done[kind] for kind in ("looks", "lease", "hold", "batch", "event", "refused")), done
    assert differences(organization) == []
    holds_expire(now=timezone.now() + timedelta(days=2))
    assert set(BudgetPeriod.objects.values_list("held", flat=True)) == {0}


class _Traffic:
    """One client: asks, reports, extends, gives back and sweeps in an order of its own."""

    def __init__(self, admin: Member, number: int, done: Counter[str]) -> None:
        self.actor, self.number, self.done, self.random = member_actor(admin), number, done, random.Random(number)
        self.open: list[UUID] = []
        self.count = 0

    def run(self, steps: int) -> None:
        kinds: list[Callable[[], None]] = [self.lease, self.hold, self.batch, self.event, self.event, self.event, self.extend, self.void, self.sweep]
        for step in range(steps):
            kind = kinds[step % len(kinds)] if step < len(kinds) else self.random.choice(kinds)
            try:
                kind()
                self.done[kind.__name__] += 1
            except PaymentRequired:
                self.done["refused"] += 1
            except Conflict:
                self.done["conflict"] += 1

    def request(self, amount: Decimal, **fields: Any) -> AuthorizationIn:
        return AuthorizationIn(session=f"s{self.random.randrange(3)}", amount=amount, ttl_seconds=3600, **fields)

    def lease(self) -> None:
        self.open.append(self._held(self.request(3 * COST, lease=True)))

    def hold(self) -> None:
        self.open.append(self._held(self.request(COST + COST / 2, allow_partial=True, min_amount=COST)))

    def _held(self, request: AuthorizationIn) -> UUID:
        return UUID(str(authorization_hold(actor=self.actor, api_key=None, request=request).authorization.pk))

    def batch(self) -> None:
        verdicts = authorizations_hold(actor=self.actor, api_key=None, requests=[self.request(COST) for _ in range(4)], now=timezone.now())
        self.open += [verdict.authorization.pk for verdict in verdicts if isinstance(verdict, Held)]

    def event(self) -> None:
        """A call on what is held for it: of a lease with enough left, or of a hold that no call was made on."""
        found = [one for one in Authorization.objects.filter(pk__in=self.open, state="held") if min(one.amounts, default=COST) >= COST]
        if found:
            one = self.random.choice(found)
            self.count += 1
            sent = msgspec.structs.replace(event(10_000 * self.number + self.count, session=one.session_key), authorization=one.pk)
            events_store(actor=self.actor, api_key=None, source="rest", events=[sent])

    def extend(self) -> None:
        if self.open:
            authorization_extend(actor=self.actor, api_key=None, authorization_id=self.random.choice(self.open), request=ExtensionIn(amount=COST))

    def void(self) -> None:
        if len(self.open) > 3:
            authorization_void(actor=self.actor, authorization_id=self.open.pop(0))

    def sweep(self) -> None:
        """Ends one of our own holds by time, if no call is made on it."""
        if len(self.open) > 2:
            made = self.open.pop(0)
            Authorization.objects.filter(pk=made, state="held").update(expires_at=timezone.now() - timedelta(seconds=1))
            holds_expire()

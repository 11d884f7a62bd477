"""Random interleavings of everything that moves a balance, against a reference that makes every sum anew."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import msgspec
import pytest
import time_machine
from django.db import transaction
from django.db.models import Q, QuerySet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from governance.budgets import tasks
from governance.budgets.models import Authorization, Budget, BudgetPeriod, Freeze, ThresholdCrossing, TopUp
from governance.budgets.services import (
    AuthorizationIn,
    ExtensionIn,
    Held,
    authorization_extend,
    authorization_hold,
    authorization_settle,
    authorization_void,
    authorizations_hold,
    budget_change,
    budget_create,
    budget_retire,
    budget_transfer,
    holds_expire,
    period_topup,
)
from governance.errors import Conflict, Invalid, PaymentRequired
from governance.pricing.book import current_book
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization, Team
from ingest.formats.event import UsageEvent
from ingest.services import events_store
from ingest.verify import differences
from tests.governance.budgets.reference import LONGEST_STEP, START, ZONE, Bucket, Call, Grant, Hold, Plan, Reference, first_counted
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]

EXAMPLES, STEPS = int(os.environ.get("INTERLEAVINGS", "12")), 25
PER_TOKEN = Decimal(3) / 1_000_000
TEAMS, SESSIONS = st.sampled_from(("", "platform", "core")), st.sampled_from(("", "s1", "s2"))
TASKS, ROLES = st.sampled_from(("", "", "t1")), st.sampled_from(("", "planner"))
# By measure: limits that random calls reach now and then.
SIZES = {"money": 1, "tokens": 100_000, "calls": 10}
AMOUNTS = st.sampled_from(("0.01", "0.2", "0.5", "1", "3")).map(Decimal)
LIMITS = st.sampled_from(("0.3", "1", "2.5", "10")).map(Decimal)
NUMBERS = st.integers(0, 25)
CHOICES = st.integers(0, 1_000_000)


class Interleavings(RuleBasedStateMachine):
    """Each rule does something to the product and to the reference, and compares the two answers."""

    @initialize()
    def begin(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now, self.reference = START, Reference()
        self.events: dict[int, UsageEvent] = {}
        self.organization = Organization.objects.create(slug="random", name="Random", time_zone=ZONE.key)
        self.actor = system_actor(self.organization)
        platform = Team.objects.create(organization=self.organization, slug="platform", name="Platform")
        core = Team.objects.create(organization=self.organization, slug="core", name="Core", parent=platform)
        self.teams = {"": None, "platform": platform, "core": core}

    def teardown(self) -> None:
        if not hasattr(self, "organization"):
            return
        try:
            self.proof_finds_nothing()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    @contextmanager
    def clock(self) -> Iterator[datetime]:
        with time_machine.travel(self.now, tick=False):
            yield self.now

    # time

    @rule(step=st.timedeltas(min_value=timedelta(minutes=1), max_value=LONGEST_STEP))
    def wait(self, step: timedelta) -> None:
        self.now += step

    @rule()
    def sweep(self) -> None:
        with self.clock() as now:
            assert holds_expire(now=now) == self.reference.expire(now)
            tasks.topups_expire()
            tasks.periods_roll()
            tasks.periods_slide()
        self.reference.slide(now)
        for grant in self.reference.grants.values():
            grant.is_over = grant.is_over or (grant.ends_at is not None and grant.ends_at <= now)

    # events

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=6), data=st.data())
    def post(self, numbers: list[int], data: st.DataObject) -> None:
        """Calls known and new, some with other content than before, some naming a hold."""
        holds = [None, *self.reference.holds]
        events = [self._event(number, data, data.draw(st.sampled_from(holds))) for number in numbers]
        with self.clock() as now:
            outcomes = events_store(actor=self.actor, api_key=None, source="rest", events=events, now=now)
        new = set(numbers) - self.reference.calls.keys()
        statuses = [self._count(number, event, is_new=number in new) for number, event in zip(numbers, events, strict=True)]
        assert [outcome.status for outcome in outcomes] == statuses

    def _event(self, number: int, data: st.DataObject, hold: UUID | None) -> UsageEvent:
        if number not in self.events:
            at = self.now + data.draw(st.sampled_from((timedelta(0), timedelta(hours=-3), timedelta(days=-2), timedelta(hours=20))))
            self.events[number] = UsageEvent(
                id=f"call-{number}", occurred_at=at, provider="anthropic", model="claude-sonnet-4-5", team=data.draw(TEAMS),
                session=data.draw(SESSIONS), task=data.draw(TASKS), role=data.draw(ROLES), input_tokens=data.draw(st.sampled_from((10_000, 70_000, 150_000))), output_tokens=0,
            )
        said = self.events[number] if data.draw(st.integers(0, 5)) else msgspec.structs.replace(self.events[number], input_tokens=1)
        return msgspec.structs.replace(said, authorization=hold)

    def _count(self, number: int, event: UsageEvent, *, is_new: bool) -> str:
        known = self.reference.calls.get(number)
        cost = (event.input_tokens or 0) * PER_TOKEN
        if known is None:
            known = self.reference.calls[number] = Call(
                event.team, event.session, event.occurred_at, cost, event.task, event.role, event.input_tokens or 0
            )
            self.reference.name(known, event.authorization, is_new=True)
            return "accepted"
        if known.cost != cost:
            return "conflict"
        self.reference.name(known, event.authorization, is_new=is_new)
        return "duplicate"

    # holds

    @rule(team=TEAMS, session=SESSIONS, amount=AMOUNTS, minutes=st.integers(1, 1440), task=TASKS, role=ROLES, is_lease=st.booleans())
    def hold(
        self, team: str, session: str, amount: Decimal, minutes: int, task: str, role: str, is_lease: bool
    ) -> None:
        request = AuthorizationIn(team=team, session=session, task=task, role=role, amount=amount, ttl_seconds=60 * minutes, lease=is_lease)
        if self._is_attributed(request):
            self._hold(request, amount)

    def _hold(self, request: AuthorizationIn, amount: Decimal) -> None:
        call = Call(request.team, request.session, self.now, amount, request.task, request.role)
        is_fitting = self.reference.fits(call, amount=amount, frozen=self._frozen())
        if not is_fitting:
            is_fitting = self._fits_after_sweep(call, amount)
        try:
            with self.clock() as now:
                made = authorization_hold(actor=self.actor, api_key=None, request=request, now=now).authorization
        except PaymentRequired:
            assert not is_fitting
            return
        assert is_fitting
        plans = self.reference.plans
        rest = {place: plans[place[0]].asked(amount) for place in self.reference.places(call)}
        self.reference.holds[made.pk] = Hold(self.now, made.expires_at, rest, is_lease=request.lease)
        assert all(self.reference.left(place) >= 0 for place in rest if plans[place[0]].is_hard)

    def _fits_after_sweep(self, call: Call, amount: Decimal) -> bool:
        """A refusal is given only when holds that are over and what rolling windows let go of do not make room either."""
        return self.reference.fits(call, amount=amount, frozen=self._frozen_after_sweep())

    def _frozen_after_sweep(self) -> set[tuple[int, Bucket]]:
        frozen = self._frozen()
        self.reference.expire(self.now)
        self.reference.slide(self.now)
        plans = self.reference.plans
        thawed = {place for place in frozen if plans[place[0]].hours is not None and self.reference.left(place) + self.reference.held(*place) > 0}
        return frozen - thawed

    def _is_attributed(self, request: AuthorizationIn) -> bool:
        """Whether the session's earlier calls add nothing to whom the call belongs to."""
        return not request.session or bool(request.team) or not any(call.session == request.session for call in self.reference.calls.values())

    def _call(self, request: AuthorizationIn) -> Call:
        return Call(request.team, request.session, self.now, request.amount or Decimal(0), request.task, request.role)

    def _rest(self, request: AuthorizationIn, amount: Decimal) -> dict[tuple[int, Bucket], Decimal]:
        return {place: self.reference.plans[place[0]].asked(amount) for place in self.reference.places(self._call(request))}

    @rule(team=TEAMS, session=SESSIONS, wanted=AMOUNTS, least=st.sampled_from((None, "0.1", "0.5")), minutes=st.integers(1, 1440), role=ROLES)
    def hold_part(self, team: str, session: str, wanted: Decimal, least: str | None, minutes: int, role: str) -> None:
        """What does not fit as a whole is granted to the last digit that does."""
        request = AuthorizationIn(
            team=team, session=session, role=role, amount=wanted, ttl_seconds=60 * minutes, allow_partial=True, min_amount=Decimal(least) if least else None
        )
        if not self._is_attributed(request) or (least is not None and Decimal(least) > wanted):
            return
        smallest = min(wanted, Decimal(least or "1e-15"))
        granted = self.reference.most_for(self._call(request), wanted=wanted, least=smallest, frozen=self._frozen())
        if granted is None:
            granted = self.reference.most_for(self._call(request), wanted=wanted, least=smallest, frozen=self._frozen_after_sweep())
        try:
            with self.clock() as now:
                held = authorization_hold(actor=self.actor, api_key=None, request=request, now=now)
        except PaymentRequired:
            assert granted is None
            return
        assert granted is not None
        is_in_money = any(self.reference.plans[place[0]].measure == "money" for place in self._rest(request, granted))
        assert held.authorization.amount == (granted if is_in_money else wanted)
        assert (held.bound_by is not None) == (is_in_money and granted < wanted)
        self.reference.holds[held.authorization.pk] = Hold(self.now, held.authorization.expires_at, self._rest(request, granted))

    @rule(
        teams=st.lists(TEAMS, min_size=1, max_size=5), sessions=st.lists(SESSIONS, min_size=5, max_size=5), amounts=st.lists(AMOUNTS, min_size=5, max_size=5),
        leases=st.lists(st.booleans(), min_size=5, max_size=5),
    )
    def hold_many(self, teams: list[str], sessions: list[str], amounts: list[Decimal], leases: list[bool]) -> None:
        """Each of a batch is answered as if they had come one after the other; those refused are looked at once more after a sweep."""
        wanted = [
            AuthorizationIn(team=team, session=session, amount=amount, ttl_seconds=600, lease=lease)
            for team, session, amount, lease in zip(teams, sessions, amounts, leases, strict=False)
        ]
        requests = [request for request in wanted if self._is_attributed(request)]
        expected: dict[int, Hold] = {}
        for is_swept in (False, True):
            left = [number for number in range(len(requests)) if number not in expected]
            frozen = self._frozen_after_sweep() if is_swept and left else self._frozen()
            for number in left:
                request, amount = requests[number], requests[number].amount or Decimal(0)
                if self.reference.fits(self._call(request), amount=amount, frozen=frozen):
                    # Its own end is known with the verdict; until then the sweep must not end it.
                    expected[number] = Hold(self.now, self.now + timedelta(days=1), self._rest(request, amount), is_lease=request.lease)
                    self.reference.holds[uuid4()] = expected[number]
        for made in [made for made, hold in self.reference.holds.items() if any(hold is one for one in expected.values())]:
            del self.reference.holds[made]
        with self.clock() as now:
            verdicts = authorizations_hold(actor=self.actor, api_key=None, requests=requests, now=now)
        assert [isinstance(verdict, Held) for verdict in verdicts] == [number in expected for number in range(len(requests))]
        for number, verdict in enumerate(verdicts):
            if isinstance(verdict, Held):
                expected[number].expires_at = verdict.authorization.expires_at
                self.reference.holds[verdict.authorization.pk] = expected[number]

    @precondition(lambda self: self.reference.holds)
    @rule(choice=CHOICES, amount=st.sampled_from((None, "0.01", "0.5", "3")), minutes=st.sampled_from((None, 1, 600)), calls=st.sampled_from((0, 0, 3)))
    def extend(self, choice: int, amount: str | None, minutes: int | None, calls: int) -> None:
        """More time and more of everything that it is held against, in the windows that run now, or nothing at all."""
        made, hold = self._some_hold(choice)
        calls = calls if hold.is_lease else 0
        if amount is None and minutes is None and not calls:
            return
        is_over = hold.state != "held" or hold.expires_at <= self.now
        more = self.reference.places_of_more(hold, self.now, amount=Decimal(amount or 0), calls=calls)
        is_fitting = is_over or self.reference.fits_more(more, self._frozen()) or self.reference.fits_more(more, self._frozen_after_sweep())
        request = ExtensionIn(amount=Decimal(amount) if amount else None, ttl_seconds=minutes and 60 * minutes, calls=calls)
        try:
            with self.clock() as now:
                held = authorization_extend(actor=self.actor, api_key=None, authorization_id=made, request=request, now=now)
        except Conflict:
            assert is_over
            return
        except PaymentRequired:
            assert not is_fitting
            return
        assert is_fitting
        assert not is_over
        until = self.now + timedelta(minutes=minutes or 0)
        assert max(hold.expires_at, until) >= held.authorization.expires_at >= hold.expires_at
        assert hold.is_lease or held.authorization.expires_at == max(hold.expires_at, until)
        hold.expires_at = held.authorization.expires_at
        for place, asked in more.items():
            hold.rest[place] = hold.rest.get(place, Decimal(0)) + asked

    def _frozen(self) -> set[tuple[int, Bucket]]:
        return {self._place(period) for period in self._periods().filter(frozen_at__isnull=False)}

    @precondition(lambda self: any(not hold.is_lease for hold in self.reference.holds.values()))
    @rule(choice=CHOICES, amount=AMOUNTS)
    def settle(self, choice: int, amount: Decimal) -> None:
        made, hold = self._some_hold(choice, leases=False)
        is_refused = hold.state == "voided" or (hold.reported not in (None, amount) and hold.state != "settling")
        frozen, plans = self._frozen(), self.reference.plans
        before = {place: hold.held_of(place) for place in hold.rest}
        in_money = [place for place in hold.rest if plans[place[0]].measure == "money"]
        bounds = [
            before[place] + max(Decimal(0) if place in frozen else self.reference.left(place), Decimal(0))
            for place in in_money if plans[place[0]].is_hard
        ]
        try:
            with self.clock() as now:
                authorization_settle(actor=self.actor, authorization_id=made, amount=amount, now=now)
        except Conflict:
            assert is_refused
            return
        assert not is_refused
        if hold.reported != amount and hold.state != "settled":
            hold.rest = {**before, **dict.fromkeys(in_money, min(amount, *bounds))} if bounds else {**before, **dict.fromkeys(in_money, amount)}
            if hold.state != "settling":
                hold.state, hold.expires_at = "settling", self.now + timedelta(days=1)
        hold.reported = amount

    @precondition(lambda self: self.reference.holds)
    @rule(choice=CHOICES)
    def void(self, choice: int) -> None:
        made, hold = self._some_hold(choice)
        is_ended_lease = hold.is_lease and hold.state == "settled"
        try:
            with self.clock() as now:
                authorization_void(actor=self.actor, authorization_id=made, now=now)
        except Conflict:
            assert hold.state not in ("held", "voided")
            assert not is_ended_lease
        else:
            assert hold.state in ("held", "voided") or is_ended_lease
            if hold.state == "held":
                hold.state = "settled" if hold.is_lease and hold.settled is not None else "voided"

    def _some_hold(self, choice: int, *, leases: bool = True) -> tuple[UUID, Hold]:
        found = [(made, hold) for made, hold in self.reference.holds.items() if leases or not hold.is_lease]
        return found[choice % len(found)]

    # budgets

    @precondition(lambda self: sum(plan.is_active for plan in self.reference.plans.values()) < 5)
    @rule(
        scope=st.sampled_from(("organization", "team", "session", "task")), team=st.sampled_from(("platform", "core")),
        kind=st.sampled_from(("day", "month", "lifetime", "rolling")), limit=LIMITS, action=st.sampled_from(("freeze", "freeze", "ask", "notify")),
        is_of_team=st.booleans(), measure=st.sampled_from(("money", "money", "tokens", "calls")), role=st.sampled_from(("", "", "planner")),
    )
    def make_budget(
        self, scope: str, team: str, kind: str, limit: Decimal, action: str, is_of_team: bool, measure: str, role: str
    ) -> None:
        team = team if scope == "team" or (scope in ("session", "task") and is_of_team) else ""
        kind = scope if scope in ("session", "task") else kind
        hours = 6 if kind == "rolling" else None
        limit = (limit * SIZES[measure]).quantize(Decimal(1)) if measure != "money" else limit
        with self.clock() as now:
            budget = budget_create(
                actor=self.actor, name=f"{scope} {kind}", scope_kind=scope, team=self.teams[team], period_kind=kind, limit_amount=limit,
                action=action, measure=measure, filters={"role": [role]} if role else {}, rolling_hours=hours,
            )
        plan = Plan(scope, kind, limit, action in ("freeze", "ask"), first_counted(kind, now), team, measure, role, hours, freezes=action == "freeze")
        plan.slide(now)
        self.reference.plans[budget.pk] = plan

    @precondition(lambda self: any(plan.is_active for plan in self.reference.plans.values()))
    @rule(choice=CHOICES, limit=LIMITS, is_hard=st.booleans())
    def change_budget(self, choice: int, limit: Decimal, is_hard: bool) -> None:
        plan_id, plan = self._some_plan(choice)
        limit = (limit * SIZES[plan.measure]).quantize(Decimal(1)) if plan.measure != "money" else limit
        try:
            with self.clock():
                changed = budget_change(actor=self.actor, budget=Budget.objects.get(pk=plan_id), limit_amount=limit, is_hard=is_hard)
        except Conflict:
            assert self._moved_out(plan_id) > limit
            return
        assert self._moved_out(plan_id) <= limit
        plan.limit, plan.is_hard, plan.freezes = limit, is_hard, changed.action == "freeze"

    def _moved_out(self, plan_id: int) -> Decimal:
        """The most that was moved for good out of a period that runs."""
        open_now = self._periods().filter(Q(ends_at=None) | Q(ends_at__gt=self.now), budget=plan_id)
        places = {self._place(period): Decimal(0) for period in open_now}
        for grant in self.reference.grants.values():
            if grant.place in places and grant.ends_at is None:
                places[grant.place] -= grant.amount
        return max(places.values(), default=Decimal(0))

    @precondition(lambda self: sum(plan.is_active for plan in self.reference.plans.values()) > 2)
    @rule(choice=CHOICES)
    def retire_budget(self, choice: int) -> None:
        plan_id, plan = self._some_plan(choice)
        with self.clock():
            budget_retire(actor=self.actor, budget=Budget.objects.get(pk=plan_id))
        plan.is_active = False

    def _some_plan(self, choice: int) -> tuple[int, Plan]:
        active = [(plan_id, plan) for plan_id, plan in self.reference.plans.items() if plan.is_active]
        return active[choice % len(active)]

    @rule(choice=CHOICES, amount=AMOUNTS, hours=st.sampled_from((None, 1, 30)))
    def top_up(self, choice: int, amount: Decimal, hours: int | None) -> None:
        periods = list(self._periods())
        if not periods:
            return
        period = periods[choice % len(periods)]
        is_over = period.ends_at is not None and period.ends_at <= self.now
        ends_at = None if hours is None else self.now + timedelta(hours=hours)
        try:
            with self.clock():
                topup = period_topup(actor=self.actor, period_id=period.pk, amount=amount, ends_at=ends_at, reason="more")
        except Conflict:
            assert is_over
            return
        assert not is_over
        self.reference.grants[topup.pk] = Grant(self._place(period), amount, ends_at)

    @rule(giving=CHOICES, taking=CHOICES, amount=AMOUNTS)
    def move(self, giving: int, taking: int, amount: Decimal) -> None:
        """From what one budget has left to another that counts the same."""
        periods = [period for period in self._periods() if period.ends_at is None or period.ends_at > self.now]
        if not periods:
            return
        one, other = periods[giving % len(periods)], periods[taking % len(periods)]
        plans = self.reference.plans[one.budget_id], self.reference.plans[other.budget_id]
        passing = [grant.amount for grant in self.reference.grants.values() if grant.place == self._place(one) and not grant.is_over and grant.ends_at]
        is_possible = (
            one != other and plans[0].measure == plans[1].measure and all(plan.hours is None for plan in plans)
            and amount <= self.reference.left(self._place(one)) - sum(passing, Decimal(0))
        )
        try:
            with self.clock():
                moved = budget_transfer(actor=self.actor, from_period_id=one.pk, to_period_id=other.pk, amount=amount, reason="more there")
        except (Conflict, Invalid):
            assert not is_possible
            return
        assert is_possible
        self.reference.grants[moved.given.pk] = Grant(self._place(one), -amount, None)
        self.reference.grants[moved.received.pk] = Grant(self._place(other), amount, None)

    # what is always true

    def _periods(self) -> QuerySet[BudgetPeriod]:
        return BudgetPeriod.objects.filter(organization=self.organization, budget__is_active=True).order_by("id")

    def _place(self, period: BudgetPeriod) -> tuple[int, Bucket]:
        plan = self.reference.plans[period.budget_id]
        day = period.starts_at.astimezone(ZONE).date() if plan.kind in ("day", "month") else None
        return period.budget_id, (day, period.session_key, period.task_key)

    @invariant()
    def balances_are_the_sums(self) -> None:
        periods = {self._place(period): period for period in self._periods()}
        for place, period in periods.items():
            found = (period.spent, period.held, period.topup)
            assert found == (self.reference.spent(*place), self.reference.held(*place), self.reference.topped_up(*place)), place
            self._is_frozen_as_reached(period)
        for place in self.reference.places_charged():
            assert place in periods, place

    def _is_frozen_as_reached(self, period: BudgetPeriod) -> None:
        """Sessions that ran more than a day ago are frozen on their next call, so for them only the reverse holds."""
        is_over = period.ends_at is not None and period.ends_at <= self.now
        is_reached = period.is_hard and period.freezes_at_limit and period.spent >= period.allowance
        if period.frozen_at is not None and not is_over:
            assert is_reached
        elif is_reached and not is_over and not period.session_key and not period.task_key:
            assert period.frozen_at is not None

    @invariant()
    def holds_are_as_they_ended(self) -> None:
        rows = {row.pk: row for row in Authorization.objects.filter(organization=self.organization)}
        for made, hold in self.reference.holds.items():
            assert (rows[made].state, rows[made].settled_cost) == (hold.state, hold.settled)

    def proof_finds_nothing(self) -> None:
        """What is looked at once, at the end."""
        assert differences(self.organization) == []
        frozen = self._periods().filter(frozen_at__isnull=False).values_list("pk", flat=True)
        assert sorted(frozen) == sorted(Freeze.objects.filter(organization=self.organization, ended_at=None).values_list("period", flat=True))
        told = ThresholdCrossing.objects.filter(organization=self.organization, ended_at=None).values_list("period", "percent")
        assert len(told) == len(set(told))
        assert TopUp.objects.filter(organization=self.organization).count() == len(self.reference.grants)


@pytest.mark.django_db
def test_whatever_the_order_balances_are_the_sums_of_what_happened(few_prices: None) -> None:
    current_book(refresh=True)
    run_state_machine_as_test(Interleavings, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS))

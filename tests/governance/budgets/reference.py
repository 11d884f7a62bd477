"""What budgets should come to, by the simplest account of it: every event and hold in a list, every sum made anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
ZERO = Decimal(0)
ABOVE = {"": (), "platform": ("platform",), "core": ("core", "platform")}
Bucket = tuple[object, ...]


@dataclass(slots=True)
class Call:
    """A call that was counted."""

    team: str
    session: str
    at: datetime
    cost: Decimal
    task: str = ""
    role: str = ""
    tokens: int = 0
    authorization: UUID | None = None


@dataclass(slots=True)
class Plan:
    """A budget. `since` is the first local day it counts, None for all time."""

    scope: str
    kind: str
    limit: Decimal
    is_hard: bool
    since: date | None
    team: str = ""
    measure: str = "money"
    # Only calls in this role; "": all.
    role: str = ""
    # Of a rolling one: its length, and from when on it counts at present.
    hours: int | None = None
    slides_from: datetime | None = None
    freezes: bool = True
    is_active: bool = True

    def covers(self, call: Call) -> bool:
        if (self.scope == "session" and not call.session) or (self.scope == "task" and not call.task):
            return False
        return (not self.team or self.team in ABOVE[call.team]) and self.role in ("", call.role)

    def bucket(self, call: Call) -> Bucket | None:
        """Which window, and for a template which session's or task's; None before the budget counts, or behind a rolling window."""
        return None if self.slides_from is not None and call.at < self.slides_from else self.window(call)

    def window(self, call: Call) -> Bucket | None:
        """As `bucket`, wherever a rolling window has moved to since."""
        day = call.at.astimezone(ZONE).date()
        if self.since is not None and day < self.since:
            return None
        whose = (call.session if self.scope == "session" else "", call.task if self.scope == "task" else "")
        return {"day": (day, *whose), "month": (day.replace(day=1), *whose)}.get(self.kind, (None, *whose))

    def used(self, call: Call) -> Decimal:
        return {"money": call.cost, "tokens": Decimal(call.tokens), "calls": Decimal(1)}[self.measure]

    def asked(self, amount: Decimal, calls: int = 1) -> Decimal:
        """What a hold takes for calls of this amount that say nothing of their tokens."""
        return {"money": amount, "tokens": ZERO, "calls": Decimal(calls)}[self.measure]

    def window_at(self, now: datetime, place: Bucket) -> Bucket:
        """The window that runs now for the session and task of another."""
        day = now.astimezone(ZONE).date()
        return {"day": (day, *place[1:]), "month": (day.replace(day=1), *place[1:])}.get(self.kind, (None, *place[1:]))

    def slide(self, now: datetime) -> None:
        """A quarter hour is let go when it has left the window as a whole."""
        if self.hours is not None:
            first = now - timedelta(hours=self.hours)
            first -= timedelta(minutes=first.minute % 15, seconds=first.second, microseconds=first.microsecond)
            self.slides_from = first if self.slides_from is None else max(first, self.slides_from)


@dataclass(slots=True)
class Hold:
    """An authorization. `rest` is what it holds in each place as long as it holds."""

    made_at: datetime
    expires_at: datetime
    rest: dict[tuple[int, Bucket], Decimal]
    is_lease: bool = False
    state: str = "held"
    reported: Decimal | None = None
    settled: Decimal | None = None

    @property
    def is_holding(self) -> bool:
        return self.state in ("held", "settling")

    def held_of(self, place: tuple[int, Bucket]) -> Decimal:
        return self.rest.get(place, ZERO) if self.is_holding else ZERO


@dataclass(slots=True)
class Grant:
    """A top-up."""

    place: tuple[int, Bucket]
    amount: Decimal
    ends_at: datetime | None
    is_over: bool = False


@dataclass(slots=True)
class Reference:
    """All there is, and what follows from it."""

    calls: dict[int, Call] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    grants: dict[int, Grant] = field(default_factory=dict)

    def spent(self, plan_id: int, bucket: Bucket) -> Decimal:
        plan = self.plans[plan_id]
        return sum((plan.used(call) for call in self.calls.values() if plan.covers(call) and plan.bucket(call) == bucket), ZERO)

    def held(self, plan_id: int, bucket: Bucket) -> Decimal:
        return sum((hold.held_of((plan_id, bucket)) for hold in self.holds.values()), ZERO)

    def topped_up(self, plan_id: int, bucket: Bucket) -> Decimal:
        return sum((grant.amount for grant in self.grants.values() if grant.place == (plan_id, bucket) and not grant.is_over), ZERO)

    def left(self, place: tuple[int, Bucket]) -> Decimal:
        return self.plans[place[0]].limit + self.topped_up(*place) - self.spent(*place) - self.held(*place)

    def places(self, call: Call) -> Iterator[tuple[int, Bucket]]:
        """The windows that the call counts against."""
        for plan_id, plan in self.plans.items():
            bucket = plan.bucket(call)
            if plan.is_active and plan.covers(call) and bucket is not None:
                yield plan_id, bucket

    def places_charged(self) -> Iterator[tuple[int, Bucket]]:
        """The windows of the budgets in force that a call has been counted in."""
        for call in self.calls.values():
            yield from self.places(call)

    def fits(self, call: Call, *, amount: Decimal, frozen: set[tuple[int, Bucket]]) -> bool:
        return all(
            place not in frozen and (not (plan := self.plans[place[0]]).is_hard or self.left(place) >= plan.asked(amount))
            for place in self.places(call)
        )

    def most_for(self, call: Call, *, wanted: Decimal, least: Decimal, frozen: set[tuple[int, Bucket]]) -> Decimal | None:
        """What is granted where a part is welcome: the least that a hard budget in money has left; None where that is too little, or another refuses."""
        places = list(self.places(call))
        rooms = [self.left(place) for place in places if self.plans[place[0]].is_hard and self.plans[place[0]].measure == "money"]
        granted = wanted if wanted <= least else min([wanted, *rooms])
        is_enough = all(room >= max(least, granted) for room in rooms)
        return granted if is_enough and self.fits(call, amount=granted, frozen=frozen) else None

    def places_of_more(self, hold: Hold, now: datetime, *, amount: Decimal, calls: int) -> dict[tuple[int, Bucket], Decimal]:
        """What an addition takes in the windows that run now, of the budgets that the hold is held against."""
        active = [(plan_id, bucket) for plan_id, bucket in hold.rest if self.plans[plan_id].is_active]
        return {(plan_id, self.plans[plan_id].window_at(now, bucket)): self.plans[plan_id].asked(amount, calls) for plan_id, bucket in active}

    def fits_more(self, more: dict[tuple[int, Bucket], Decimal], frozen: set[tuple[int, Bucket]]) -> bool:
        """Time alone is given where nothing is frozen, whatever is left."""
        return all(place not in frozen and (not asked or not self.plans[place[0]].is_hard or self.left(place) >= asked) for place, asked in more.items())

    def slide(self, now: datetime) -> None:
        for plan in self.plans.values():
            if plan.is_active:
                plan.slide(now)

    def expire(self, now: datetime) -> int:
        due = [hold for hold in self.holds.values() if hold.is_holding and hold.expires_at <= now]
        for hold in due:
            hold.state = "expired" if hold.state == "held" else "settled"
        return len(due)

    def name(self, call: Call, hold_id: UUID | None, *, is_new: bool) -> None:
        """The call, or a true repeat of it, names the hold: it settles the first that it names, unless that was made after it."""
        if hold_id is None or call.authorization is not None:
            return
        hold = self.holds[hold_id]
        is_in_time = call.at >= hold.made_at - timedelta(minutes=5)
        if is_new or is_in_time:
            call.authorization = hold_id
        if is_in_time:
            hold.settled = (hold.settled or ZERO) + call.cost
            if hold.is_lease and hold.is_holding:
                self.draw(hold, call)
            else:
                hold.state = "settled"

    def draw(self, hold: Hold, call: Call) -> None:
        """What the call is charged where the lease holds, the lease holds no longer; it ends when nothing is left of it."""
        for place in hold.rest:
            plan = self.plans[place[0]]
            if plan.is_active and plan.covers(call) and plan.window(call) == place[1]:
                hold.rest[place] = max(hold.rest[place] - plan.used(call), ZERO)
        if hold.rest and not any(hold.rest.values()):
            hold.state = "settled"


def first_counted(kind: str, now: datetime) -> date | None:
    """The first day of the window that a budget made now begins with."""
    day = now.astimezone(ZONE).date()
    return {"day": day, "month": day.replace(day=1)}.get(kind)


START = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)  # half an hour before the day on which Berlin's clocks go back
LONGEST_STEP = timedelta(hours=30)

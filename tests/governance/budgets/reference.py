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
    is_active: bool = True

    def covers(self, team: str, session: str) -> bool:
        if self.scope == "session" and not session:
            return False
        return not self.team or self.team in ABOVE[team]

    def bucket(self, at: datetime, session: str) -> Bucket | None:
        """Which window, and for a template which session's; None before the budget counts."""
        day = at.astimezone(ZONE).date()
        if self.since is not None and day < self.since:
            return None
        whose = session if self.scope == "session" else ""
        return {"day": (day, whose), "month": (day.replace(day=1), whose)}.get(self.kind, (None, whose))


@dataclass(slots=True)
class Hold:
    """An authorization."""

    amount: Decimal
    made_at: datetime
    expires_at: datetime
    places: tuple[tuple[int, Bucket], ...]
    state: str = "held"
    reported: Decimal | None = None
    kept: Decimal = ZERO
    settled: Decimal | None = None

    @property
    def held(self) -> Decimal:
        return {"held": self.amount, "settling": self.kept}.get(self.state, ZERO)


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
        return sum(
            (call.cost for call in self.calls.values() if plan.covers(call.team, call.session) and plan.bucket(call.at, call.session) == bucket),
            ZERO,
        )

    def held(self, plan_id: int, bucket: Bucket) -> Decimal:
        return sum((hold.held for hold in self.holds.values() if (plan_id, bucket) in hold.places), ZERO)

    def topped_up(self, plan_id: int, bucket: Bucket) -> Decimal:
        return sum((grant.amount for grant in self.grants.values() if grant.place == (plan_id, bucket) and not grant.is_over), ZERO)

    def left(self, place: tuple[int, Bucket]) -> Decimal:
        return self.plans[place[0]].limit + self.topped_up(*place) - self.spent(*place) - self.held(*place)

    def places(self, team: str, session: str, now: datetime) -> Iterator[tuple[int, Bucket]]:
        """The windows that a call made now would count against."""
        for plan_id, plan in self.plans.items():
            bucket = plan.bucket(now, session)
            if plan.is_active and plan.covers(team, session) and bucket is not None:
                yield plan_id, bucket

    def places_charged(self) -> Iterator[tuple[int, Bucket]]:
        """The windows of the budgets in force that a call has been counted in."""
        for plan_id, plan in self.plans.items():
            for call in self.calls.values():
                bucket = plan.bucket(call.at, call.session)
                if plan.is_active and bucket is not None and plan.covers(call.team, call.session):
                    yield plan_id, bucket

    def fits(self, team: str, session: str, *, amount: Decimal, now: datetime, frozen: set[tuple[int, Bucket]]) -> bool:
        return all(
            place not in frozen and (not self.plans[place[0]].is_hard or self.left(place) >= amount) for place in self.places(team, session, now)
        )

    def expire(self, now: datetime) -> int:
        due = [hold for hold in self.holds.values() if hold.state in ("held", "settling") and hold.expires_at <= now]
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
            hold.state = "settled"
            hold.settled = (hold.settled or ZERO) + call.cost


def first_counted(kind: str, now: datetime) -> date | None:
    """The first day of the window that a budget made now begins with."""
    day = now.astimezone(ZONE).date()
    return {"day": day, "month": day.replace(day=1)}.get(kind)


START = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)  # half an hour before the day on which Berlin's clocks go back
LONGEST_STEP = timedelta(hours=30)

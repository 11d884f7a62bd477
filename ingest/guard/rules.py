"""Looks at a session's calls one after another and says when they run away, with the figures that show it. Pure: time is the calls' own."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ingest.guard.parameters import Burn, Errors, FanOut, Growth, OffHours, Parameters, Repeat

ZERO = Decimal(0)
HUNDRED = Decimal(100)
# What makes the median deviation of normally spread values their standard deviation.
NORMAL = Decimal("1.4826")
# So many calls of a window are compared with the latest one; a loop shows long before.
COMPARED = 500
# Answers of a few tokens differ by a few tokens.
FEW_TOKENS = 16
STRETCH_BREAK = timedelta(hours=12)


class CallSeen(NamedTuple):
    """One call as rules see it. `context_tokens` is all input, cached or not; None is not known. `cost` is at the price book's price, 0 where it has none."""

    at: datetime
    model: str
    context_tokens: int | None = None
    cache_read_tokens: int = 0
    output_tokens: int | None = None
    cost: Decimal = ZERO
    is_error: bool = False
    has_member: bool = False
    project_id: int | None = None
    tags: frozenset[str] = frozenset()


class ChildSeen(NamedTuple):
    """A session that began below the one looked at, so many generations down (1: started by it)."""

    at: datetime
    depth: int = 1


class Finding(NamedTuple):
    """What a rule found: when it first held, and the figures that show it. Amounts in them are texts."""

    at: datetime
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exempt:
    """Calls that a rule passes over: those of projects (ids) and those with one of the tags ("name=value")."""

    projects: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()

    def covers(self, call: CallSeen) -> bool:
        return call.project_id in self.projects or not self.tags.isdisjoint(call.tags)


NOBODY = Exempt()


class Watch(Protocol):
    """Follows one session by one rule."""

    def add(self, seen: Any) -> dict[str, Any] | None:
        """Takes the next call (or child), in the order of time; the evidence when the rule holds with it, else None."""


def find(parameters: Parameters, seen: Iterable[Any], *, zone: ZoneInfo, team_past: Sequence[Decimal] = (), exempt: Exempt = NOBODY) -> Finding | None:
    """The first moment at which the rule holds. The order in which calls (of fan-out: children) are given does not matter.

    `team_past` is what sessions of the team cost in a window of the rule, for burn rates.
    """
    return next(findings(parameters, seen, zone=zone, team_past=team_past, exempt=exempt), None)


def findings(
    parameters: Parameters, seen: Iterable[Any], *, zone: ZoneInfo, team_past: Sequence[Decimal] = (), exempt: Exempt = NOBODY
) -> Iterator[Finding]:
    """Every moment at which the rule holds."""
    watch = watch_of(parameters, zone=zone, team_past=team_past)
    for one in sorted(seen, key=_in_order):
        if isinstance(one, CallSeen) and exempt.covers(one):
            continue
        evidence = watch.add(one)
        if evidence is not None:
            yield Finding(one.at, evidence)


def watch_of(parameters: Parameters, *, zone: ZoneInfo, team_past: Sequence[Decimal] = ()) -> Watch:
    """A new watch for one session."""
    match parameters:
        case Burn():
            return BurnWatch(parameters, bar(team_past, parameters) if len(team_past) >= parameters.team_sessions else None)
        case Repeat():
            return RepeatWatch(parameters)
        case Growth():
            return GrowthWatch(parameters)
        case FanOut():
            return FanOutWatch(parameters)
        case Errors():
            return ErrorsWatch(parameters)
        case OffHours():
            return OffHoursWatch(parameters, zone)


def _in_order(seen: CallSeen | ChildSeen) -> tuple[Any, ...]:
    """By time; what happened at the same instant by everything else, so that the order given never matters."""
    if isinstance(seen, ChildSeen):
        return (seen.at, seen.depth)
    return (
        seen.at, seen.model, seen.context_tokens or -1, seen.output_tokens or -1, seen.cache_read_tokens, seen.cost, seen.is_error, seen.has_member,
        seen.project_id or -1, sorted(seen.tags),
    )  # fmt: skip


class Bar(NamedTuple):
    """What a window's spend is held against: the median of earlier ones, and the most that is ordinary."""

    median: Decimal
    most: Decimal


def bar(amounts: Sequence[Decimal], parameters: Burn) -> Bar:
    """The bar that some amounts set: so many times their median, and so many median deviations above it, whichever is more."""
    middle = Decimal(median(amounts))
    deviation = Decimal(median([abs(amount - middle) for amount in amounts])) * NORMAL
    return Bar(middle, max(middle * parameters.times, middle + deviation * parameters.mads))


@dataclass(slots=True)
class BurnWatch:
    """Adds up the money of the window, and keeps what earlier windows of the day held."""

    parameters: Burn
    team: Bar | None
    window: "deque[tuple[datetime, Decimal]]" = field(default_factory=deque)
    amount: Decimal = ZERO
    # By whole windows since the epoch.
    past: dict[int, Decimal] = field(default_factory=dict)

    def add(self, seen: CallSeen) -> dict[str, Any] | None:
        given = self.parameters
        span = timedelta(minutes=given.window_minutes)
        self.window.append((seen.at, seen.cost))
        self.amount += seen.cost
        while self.window[0][0] <= seen.at - span:
            self.amount -= self.window.popleft()[1]
        slot = self._slot(seen.at)
        self.past[slot] = self.past.get(slot, ZERO) + seen.cost
        if self.amount < given.minimum_amount:
            return None
        own = self._own(seen.at)
        bars = [one for one in (own, self.team) if one is not None]
        most = max((one.most for one in bars), default=given.minimum_amount * given.times)
        if self.amount <= most:
            return None
        return {
            "amount": text(self.amount), "minutes": given.window_minutes, "calls": len(self.window), "ordinary_at_most": text(most),
            "own_median": None if own is None else text(own.median), "team_median": None if self.team is None else text(self.team.median),
        }  # fmt: skip

    def _own(self, at: datetime) -> Bar | None:
        """The bar of the session's own past, which ended before the present window began."""
        given = self.parameters
        last = self._slot(at - timedelta(minutes=given.window_minutes))
        first = self._slot(at - timedelta(minutes=given.minutes))
        for slot in [slot for slot in self.past if slot < first]:
            del self.past[slot]
        before = [amount for slot, amount in self.past.items() if slot < last]
        return bar(before, given) if len(before) >= given.own_windows else None

    def _slot(self, at: datetime) -> int:
        return int(at.timestamp()) // (self.parameters.window_minutes * 60)


@dataclass(slots=True)
class RepeatWatch:
    """Compares each call with those before it."""

    parameters: Repeat
    window: "deque[CallSeen]" = field(default_factory=lambda: deque(maxlen=COMPARED))

    def add(self, seen: CallSeen) -> dict[str, Any] | None:
        given = self.parameters
        if seen.is_error or seen.context_tokens is None or seen.output_tokens is None:
            return None
        begins = seen.at - timedelta(minutes=given.minutes)
        while self.window and self.window[0].at <= begins:
            self.window.popleft()
        self.window.append(seen)
        if seen.context_tokens < given.tokens or len(self.window) < given.calls:
            return None
        alike = [one for one in self.window if self._is_alike(one, seen)]
        if len(alike) < given.calls or len(alike) * HUNDRED < given.share_percent * len(self.window):
            return None
        amount = sum((one.cost for one in alike), ZERO)
        if amount < given.minimum_amount:
            return None
        return {
            "calls": len(alike), "of_calls": len(self.window), "since": alike[0].at.isoformat(), "model": seen.model, "amount": text(amount),
            "context_tokens": seen.context_tokens, "output_tokens": seen.output_tokens,
        }  # fmt: skip

    def _is_alike(self, one: CallSeen, latest: CallSeen) -> bool:
        given = self.parameters
        if one.model != latest.model or one.context_tokens is None or one.output_tokens is None:
            return False
        context, output = latest.context_tokens or 0, latest.output_tokens or 0
        return (
            abs(one.context_tokens - context) * HUNDRED <= given.tolerance_percent * context
            and abs(one.output_tokens - output) * HUNDRED <= max(given.output_tolerance_percent * output, FEW_TOKENS * HUNDRED)
        )


@dataclass(slots=True)
class GrowthWatch:
    """Keeps the last calls of each model: a session's subagents have histories of their own."""

    parameters: Growth
    runs: "dict[str, deque[CallSeen]]" = field(default_factory=dict)

    def add(self, seen: CallSeen) -> dict[str, Any] | None:
        given = self.parameters
        if seen.is_error or not seen.context_tokens:
            return None
        run = self.runs.setdefault(seen.model, deque(maxlen=given.calls))
        run.append(seen)
        if len(run) < given.calls or run[0].at <= seen.at - timedelta(minutes=given.minutes):
            return None
        sizes = [one.context_tokens or 0 for one in run]
        is_large = min(sizes) > given.tokens
        is_growing = sizes[-1] >= given.growing_tokens and all(after > before for before, after in pairwise(sizes))
        if not (is_large or is_growing):
            return None
        resent = (1 - Decimal(sum(one.cache_read_tokens for one in run)) / sum(sizes)) * HUNDRED
        amount = sum((one.cost for one in run), ZERO)
        if resent < given.resent_percent or amount < given.minimum_amount:
            return None
        return {
            "calls": len(run), "from_tokens": sizes[0], "to_tokens": sizes[-1], "resent_percent": text(resent.quantize(Decimal("0.1"))),
            "amount": text(amount), "model": seen.model, "is_growing": is_growing,
        }  # fmt: skip


@dataclass(slots=True)
class FanOutWatch:
    """Counts the sessions that began below one of late, and how deep they lie."""

    parameters: FanOut
    window: "deque[datetime]" = field(default_factory=deque)
    deepest: int = 0

    def add(self, seen: ChildSeen) -> dict[str, Any] | None:
        given = self.parameters
        self.window.append(seen.at)
        while self.window[0] <= seen.at - timedelta(minutes=given.minutes):
            self.window.popleft()
        self.deepest = max(self.deepest, seen.depth)
        if len(self.window) < given.children and self.deepest < given.depth:
            return None
        return {"children": len(self.window), "minutes": given.minutes, "depth": self.deepest}


@dataclass(slots=True)
class ErrorsWatch:
    """Counts the failed among the calls of the window."""

    parameters: Errors
    window: "deque[tuple[datetime, bool]]" = field(default_factory=deque)
    errors: int = 0

    def add(self, seen: CallSeen) -> dict[str, Any] | None:
        given = self.parameters
        self.window.append((seen.at, seen.is_error))
        self.errors += seen.is_error
        while self.window[0][0] <= seen.at - timedelta(minutes=given.minutes):
            self.errors -= self.window.popleft()[1]
        if self.errors < given.errors or self.errors * HUNDRED < given.share_percent * len(self.window):
            return None
        return {"errors": self.errors, "calls": len(self.window), "minutes": given.minutes}


@dataclass(slots=True)
class OffHoursWatch:
    """Adds up a stretch of calls without work around them."""

    parameters: OffHours
    zone: ZoneInfo
    since: datetime | None = None
    last: datetime | None = None
    amount: Decimal = ZERO
    calls: int = 0

    def add(self, seen: CallSeen) -> dict[str, Any] | None:
        given = self.parameters
        if self.is_work(seen.at):
            self._begin(None)
            return None
        if seen.has_member and not given.people_too:
            return None
        if self.since is None or (self.last is not None and seen.at - self.last > STRETCH_BREAK):
            self._begin(seen.at)
        self.last = seen.at
        self.amount += seen.cost
        self.calls += 1
        if self.amount < given.minimum_amount or self.calls < given.calls or self.since is None:
            return None
        return {"amount": text(self.amount), "calls": self.calls, "since": self.since.isoformat()}

    def is_work(self, at: datetime) -> bool:
        """Whether the organization works at the instant."""
        local = at.astimezone(self.zone)
        return local.isoweekday() in self.parameters.days and self.parameters.from_hour <= local.hour < self.parameters.to_hour

    def _begin(self, at: datetime | None) -> None:
        self.since, self.amount, self.calls = at, ZERO, 0


def text(amount: Decimal) -> str:
    """The amount with every digit and no zeros at its end."""
    return f"{amount.normalize():f}"

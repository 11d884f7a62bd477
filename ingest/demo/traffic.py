"""The live traffic: a few sessions that take turns at the simulated gateway, wait when a budget refuses them, and are followed by others."""

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from secrets import randbits
from zoneinfo import ZoneInfo

import httpx
import msgspec

from governance.errors import Conflict
from ingest.demo import cast, offers
from ingest.demo.budgets import SANDBOX
from ingest.demo.gateway import HTTP_TIMEOUT_S, Away, Gateway, gateway_secret
from ingest.demo.organization import organization_find
from ingest.demo.shapes import Part, Shape
from ingest.demo.simulation import MEMBERS, DaySimulation, Plan, Run
from ingest.formats.event import UsageEvent

SESSIONS = 6
# Live calls are lighter than the history's, so that weeks of traffic stay in proportion to a month's budget.
LIGHTER = 8
LONGEST_CALL_S = 8.0
LONGEST_PAUSE_S = 25.0
# Nights and weekends are slower, as they are in the history.
BUSY_HOURS = range(8, 19)
SLOWER = 2.0
ASKS_AGAIN_S = (5.0, 10.0, 20.0, 30.0)
GIVES_UP_S = 600.0
SANDBOX_PAUSE_S = (1200.0, 3600.0)
SANDBOX_GUESS_USD = "0.01"  # a careless harness guesses low, so its session runs into the limit itself
AWAY_PAUSE_S = 2.0
SUMMARY_S = 60.0
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens")

SANDBOX_LOOP = Part("planner", (offers.OPUS_LITELLM, offers.FABLE_LITELLM), ("research", "code"), 300_000, 6_000, loop=True, thinking=0.3)
SANDBOX_SHAPE = Shape("omnigent", "1.3.0", "sb", (SANDBOX_LOOP,), 60, 4)

Say = Callable[[str], None]


class Live:
    """One session that goes on until its calls are made, or its budget has refused it for too long."""

    def __init__(self, simulation: DaySimulation, *, shape: Shape | None = None, due: float = 0.0) -> None:
        self.simulation = simulation
        self.run: Run = simulation.begin()
        if shape is not None:
            self._becomes_sandbox(shape)
        self.due = due
        self.made = 0
        self.refusals = 0
        self.refused_at: float | None = None
        self.pending: UsageEvent | None = None  # allowed, and not yet reported
        self.next: UsageEvent | None = None  # to be asked for

    def _becomes_sandbox(self, shape: Shape) -> None:
        self.run.shape = shape
        self.run.key = shape.prefix + self.run.key[self.run.key.index("-") :]
        self.run.left = shape.calls
        self.run.labels = ("research", self.simulation.rng.choice(MEMBERS["research"]))
        self.run.project = SANDBOX

    @property
    def is_sandbox(self) -> bool:
        return self.run.shape is SANDBOX_SHAPE

    @property
    def is_over(self) -> bool:
        return self.pending is None and self.made >= self.run.left

    def call(self) -> UsageEvent:
        """The call it wants to make; the same one until it has been reported."""
        if self.next is None:
            rounds = self.run.shape.rounds
            trace = f"{self.run.key}.{self.made // len(rounds)}" if self.run.shape.traced else ""
            self.run.at = datetime.now(UTC)
            event = self.simulation.call(self.run, rounds[self.made % len(rounds)], trace, "")
            self.next = event if self.is_sandbox else lighter(event)
        return self.next

    @property
    def request_id(self) -> str:
        """The id of the question: the same when it has to be sent again, another once it was answered with a refusal."""
        return f"{self.call().id}-{self.refusals}"

    def pause_s(self, now: datetime) -> float:
        gap = min(self.run.shape.gap_seconds * self.simulation.rng.uniform(0.4, 1.6), LONGEST_PAUSE_S)
        return gap if is_busy(now) or self.is_sandbox else gap * SLOWER


def is_busy(now: datetime) -> bool:
    """Whether the organization is at work at the instant."""
    local = now.astimezone(ZoneInfo(cast.TIME_ZONE))
    return local.hour in BUSY_HOURS and local.weekday() < 5


def lighter(event: UsageEvent) -> UsageEvent:
    """The call with a part of its input."""
    return msgspec.structs.replace(event, **{name: count // LIGHTER for name in BUCKETS if (count := getattr(event, name)) is not None})


class Traffic:
    """Takes turns among the sessions, at most `rate` calls a second, until told to stop."""

    def __init__(self, gateway: Gateway, *, rate: float, stop: threading.Event, say: Say, seed: int | None = None) -> None:
        self.gateway = gateway
        self.interval_s = 1 / rate
        self.stop = stop
        self.say = say
        self.counts: Counter[str] = Counter()
        self.said_at = time.monotonic()
        self.away_since: float | None = None
        self.rng = Random(seed)  # noqa: S311 - a simulation
        self.lives: list[Live] = [self.newcomer(number * 1.5) for number in range(SESSIONS)]
        self.lives.append(self.newcomer(2.0, shape=SANDBOX_SHAPE))

    def newcomer(self, wait_s: float, shape: Shape | None = None) -> Live:
        """A session of its own random stream that begins after the wait."""
        now = datetime.now(UTC).replace(microsecond=0)
        plan = Plan(self.rng.getrandbits(60) ^ randbits(60), 1, 1, now + timedelta(seconds=1))
        return Live(DaySimulation(plan, plan.calendar[0]), shape=shape, due=time.monotonic() + wait_s)

    def go_on(self) -> None:
        """Turns until the stop is set. A server that is away is waited for. Raises Unwelcome."""
        while not self.stop.is_set():
            self.summarize()
            live = min(self.lives, key=lambda item: item.due)
            if self.stop.wait(max(live.due - time.monotonic(), 0.0)):
                return
            try:
                self.turn(live)
                self.is_back()
            except Away as reason:
                self.is_away(str(reason))
                self.stop.wait(AWAY_PAUSE_S)
            except Conflict as refusal:
                self.say(refusal.detail)
                self.replace(live)

    def is_away(self, reason: str) -> None:
        """Says once that the server does not answer."""
        if self.away_since is None:
            self.away_since = time.monotonic()
            self.say(f"The server is away ({reason}); waiting.")

    def is_back(self) -> None:
        if self.away_since is not None:
            self.say(f"The server is back after {time.monotonic() - self.away_since:.0f} s.")
            self.away_since = None

    def summarize(self) -> None:
        """Once a minute, what went on in it."""
        if time.monotonic() - self.said_at < SUMMARY_S:
            return
        self.said_at = time.monotonic()
        waiting = sum(1 for live in self.lives if live.refused_at is not None)
        counts, self.counts = self.counts, Counter()
        self.say(f"{counts['accepted']} calls reported, {counts['refused']} refused; {waiting} of {len(self.lives)} sessions wait for a decision.")

    def turn(self, live: Live) -> None:
        """One step of a session: report the call it was allowed to make, or ask for the next one."""
        if live.pending is not None:
            self.report(live, live.pending)
        elif live.is_over:
            self.replace(live)
        else:
            self.ask(live)
            self.stop.wait(self.interval_s)

    def ask(self, live: Live) -> None:
        event = live.call()
        authorization = self.gateway.ask(event, request_id=live.request_id, amount=SANDBOX_GUESS_USD if live.is_sandbox else None)
        now = time.monotonic()
        if authorization is None:
            self.refused(live, now)
            return
        if live.refused_at is not None:
            self.say(f"{live.run.key} goes on.")
            live.refused_at = None
        live.pending = msgspec.structs.replace(event, authorization=authorization, occurred_at=datetime.now(UTC))
        live.due = now + min((event.latency_ms or 1000) / 1000, LONGEST_CALL_S)

    def refused(self, live: Live, now: float) -> None:
        """A budget stands against the session: it waits, asks again ever more slowly, and gives up after a while."""
        self.counts["refused"] += 1
        if live.refused_at is None:
            live.refused_at = now
            live.refusals = 0
            self.say(f"{live.run.key} is refused; waiting for somebody to decide.")
        if now - live.refused_at > GIVES_UP_S:
            self.say(f"{live.run.key} gives up.")
            self.replace(live)
            return
        live.due = now + ASKS_AGAIN_S[min(live.refusals, len(ASKS_AGAIN_S) - 1)]
        live.refusals += 1

    def report(self, live: Live, event: UsageEvent) -> None:
        self.counts[self.gateway.report(event)] += 1
        live.pending = live.next = None
        live.made += 1
        live.due = time.monotonic() + live.pause_s(datetime.now(UTC))

    def replace(self, live: Live) -> None:
        """Ends a session and lets another begin in its place."""
        self.lives.remove(live)
        if live.is_sandbox:
            self.lives.append(self.newcomer(self.rng.uniform(*SANDBOX_PAUSE_S), shape=SANDBOX_SHAPE))
        else:
            self.lives.append(self.newcomer(self.rng.uniform(1.0, 10.0)))


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set for the length of the block."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def traffic_run(*, url: str, rate: float, folder: Path, say: Say) -> None:
    """Posts live events until SIGTERM or Ctrl-C. Raises Conflict when there is no demo organization, Unwelcome when the server refuses."""
    organization = organization_find()
    if organization is None:
        raise Conflict(f"There is no organization {cast.SLUG}; run `manage.py demo load` first.")
    # A line for every request would drown the log; what matters is said once a minute.
    for name in ("httpx", "stamina"):
        logging.getLogger(name).setLevel(logging.ERROR)
    headers = {"Authorization": f"Bearer {gateway_secret(organization, folder)}", "User-Agent": "weighhouse-demo-gateway"}
    with stopping() as stop, httpx.Client(base_url=url, headers=headers, timeout=HTTP_TIMEOUT_S) as client:
        say(f"Live traffic to {url}, up to {rate:g} calls a second.")
        Traffic(Gateway(client), rate=rate, stop=stop, say=say).go_on()
        say("Live traffic stopped.")

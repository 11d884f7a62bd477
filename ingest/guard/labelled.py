"""Simulated sessions of which it is known whether they ran away: every kind, small and large. The same seed gives the same sessions. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from ingest.guard.rules import CallSeen, ChildSeen

ZONE = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 6, 1, tzinfo=ZONE)
# USD a million tokens: uncached input, cache read, cache write, output.
FLAGSHIP = ("flagship", 5.0, 0.5, 6.25, 25.0)
STANDARD = ("standard", 2.5, 0.25, 2.5, 15.0)
ECONOMY = ("economy", 0.3, 0.06, 0.3, 1.1)
Model = tuple[str, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One session. `runaway` is the kind of rule that it is a case for; empty: it is ordinary."""

    key: str
    shape: str
    runaway: str
    calls: tuple[CallSeen, ...]
    children: tuple[ChildSeen, ...] = ()


class Writer:
    """Writes one session's calls along its own clock."""

    def __init__(self, rng: Random, at: datetime, *, has_member: bool = True) -> None:
        self.rng = rng
        self.at = at.astimezone(UTC)
        self.has_member = has_member
        self.calls: list[CallSeen] = []

    def call(self, model: Model, *, reads: int = 0, writes: int = 0, fresh: int = 0, output: int = 0) -> None:
        name, uncached, cached, written, out = model
        cost = (fresh * uncached + reads * cached + writes * written + output * out) / 1_000_000
        context = reads + writes + fresh
        self.calls.append(CallSeen(self.at, name, context, reads, output, Decimal(f"{cost:.9f}"), has_member=self.has_member))

    def failed(self, model: Model) -> None:
        self.calls.append(CallSeen(self.at, model[0], 0, 0, 0, Decimal(0), is_error=True, has_member=self.has_member))

    def wait(self, least: float, most: float) -> None:
        """Moves on by so many seconds."""
        self.at += timedelta(seconds=self.rng.uniform(least, most))

    def around(self, middle: float, share: float) -> int:
        """A whole number within so large a share of the middle."""
        return max(int(self.rng.uniform(middle * (1 - share), middle * (1 + share))), 1)

    def size(self, middle: float, sigma: float) -> int:
        """A size as sizes of real calls vary."""
        return max(int(middle * self.rng.lognormvariate(0.0, sigma)), 1)


def at_work(rng: Random) -> datetime:
    """A moment of a working day."""
    return MONDAY + timedelta(days=rng.randrange(5) + 7 * rng.randrange(4), hours=rng.uniform(8, 16))


def at_night(rng: Random) -> datetime:
    """An hour at which nobody works."""
    return MONDAY + timedelta(days=rng.randrange(7) + 7 * rng.randrange(4), hours=rng.uniform(20.5, 24))


def history(writer: Writer, model: Model, *, calls: int, ceiling: int, pause: tuple[float, float], missed: float) -> None:
    """One growing history that is read from the cache, except that `missed` of the calls find it gone."""
    rng, context = writer.rng, writer.around(30_000, 0.5)
    for _ in range(calls):
        added, output = writer.size(2_600, 0.6), writer.size(1_800, 0.7)
        reads, writes = (15_000, context + added - 15_000) if rng.random() < missed else (context, added)
        writer.call(model, reads=min(reads, context), writes=max(writes, added), fresh=180, output=output)
        context = context + added + output if context + added + output < ceiling else 50_000
        writer.wait(*pause)


def planner(rng: Random) -> Writer:
    """A long working session with a cached context, subagents between."""
    writer = Writer(rng, at_work(rng))
    for _ in range(rng.randrange(2, 7)):
        history(writer, FLAGSHIP, calls=rng.randrange(10, 45), ceiling=rng.choice((160_000, 190_000, 240_000)), pause=(15, 90), missed=rng.uniform(0.05, 0.35))
        for _ in range(rng.randrange(0, 8)):
            writer.call(ECONOMY, reads=writer.around(20_000, 0.4), fresh=writer.size(3_000, 0.5), output=writer.size(700, 0.6))
            writer.wait(3, 20)
    return writer


def slow_person(rng: Random) -> Writer:
    """Somebody who reads every answer: the cache has often run out by the next question."""
    writer = Writer(rng, at_work(rng))
    history(writer, rng.choice((FLAGSHIP, STANDARD)), calls=rng.randrange(8, 30), ceiling=180_000, pause=(120, 900), missed=rng.uniform(0.4, 0.7))
    return writer


def documents(rng: Random) -> Writer:
    """A batch over documents of all sizes."""
    writer = Writer(rng, at_work(rng), has_member=False)
    model = rng.choice((ECONOMY, ECONOMY, STANDARD))
    for _ in range(rng.randrange(100, 900)):
        writer.call(model, fresh=writer.size(rng.choice((12_000, 25_000)), 0.7), output=writer.size(500, 0.6))
        writer.wait(0.5, 6)
    return writer


def chunks(rng: Random) -> Writer:
    """A batch over chunks of one size, whose answers are as long as there is to say."""
    writer = Writer(rng, at_work(rng), has_member=False)
    size = rng.choice((4_000, 8_000, 16_000, 30_000))
    for _ in range(rng.randrange(80, 500)):
        writer.call(rng.choice((ECONOMY, STANDARD)) if size < 16_000 else ECONOMY, fresh=writer.around(size, 0.03), output=writer.size(600, 0.6))
        writer.wait(0.5, 8)
    return writer


def rows(rng: Random) -> Writer:
    """A batch over rows: thousands of small calls, all alike."""
    writer = Writer(rng, at_work(rng), has_member=False)
    for _ in range(rng.randrange(500, 2_500)):
        writer.call(ECONOMY, fresh=writer.around(900, 0.05), output=writer.around(20, 0.3))
        writer.wait(0.1, 2)
    return writer


def ci_burst(rng: Random) -> Writer:
    """A pipeline that asks for many reviews at once and is told to slow down."""
    writer = Writer(rng, at_work(rng), has_member=False)
    share = rng.uniform(0.0, 0.45)
    for _ in range(rng.randrange(20, 120)):
        if rng.random() < share:
            writer.failed(STANDARD)
        else:
            writer.call(STANDARD, fresh=writer.size(9_000, 0.8), output=writer.size(700, 0.6))
        writer.wait(0.5, 5)
    return writer


def outage(rng: Random) -> Writer:
    """A working session through a vendor's bad quarter of an hour, with waits that grow."""
    writer = Writer(rng, at_work(rng))
    history(writer, FLAGSHIP, calls=rng.randrange(10, 30), ceiling=160_000, pause=(15, 60), missed=0.1)
    wait = 2.0
    for _ in range(rng.randrange(5, 16)):
        writer.failed(FLAGSHIP)
        writer.wait(wait, wait * 1.5)
        wait = min(wait * 2, 120)
    history(writer, FLAGSHIP, calls=rng.randrange(5, 30), ceiling=160_000, pause=(15, 60), missed=0.1)
    return writer


def nightly(rng: Random) -> Writer:
    """A scheduled job of the night that costs what it always does."""
    writer = Writer(rng, at_night(rng), has_member=False)
    for _ in range(rng.randrange(40, 400)):
        writer.call(ECONOMY, fresh=writer.size(40_000, 0.6), output=writer.size(700, 0.6))
        writer.wait(5, 40)
    return writer


def late_person(rng: Random) -> Writer:
    """Somebody who works late."""
    writer = Writer(rng, at_night(rng))
    history(writer, FLAGSHIP, calls=rng.randrange(30, 120), ceiling=190_000, pause=(15, 90), missed=0.2)
    return writer


def loop(rng: Random) -> Writer:
    """One question asked again and again, each answer read as none."""
    writer = Writer(rng, rng.choice((at_work, at_night))(rng), has_member=rng.random() < 0.5)
    context, output = writer.size(60_000, 0.9), writer.size(1_200, 0.5)
    model, spread = rng.choice((FLAGSHIP, STANDARD)), rng.choice((0.05, 0.15, 0.3))
    is_cached, pace = rng.random() < 0.4, rng.choice(((5, 40), (20, 90), (120, 260)))
    for _ in range(rng.randrange(15, 200)):
        size = writer.around(context, 0.006)
        writer.call(model, reads=size - 300 if is_cached else 0, fresh=300 if is_cached else size, output=writer.around(output, spread))
        writer.wait(*pace)
    return writer


def resent(rng: Random) -> Writer:
    """An agent's history past 230,000 tokens (or on the way there), all of it paid for with every call."""
    writer = Writer(rng, at_work(rng), has_member=rng.random() < 0.6)
    model = rng.choice((FLAGSHIP, STANDARD))
    context = rng.choice((writer.around(60_000, 0.4), writer.around(190_000, 0.1)))
    pace, kept = rng.choice(((10, 60), (60, 240), (180, 600))), rng.choice((0.1, 0.2, 0.35))
    for _ in range(rng.randrange(12, 110)):
        reads = int(context * rng.uniform(0.0, kept))
        output = writer.size(2_000, 0.5)
        writer.call(model, reads=reads, fresh=context - reads, output=output)
        context = min(context + output + writer.size(1_500, 0.5), 400_000)
        writer.wait(*pace)
    return writer


def storm(rng: Random) -> Writer:
    """Calls that fail and are tried again at once, with now and then one that passes."""
    writer = Writer(rng, at_work(rng), has_member=rng.random() < 0.5)
    passes = rng.uniform(0.0, 0.4)
    for _ in range(rng.randrange(25, 500)):
        if rng.random() < passes:
            writer.call(STANDARD, fresh=writer.size(12_000, 0.5), output=writer.size(300, 0.5))
        else:
            writer.failed(STANDARD)
        writer.wait(0.5, rng.choice((3, 12, 60)))
    return writer


def sprint(rng: Random) -> Writer:
    """A session that begins as others do and then calls flagships side by side, without end."""
    writer = Writer(rng, at_work(rng))
    history(writer, FLAGSHIP, calls=rng.randrange(5, 60), ceiling=150_000, pause=(20, 90), missed=0.1)
    for _ in range(rng.randrange(70, 500)):
        writer.call(FLAGSHIP, fresh=writer.size(60_000, 0.5), output=writer.size(2_500, 0.5))
        writer.wait(1, rng.choice((6, 15, 30)))
    return writer


def unattended(rng: Random) -> Writer:
    """A misconfigured automation that takes flagships for a night's work: 25 to some hundred USD until morning."""
    writer = Writer(rng, at_night(rng), has_member=False)
    size, pace = rng.uniform(30_000, 180_000), rng.uniform(20, 240)
    for _ in range(rng.randrange(40, 260)):
        writer.call(rng.choice((FLAGSHIP, FLAGSHIP, STANDARD)), fresh=writer.size(size, 0.35), output=writer.size(1_800, 0.6))
        writer.wait(pace * 0.5, pace * 1.5)
    return writer


def orchestrated(rng: Random) -> tuple[ChildSeen, ...]:
    """Subagents as people use them: a handful at a time, seldom with subagents of their own."""
    at, found = at_work(rng).astimezone(UTC), []
    for _ in range(rng.randrange(1, 6)):
        for _ in range(rng.randrange(2, 13)):
            found.append(ChildSeen(at, 1 if rng.random() < 0.85 else 2))
            at += timedelta(seconds=rng.uniform(0, 20))
        at += timedelta(seconds=rng.uniform(600, 3_000))
    return tuple(found)


def multiplied(rng: Random) -> tuple[ChildSeen, ...]:
    """Agents that start agents: many at once, or few but ever deeper."""
    at, found = at_work(rng).astimezone(UTC), []
    is_deep = rng.random() < 0.3
    pace = rng.uniform(1, 30)
    for number in range(rng.randrange(7, 14) if is_deep else rng.randrange(28, 200)):
        found.append(ChildSeen(at, 1 + number if is_deep else min(1 + number // 12, 3)))
        at += timedelta(seconds=rng.uniform(20, 200) if is_deep else pace * rng.uniform(0.3, 1.2))
    return tuple(found)


ORDINARY: dict[str, tuple[Callable[[Random], Writer], int]] = {
    "planner with a cached context": (planner, 6), "slow person": (slow_person, 3), "batch of documents": (documents, 3), "batch of equal chunks": (chunks, 3),
    "batch of rows": (rows, 2), "CI burst": (ci_burst, 3), "vendor's outage": (outage, 2), "nightly job": (nightly, 3), "late person": (late_person, 2),
}  # fmt: skip
RUNAWAY: dict[str, tuple[str, Callable[[Random], Writer]]] = {
    "same call in a loop": ("repeat", loop), "context resent": ("growth", resent), "retry storm": ("errors", storm), "sudden burn": ("burn", sprint),
    "unattended automation": ("off_hours", unattended),
}  # fmt: skip


def sessions(*, seed: int, size: int = 20) -> Iterator[Labelled]:
    """So many runaway sessions of each kind, and with each as many of every ordinary shape as its weight says."""
    rng = Random(seed)  # noqa: S311 - a simulation
    number = 0
    for _ in range(size):
        for shape, (make, weight) in ORDINARY.items():
            for _ in range(weight):
                number += 1
                yield Labelled(f"s{number}", shape, "", tuple(make(rng).calls))
        for shape, (kind, make) in RUNAWAY.items():
            number += 1
            yield Labelled(f"s{number}", shape, kind, tuple(make(rng).calls))
        for _ in range(4):
            number += 1
            yield Labelled(f"s{number}", "orchestrator with subagents", "", tuple(planner(rng).calls), orchestrated(rng))
        number += 1
        yield Labelled(f"s{number}", "agents that start agents", "fan_out", tuple(planner(rng).calls), multiplied(rng))

"""The organization's usage as a pure function of a plan: no clock, no database, the same plan gives the same events."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from ingest.demo import cast, rhythm, shapes, stories
from ingest.demo.cast import DemoTeam
from ingest.demo.rhythm import Day
from ingest.demo.shapes import Part, Shape, Stream
from ingest.formats.event import UsageEvent

TABLE = 4096
ERRORS = ("rate_limited", "overloaded", "timeout", "error")
# A vendor that refuses a call bills nothing for it; what a call cost that broke off, its gateway cannot know.
REFUSED = ("rate_limited", "overloaded")
ERROR_SHARE = 0.014
CACHE_MISS_SHARE = 0.3
CONTEXT_CEILING = 225_000
NO_LABELS_SHARE = 0.03
UNKNOWN_LABELS = (("growth", "contractor-7@agency.example"), ("labs", "intern.bot"), ("platform-eng", ""))
UNKNOWN_SHARE = 0.012


def spread(rng: Random, sigma: float) -> tuple[float, ...]:
    """Factors around 1 as sizes of calls vary: log-normal, cut where a real context window would end."""
    return tuple(min(rng.lognormvariate(0.0, sigma), 3.2) for _ in range(TABLE))


FACTORS = spread(Random("sizes"), 0.45)  # noqa: S311
TALK = spread(Random("talk"), 0.7)  # noqa: S311


class Streamed(NamedTuple):
    """An event and the door (API key) that it comes in by."""

    stream: Stream
    event: UsageEvent


@dataclass(frozen=True)
class Plan:
    """What to simulate: so many events over so many local days that end at `until` (aware, whole seconds)."""

    seed: int
    days: int
    events: int
    until: datetime

    @property
    def tag(self) -> str:
        """Ten letters that begin the ids of this plan's events, so that two plans never share one."""
        text = f"{self.seed}/{self.days}/{self.events}/{self.until.isoformat()}"
        return "nw" + blake2b(text.encode(), digest_size=4).hexdigest()

    @cached_property
    def calendar(self) -> list[Day]:
        return rhythm.days_until(self.until, self.days, ZoneInfo(cast.TIME_ZONE))

    @property
    def runaway_day(self) -> int:
        """The index of the day on which the nightly job ran away: a week ago, or the first day of a shorter plan."""
        return max(self.days - 1 - stories.RUNAWAY_DAYS_AGO, 0)

    @property
    def price_rise_at(self) -> datetime:
        """The instant at which the replayed price rise takes effect: a local midnight twelve days ago, or halfway."""
        return self.calendar[max(self.days - 1 - stories.RISE_DAYS_AGO, self.days // 2)].starts_at

    @cached_property
    def quotas(self) -> list[int]:
        """Events of each day; they add up to `events`."""
        growth = [1.0 + 0.55 * (day.index - self.days) / 90 for day in self.calendar]
        return rhythm.shares(self.events, [max(day.weight * more, 1e-6) for day, more in zip(self.calendar, growth, strict=True)])


class Run:
    """One session being simulated: who runs it, where its clock stands, what history it carries."""

    __slots__ = ("at", "context", "environment", "key", "labels", "left", "model_luck", "project", "shape", "task", "task_luck")

    def __init__(self, *, shape: Shape, key: str, at: datetime, left: int, labels: tuple[str, str]) -> None:
        self.shape = shape
        self.key = key
        self.at = at
        self.left = left
        self.labels = labels
        self.project = self.task = self.environment = ""
        self.context = 0
        # A session keeps to one kind of work and, for its own history, to one model.
        self.task_luck = self.model_luck = 0.0


class DaySimulation:
    """The events of one day. Every day has its own random stream, so that days can be simulated in any order or process."""

    def __init__(self, plan: Plan, day: Day) -> None:
        self.plan = plan
        self.day = day
        self.rng = Random(f"{plan.seed}/{plan.days}/{plan.events}/{day.index}")  # noqa: S311
        self.count = 0
        self.failed = ""
        self.teams = team_table(day.index - plan.days + 1)

    def events(self) -> list[Streamed]:
        """So many events as the day's quota says, in time order."""
        quota = self.plan.quotas[self.day.index]
        found = self.story()[:quota]
        while len(found) < quota:
            found.extend(self.session(quota - len(found)))
        found.sort(key=lambda item: item.event.occurred_at)
        return found

    def story(self) -> list[Streamed]:
        """What happened on this day and on no other."""
        if self.day.index != self.plan.runaway_day:
            return []
        return [Streamed("nightly", event) for event in stories.runaway(self.day, self.plan.tag)]

    def session(self, room: int) -> Iterator[Streamed]:
        run = self.begin()
        run.left = min(run.left, room)
        stream = run.shape.stream
        rounds = run.shape.rounds
        number = 0
        while run.left > 0:
            trace = f"{run.key}.{number}" if run.shape.traced else ""
            head = ""
            for part in rounds[: run.left]:
                if run.at >= self.day.ends_at:
                    return
                event = self.call(run, part, trace, head)
                head = head or (event.id if trace else "")
                yield Streamed(stream, event)
            run.left -= len(rounds)
            number += 1

    def begin(self) -> Run:
        """Picks a team, a person, a kind of session and when it starts."""
        pick = self.rng.random
        team = self.teams[int(pick() * TABLE)]
        kinds = shapes.OF_TEAM[team.slug]
        shape = kinds[int(pick() * len(kinds))]
        starts = self.day.starts[shape.by_machine]
        at = self.day.starts_at + timedelta(seconds=starts[int(pick() * rhythm.SLOTS)], milliseconds=int(pick() * 1000))
        calls = 3 + int(shape.calls * TALK[int(pick() * TABLE)])
        run = Run(
            shape=shape,
            key=f"{shape.prefix}-{self.rng.getrandbits(48):012x}",
            at=min(at, self.day.ends_at - timedelta(milliseconds=1)),
            left=calls,
            labels=self.labels(team, shape),
        )
        projects = PROJECTS[team.slug]
        run.project = projects[int(pick() * len(projects))] if run.labels[0] and pick() < 0.85 else ""
        run.task = f"NW-{1000 + int(pick() * 900)}" if shape.has_member else ""
        run.environment = shape.environments[int(pick() * len(shape.environments))]
        run.task_luck, run.model_luck = pick(), pick()
        run.context = int(shape.rounds[0].context * (0.45 + 0.5 * pick()))
        return run

    def labels(self, team: DemoTeam, shape: Shape) -> tuple[str, str]:
        """Team and member as the session reports them: usually right, sometimes missing, now and then unknown."""
        luck = self.rng.random()
        if shape.stream == "nightly":
            return ("", "")  # the key it posts with says whose it is
        if luck < UNKNOWN_SHARE:
            return UNKNOWN_LABELS[int(luck / UNKNOWN_SHARE * len(UNKNOWN_LABELS))]
        if luck < UNKNOWN_SHARE + NO_LABELS_SHARE:
            return ("", "")
        if not shape.has_member:
            return (team.slug, "")
        people = MEMBERS[team.slug]
        # The square makes a few people heavy users, as they are.
        return (team.slug, people[int(self.rng.random() ** 2 * len(people))])

    def call(self, run: Run, part: Part, trace: str, head: str) -> UsageEvent:
        """One call of the session; moves its clock and its history on."""
        pick = self.rng.random
        offer = part.offers[int((run.model_luck if part.loop else pick()) * len(part.offers))]
        self.count += 1
        name = f"{self.plan.tag}-{self.day.index}-{self.count}"
        retried, self.failed = self.failed, ""
        if not retried and pick() < ERROR_SHARE:
            self.failed = name
        reads, writes, fresh, output = self.tokens(run, part, offer.cache)
        ttft = int(offer.ttft_ms * (0.7 + 0.6 * pick())) + (fresh + writes) // 60
        latency = ttft + output * offer.ms_per_token
        at = run.at
        pause = 1500 if self.failed else int(run.shape.gap_seconds * 1000 * TALK[int(pick() * TABLE)])
        run.at = at + timedelta(milliseconds=pause + (0 if part.role == "panel" else latency))
        event = UsageEvent(
            id=name,
            occurred_at=at,
            provider=offer.provider,
            model=offer.model,
            gateway=offer.gateway,
            harness=run.shape.harness,
            harness_version=run.shape.version,
            team=run.labels[0],
            project=run.project,
            member=run.labels[1],
            session=run.key,
            task=run.task,
            trace=trace,
            parent=retried or head,
            role=part.role,
            task_class=part.tasks[int(run.task_luck * len(part.tasks))],
            environment=run.environment,
            input_tokens=fresh,
            cache_read_tokens=None if offer.cache == "none" else reads,
            cache_write_5m_tokens=writes if offer.cache == "writes" else None,
            output_tokens=output,
            reasoning_tokens=int(output * part.thinking) if part.thinking else None,
            ttft_ms=ttft,
            latency_ms=latency,
            billing_mode=run.shape.billing_mode,
            tags={"attempt": "2"} if retried else None,
        )
        return failed_call(event, ERRORS[int(pick() * len(ERRORS))]) if self.failed else event

    def tokens(self, run: Run, part: Part, cache: str) -> tuple[int, int, int, int]:
        """(cache reads, cache writes, uncached input, output) of a call."""
        pick = self.rng.random
        output = 20 + int(part.output * TALK[int(pick() * TABLE)])
        if not part.loop:
            size = int(part.context * FACTORS[int(pick() * TABLE)])
            reads = int(size * part.cached) if cache != "none" else 0
            return reads, 0, size - reads, output
        added = output + int(2600 * TALK[int(pick() * TABLE)])
        before = run.context
        run.context = before + added if before + added < CONTEXT_CEILING else 60_000
        is_missed = pick() < CACHE_MISS_SHARE
        reads, fresh = (0, before + added) if is_missed else (before, added)
        return (reads, fresh, 180, output) if cache == "writes" else (reads, 0, fresh, output)


def failed_call(event: UsageEvent, status: str) -> UsageEvent:
    """The call as it is reported when it failed: nothing billed where the vendor refused it, else nothing known."""
    billed = 0 if status in REFUSED else None
    counts = dict.fromkeys(("cache_read_tokens", "cache_write_5m_tokens", "reasoning_tokens", "ttft_ms"))
    return msgspec.structs.replace(event, status=status, input_tokens=billed, output_tokens=billed, latency_ms=event.ttft_ms, **counts)


def team_table(day: int) -> tuple[DemoTeam, ...]:
    """The teams as often as they have sessions on a day (0: the last day, negative before): weights move by their growth."""
    weights = [team.weight * (1 + team.growth) ** (day / 30) for team in cast.TEAMS]
    edges = [edge * TABLE / sum(weights) for edge in accumulate(weights)]
    table: list[DemoTeam] = []
    for team, edge in zip(cast.TEAMS, edges, strict=True):
        table.extend([team] * (round(edge) - len(table)))
    return tuple(table)


def members_by_team() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {team.slug: [] for team in cast.TEAMS}
    for person in cast.people():
        if person.team:
            found[person.team].append(person.email)
    return {slug: tuple(emails) for slug, emails in found.items()}


MEMBERS = members_by_team()
# The nightly job's project and the sandbox have usage of their own.
OWN_PROJECTS = {"nightly-enrichment", "sandbox"}
PROJECTS = {team.slug: tuple(slug for slug, _ in team.projects if slug not in OWN_PROJECTS) for team in cast.TEAMS}


def simulate(plan: Plan, *, part: int = 0, parts: int = 1) -> Iterator[list[Streamed]]:
    """The plan's events day by day, oldest first; with `parts`, only every so-manieth day beginning at `part`."""
    for day in plan.calendar[part::parts]:
        yield DaySimulation(plan, day).events()

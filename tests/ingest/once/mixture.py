"""Mixtures of calls of which it is known which are one, to count how often two are taken for one and one for two.

    python -m tests.ingest.once.mixture

prints the table of docs/counting-once.md. Nothing is stored: the judgement is that of the storing transaction and of the later pass.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ingest.once.fingerprint import Print, pairs_settled, recognise

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
HARNESS, GATEWAY = "harness:otlp", "gateway:litellm"
SESSIONS = 200


@dataclass(frozen=True)
class Mixture:
    """How sessions are made: the chance that a call is a parallel twin of the one before, is retried, passes the gateway, and how clocks differ."""

    name: str
    calls: int = 40
    twins: float = 0.0
    retries: float = 0.0
    around: float = 0.0
    lost: float = 0.0
    skew_s: float = 0.0
    jitter_s: float = 0.3
    small: bool = False


MIXTURES = (
    Mixture("plain agent sessions"),
    Mixture("parallel identical calls (30 %)", twins=0.3),
    Mixture("retries the harness never tells of (20 %)", retries=0.2),
    Mixture("a fifth of the calls goes around the gateway", around=0.2),
    Mixture("all of these, and 5 % of reports lost", twins=0.3, retries=0.2, around=0.2, lost=0.05),
    Mixture("all of these, small equal calls", twins=0.3, retries=0.2, around=0.2, lost=0.05, small=True),
    Mixture("a clock two minutes wrong", twins=0.3, retries=0.2, skew_s=120),
    Mixture("a clock ten minutes wrong, all of these", twins=0.3, retries=0.2, around=0.2, lost=0.05, skew_s=600),
)


@dataclass
class Tally:
    """Calls that there were; of sessions that came out with too few how many are missing; and how many are too many when stored, and after the pass."""

    true: int = 0
    missing: int = 0
    twice_stored: int = 0
    twice_passed: int = 0

    def add(self, true: int, when_stored: int, when_passed: int) -> None:
        self.true += true
        self.missing += max(true - when_passed, 0)
        self.twice_stored += max(when_stored - true, 0)
        self.twice_passed += max(when_passed - true, 0)

    def rates(self) -> tuple[float, float, float]:
        """Each of them for a hundred calls."""
        return 100 * self.missing / self.true, 100 * self.twice_stored / self.true, 100 * self.twice_passed / self.true


def session(kind: Mixture, chance: random.Random) -> Iterator[tuple[int, Print]]:
    """The reports of one session in the order they come, each with the number of the call that it is of."""
    at, context, number = AT, 8_000, 0
    reports: list[tuple[float, int, Print]] = []

    def call(when: datetime, tokens: tuple[int, int], *, by: Sequence[str]) -> None:
        nonlocal number
        number += 1
        for reporter in by:
            if chance.random() < kind.lost:
                continue
            skew = kind.skew_s if reporter == HARNESS else 0.0
            told_at = when + timedelta(seconds=skew + chance.uniform(0, kind.jitter_s))
            key = UUID(int=chance.getrandbits(128))
            made = Print(key, "s", told_at, "anthropic", "anthropic", ("claude-sonnet-4-5",), *tokens, is_ok=True, reporters=frozenset({reporter}))
            reports.append((when.timestamp() + chance.uniform(0, 20), number, made))

    for _ in range(kind.calls):
        at += timedelta(seconds=chance.uniform(2, 25))
        context += chance.randint(200, 3_000)
        tokens = (chance.choice((40, 41)), 1) if kind.small else (context, chance.randint(20, 900))
        both = [HARNESS] if chance.random() < kind.around else [HARNESS, GATEWAY]
        call(at, tokens, by=both)
        if chance.random() < kind.twins:
            call(at + timedelta(seconds=chance.uniform(0, 1)), tokens, by=both)
        if GATEWAY in both and chance.random() < kind.retries:
            # The harness gave up on an answer that came and was billed: only the gateway knows of it.
            call(at - timedelta(seconds=chance.uniform(0.5, 8)), tokens, by=[GATEWAY])
    for _, true, made in sorted(reports, key=lambda one: one[0]):
        yield true, made


def tallied(kind: Mixture, *, sessions: int = SESSIONS, seed: int = 5) -> Tally:
    """Judges so many sessions."""
    chance, tally = random.Random(seed), Tally()
    for _ in range(sessions):
        made = list(session(kind, chance))
        calls = stored(made)
        tally.add(len({true for true, _ in made}), len(calls), len(calls) - len(passed(calls)))
    return tally


def stored(made: Sequence[tuple[int, Print]]) -> list[Print]:
    """The calls that the reports come to when each is judged as it comes."""
    calls: list[Print] = []
    for _, report in made:
        same = recognise(report, calls).same
        if same is None:
            calls.append(report)
        else:
            place = next(index for index, call in enumerate(calls) if call.key == same.key)
            calls[place] = replace(same, reporters=same.reporters | report.reporters)
    return calls


def passed(calls: Sequence[Print]) -> list[tuple[Print, Print]]:
    """The pairs that the pass would join."""

    def only(reporter: str, other: str) -> list[Print]:
        return [call for call in calls if reporter in call.reporters and other not in call.reporters]

    return pairs_settled(only(HARNESS, GATEWAY), only(GATEWAY, HARNESS))


def lines(write: Callable[[str], object]) -> None:
    write("| mixture (200 sessions each) | calls | false merges | counted twice until the pass | false splits after it |")
    write("| --- | --- | --- | --- | --- |")
    for kind in MIXTURES:
        found = tallied(kind)
        lost, before, after = found.rates()
        write(f"| {kind.name} | {found.true:,} | {lost:.2f} % | {before:.2f} % | {after:.2f} % |")


if __name__ == "__main__":
    lines(print)

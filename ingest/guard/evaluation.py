"""Holds the default rules against sessions of which it is known whether they ran away: precision and recall of each. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ingest.guard.labelled import ZONE, Labelled, sessions
from ingest.guard.parameters import KINDS, Burn, FanOut, Parameters
from ingest.guard.rules import find

# Parameters were chosen while looking at the first; what the documents report is measured on the second.
TUNING_SEED = 11
TEST_SEED = 20_261_121
TEAM_SEED = 7
TEAM_SIZE = 3


@dataclass(frozen=True, slots=True)
class Score:
    """How one rule did. `caught` of the `cases` it is for; `flagged` in all, of which `wrong` were ordinary sessions."""

    kind: str
    cases: int
    caught: int
    flagged: int
    wrong: int
    ordinary: int
    wrong_shapes: Mapping[str, int]

    @property
    def precision(self) -> float:
        """The share of the sessions it flagged that ran away, in whatever way."""
        return (self.flagged - self.wrong) / self.flagged if self.flagged else 1.0

    @property
    def recall(self) -> float:
        """The share of the sessions it is for that it flagged."""
        return self.caught / self.cases if self.cases else 1.0


def evaluate(*, seed: int, size: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Score]:
    """The default rule of each kind before the sessions of a seed; the team's past is that of ordinary sessions of another seed."""
    rules = [KINDS[kind]() for kind in kinds]
    past = window_amounts([one for one in sessions(seed=TEAM_SEED, size=TEAM_SIZE) if not one.runaway], Burn().window_minutes)
    flagged: Counter[tuple[str, str, str]] = Counter()
    labels: Counter[str] = Counter()
    for one in sessions(seed=seed, size=size):
        labels[one.runaway] += 1
        for rule in rules:
            flagged[rule.kind, one.runaway, one.shape] += is_found(rule, one, past)
    return [_score(rule.kind, flagged, labels) for rule in rules]


def is_found(rule: Parameters, one: Labelled, past: Sequence[Decimal]) -> bool:
    return find(rule, one.children if isinstance(rule, FanOut) else one.calls, zone=ZONE, team_past=past) is not None


def window_amounts(found: Sequence[Labelled], window_minutes: int) -> list[Decimal]:
    """What each session cost in a window of that length on the average, as `ingest.guard.features` reads it from stored sessions."""
    amounts = []
    for one in found:
        length = max(call.at for call in one.calls) - min(call.at for call in one.calls)
        windows = max(Decimal(length / timedelta(minutes=window_minutes)), Decimal(1))
        amounts.append(sum((call.cost for call in one.calls), Decimal(0)) / windows)
    return amounts


def _score(kind: str, flagged: Counter[tuple[str, str, str]], labels: Counter[str]) -> Score:
    own = {(label, shape): count for (rule, label, shape), count in flagged.items() if rule == kind and count}
    wrong = {shape: count for (label, shape), count in own.items() if not label}
    caught = sum(count for (label, _), count in own.items() if label == kind)
    return Score(kind, labels[kind], caught, sum(own.values()), sum(wrong.values()), labels[""], wrong)


def table(scores: Sequence[Score]) -> str:
    """The scores as a table of the documents."""
    lines = ["| rule | runaway sessions of its kind | caught | recall | flagged in all | of them ordinary | precision |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {KINDS[score.kind].title} | {score.cases} | {score.caught} | {score.recall:.1%} | {score.flagged} | {score.wrong} of {score.ordinary:,} | {score.precision:.1%} |"
        for score in scores
    ]
    return "\n".join(lines)

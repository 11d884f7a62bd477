"""What two reports of one call have in common when they share no id: session, provider, tokens and time. Pure.

Input counts with all that caches read and wrote, because sources mean different things by "input". The time is when the call ended;
some sources say when it began, so both ends of a call are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ingest.formats.nesting import are_one_model
from ingest.once.sources import HARNESS, SIGN

# Clocks of machines that keep time differ by less; the report of a call's end and the log of it lie closer still.
NEAR = timedelta(seconds=10)
# A failed call has no tokens to be known by.
NEAR_FAILED = timedelta(seconds=3)
# Beyond what clocks differ by, and far enough for a laptop's that nobody set.
FAR = timedelta(minutes=15)
# Reports of so many tokens that agree in each are no coincidence, whatever the model is called.
TELLING_TOKENS = 1_000
# The sorts of ids that vendors give requests and answers.
SORTS = ("req_", "msg_", "resp_", "chatcmpl-", "gen-")
# Figures that are nearly the same are shown to a person; nothing is done about them.
NEARLY = timedelta(seconds=3)
HARNESSES = f"{HARNESS}{SIGN}"
NAMELESS = ("", "unknown")
NEARLY_INPUT, NEARLY_OUTPUT = 0.05, 5


class Verdict(StrEnum):
    """What is thought of two reports."""

    SAME = "same"
    UNDECIDED = "undecided"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Print:
    """One call by what other reports of it know as well. `models` are all the names it may go by; tokens are None where not known.

    `reporters` are those who have told of it, `ids` the vendor's ids that harnesses and SDKs told it by: these saw the vendor's own answer.
    """

    key: UUID
    session: str
    at: datetime
    provider: str
    maker: str
    models: tuple[str, ...]
    tokens_input: int | None
    tokens_output: int | None
    is_ok: bool
    latency: timedelta = timedelta(0)
    reporters: frozenset[str] = field(default_factory=frozenset)
    ids: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_measured(self) -> bool:
        return self.tokens_input is not None and self.tokens_output is not None

    @property
    def tokens(self) -> int:
        return (self.tokens_input or 0) + (self.tokens_output or 0)


def total(counts: Sequence[int | None]) -> int | None:
    """The sum of what is known; None when nothing is."""
    return None if all(one is None for one in counts) else sum(one or 0 for one in counts)


def distance(first: Print, second: Print, offset: timedelta = timedelta(0)) -> timedelta:
    """How far apart two reports say the call ended, or one's end and the other's beginning; `offset` is how far the second's clock is ahead."""
    end, other = first.at, second.at - offset
    return min(abs(end - other), abs(end - first.latency - other), abs(end - (other - second.latency)))


def could_be_one(first: Print, second: Print) -> bool:
    """Whether nothing but time and model speaks against it: another reporter, the same session, provider, outcome and tokens."""
    if first.session != second.session or not first.session or first.reporters & second.reporters:
        return False
    if are_told_apart(first.ids, second.ids):
        return False
    return first.is_ok == second.is_ok and are_alike_providers(first, second) and are_same_tokens(first, second)


def are_told_apart(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether both have a vendor's ids of one sort, and none in common."""
    sorts = [{sort: {one for one in ids if one.startswith(sort)} for sort in SORTS} for ids in (first, second)]
    return any(sorts[0][sort] and sorts[1][sort] and not sorts[0][sort] & sorts[1][sort] for sort in SORTS)


def are_same_tokens(first: Print, second: Print) -> bool:
    if first.is_measured and second.is_measured and first.tokens:
        return (first.tokens_input, first.tokens_output) == (second.tokens_input, second.tokens_output)
    # Failed calls have no tokens, or zeros that nobody counted.
    return not first.is_ok and not second.is_ok and not first.tokens and not second.tokens


def are_alike_providers(first: Print, second: Print) -> bool:
    """Whether they name one provider, or one maker through two providers; one that is not said is no other."""
    if not first.provider or not second.provider or first.provider == second.provider:
        return True
    return bool(first.maker) and first.maker == second.maker


def are_alike_models(first: Print, second: Print) -> bool:
    return any(are_one_model(bare(one), bare(other)) for one in first.models for other in second.models if one and other)


def are_models_apart(first: Print, second: Print) -> bool:
    """Whether harnesses alone tell of both, which know no gateway's aliases, under names of which none is in another."""
    if not all(reporter.startswith(HARNESSES) for reporter in first.reporters | second.reporters):
        return False
    names = [[bare(model) for model in one.models if bare(model) not in NAMELESS] for one in (first, second)]
    return all(names) and not any(one in other or other in one for one in names[0] for other in names[1])


def bare(model: str) -> str:
    return model.rpartition("/")[2].lower()


def verdict(first: Print, second: Print, offset: timedelta = timedelta(0)) -> Verdict:
    """What is thought of two reports by themselves; others of the session may settle what is undecided."""
    if not could_be_one(first, second):
        return Verdict.UNDECIDED if are_nearly_one(first, second, offset) else Verdict.DIFFERENT
    apart, near = distance(first, second, offset), NEAR if first.tokens else NEAR_FAILED
    if apart > FAR or (apart > near and not first.tokens):
        return Verdict.DIFFERENT
    if apart > near:
        return Verdict.UNDECIDED
    is_telling = first.tokens >= TELLING_TOKENS and not are_models_apart(first, second)
    return Verdict.SAME if is_telling or are_alike_models(first, second) else Verdict.UNDECIDED


def are_nearly_one(first: Print, second: Print, offset: timedelta = timedelta(0)) -> bool:
    """Whether a person should look: one model and one moment, and figures of which one is the same and the other nearly."""
    if (
        first.session != second.session
        or not first.session
        or first.reporters & second.reporters
        or not (first.is_measured and second.is_measured)
    ):
        return False
    if not first.tokens or not second.tokens or distance(first, second, offset) > NEARLY or not are_alike_models(first, second):
        return False
    inputs = (first.tokens_input or 0, second.tokens_input or 0)
    outputs = abs((first.tokens_output or 0) - (second.tokens_output or 0))
    if not are_alike_providers(first, second):
        return False
    if inputs[0] == inputs[1]:
        return outputs <= NEARLY_OUTPUT
    return outputs == 0 and abs(inputs[0] - inputs[1]) <= NEARLY_INPUT * max(inputs)


@dataclass(slots=True)
class Found:
    """What a report was found to be: the second sighting of `same`, or a call that may be one with each of `undecided`."""

    same: Print | None = None
    undecided: list[Print] = field(default_factory=list)


def recognise(report: Print, calls: Sequence[Print], offset: timedelta = timedelta(0)) -> Found:
    """Which of the session's calls the report tells of. Of several that it may equally be those of its model go first, then the nearest in time.

    `offset` is how far the clock of the calls' reporters is ahead of the report's.
    """
    found = Found()
    best: tuple[bool, timedelta, datetime, UUID] | None = None
    for call in calls:
        thought = verdict(report, call, offset)
        if thought is Verdict.UNDECIDED:
            found.undecided.append(call)
        elif thought is Verdict.SAME:
            rank = (not are_alike_models(report, call), distance(report, call, offset), call.at, call.key)
            if best is None or rank < best:
                best, found.same = rank, call
    return found


def pairs_settled(first: Sequence[Print], second: Sequence[Print], known: Sequence[timedelta] = ()) -> list[tuple[Print, Print]]:
    """Which calls that one reporter tells of are calls that another tells of, judged by the whole session.

    `known` are the differences between the two clocks in pairs that are settled. Calls of the same tokens are paired in the order of
    time where both told of as many; when at least two pairs, these and known ones, say the same of the clocks, all that agree with them are
    settled. Otherwise those that are near by clocks that are right.
    """
    groups: dict[tuple[int | None, int | None], tuple[list[Print], list[Print]]] = {}
    for side, calls in enumerate((first, second)):
        for call in sorted(calls, key=lambda one: (one.at, one.key)):
            if call.tokens:
                groups.setdefault((call.tokens_input, call.tokens_output), ([], []))[side].append(call)
    certain = [pair for ours, theirs in groups.values() if len(ours) == len(theirs) for pair in zip(ours, theirs, strict=True)]
    certain = [pair for pair in certain if could_be_one(*pair) and are_alike_models(*pair) and abs(pair[1].at - pair[0].at) <= FAR]
    offset = agreed([*known, *(theirs.at - ours.at for ours, theirs in certain)]) or timedelta(0)
    settled: list[tuple[Print, Print]] = []
    for ours, theirs in groups.values():
        left = list(theirs)
        for call in ours:
            fitting = [other for other in left if verdict(call, other, offset) is Verdict.SAME]
            if fitting:
                nearest = min(fitting, key=lambda other: (not are_alike_models(call, other), distance(call, other, offset), other.key))
                left.remove(nearest)
                settled.append((call, nearest))
    return settled


def agreed(offsets: Sequence[timedelta]) -> timedelta | None:
    """How far one clock is ahead of the other, when at least two pairs and most of all say the same; else None."""
    if len(offsets) < 2:
        return None
    middle = sorted(offsets)[len(offsets) // 2]
    agreeing = sum(abs(one - middle) <= NEAR for one in offsets)
    return middle if agreeing >= 2 and agreeing * 4 >= len(offsets) * 3 else None

"""What an approval policy says, and how far a request has come under it: pure values, nothing read and nothing written.

A policy has bands by amount; each band is a chain of steps, and each step names who decides and how many of them. A vote
fills one seat of one step. Where somebody counts for several steps, seats are given so that as many as possible are
filled: no order of votes leads into a dead end that another order would have avoided.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

APPROVERS, ADMINS, OWNERS, FINANCE = "approvers", "admins", "owners", "finance"
GROUPS = {
    APPROVERS: "approvers of the team",
    ADMINS: "owners and admins",
    OWNERS: "owners",
    FINANCE: "finance",
}
MEMBER = "member:"
MOST_BANDS, MOST_STEPS, MOST_NEEDED, MOST_DENIALS = 8, 5, 9, 9
LONGEST_ESCALATION_MINUTES = 60 * 24 * 30
LONGEST_EXPIRY_HOURS = 24 * 365
LONGEST_REVIEW_DAYS = 90


@dataclass(frozen=True, slots=True)
class Step:
    """Who decides (group names of GROUPS, or "member:<id>"; any of them), and how many different people it takes."""

    who: tuple[str, ...]
    needed: int = 1


@dataclass(frozen=True, slots=True)
class Band:
    """The steps of requests up to an amount, included; None: of all larger ones. In order, or all at the same time."""

    steps: tuple[Step, ...]
    up_to: Decimal | None = None
    in_parallel: bool = False


@dataclass(frozen=True, slots=True)
class Automatic:
    """Requests up to an amount are granted at once, as long as a person and a team stay within so much a day."""

    up_to: Decimal
    person_daily: Decimal
    team_daily: Decimal


@dataclass(frozen=True, slots=True)
class Override:
    """Who may grant alone and above limits in an emergency, and within how many days somebody else looks at it."""

    who: tuple[str, ...]
    review_days: int = 7


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole policy. `denials` is how many people have to deny before a request is over."""

    bands: tuple[Band, ...]
    escalate_minutes: int | None = None
    expire_hours: int | None = None
    denials: int = 1
    automatic: Automatic | None = None
    override: Override | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """What one request is held to, kept from when it was filed."""

    steps: tuple[Step, ...]
    in_parallel: bool = False
    escalate_minutes: int | None = None
    denials: int = 1
    override: Override | None = None


# As long as nobody has written a policy: one approver of the team, or an admin, decides whatever the amount.
BUILT_IN = Rules(bands=(Band(steps=(Step(who=(APPROVERS, ADMINS)),)),))


def to_facts(value: Rules | Chain) -> dict[str, Any]:
    """The policy or chain as JSON holds it; amounts are text."""
    facts: dict[str, Any] = msgspec.to_builtins(value)
    return facts


def rules_of(facts: dict[str, Any]) -> Rules:
    """The policy that `to_facts` wrote."""
    return msgspec.convert(facts, Rules)


def chain_of(facts: dict[str, Any]) -> Chain:
    """The chain that `to_facts` wrote; the built-in one for a request from before there were policies."""
    return msgspec.convert(facts, Chain) if facts else chain_for(BUILT_IN, None)


def chain_for(rules: Rules, amount: Decimal | None) -> Chain:
    """The chain of a request for the amount; None, an amount that cannot be compared with the policy's: the last band's."""
    band = (
        rules.bands[-1]
        if amount is None
        else next((band for band in rules.bands if band.up_to is None or amount <= band.up_to), rules.bands[-1])
    )
    return Chain(band.steps, band.in_parallel, rules.escalate_minutes, rules.denials, rules.override)


def named_members(parties: Iterable[str]) -> list[int]:
    """The ids of the members named among these parties."""
    return [int(party.removeprefix(MEMBER)) for party in parties if party.startswith(MEMBER)]


def fault_of(rules: Rules) -> str:
    """What is wrong with a policy, as a sentence; "" when it can be used."""
    limits = [band.up_to for band in rules.bands]
    amounts = [limit for limit in limits if limit is not None]
    if not rules.bands or len(rules.bands) > MOST_BANDS:
        return f"A policy has between one and {MOST_BANDS} rows of amounts."
    if limits[-1] is not None or None in limits[:-1]:
        return "The last row, and only that one, is for everything above: leave its amount empty."
    if any(amount <= 0 for amount in amounts) or any(low >= high for low, high in pairwise(amounts)):
        return "Amounts are above zero and rise from row to row."
    faults = [_band_fault(band) for band in rules.bands] + [
        _times_fault(rules),
        _automatic_fault(rules.automatic),
        _override_fault(rules.override),
    ]
    return next((fault for fault in faults if fault), "")


def _band_fault(band: Band) -> str:
    if not 1 <= len(band.steps) <= MOST_STEPS:
        return f"Each row of amounts has between one and {MOST_STEPS} steps."
    for step in band.steps:
        if not step.who or not all(_is_party(party) for party in step.who):
            return "Each step says who decides."
        if not 1 <= step.needed <= MOST_NEEDED:
            return f"A step takes between one and {MOST_NEEDED} people."
        if all(party.startswith(MEMBER) for party in step.who) and step.needed > len(set(step.who)):
            return "A step cannot take more people than it names."
    return ""


def _is_party(party: str) -> bool:
    return party in GROUPS or (party.startswith(MEMBER) and party.removeprefix(MEMBER).isdecimal())


def _times_fault(rules: Rules) -> str:
    if rules.escalate_minutes is not None and not 1 <= rules.escalate_minutes <= LONGEST_ESCALATION_MINUTES:
        return "A step escalates after between one minute and thirty days."
    if rules.expire_hours is not None and not 1 <= rules.expire_hours <= LONGEST_EXPIRY_HOURS:
        return "A request expires after between one hour and a year."
    return "" if 1 <= rules.denials <= MOST_DENIALS else f"Between one and {MOST_DENIALS} denials end a request."


def _automatic_fault(automatic: Automatic | None) -> str:
    if automatic is None:
        return ""
    if min(automatic.up_to, automatic.person_daily, automatic.team_daily) <= 0:
        return "Automatic grants need amounts above zero: for one grant, for a person a day, and for a team a day."
    return (
        ""
        if automatic.up_to <= automatic.person_daily <= automatic.team_daily
        else "One automatic grant is at most what a person may get a day, and that at most what a team may."
    )


def _override_fault(override: Override | None) -> str:
    if override is None:
        return ""
    if not override.who or not all(_is_party(party) for party in override.who):
        return "Say who may override."
    return "" if 1 <= override.review_days <= LONGEST_REVIEW_DAYS else f"An override is reviewed within one to {LONGEST_REVIEW_DAYS} days."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a chain has come.

    `filled` is how many seats of each step are taken. `reached` is how many steps have begun, `done` which are over, and
    `open_steps` those on which one more vote would bring the request further.
    """

    filled: tuple[int, ...]
    done: tuple[bool, ...]
    reached: int
    open_steps: frozenset[int]

    @property
    def is_complete(self) -> bool:
        return all(self.done)


def parties_at(chain: Chain, place: int, escalated: Iterable[int]) -> frozenset[str]:
    """Who counts for a step. When the last one was left lying, owners and admins do as well."""
    who = frozenset(chain.steps[place].who)
    return who | {ADMINS} if place == len(chain.steps) - 1 and place in set(escalated) else who


def fits(chain: Chain, parties: frozenset[str], escalated: Iterable[int]) -> frozenset[int]:
    """The steps for which somebody who belongs to these parties counts."""
    late = tuple(escalated)
    return frozenset(place for place in range(len(chain.steps)) if parties_at(chain, place, late) & parties)


def progress(chain: Chain, votes: Sequence[frozenset[int]], escalated: Iterable[int] = ()) -> Progress:
    """How far the votes bring the chain; each vote is the set of steps it may count for.

    A step that was left lying is over as soon as the next one is: its people decide for both.
    """
    late = frozenset(escalated)
    reached, filled, done = _reach(chain, votes, late)
    if all(done):
        return Progress(filled, done, reached, frozenset())
    total = sum(filled)
    more = {
        place: _fill(chain, [*votes, frozenset({place})], reached, late)
        for place in range(reached)
        if not _is_passed(place, done, filled, chain)
    }
    return Progress(filled, done, reached, frozenset(place for place, seats in more.items() if sum(seats) > total))


def _is_passed(place: int, done: Sequence[bool], filled: Sequence[int], chain: Chain) -> bool:
    """Over because the next step is, with seats of its own still free."""
    return done[place] and filled[place] < chain.steps[place].needed


def _reach(chain: Chain, votes: Sequence[frozenset[int]], late: frozenset[int]) -> tuple[int, tuple[int, ...], tuple[bool, ...]]:
    """The steps that have begun, their seats, and which are over: all begin at once, or each when those before it are over."""
    count = len(chain.steps)
    reached = count if chain.in_parallel else 1
    while True:
        while reached < count and reached - 1 in late:
            reached += 1
        filled = _fill(chain, votes, reached, late)
        done = _done(chain, filled, late)
        if reached == count or not all(done[:reached]):
            return reached, filled, done
        reached += 1


def _done(chain: Chain, filled: Sequence[int], late: frozenset[int]) -> tuple[bool, ...]:
    done = [False] * len(chain.steps)
    for place in reversed(range(len(chain.steps))):
        is_covered = place in late and place + 1 < len(chain.steps) and done[place + 1]
        done[place] = filled[place] == chain.steps[place].needed or is_covered
    return tuple(done)


def _fill(chain: Chain, votes: Sequence[frozenset[int]], reached: int, late: frozenset[int]) -> tuple[int, ...]:
    """As many seats of the steps that have begun as the votes can fill, those of earlier steps first and of late ones last."""
    order = sorted(range(reached), key=lambda place: (place in late, place))
    taken: dict[int, int] = {}  # vote -> step

    def seat(place: int, tried: set[int]) -> bool:
        for vote, steps in enumerate(votes):
            if place not in steps or vote in tried:
                continue
            tried.add(vote)
            if vote not in taken or seat(taken[vote], tried):
                taken[vote] = place
                return True
        return False

    filled = [0] * len(chain.steps)
    for place in order:
        while filled[place] < chain.steps[place].needed and seat(place, set()):
            filled[place] += 1
    return tuple(filled)

"""Writes what a run came to, in words that the figures carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tests.proof.stage import Posted, Told
from tests.proof.world import COST, World

REPORT = Path("docs/proof.md")


@dataclass(frozen=True, slots=True)
class End:
    """How the ledger stood when all was over."""

    deadlocks: int
    leaked: Decimal
    differences: Sequence[str]
    spent: Decimal
    events: int
    # (level, limit, how many periods, the most that one spent and held)
    levels: Sequence[tuple[str, Decimal, int, Decimal]]
    room: Decimal

    @property
    def is_true(self) -> bool:
        return not (self.deadlocks or self.leaked or self.differences)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of events that were posted until each was acknowledged."""

    acknowledged: int
    lost: int
    twice: int
    off_by: Decimal  # USD by which the organization's balance is more than the events' cost
    differences: Sequence[str]

    @property
    def is_true(self) -> bool:
        return not (self.lost or self.twice or self.off_by or self.differences)


def text(*, told: Told, end: End, posted: Posted, kept: Kept, world: World, calls: int, processes: int, seed: int) -> str:
    """The report as Markdown."""
    failures = [*told.failures, *posted.failures]
    verdict = "held" if not (told.wrong or failures) and end.is_true and kept.is_true else "DID NOT HOLD"
    ways = "\n".join(f"| {way} | {number:,} |" for way, number in sorted(told.callers.items(), key=lambda pair: -pair[1]))
    levels = "\n".join(f"| {level} | {periods} | {limit} | {most} |" for level, limit, periods, most in end.levels)
    wrong = "\n".join(f"- {line}" for line in [*told.wrong[:20], *failures[:20], *end.differences[:20], *kept.differences[:20]])
    return f"""# Proof: hard limits and acknowledged events {verdict}

Made by `make prove` on {datetime.now(UTC):%d %B %Y} (seed {seed}). Nothing in it is written by hand.

{processes} processes made {calls:,} calls of {COST} USD under authorization, on a tree of hard budgets: organization, team, member and
session, with room for about half of what is asked. A call holds 0.006 USD, or a part of 0.03 USD, alone or in a batch of four, and ends its hold
by its event, by the amount and its event in either order, by giving it back, twice, or not at all; others are made four at a time on a lease
of 0.024 USD, which is extended, given back or left to run out. Clocks of the callers differ by up to two minutes. Meanwhile
{told.killed} processes were killed wherever they were and replaced, {told.cut} database connections were cut, and two sweepers ran
the scheduled tasks against each other ({sum(told.sweeps.values()):,} runs). Two observers read all hard balances, all holds and the
ledger in one snapshot, {told.looks:,} times. They write nothing and there is no trigger. It took {told.seconds:.0f} s.

| what must be | what was |
|---|---|
| snapshots with spent + held over a limit, or a balance that is not its holds or events | {len(told.wrong)} |
| deadlocks the server had to break | {end.deadlocks} |
| held at the end, when every hold was over | {end.leaked} |
| differences found by `verify` | {len(end.differences)} |
| processes that failed, other than those killed | {len(told.failures)} |
| events stored; their cost is the organization's balance | {end.events:,} x {COST} = {end.spent} USD |
| room left of the organization's limit of {world.limits["organization"]} USD | {end.room} USD |

| level | periods | hard limit, USD | most that one has spent |
|---|---|---|---|
{levels}

| what became of a call | calls |
|---|---|
{ways}

The calls of killed processes are in none of the rows; what they held ran out.

Then {kept.acknowledged:,} calls without authorization were reported, up to three in a post, each again until it was acknowledged and some
once more with later ones, while the configuration moved now and then and {posted.cut:,} connections were cut within {posted.seconds:.0f} s:
{posted.tries:,} posts came to an answer or to an end.

| what must be | what was |
|---|---|
| acknowledged events that are not stored | {kept.lost} |
| events stored twice | {kept.twice} |
| what the balance is off their cost | {kept.off_by.normalize()} USD |
| differences found by `verify` | {len(kept.differences)} |
{f"{chr(10)}What was wrong:{chr(10)}{chr(10)}{wrong}{chr(10)}" if wrong else ""}"""

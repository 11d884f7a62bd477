"""What a seat is worth: its fee against what the same use would have cost by the call. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Use:
    """What one person did with what a plan covers. `notional` is at list price under the subscription, `metered` was billed by the call."""

    notional: Decimal = ZERO
    metered: Decimal = ZERO
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.notional + other.notional, self.metered + other.metered, self.calls + other.calls, self.tokens + other.tokens)


@dataclass(frozen=True, slots=True)
class Key:
    """Whose calls, of which harness and provider."""

    member_id: int
    harness: str
    provider: str


@dataclass(frozen=True, slots=True)
class Cover:
    """The calls that a plan is for; empty means any."""

    harness: str
    provider: str

    def holds(self, key: Key) -> bool:
        return self.harness in ("", key.harness) and self.provider in ("", key.provider)


def use_of(uses: Mapping[Key, Use], member_id: int, cover: Cover) -> Use:
    """What the person did with what is covered."""
    return sum((use for key, use in uses.items() if key.member_id == member_id and cover.holds(key)), Use())


def last_of(days: Mapping[Key, date], member_id: int, cover: Cover) -> date | None:
    """The last day the person did anything with what is covered, however it was billed."""
    return max((day for key, day in days.items() if key.member_id == member_id and cover.holds(key)), default=None)


def state_of(last: date | None, held_since: date, *, today: date, idle_days: int) -> str:
    """`idle` when nothing was done for so many days; `new` where the seat has not been there for as long; else `active`."""
    if last is not None and (today - last).days < idle_days:
        return "active"
    return "new" if (today - held_since).days < idle_days else "idle"


def per_active(total: Decimal, active: int) -> Decimal | None:
    """What each active seat costs; None where none is."""
    return total / active if active else None


def verdict(fee: Decimal | None, notional: Decimal) -> str:
    """Whether the use is worth the fee at list price: `seat`, `metered` where calls would have cost less, or nothing where the fee is not known."""
    if fee is None:
        return ""
    return "seat" if notional >= fee else "metered"


def cheaper_on_a_seat(people: Iterable[tuple[int, Decimal]], fee: Decimal) -> Sequence[tuple[int, Decimal, Decimal]]:
    """(member, billed by the call, what a seat would have saved) of those whose calls cost more than a seat, most saved first."""
    found = [(member_id, billed, billed - fee) for member_id, billed in people if billed > fee]
    return sorted(found, key=lambda row: (-row[2], row[0]))

"""How concentrated something is: Herfindahl-Hirschman index, effective number, top share, each with the rows behind it.

The index is the sum of the squared percentage shares: 10,000 for one supplier, 10,000/n for n equal ones. The bounds for
naming a level are those of the 2023 Merger Guidelines of the US Department of Justice and FTC (1,000 and 1,800).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

MODERATE_FROM = Decimal(1000)
HIGH_FROM = Decimal(1800)
LARGEST_INDEX = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Part:
    """One supplier's part: its amount, its share (0 to 1) and the points it adds to the index."""

    key: str
    name: str
    amount: Decimal
    share: Decimal
    points: Decimal


@dataclass(frozen=True, slots=True)
class Concentration:
    """The index with its parts, largest first. All figures are None when there is nothing to share."""

    total: Decimal
    parts: tuple[Part, ...]
    hhi: Decimal | None
    effective_number: Decimal | None

    @property
    def top(self) -> Part | None:
        return self.parts[0] if self.parts else None

    @property
    def is_one(self) -> bool:
        """Whether the effective number is written as 1.0: all comes from one, or nearly so."""
        return self.effective_number is not None and self.effective_number < Decimal("1.05")

    @property
    def level(self) -> str:
        """`high`, `moderate`, `low`, or `none` when nothing is known."""
        if self.hhi is None:
            return "none"
        if self.hhi > HIGH_FROM:
            return "high"
        return "moderate" if self.hhi >= MODERATE_FROM else "low"


def shares(amounts: Sequence[Decimal]) -> list[Decimal]:
    """Each amount's part of the sum, 0 to 1, in the order given; empty when the sum is zero.

    Raises ValueError for a negative amount: a part of a whole cannot be less than nothing.
    """
    if any(amount < 0 for amount in amounts):
        raise ValueError("a share of a negative amount has no meaning")
    total = sum(amounts, Decimal(0))
    return [amount / total for amount in amounts] if total else []


def hhi(parts: Sequence[Decimal]) -> Decimal | None:
    """The index, 0 to 10,000, of shares that add up to 1. None when there are none."""
    return sum((part * part for part in parts), Decimal(0)) * LARGEST_INDEX if parts else None


def effective_number(parts: Sequence[Decimal]) -> Decimal | None:
    """How many equal suppliers would be as concentrated as these shares: 1 / sum of squares. None when there are none."""
    squares = sum((part * part for part in parts), Decimal(0))
    return 1 / squares if squares else None


def concentration_of(rows: Iterable[tuple[str, str, Decimal]]) -> Concentration:
    """The concentration of (key, name, amount) rows. Rows without an amount are left out: they carry no share."""
    kept = sorted((row for row in rows if row[2]), key=lambda row: (-row[2], row[0]))
    amounts = [amount for _, _, amount in kept]
    parts = shares(amounts)
    rated = tuple(
        Part(key, name, amount, share, share * share * LARGEST_INDEX) for (key, name, amount), share in zip(kept, parts, strict=True)
    )
    return Concentration(sum(amounts, Decimal(0)), rated, hhi(parts), effective_number(parts))

"""The weekly model leaderboard: who takes the most tokens, and who moved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Standing:
    """One model over the weeks, in their order. Rank 1 is most tokens; None is a week without any."""

    key: str
    tokens: tuple[int, ...]
    ranks: tuple[int | None, ...]

    @property
    def rank(self) -> int | None:
        return self.ranks[-1]

    @property
    def change(self) -> int | None:
        """Places gained (positive) or lost since the week before; None when it was absent in either."""
        if len(self.ranks) < 2 or self.ranks[-1] is None or self.ranks[-2] is None:
            return None
        return self.ranks[-2] - self.ranks[-1]

    @property
    def is_new(self) -> bool:
        """In use in the latest week for the first time within the weeks shown."""
        return len(self.tokens) > 1 and self.tokens[-1] > 0 and not any(self.tokens[:-1])

    @property
    def is_gone(self) -> bool:
        return not self.tokens[-1]


def leaderboard(rows: Iterable[tuple[date, str, int]], weeks: Sequence[date]) -> list[Standing]:
    """The standing of every model from (week, model, tokens) rows; weeks ascending, rows of other weeks are left out.

    Ordered by the latest week's rank, then by tokens over all weeks, then by name. Equal tokens share no rank: the
    name decides, so that the order is the same every time.
    """
    position = {week: index for index, week in enumerate(weeks)}
    tokens: dict[str, list[int]] = {}
    for week, key, amount in rows:
        if week in position:
            tokens.setdefault(key, [0] * len(weeks))[position[week]] += amount
    ranks = [_ranks({key: amounts[index] for key, amounts in tokens.items()}) for index in range(len(weeks))]
    standings = [Standing(key, tuple(amounts), tuple(week.get(key) for week in ranks)) for key, amounts in tokens.items() if any(amounts)]
    return sorted(standings, key=lambda row: (row.rank is None, row.rank or 0, -sum(row.tokens), row.key))


def _ranks(amounts: dict[str, int]) -> dict[str, int]:
    used = sorted((key for key, amount in amounts.items() if amount), key=lambda key: (-amounts[key], key))
    return {key: rank for rank, key in enumerate(used, start=1)}

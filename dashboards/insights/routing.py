"""Who does the work, at what price: shares by tier, weights and country, and flagship money on simple work."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dashboards.insights.figures import ZERO, Figures, figures_sum

BRAIN = "flagship"
WORKFORCE = ("standard", "economy")
TIERS = (BRAIN, *WORKFORCE, "unknown")


@dataclass(frozen=True, slots=True)
class Slice:
    """One group's part of the tokens and of the billed cost; shares are 0 to 1, None when there is nothing to share."""

    key: str
    figures: Figures
    token_share: Decimal | None
    spend_share: Decimal | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the catalogue knows of a model; "" and None are not known."""

    maker: str = ""
    country: str = ""
    has_open_weights: bool | None = None


def slices(groups: Iterable[tuple[str, Figures]], *, currency: str, order: Sequence[str] = ()) -> list[Slice]:
    """Groups of the same key added up, with their shares; in the order given, then by tokens, empty groups left out."""
    sums: dict[str, Figures] = {}
    for key, figures in groups:
        sums[key] = sums[key] + figures if key in sums else figures
    total = figures_sum(sums.values(), currency)
    found = [
        Slice(key, figures, _share(Decimal(figures.tokens), Decimal(total.tokens)), _share(figures.cost, total.cost))
        for key, figures in sums.items()
        if figures.calls
    ]
    position = {key: index for index, key in enumerate(order)}
    return sorted(found, key=lambda row: (position.get(row.key, len(position)), -row.figures.tokens, row.key))


def tier_slices(groups: Iterable[tuple[str, Figures]], currency: str) -> list[Slice]:
    """Flagship, standard, economy, unknown, in that order; a tier that is none of them is unknown."""
    return slices(((key if key in TIERS else "unknown", figures) for key, figures in groups), currency=currency, order=TIERS)


def token_share(parts: Iterable[Slice], keys: Sequence[str]) -> Decimal | None:
    """The token share of several groups together; None when no tokens are known at all."""
    known = [row.token_share for row in parts if row.token_share is not None and row.key in keys]
    return sum(known, ZERO) if known or any(row.token_share is not None for row in parts) else None


def weights_key(facts: ModelFacts) -> str:
    """`open`, `closed`, or "" when the catalogue does not say."""
    if facts.has_open_weights is None:
        return ""
    return "open" if facts.has_open_weights else "closed"


def catalogued(
    rows: Iterable[tuple[ModelFacts, Figures]], key: Callable[[ModelFacts], str], *, currency: str
) -> list[Slice]:
    """Shares by what the catalogue knows of each model, what it does not know last."""
    found = slices(((key(facts), figures) for facts, figures in rows), currency=currency)
    return sorted(found, key=lambda row: row.key == "")


def _share(part: Decimal, whole: Decimal) -> Decimal | None:
    return part / whole if whole else None

"""What an organization depends on: harnesses bound to one vendor, traffic without a neutral gateway, exposure to a price rise."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dashboards.insights.figures import ZERO
from dashboards.insights.market import binding_of, route_of

DAYS_IN_MONTH = 30


@dataclass(frozen=True, slots=True)
class Flow:
    """An amount that went from a team through a harness (and a gateway, "" for none) to a provider, of models by a maker."""

    team: str
    harness: str
    gateway: str
    provider: str
    maker: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ClassShare:
    """One class of a classification with its amount and its share (0 to 1; None when there is nothing to share)."""

    key: str
    amount: Decimal
    share: Decimal | None


@dataclass(frozen=True, slots=True)
class Link:
    """One ribbon of the flow diagram: amount from a source to a target, seen to run through a single-vendor harness or not."""

    source: str
    target: str
    amount: Decimal
    is_bound: bool


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a provider costs in a month at the pace of the range, and what a rise of its prices would add."""

    provider: str
    spent: Decimal
    monthly: Decimal
    extra: Decimal

    @property
    def after(self) -> Decimal:
        return self.monthly + self.extra


BINDINGS = ("single-vendor", "neutral", "unclassified", "unreported")
ROUTES = ("direct", "neutral", "unclassified")


def binding_shares(flows: Iterable[Flow]) -> list[ClassShare]:
    """How much runs through single-vendor, neutral, unclassified and unreported harnesses, in that order, empty ones left out."""
    return _classified(flows, lambda flow: binding_of(flow.harness), BINDINGS)


def route_shares(flows: Iterable[Flow]) -> list[ClassShare]:
    """How much reaches the vendor directly, through a neutral gateway, or through one that is not classified."""
    return _classified(flows, lambda flow: route_of(flow.gateway), ROUTES)


def share_of(classes: Iterable[ClassShare], key: str) -> Decimal | None:
    """The share of one class; zero when it is empty but others are not, None when there is nothing at all."""
    found = list(classes)
    if not any(row.amount for row in found):
        return None
    return next((row.share for row in found if row.key == key), ZERO)


def _classified(flows: Iterable[Flow], classify: Callable[[Flow], str], order: Sequence[str]) -> list[ClassShare]:
    amounts = dict.fromkeys(order, ZERO)
    for flow in flows:
        amounts[classify(flow)] += flow.amount
    total = sum(amounts.values(), ZERO)
    return [ClassShare(key, amount, amount / total if total else None) for key, amount in amounts.items() if amount]


def summed(flows: Iterable[Flow], key: Callable[[Flow], str]) -> list[tuple[str, Decimal]]:
    """Amounts by what `key` says of each flow, largest first, then by key."""
    amounts: dict[str, Decimal] = {}
    for flow in flows:
        amounts[key(flow)] = amounts.get(key(flow), ZERO) + flow.amount
    return sorted(amounts.items(), key=lambda row: (-row[1], row[0]))


def folded(flows: Sequence[Flow], *, at_most: int, other: str) -> list[Flow]:
    """The flows with all but the largest teams, harnesses and providers called `other`, so that a drawing stays readable."""
    kept = {name: _largest_keys(summed(flows, _column(name)), at_most) for name in ("team", "harness", "provider")}
    return [
        Flow(
            flow.team if flow.team in kept["team"] else other,
            flow.harness if flow.harness in kept["harness"] else other,
            flow.gateway,
            flow.provider if flow.provider in kept["provider"] else other,
            flow.maker,
            flow.amount,
        )
        for flow in flows
    ]


def _largest_keys(rows: Sequence[tuple[str, Decimal]], at_most: int) -> set[str]:
    # "Others" that stand for one value only would hide its name and save no room.
    return {key for key, _ in (rows if len(rows) <= at_most + 1 else rows[:at_most])}


def _column(name: str) -> Callable[[Flow], str]:
    return lambda flow: str(getattr(flow, name))


def links(flows: Iterable[Flow]) -> tuple[list[Link], list[Link]]:
    """The ribbons team → harness and harness → provider, largest first."""
    first: dict[tuple[str, str], Decimal] = {}
    second: dict[tuple[str, str], Decimal] = {}
    for flow in flows:
        if flow.amount:
            first[flow.team, flow.harness] = first.get((flow.team, flow.harness), ZERO) + flow.amount
            second[flow.harness, flow.provider] = second.get((flow.harness, flow.provider), ZERO) + flow.amount
    return (
        [Link(source, target, amount, binding_of(target) == "single-vendor") for (source, target), amount in _largest(first)],
        [Link(source, target, amount, binding_of(source) == "single-vendor") for (source, target), amount in _largest(second)],
    )


def _largest(amounts: dict[tuple[str, str], Decimal]) -> list[tuple[tuple[str, str], Decimal]]:
    return sorted(amounts.items(), key=lambda row: (-row[1], row[0]))


def exposures(spent: Iterable[tuple[str, Decimal]], *, days: Decimal, rise_percent: Decimal) -> list[Exposure]:
    """Each provider's cost per 30 days at the pace of so many days, and what a rise in percent adds to it; largest first.

    Raises ValueError for less than one day: too short to tell a pace.
    """
    if days < 1:
        raise ValueError("a pace needs at least one day")
    found = []
    for provider, amount in spent:
        monthly = amount * DAYS_IN_MONTH / days
        found.append(Exposure(provider, amount, monthly, monthly * rise_percent / 100))
    return sorted((row for row in found if row.spent), key=lambda row: (-row.extra, -row.monthly, row.provider))

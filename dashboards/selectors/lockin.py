"""Reads for the Lock-in page: flows of the range, shares by week, and sessions that used more than one provider."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Count

from dashboards.insights.concentration import hhi, shares
from dashboards.insights.dependence import Flow
from dashboards.insights.figures import SIZES, ZERO, Figures
from dashboards.selectors.narrowing import ON_SEVERAL, Narrowing, narrowed
from dashboards.selectors.usage import Combination, combinations
from governance.budgets.models import Session
from governance.periods import Window
from governance.tenancy.access import Actor, visible

FLOW_COLUMNS = ("team", "harness", "gateway", "provider", "maker")
CONCENTRATED = ("provider", "maker", "harness")
SESSIONS_SHOWN = 10
SUMS_OF = {"cost": ("cost",), "tokens": ("cost", *SIZES)}


@dataclass(frozen=True, slots=True)
class WeekOfConcentration:
    """The index of each kind (provider, maker, harness) in one week; None where nothing was used."""

    week: date
    hhi: dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class SessionSpread:
    """How many sessions with two or more calls there are, and how many of them ran on several providers.

    `shown` are the most expensive of those: key, two of its providers, cost in the organization's currency.
    """

    sessions: int
    spread: int
    shown: tuple[tuple[str, str, str, Decimal], ...]

    @property
    def share(self) -> Decimal | None:
        return Decimal(self.spread) / self.sessions if self.sessions else None


def amount_of(figures: Figures, measure: str) -> Decimal:
    """What concentration is measured in: billed cost, or tokens."""
    return Decimal(figures.tokens) if measure == "tokens" else figures.cost


def used_by_flow(actor: Actor, *, window: Window, measure: str = "cost", currency: str | None = None) -> list[Combination]:
    """The billed cost, and the tokens where those are the measure, by team, harness, gateway, provider and maker (keys in that order)."""
    return combinations(actor, FLOW_COLUMNS, window=window, currency=currency, sums=SUMS_OF[measure])


def flows_of(used: Iterable[Combination], measure: str) -> list[Flow]:
    """What went from team through harness and gateway to provider and maker, largest first."""
    found = [_flow(row, amount_of(row.figures, measure)) for row in used]
    return sorted((flow for flow in found if flow.amount), key=lambda flow: -flow.amount)


def _flow(row: Combination, amount: Decimal) -> Flow:
    team, harness, gateway, provider, maker = row.keys
    return Flow(team, harness, gateway, provider, maker, amount)


def concentration_by_week(
    actor: Actor, *, window: Window, measure: str = "cost", currency: str | None = None
) -> list[WeekOfConcentration]:
    """The three indices of every week with usage in the window, ascending."""
    amounts: dict[date, dict[str, dict[str, Decimal]]] = {}
    for row in combinations(actor, CONCENTRATED, window=window, currency=currency, by_week=True, sums=SUMS_OF[measure]):
        if row.week is None:
            continue
        kinds = amounts.setdefault(row.week, {kind: {} for kind in CONCENTRATED})
        for kind, key in zip(CONCENTRATED, row.keys, strict=True):
            kinds[kind][key] = kinds[kind].get(key, ZERO) + amount_of(row.figures, measure)
    return [
        WeekOfConcentration(week, {kind: hhi(shares(list(parts.values()))) for kind, parts in kinds.items()})
        for week, kinds in sorted(amounts.items())
    ]


def session_spread(actor: Actor, *, wanted: Narrowing) -> SessionSpread:
    """All sessions that pass and have two or more calls, counted by what each keeps of its providers.

    Of sessions with a call in a range all calls count, also those outside of it, as on the list of sessions.
    """
    rows = narrowed(visible(actor, Session.objects.all()), wanted).filter(calls__gt=1).order_by()
    counts = rows.aggregate(sessions=Count("key"), spread=Count("key", filter=ON_SEVERAL))
    dearest = rows.filter(ON_SEVERAL).order_by("-cost", "-notional_cost", "-tokens", "key")
    shown = dearest.values_list("key", "provider_least", "provider_greatest", "cost")[:SESSIONS_SHOWN]
    return SessionSpread(counts["sessions"], counts["spread"], tuple(shown))

"""Reads for the Lock-in page: flows of the range, shares by week, and sessions that used more than one provider."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Count, F, Q

from dashboards.insights.concentration import hhi, shares
from dashboards.insights.dependence import Flow
from dashboards.insights.figures import SIZES, ZERO, Figures
from dashboards.selectors.usage import Combination, combinations
from governance.budgets.models import Session
from governance.periods import Window
from governance.tenancy.access import Actor, scoped, visible
from ingest.models import UsageEvent

FLOW_COLUMNS = ("team", "harness", "gateway", "provider", "maker")
CONCENTRATED = ("provider", "maker", "harness")
SESSIONS_EXAMINED = 100
SUMS_OF = {"cost": ("cost",), "tokens": ("cost", *SIZES)}


@dataclass(frozen=True, slots=True)
class WeekOfConcentration:
    """The index of each kind (provider, maker, harness) in one week; None where nothing was used."""

    week: date
    hhi: dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class SessionSpread:
    """How many of the sessions examined ran on two or more providers. `cost` is what the examined ones cost."""

    examined: int
    spread: int
    sessions: int
    cost: Decimal
    examples: tuple[tuple[str, int], ...]

    @property
    def is_sample(self) -> bool:
        """Whether there are more sessions than were looked at."""
        return self.sessions > self.examined

    @property
    def share(self) -> Decimal | None:
        return Decimal(self.spread) / self.examined if self.examined else None


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


def session_spread(actor: Actor, *, window: Window) -> SessionSpread:
    """How many sessions ran on two or more providers, among the most expensive of the window.

    Rollups know no session and sessions keep no list of providers, so this looks at the events of a bounded number of
    sessions, through the index on session. The page asks for it once it stands, never for its first answer.
    """
    ends = Q(last_at__gte=window.starts_at) & (Q(first_at__lt=window.ends_at) if window.ends_at else Q())
    rows = visible(actor, Session.objects.all()).filter(ends, calls__gt=1)
    chosen = list(rows.order_by("-cost", "-notional_cost", "-tokens", "key").values_list("key", "cost")[:SESSIONS_EXAMINED])
    providers = _providers_of(actor, [key for key, _ in chosen], window)
    spread = [(key, providers[key]) for key, _ in chosen if providers.get(key, 0) > 1]
    return SessionSpread(
        examined=len(chosen),
        spread=len(spread),
        sessions=rows.count(),
        cost=sum((cost for _, cost in chosen), ZERO),
        examples=tuple(spread[:10]),
    )


def _providers_of(actor: Actor, keys: Sequence[str], window: Window) -> dict[str, int]:
    if not keys:
        return {}
    events = scoped(actor, UsageEvent.objects.all()).filter(session__in=keys).exclude(provider="")
    return dict(events.values_list("session").annotate(providers=Count(F("provider"), distinct=True)).order_by("session"))

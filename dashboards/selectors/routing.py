"""Reads for the Routing page: days to compare, the flagship to compare with and its prices, and what the catalogue knows of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from dashboards.insights.counterfactual import BUCKETS, Comparison, comparison
from dashboards.insights.figures import Figures
from dashboards.insights.market import SIMPLE_LABELS
from dashboards.insights.routing import BRAIN, ModelFacts
from dashboards.selectors.usage import IS_WEIGHED, SUMS, Combination, combinations, days, folded, spend_by
from governance.periods import Window, local_midnight
from governance.pricing.book import current_book
from governance.pricing.models import Model
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor

# Small enough to lie below every long-context tier, large enough that a cost per thousand loses no digit.
SAMPLE_TOKENS = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """The flagship whose prices the counterfactual uses: the one with the most tokens in the window."""

    provider: str
    model: str
    tokens: int


def reference_flagship(actor: Actor, *, window: Window) -> Reference | None:
    """The flagship the actor's usage has the most tokens of, by provider and name when equal. None without any."""
    rows = combinations(actor, ("provider", "model"), window=window, filters={"tier": (BRAIN,)})
    used = sorted((row for row in rows if row.figures.tokens), key=lambda row: (-row.figures.tokens, row.keys))
    return Reference(*used[0].keys, tokens=used[0].figures.tokens) if used else None


def weighed_by_day(actor: Actor, *, window: Window, currency: str | None = None) -> dict[date, Figures]:
    """The sums by local day over metered usage whose price and tokens are all known, in one currency; ascending."""
    wanted = currency or actor.organization.currency
    rows = days(actor, window).filter(IS_WEIGHED, currency=wanted).values("day", "currency").annotate(**SUMS).order_by("day")
    return {day: figures for (day,), figures in folded(rows, ("day",), wanted).items()}


def comparisons_by_day(
    actor: Actor, reference: Reference, *, window: Window, now: datetime, currency: str | None = None
) -> dict[date, Comparison]:
    """What each day was billed against the same tokens at that day's base price of the reference; days without a price are absent."""
    wanted = currency or actor.organization.currency
    zone = actor.organization.zone
    found = {}
    for day, figures in weighed_by_day(actor, window=window, currency=wanted).items():
        at = min(local_midnight(day + timedelta(days=1), zone) - timedelta(seconds=1), now)
        rates = base_rates(reference, at=at, currency=wanted)
        compared = comparison(rates, figures) if rates else None
        if compared is not None:
            found[day] = compared
    return found


def base_rates(reference: Reference, *, at: datetime, currency: str) -> Mapping[str, Decimal] | None:
    """The price of one token of each bucket at the instant, below every long-context tier. None without a price in the currency."""
    per_request = _cost(reference, at, currency)
    if per_request is None:
        return None
    costs = {bucket: _cost(reference, at, currency, bucket) for bucket in BUCKETS}
    return {bucket: (cost - per_request) / SAMPLE_TOKENS for bucket, cost in costs.items() if cost is not None}


def _cost(reference: Reference, at: datetime, currency: str, bucket: str | None = None) -> Decimal | None:
    counts: dict[str, int] = {"input_tokens": 0, "output_tokens": 0}
    if bucket:
        counts[bucket] = SAMPLE_TOKENS
    rating = current_book().rate(provider=reference.provider, model=reference.model, at=at, usage=Usage(**counts))
    return rating.cost if rating.currency == currency else None


def flagship_on_simple_work(actor: Actor, *, window: Window, currency: str | None = None) -> list[Combination]:
    """Flagship usage on task classes that need none, by task class, model and team (keys in that order); most expensive first."""
    return combinations(
        actor, ("task-class", "model", "team"), window=window, filters={"tier": (BRAIN,), "task-class": SIMPLE_LABELS}, currency=currency
    )


def with_facts(actor: Actor, *, window: Window, currency: str | None = None) -> list[tuple[ModelFacts, Figures]]:
    """The usage of each model with what the catalogue knows of it; models it does not know have empty facts."""
    rows = combinations(actor, ("provider", "model"), window=window, currency=currency)
    facts = catalogue_facts({row.keys[1] for row in rows})
    return [(facts.get((row.keys[0], row.keys[1]), ModelFacts()), row.figures) for row in rows]


def catalogue_facts(models: set[str]) -> dict[tuple[str, str], ModelFacts]:
    """{(provider, model): facts} for the catalogue's models of these names."""
    rows = Model.objects.filter(slug__in=models).values_list("provider__slug", "slug", "maker", "country", "has_open_weights")
    return {(provider, slug): ModelFacts(maker, country, has_open) for provider, slug, maker, country, has_open in rows}


def cache_by_provider(actor: Actor, *, window: Window, currency: str | None = None) -> list[tuple[str, str, Figures]]:
    """(provider, name, sums) of each provider with prompt tokens, most prompt tokens first."""
    rows = [(row.key, row.name, row.figures) for row in spend_by(actor, "provider", window=window, currency=currency)]
    return sorted((row for row in rows if row[2].prompt_tokens), key=lambda row: (-row[2].prompt_tokens, row[0]))

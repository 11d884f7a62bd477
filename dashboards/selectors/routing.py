"""Reads for the Routing page: days to compare, the flagship to compare with and its prices, and what the catalogue knows of models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from dashboards.insights.counterfactual import BUCKETS, Comparison, comparison
from dashboards.insights.figures import SIZES, Figures
from dashboards.insights.market import SIMPLE_LABELS
from dashboards.insights.routing import BRAIN, ModelFacts
from dashboards.selectors.usage import IS_WEIGHED, Combination, combinations, days, folded, ranked, sums_of
from governance.periods import Window, local_midnight
from governance.pricing.book import current_book
from governance.pricing.models import Model
from governance.pricing.terms import Terms, terms_now
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor

# Small enough to lie below every long-context tier, large enough that a cost per thousand loses no digit.
SAMPLE_TOKENS = 1000


# The columns of `models_used`.
USED = ("provider", "model", "tier", "maker")
WEIGHED = ("weighed_cost", "weighed_tokens", "cost", *SIZES)


@dataclass(frozen=True, slots=True)
class Reference:
    """The flagship whose prices the counterfactual uses: the one with the most tokens in the window."""

    provider: str
    model: str
    tokens: int


def models_used(actor: Actor, *, window: Window, currency: str | None = None) -> list[Combination]:
    """The sums by provider, model, tier and maker (keys in that order): what shares by tier, by weights, by country and caches are made of."""
    return combinations(actor, USED, window=window, currency=currency)


def tokens_by_week(actor: Actor, *, window: Window) -> list[Combination]:
    """The tokens by week and provider, model, tier and maker (keys in that order)."""
    return combinations(actor, USED, window=window, by_week=True, sums=SIZES)


def reference_flagship(weeks: Iterable[Combination]) -> Reference | None:
    """The flagship with the most tokens over the weeks of `tokens_by_week`, by provider and name when equal. None without any."""
    tokens: dict[tuple[str, str], int] = {}
    for row in weeks:
        provider, model, tier, _ = row.keys
        if tier == BRAIN:
            tokens[provider, model] = tokens.get((provider, model), 0) + row.figures.tokens
    used = sorted((item for item in tokens.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return Reference(*used[0][0], tokens=used[0][1]) if used else None


def weighed_by_day(actor: Actor, *, window: Window, currency: str | None = None) -> dict[date, Figures]:
    """The sums by local day over metered usage whose price and tokens are all known, in one currency; ascending."""
    wanted = currency or actor.organization.currency
    rows = days(actor, window).filter(IS_WEIGHED, currency=wanted).values("day", "currency").annotate(**sums_of(WEIGHED)).order_by("day")
    return {day: figures for (day,), figures in folded(rows, ("day",), wanted).items()}


def comparisons_by_day(
    actor: Actor, reference: Reference, *, window: Window, now: datetime, currency: str | None = None
) -> dict[date, Comparison]:
    """What each day was billed against the same tokens at what the reference costs the organization that day, before long-context tiers.

    That is the base price after the organization's own terms for every team, converted. Days without a price are absent.
    """
    wanted = currency or actor.organization.currency
    zone, terms = actor.organization.zone, terms_now(actor.organization)
    found = {}
    for day, figures in weighed_by_day(actor, window=window, currency=wanted).items():
        at = min(local_midnight(day + timedelta(days=1), zone) - timedelta(seconds=1), now)
        rates = base_rates(terms, reference, at=at, currency=wanted)
        compared = comparison(rates, figures) if rates else None
        if compared is not None:
            found[day] = compared
    return found


def base_rates(terms: Terms, reference: Reference, *, at: datetime, currency: str) -> Mapping[str, Decimal] | None:
    """The price of one token of each bucket at the instant, below every long-context tier. None without a price in the currency."""
    per_request = _cost(terms, reference, at=at, currency=currency)
    if per_request is None:
        return None
    costs = {bucket: _cost(terms, reference, at=at, currency=currency, bucket=bucket) for bucket in BUCKETS}
    return {bucket: (cost - per_request) / SAMPLE_TOKENS for bucket, cost in costs.items() if cost is not None}


def _cost(terms: Terms, reference: Reference, *, at: datetime, currency: str, bucket: str | None = None) -> Decimal | None:
    counts: dict[str, int] = {"input_tokens": 0, "output_tokens": 0}
    if bucket:
        counts[bucket] = SAMPLE_TOKENS
    usage = Usage(units=None, **counts)
    rating = terms.rate(current_book(), provider=reference.provider, model=reference.model, at=at, usage=usage)
    return rating.cost if rating.currency == currency else None


def flagship_on_simple_work(actor: Actor, *, window: Window, currency: str | None = None) -> list[Combination]:
    """Flagship usage on task classes that need none, by task class, model and team (keys in that order); most expensive first."""
    return combinations(
        actor, ("task-class", "model", "team"), window=window, filters={"tier": (BRAIN,), "task-class": SIMPLE_LABELS}, currency=currency
    )


def catalogue_facts(models: set[str]) -> dict[tuple[str, str], ModelFacts]:
    """{(provider, model): facts} for the catalogue's models of these names."""
    rows = Model.objects.filter(slug__in=models).values_list("provider__slug", "slug", "maker", "country", "has_open_weights")
    return {(provider, slug): ModelFacts(maker, country, has_open) for provider, slug, maker, country, has_open in rows}


def cache_by_provider(actor: Actor, used: Iterable[Combination]) -> list[tuple[str, str, Figures]]:
    """(provider, name, sums) of each provider with prompt tokens, most prompt tokens first."""
    sums: dict[str, Figures] = {}
    for row in used:
        provider = row.keys[0]
        sums[provider] = sums[provider] + row.figures if provider in sums else row.figures
    rows = [(row.key, row.name, row.figures) for row in ranked(actor, "provider", sums)]
    return sorted((row for row in rows if row[2].prompt_tokens), key=lambda row: (-row[2].prompt_tokens, row[0]))

"""Reads of what price sources say and what readings of them found. The book is the same for every organization, so no actor narrows it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.db.models import Count, QuerySet

from governance.errors import NotFound
from governance.pricing.models import Model, PriceFinding, PriceRow, PriceRun, SourceQuote, SourceSetting, SourceTrust
from governance.pricing.sync.services import ONLINE
from governance.pricing.sync.suspicion import Rates, amounts_of, per_unit
from governance.pricing.sync.trust import trust_read

# Sources round differently; less than this share is no disagreement.
TOLERANCE = Decimal("0.01")
COMPARED = ("input_tokens", "output_tokens", "cache_read_tokens")


def runs() -> QuerySet[PriceRun]:
    """All readings, newest first."""
    return PriceRun.objects.order_by("-id")


def run_named(number: int) -> PriceRun:
    """One reading. Raises NotFound."""
    run = PriceRun.objects.filter(pk=number).first()
    if run is None:
        raise NotFound("There is no such reading of prices.")
    return run


def findings_of(run: PriceRun) -> QuerySet[PriceFinding]:
    """What a reading found, what was decided of it included; by provider and model."""
    return run.findings.select_related("run").defer("says").order_by("provider", "slug", "id")


def findings_waiting() -> QuerySet[PriceFinding]:
    """What waits for a decision, the oldest first."""
    return PriceFinding.objects.filter(state=PriceFinding.State.WAITING).select_related("run").defer("says").order_by("id")


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source with the last reading of it, whether it is read daily, and how many models it prices and speaks of."""

    slug: str
    label: str
    is_on: bool
    last: PriceRun | None
    quotes: int


def source_states() -> list[SourceState]:
    """The online sources, in their usual order of trust."""
    off = set(SourceSetting.objects.filter(is_on=False).values_list("source", flat=True))
    quotes = dict(SourceQuote.objects.filter(seen_to=None).order_by().values_list("source").annotate(Count("id")))
    last = {run.source: run for run in PriceRun.objects.filter(source__in=ONLINE).order_by("source", "-id").distinct("source")}
    return [SourceState(slug, source.label, slug not in off, last.get(slug), quotes.get(slug, 0)) for slug, source in ONLINE.items()]


@dataclass(frozen=True)
class Disagreement:
    """A model about which sources say different things. Rates by source; `rated_by` is the source of the row in force."""

    provider: str
    slug: str
    quotes: Mapping[str, Rates]
    currencies: Mapping[str, str]
    rated_by: str

    @cached_property
    def spread(self) -> Decimal:
        """The dearest by the cheapest, less one, over the amounts that all compare; the widest."""
        return max((spread_of(list(self.quotes.values()), meter) for meter in COMPARED), default=Decimal(0))

    def amount(self, source: str, meter: str) -> Decimal | None:
        """The source's amount for a million tokens; None when it has none."""
        rate = amounts_of(self.quotes.get(source, {})).get(meter)
        return None if rate is None else per_unit(rate) * 1_000_000


def spread_of(quotes: list[Rates], meter: str) -> Decimal:
    amounts = [per_unit(rates[meter]) for rates in map(amounts_of, quotes) if meter in rates]
    if len(amounts) < 2 or not max(amounts):
        return Decimal(0)
    return max(amounts) / min(amounts) - 1 if min(amounts) else Decimal(1_000_000)


def disagreements() -> list[Disagreement]:
    """Models whose sources differ by more than rounding (or have different currencies), the widest apart first."""
    several = SourceQuote.objects.filter(seen_to=None, is_exact=True).order_by().values("model").annotate(number=Count("id")).filter(number__gt=1)
    found: defaultdict[int, dict[str, SourceQuote]] = defaultdict(dict)
    for quote in SourceQuote.objects.filter(seen_to=None, is_exact=True, model__in=several.values("model")):
        found[quote.model_id][quote.source] = quote
    apart = {key: quotes for key, quotes in found.items() if differ(quotes)}
    models: dict[int, Any] = {row.pk: row for row in Model.objects.filter(pk__in=apart).select_related("provider")}
    rated = _rated_by(list(apart))
    rows = [
        Disagreement(
            models[key].provider.slug, models[key].slug, {source: quote.rates for source, quote in quotes.items()},
            {source: quote.currency for source, quote in quotes.items()}, rated.get(key, ""),
        )
        for key, quotes in apart.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row.spread, row.provider, row.slug))


def differ(quotes: Mapping[str, SourceQuote]) -> bool:
    """Whether what they say differs by more than rounding."""
    if len({quote.currency for quote in quotes.values()}) > 1:
        return True
    return any(spread_of([quote.rates for quote in quotes.values()], meter) > TOLERANCE for meter in COMPARED)


def _rated_by(keys: list[int]) -> dict[int, str]:
    """The source of each model's ordinary row that has no end."""
    rows = PriceRow.objects.filter(model__in=keys, context={}, daily_from=None, valid_to=None).order_by("valid_from", "id")
    return dict(rows.values_list("model_id", "source"))


def trust_orders() -> list[tuple[str, tuple[str, ...]]]:
    """The order for all providers, and those that have one of their own."""
    trust = trust_read()
    own = list(SourceTrust.objects.exclude(provider="").order_by("provider").values_list("provider", flat=True))
    return [("", trust.order("")), *((provider, trust.order(provider)) for provider in own)]

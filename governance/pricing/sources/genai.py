"""Reads the bundled genai-prices data: conditional prices, daily hours, tiers and variants become dated rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import import_module
from itertools import pairwise
from typing import Any

from genai_prices import types
from genai_prices.data_units import unit_data
from genai_prices.update_prices import DEFAULT_UPDATE_URL

from governance.errors import Invalid
from governance.pricing.matching import compile_rule
from governance.pricing.meters import METERS
from governance.pricing.sources import amounts
from governance.pricing.sources.rows import BEGINNING, Listing, SourceModel, SourceProvider, SourceRow

SOURCE = "genai-prices"
ADDRESS: str = DEFAULT_UPDATE_URL
# What re itself reads patterns with; types know nothing of it.
words, parser = (import_module(f"re.{name}") for name in ("_constants", "_parser"))
LONGEST_PATTERN = 500
REPEATS = frozenset({words.MAX_REPEAT, words.MIN_REPEAT})
# How often something may be repeated within something repeated before that counts as without bound.
MANY = 64
METER_OF = {unit.get("price_key", key): key for key, unit in unit_data.items()}
# Groq bills at least ten seconds of audio for a transcription; genai-prices has that in its calculator, not in its data.
LEAST = {("groq", "whisper-large-v3"): "10", ("groq", "whisper-large-v3-turbo"): "10"}

Constraint = types.StartDateConstraint | types.TimeOfDateConstraint | None


def bundled_providers() -> list[SourceProvider]:
    """The providers of the installed genai-prices release."""
    from genai_prices.data import providers

    return [provider_read(provider) for provider in providers]


def provider_read(provider: types.Provider) -> SourceProvider:
    """One provider of genai-prices as a source provider. Raises Invalid for what the book cannot hold."""
    return SourceProvider(
        slug=provider.id,
        name=provider.name,
        match=rule_read(provider.provider_match),
        model_match=rule_read(provider.model_match),
        fallbacks=list(provider.fallback_model_providers or ()),
        models=[model_read(provider.id, model) for model in provider.models],
    )


def model_read(provider: str, model: types.ModelInfo) -> SourceModel:
    """One model with all its rows."""
    rule = rule_read(model.match)
    if rule is None:
        raise Invalid(f"{provider} {model.id} has no match rule.")
    least = LEAST.get((provider, model.id))
    return SourceModel(
        slug=model.id,
        match=rule,
        rows=[*standard_rows(model.prices, least), *variant_rows(model.price_variants or (), least)],
        name=model.name or "",
        context_window=model.context_window,
        is_deprecated=bool(model.deprecated),
    )


def rule_read(rule: Any) -> dict[str, Any] | None:
    """A match clause as JSON: {"contains": "claude"}, {"or": [...]} and so on."""
    if rule is None:
        return None
    if isinstance(rule, types.ClauseOr):
        return {"or": [rule_read(part) for part in rule.or_]}
    if isinstance(rule, types.ClauseAnd):
        return {"and": [rule_read(part) for part in rule.and_]}
    return {key: value for key, value in vars(rule).items() if not key.startswith("_")}


def standard_rows(prices: types.ModelPrice | Sequence[types.ConditionalPrice], least: str | None) -> list[SourceRow]:
    """The rows of a model's ordinary prices. The last price of the list whose condition holds is the valid one."""
    if isinstance(prices, types.ModelPrice):
        return [SourceRow(BEGINNING, None, rates_read(prices, least))]
    found = []
    for index, price in enumerate(prices):
        constraint = price.constraint if index else None
        begins = starts_at(constraint)
        later = [starts_at(other.constraint) for other in prices[index + 1 :] if not is_daily(other.constraint)]
        ends = min(later, default=None)
        if ends is None or begins < ends:
            daily_from, daily_to = daily_hours(constraint)
            order = len(prices) - index if is_daily(constraint) else 0
            found.append(
                SourceRow(begins, ends, rates_read(price.prices, least), daily_from=daily_from, daily_to=daily_to, precedence=order)
            )
    return found


def variant_rows(variants: Sequence[types.PriceVariant], least: str | None) -> list[SourceRow]:
    """The rows for special kinds of call. The first variant whose condition holds is the valid one, meter by meter."""
    kinds: dict[tuple[Any, ...], list[types.PriceVariant]] = {}
    for variant in variants:
        kinds.setdefault((*sorted(variant.when.items()), daily_hours(variant.constraint)), []).append(variant)
    return [row for order, same in enumerate(kinds.values()) for row in _variant_chain(same, order, least)]


def _variant_chain(variants: Sequence[types.PriceVariant], order: int, least: str | None) -> Iterable[SourceRow]:
    starts = sorted({starts_at(variant.constraint) for variant in variants})
    daily_from, daily_to = daily_hours(variants[0].constraint)
    for begins, ends in pairwise([*starts, None]):
        rates: dict[str, dict[str, Any]] = {}
        for variant in variants:
            if begins is not None and starts_at(variant.constraint) <= begins:
                rates = {**rates_read(variant.prices, least), **rates}
        yield SourceRow(
            begins or BEGINNING, ends, rates, dict(variants[0].when), daily_from=daily_from, daily_to=daily_to, precedence=order
        )


def starts_at(constraint: Constraint) -> datetime:
    """When a price begins to hold: the date's midnight in UTC, or always."""
    if isinstance(constraint, types.StartDateConstraint):
        return midnight(constraint.start_date)
    return BEGINNING


def midnight(day: date) -> datetime:
    """The first instant of the day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def is_daily(constraint: Constraint) -> bool:
    """True for a price that holds for some hours of every day."""
    return isinstance(constraint, types.TimeOfDateConstraint)


def daily_hours(constraint: Constraint) -> tuple[time | None, time | None]:
    """The hours of the day as UTC times without zone; (None, None) for the whole day."""
    if not isinstance(constraint, types.TimeOfDateConstraint):
        return None, None
    return _utc(constraint.start_time), _utc(constraint.end_time)


def _utc(value: time) -> time:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(date(1970, 1, 2), aware).astimezone(UTC).time()


def rates_read(price: types.ModelPrice, least: str | None) -> dict[str, dict[str, Any]]:
    """The amounts of a price by meter. Raises Invalid for a meter the book does not know."""
    return {meter_of(key): rate_read(meter_of(key), value, least) for key, value in vars(price).items() if value is not None}


def meter_of(price_key: str) -> str:
    """The meter that a price key of genai-prices charges."""
    meter = METER_OF.get(price_key, "")
    if meter not in METERS:
        raise Invalid(f"The price list charges '{price_key}', which this version cannot meter.", field=price_key)
    return meter


def rate_read(meter: str, value: Decimal | types.TieredPrices, least: str | None) -> dict[str, Any]:
    """One amount, with tiers where there are some, as a price row stores it."""
    rate: dict[str, Any] = {"per": METERS[meter].per}
    if isinstance(value, types.TieredPrices):
        rate |= {"base": str(value.base), "tiers": [[tier.start, str(tier.price)] for tier in value.tiers]}
    else:
        rate["base"] = str(value)
    if least is not None and meter in ("audio_seconds", "input_audio_seconds"):
        rate["least"] = least
    return rate


def read(body: bytes) -> Listing:
    """The list as genai-prices publishes it (prices/new_data/v2/data.json). Raises Invalid when it is no such list."""
    document = amounts.document(body)
    if not isinstance(document, list) or not document:
        raise Invalid("This is not the list of genai-prices: it is no array of providers.")
    try:
        providers = types._providers_from_raw(document)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as problem:
        raise Invalid(f"This is not the list of genai-prices: {' '.join(str(problem).split())[:200]}") from None
    listing = Listing([provider_read(provider) for provider in providers])
    if not listing.models:
        raise Invalid("There is no model in the list.")
    for provider in listing.providers:
        for rule in (provider.match, provider.model_match, *(model.match for model in provider.models)):
            rule_check(rule)
    return listing


def rule_check(rule: Mapping[str, Any] | None) -> None:
    """Refuses match rules from outside that cannot be compiled or could keep a worker busy without end."""
    if rule is None:
        return
    ((operator, value),) = rule.items()
    if operator in ("or", "and"):
        for part in value:
            rule_check(part)
    elif operator == "regex" and (len(value) > LONGEST_PATTERN or is_explosive(value)):
        raise Invalid(f"The list names models by a pattern that is not used here: {value[:80]!r}.")
    else:
        compile_rule(rule)


def is_explosive(pattern: str) -> bool:
    """True for a pattern in which something repeated without bound is repeated without bound, and for one that is none."""
    try:
        return _repeats_repeats(parser.parse(pattern), is_within=False)
    except (re.error, RecursionError, OverflowError):
        return True


def _repeats_repeats(parsed: Any, *, is_within: bool) -> bool:
    for operation, value in parsed:
        is_repeat = operation in REPEATS and value[1] > MANY
        if is_repeat and is_within:
            return True
        inner = value if isinstance(value, tuple | list) else ()
        for part in inner:
            groups = part if isinstance(part, list) else [part]
            for group in groups:
                if isinstance(group, parser.SubPattern) and _repeats_repeats(group, is_within=is_within or is_repeat):
                    return True
    return False

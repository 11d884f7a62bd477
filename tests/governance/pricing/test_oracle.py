"""The calculator of genai-prices is the oracle: over all its providers and models our cost is its cost, to 15 places.

Where we differ on purpose, a rule below has a name and says why:

- `nothing_known`: with neither input nor output known, and no unit that the row charges, the call is unpriced; the oracle
  takes what is missing for 0, and unknown is not zero.
- The oracle raises ValueError for usage that contradicts itself or leaves a gap; we answer "unpriced" with the reason.
- The oracle divides with 28 digits; it is given 60 here, as we have.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, localcontext
from itertools import product
from typing import Any

import pytest
from genai_prices import Usage as OracleUsage
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TimeOfDateConstraint
from genai_prices.units import _get_registry
from hypothesis import event, given, settings
from hypothesis import strategies as st

from governance.money import quantize
from governance.pricing.book import Book
from governance.pricing.meters import BUCKET_METERS, METERS, OWN_METERS, REQUESTS
from governance.pricing.naming import AWS_NAME, ending_of
from governance.pricing.usage import Usage

SNAPSHOT = DataSnapshot(providers=providers, from_auto_update=False)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UNITS = sorted(METERS.keys() - BUCKET_METERS - OWN_METERS - {REQUESTS})
CHARGED_UNITS = sorted(
    {
        "web_searches",
        "storage_searches",
        "input_audio_tokens",
        "output_audio_tokens",
        "cache_audio_read_tokens",
        "input_image_tokens",
        "output_image_tokens",
        "cache_image_read_tokens",
        "audio_seconds",
        "input_audio_seconds",
        "input_document_pages",
        "input_annotated_document_pages",
        "input_characters",
        "input_text_messages",
        "output_citation_tokens",
        "input_video_tokens",
        "output_video_tokens",
    }
)


def rule_values(rule: Any) -> Iterator[str]:
    """Names that a match rule is made of, as candidates for names that it matches."""
    for value in vars(rule).values():
        if isinstance(value, list):
            for part in value:
                yield from rule_values(part)
        elif isinstance(value, str):
            yield value.strip("^$")


def name_of(provider: Provider, model: ModelInfo) -> str | None:
    """A name under which the oracle finds exactly this model at this provider; None when others stand before it."""
    parts = list(rule_values(model.match))
    for name in [model.id, *parts, *("".join(pair) for pair in product(parts, repeat=2)), *(f"{part}-x" for part in parts)]:
        if provider.find_model(name, all_providers=providers) is model:
            return name
    return None


CATALOGUE = [(provider, model, name) for provider in providers for model in provider.models if (name := name_of(provider, model))]
SPECIAL = [row for row in CATALOGUE if row[1].price_variants or isinstance(row[1].prices, list)]


def instants_of(model: ModelInfo) -> list[datetime]:
    """Instants just before, at and after every edge of the model's prices."""
    tick = timedelta.resolution
    constraints = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    edges = []
    for constraint in constraints:
        if isinstance(constraint, StartDateConstraint):
            edges.append(datetime.combine(constraint.start_date, time(), tzinfo=UTC))
        elif isinstance(constraint, TimeOfDateConstraint):
            edges += [
                datetime.combine(NOW, edge, tzinfo=UTC)
                for edge in (constraint.start_time.replace(tzinfo=None), constraint.end_time.replace(tzinfo=None))
            ]
    return [NOW, datetime(2019, 6, 1, tzinfo=UTC), *(edge + step for edge in edges for step in (-tick, timedelta(0), tick))]


def contexts_of(model: ModelInfo) -> list[dict[str, str]]:
    """No context, each that the model knows, all of them at once, and one that nobody knows."""
    known = [dict(variant.when) for variant in model.price_variants or ()]
    together = {key: value for context in reversed(known) for key, value in context.items()}
    return [{}, *known, together, {"processing": "nonsense"}]


def thresholds_of(model: ModelInfo) -> list[int]:
    """Input totals at and around every tier threshold of the model."""
    prices = [price.prices for price in model.prices] if isinstance(model.prices, list) else [model.prices]
    values = [value for price in prices for value in vars(price).values() if hasattr(value, "tiers")]
    return sorted({tier.start + step for value in values for tier in value.tiers for step in (0, 1)})


def oracle_values(usage: Usage) -> dict[str, Any]:
    inputs = [usage.input_tokens, usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens]
    writes = inputs[2:]
    values = {
        "input_tokens": sum(count or 0 for count in inputs) if any(count is not None for count in inputs) else None,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": sum(count or 0 for count in writes) if any(count is not None for count in writes) else None,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        **(usage.units or {}),
    }
    return {key: value for key, value in values.items() if value is not None}


def oracle_price(model: ModelInfo, provider: Provider, at: datetime, context: Mapping[str, str]) -> ModelPrice:
    is_own = any(model is own for own in provider.models)
    return model.get_prices(at, context if is_own else None)


def nothing_known(price: ModelPrice, usage: Usage) -> bool:
    """The named difference: nothing that the row charges by is known."""
    charged = {_get_registry().unit_for_price_key(key).usage_key for key, value in vars(price).items() if value is not None} - {REQUESTS}
    return bool(charged) and usage.input_tokens is None and usage.output_tokens is None and not charged & set(usage.units or ())


def oracle_cost(provider: Provider, model: ModelInfo, *, at: datetime, usage: Usage, context: Mapping[str, str]) -> Decimal | None:
    if nothing_known(oracle_price(model, provider, at, context), usage):
        return None
    with localcontext(prec=60):
        try:
            calculation = model.calc_price(
                OracleUsage(**oracle_values(usage)), provider, genai_request_timestamp=at, price_context=dict(context)
            )
        except ValueError:
            return None
    return quantize(calculation.total_price)


def check(book: Book, row: tuple[Provider, ModelInfo, str], *, at: datetime, usage: Usage, context: Mapping[str, str]) -> Decimal | None:
    """Compares one call; returns its cost."""
    provider, model, name = row
    rating = book.rate(provider=provider.id, model=name, at=at, usage=usage, context=context)
    wanted = oracle_cost(provider, model, at=at, usage=usage, context=context)
    assert (rating.provider, rating.model) == (provider.id, model.id)
    assert rating.cost == wanted, (rating, at, usage, context)
    assert (rating.reason == "") == (wanted is not None)
    lines = book.explain(provider=provider.id, model=name, at=at, usage=usage, context=context)
    if wanted is not None:
        with localcontext(prec=60):
            assert quantize(sum((line.cost for line in lines), Decimal(0))) == wanted
            assert all(line.cost == line.quantity * line.amount / line.per for line in lines)
    return rating.cost


counts = st.none() | st.sampled_from([0, 1, 199_999, 200_000, 200_001, 272_001]) | st.integers(0, 3_000_000)
quantities = st.sampled_from([Decimal(0), Decimal(1), Decimal("0.5"), Decimal("7.25"), Decimal(11)]) | st.integers(0, 300_000).map(Decimal)
usages = st.builds(
    Usage,
    input_tokens=counts,
    cache_read_tokens=counts,
    cache_write_5m_tokens=counts,
    cache_write_1h_tokens=counts,
    output_tokens=counts,
    reasoning_tokens=counts,
    units=st.none() | st.dictionaries(st.sampled_from(CHARGED_UNITS) | st.sampled_from(UNITS), quantities, max_size=3),
)


def call_of(row: tuple[Provider, ModelInfo, str]) -> st.SearchStrategy[tuple[Any, ...]]:
    model = row[1]
    totals = thresholds_of(model)
    ordinary = usages if not totals else usages | st.builds(Usage, input_tokens=st.sampled_from(totals), output_tokens=st.just(1000))
    return st.tuples(st.just(row), st.sampled_from(instants_of(model)), ordinary, st.sampled_from(contexts_of(model)))


@settings(max_examples=1500)
@given(call=(st.sampled_from(CATALOGUE) | st.sampled_from(SPECIAL)).flatmap(call_of))
def test_any_call_costs_what_the_oracle_says(book: Book, call: tuple[Any, ...]) -> None:
    row, at, usage, context = call
    cost = check(book, row, at=at, usage=usage, context=context)
    event("priced" if cost is not None else "unpriced")


def test_every_model_costs_what_the_oracle_says_at_every_edge_of_its_prices(book: Book) -> None:
    mixed = Usage(
        input_tokens=1_234,
        cache_read_tokens=98_765,
        cache_write_5m_tokens=4_321,
        cache_write_1h_tokens=777,
        output_tokens=5_678,
        reasoning_tokens=1_111,
        units={"web_searches": Decimal(3)},
    )
    large = Usage(input_tokens=1_500_000, output_tokens=64_000)
    for row in CATALOGUE:
        model = row[1]
        edges = [Usage(input_tokens=total - 7, cache_read_tokens=7, output_tokens=1) for total in thresholds_of(model)]
        for at, context, usage in product(instants_of(model), contexts_of(model), [mixed, large, *edges]):
            check(book, row, at=at, usage=usage, context=context)


def test_nearly_every_model_can_be_reached_by_a_name() -> None:
    reached = {(provider.id, model.id) for provider, model, _ in CATALOGUE}
    missed = [(provider.id, model.id) for provider in providers for model in provider.models if (provider.id, model.id) not in reached]
    assert missed == []


def is_left_to_people(book: Book, provider: str, name: str) -> bool:
    """Whether the name ends in what changes the price, and we therefore do not take it for the ordinary model."""
    ending = ending_of(name)
    if ending is None or not (ending.routed or ending.kind):
        return False
    match = book.resolve(provider, name)
    return bool(match.reason or match.kind)


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_every_name_finds_the_model_that_the_oracle_finds(book: Book, provider: Provider) -> None:
    """Named differences: a name that the oracle does not find may be found by us without the provider's own prefix, and one that

    ends in `:free`, `-fast` and the like is not taken for the ordinary model by a rule that matches beginnings of names.
    """
    for name in {name for _, _, name in CATALOGUE}:
        try:
            _, model = SNAPSHOT.find_provider_model(name, None, provider.id, None)
        except LookupError:
            continue
        found = book.find(provider.id, name, NOW)
        if is_left_to_people(book, provider.id, name):
            continue
        assert found is not None and found.model == model.id, name  # noqa: PT018


def test_bare_names_find_the_provider_that_the_oracle_finds(book: Book) -> None:
    """Named differences: before a slash the name of a provider decides who bills, and so does a form that one vendor gives to its names.

    An ending that changes nothing about the price (`:thinking`) may stand after any name.
    """
    for name in {name for _, _, name in CATALOGUE if "/" not in name and not name.startswith("ft:") and not AWS_NAME.match(name)}:
        try:
            provider, model = SNAPSHOT.find_provider_model(name, None, None, None)
        except LookupError:
            ending = ending_of(name)
            # What an ending does to the price is left to people; which model it is of is told.
            assert book.find("", name, NOW) is None or ending is not None, name
            continue
        if is_left_to_people(book, "", name):
            continue
        found = book.find("", name, NOW)
        assert found is not None and (found.provider, found.model) == (provider.id, model.id), name  # noqa: PT018


def test_meters_are_the_units_of_the_oracle_and_some_it_has_not() -> None:
    units = _get_registry().units
    assert not OWN_METERS & units.keys()
    assert {key: (meter.per, dict(meter.dimensions)) for key, meter in METERS.items() if key not in OWN_METERS} == {
        key: (unit.per, dict(unit.dimensions)) for key, unit in units.items()
    }

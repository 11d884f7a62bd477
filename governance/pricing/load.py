"""Lays a source's rows beside the book's: what is lacking begins at its effective date, open ends are closed, nothing is edited or deleted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from governance.pricing.book import output_amount
from governance.pricing.catalogue import facts_of, tier_of
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.sources.rows import BEGINNING, SourceModel, SourceProvider, SourceRow, chain_key

BATCH = 1000


class LoadResult(msgspec.Struct, frozen=True):
    """What a load did. `held` counts chains left alone because a row of another source stands in them."""

    version: int
    is_changed: bool
    providers: int = 0
    models: int = 0
    rows_added: int = 0
    rows_closed: int = 0
    held: int = 0


def providers_write(providers: Sequence[SourceProvider]) -> dict[str, int]:
    rows = [
        Provider(
            slug=provider.slug,
            name=provider.name,
            position=position,
            match=provider.match,
            model_match=provider.model_match,
            fallbacks=provider.fallbacks,
        )
        for position, provider in enumerate(providers)
    ]
    Provider.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["slug"], update_fields=["name", "position", "match", "model_match", "fallbacks"]
    )
    return dict(Provider.objects.values_list("slug", "id"))


def models_write(providers: Sequence[SourceProvider], provider_ids: dict[str, int]) -> dict[tuple[int, str], int]:
    rows = [
        model_row(model, provider=provider.slug, provider_id=provider_ids[provider.slug], position=position)
        for provider in providers
        for position, model in enumerate(provider.models)
    ]
    fields = ["name", "maker", "country", "tier", "has_open_weights", "context_window", "position", "match", "is_deprecated"]
    Model.objects.bulk_create(rows, batch_size=BATCH, update_conflicts=True, unique_fields=["provider", "slug"], update_fields=fields)
    return {(provider, slug): key for key, provider, slug in Model.objects.values_list("id", "provider_id", "slug")}


def model_row(model: SourceModel, *, provider: str, provider_id: int, position: int) -> Model:
    """The catalogue's row for a source's model, with the facts and the tier that follow from its name and newest price."""
    facts = facts_of(provider, model.slug)
    return Model(
        provider_id=provider_id,
        slug=model.slug,
        name=model.name,
        maker=facts.maker,
        country=facts.country,
        tier=tier_of(model.slug, newest_output_amount(model.rows)),
        has_open_weights=facts.has_open_weights,
        context_window=model.context_window,
        position=position,
        match=model.match,
        is_deprecated=model.is_deprecated,
    )


def newest_output_amount(rows: Iterable[SourceRow]) -> Any:
    """The output amount (USD per million tokens) of the last ordinary row; None when it has none."""
    standard = [row for row in rows if row.chain == chain_key({}, None, None)]
    return output_amount(max(standard, key=lambda row: row.valid_from).rates) if standard else None


def existing_rows() -> dict[int, list[PriceRow]]:
    """Rows by model: what is open, and per chain the knowledge that something ended."""
    found: dict[int, list[PriceRow]] = defaultdict(list)
    for row in PriceRow.objects.order_by("model_id", "valid_from", "id").iterator(chunk_size=BATCH):
        found[row.model_id].append(row)
    return found


class ChainDiff(msgspec.Struct, frozen=True):
    """What one chain of a model lacks: rows to add, and open rows with the instant at which they end."""

    steps: list[SourceRow]
    ends: list[tuple[PriceRow, datetime]]


def chain_diff(new: Sequence[SourceRow], *, old: Sequence[PriceRow], now: datetime) -> ChainDiff:
    """Lays what a source says of a chain beside the book's rows of it. Nothing is changed by this."""
    if not old:
        return ChainDiff(list(new), [])
    steps = successors(new, old=old, now=now)
    starts = sorted({step.valid_from for step in steps} | {row.valid_from for row in old})
    ends = [(row, end) for row in old if row.valid_to is None and (end := _end_of(row, starts, is_withdrawn=not new, now=now)) is not None]
    return ChainDiff(steps, ends)


def _end_of(row: PriceRow, starts: Sequence[datetime], *, is_withdrawn: bool, now: datetime) -> datetime | None:
    """Where an open row now ends. One that another replaces from its very beginning stays open: of such two the newer counts."""
    if is_withdrawn:
        return max(now, row.valid_from + timedelta.resolution)
    return next((start for start in starts if start > row.valid_from), None)


def successors(new: Sequence[SourceRow], *, old: Sequence[PriceRow], now: datetime) -> list[SourceRow]:
    """The rows the chain lacks: dated ones from their date, an undated change from `now`; the undated past stays as it is."""
    book = [source_row(row) for row in sorted(old, key=attrgetter("pk"))]
    steps: list[SourceRow] = []
    for row in sorted(new, key=attrgetter("valid_from")):
        for probe in _probes(row, old=old, now=now):
            standing = standing_at(probe, [*book, *steps])
            if standing is None or standing.currency != row.currency or not same_rates(standing.rates, row.rates):
                steps.append(msgspec.structs.replace(row, valid_from=probe))
    starts = sorted({step.valid_from for step in steps} | {row.valid_from for row in old})
    return [msgspec.structs.replace(step, valid_to=_earliest_end(step, starts)) for step in sorted(steps, key=attrgetter("valid_from"))]


def same_rates(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two rates charge the same, however the amounts are written: 0.60 per million is 0.6, and 0.0006 for a thousand."""
    if left == right:
        return True
    return left.keys() == right.keys() and all(
        left[meter] == right[meter] or _charge(left[meter]) == _charge(right[meter]) for meter in left
    )


def _charge(rate: Mapping[str, Any]) -> tuple[Any, ...]:
    if "factor" in rate:
        return ("factor", Decimal(rate["factor"]))
    tiers = tuple(sorted((int(start), Decimal(amount) / Decimal(rate["per"])) for start, amount in rate.get("tiers") or ()))
    least = rate.get("least")
    return Decimal(rate["base"]) / Decimal(rate["per"]), tiers, bool(rate.get("marginal")), None if least is None else Decimal(least)


def _probes(row: SourceRow, *, old: Sequence[PriceRow], now: datetime) -> list[datetime]:
    """The instants at which the book must agree with the source's row: its own start, now, and every later change in the book."""
    instants = {now, *(priced.valid_from for priced in old if priced.valid_from > now)}
    if row.valid_from > BEGINNING:
        instants.add(row.valid_from)
    return sorted(at for at in instants if at >= row.valid_from and (row.valid_to is None or at < row.valid_to))


def standing_at(at: datetime, rows: Sequence[SourceRow]) -> SourceRow | None:
    """The chain's row in force at the instant: the last to begin; of two that begin together the later of `rows`."""
    last: SourceRow | None = None
    for row in rows:
        if row.valid_from <= at and (last is None or row.valid_from >= last.valid_from):
            last = row
    return last if last is not None and (last.valid_to is None or at < last.valid_to) else None


def source_row(row: PriceRow) -> SourceRow:
    """What the table's row says of time and amounts, to be compared with a source's."""
    return SourceRow(row.valid_from, row.valid_to, row.rates, currency=row.currency)


def _earliest_end(step: SourceRow, starts: Sequence[datetime]) -> datetime | None:
    following = next((start for start in starts if start > step.valid_from), None)
    return min((end for end in (step.valid_to, following) if end is not None), default=None)


def price_row(row: SourceRow, *, key: int, source: str) -> PriceRow:
    """The table's row for a source's row of the model with this key."""
    return PriceRow(
        model_id=key,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        daily_from=row.daily_from,
        daily_to=row.daily_to,
        context=row.context,
        precedence=row.precedence,
        currency=row.currency,
        rates=row.rates,
        source=source,
        announced_at=row.announced_at,
    )

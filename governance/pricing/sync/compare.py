"""Lays what a source says of one model beside the book and says what differs, in words and amounts that a person can judge."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from governance.pricing.load import ChainDiff, chain_diff, same_rates, source_row, standing_at
from governance.pricing.meters import in_order
from governance.pricing.models import PriceRow
from governance.pricing.sources.rows import SourceModel, SourceRow, chain_key
from governance.pricing.sync.models import PriceFinding
from governance.pricing.sync.suspicion import Rates, main_change, suspicions
from governance.pricing.sync.trust import MANUAL, Trust, kind_of

ORDINARY = chain_key({}, None, None)
Kind = PriceFinding.Kind
Chain = tuple[Any, ...]


class ModelDiff(msgspec.Struct, frozen=True):
    """All that differs of one model. `held` counts the chains in which a more trusted source stands."""

    chains: list[ChainDiff]
    lines: list[dict[str, Any]]
    suspicions: list[str]
    kind: str
    change: Decimal | None
    valid_from: datetime | None
    announced_at: datetime | None
    is_back_dated: bool
    held: int

    @property
    def is_empty(self) -> bool:
        return not any(chain.steps or chain.ends for chain in self.chains)


class Standing(msgspec.Struct, frozen=True):
    """What the book and other sources have of a model: its rows, and what each other source says of exactly this model now."""

    rows: Sequence[PriceRow]
    quotes: Mapping[str, Rates]
    provider: str


def model_diff(said: SourceModel, *, source: str, standing: Standing, trust: Trust, now: datetime) -> ModelDiff:
    """Compares a model chain by chain (ordinary, daily hours, each kind of call), where the source is the one to be believed."""
    chains: defaultdict[Chain, tuple[list[SourceRow], list[PriceRow]]] = defaultdict(lambda: ([], []))
    for wanted in said.rows:
        chains[wanted.chain][0].append(wanted)
    for row in standing.rows:
        chains[chain_key(row.context, row.daily_from, row.daily_to)][1].append(row)
    found: list[ChainDiff] = []
    lines: list[dict[str, Any]] = []
    odd: dict[str, None] = {}
    held = 0
    change: Decimal | None = None
    for key, (new, old) in chains.items():
        if not governs(source, old, standing, trust):
            held += bool(new) and any(row.valid_to is None for row in old)
            continue
        if not new and not any(row.source == source for row in old if row.valid_to is None):
            continue
        diff = chain_diff(new, old=old, now=now)
        found.append(diff)
        book = [source_row(row) for row in sorted(old, key=lambda row: row.pk)]
        for step in diff.steps:
            before = standing_at(step.valid_from, book)
            lines += step_lines(step, before)
            odd |= dict.fromkeys(_suspicions(step, before, standing, ordinary=ordinary_beside(said, step)))
            if key == ORDINARY and change is None:
                change = main_change(step.rates, before.rates if before else None)
        lines += [_end_line(row, end) for row, end in diff.ends if not new]
    return _summed(found, lines=lines, odd=list(odd), change=change, held=held, standing=standing, now=now)


def governs(source: str, chain: Sequence[PriceRow], standing: Standing, trust: Trust) -> bool:
    """Whether no more trusted source says anything of the chain's price; what people typed counts where its row is open."""
    rank = trust.rank(standing.provider, source)
    typed = {row.source for row in chain if row.valid_to is None and row.source != source and kind_of(row.source) == MANUAL}
    others = {other for other in standing.quotes if other != source} | typed
    return all(trust.rank(standing.provider, other) > rank for other in others)


def _summed(
    chains: list[ChainDiff],
    *,
    lines: list[dict[str, Any]],
    odd: list[str],
    change: Decimal | None,
    held: int,
    standing: Standing,
    now: datetime,
) -> ModelDiff:
    steps = [step for chain in chains for step in chain.steps]
    starts = [step.valid_from for step in steps] + [end for chain in chains for _, end in chain.ends]
    has_price = any(not row.context and row.daily_from is None for row in standing.rows)
    kind = Kind.CHANGED if has_price else Kind.NEW_PRICE
    if has_price and starts and min(starts) > now:
        kind = Kind.ANNOUNCED
    return ModelDiff(
        chains=chains,
        lines=lines,
        suspicions=odd,
        kind=kind.value,
        change=change,
        valid_from=min(starts, default=None),
        announced_at=next((step.announced_at for step in steps if step.announced_at), None),
        is_back_dated=has_price and any(step.valid_from < now for step in steps),
        held=held,
    )


def ordinary_beside(said: SourceModel, step: SourceRow) -> Rates | None:
    """What the source says an ordinary call costs when the row for a kind of call begins. None for other rows, and where it says nothing."""
    if not step.context:
        return None
    rows = sorted((row for row in said.rows if row.chain == ORDINARY), key=lambda row: row.valid_from)
    found = standing_at(step.valid_from, rows)
    return found.rates if found else None


def _suspicions(step: SourceRow, before: SourceRow | None, standing: Standing, *, ordinary: Rates | None) -> list[str]:
    peers = list(standing.quotes.values()) if step.chain == ORDINARY else []
    return suspicions(
        step.rates,
        old=before.rates if before else None,
        currency=step.currency,
        old_currency=before.currency if before else step.currency,
        peers=peers,
        ordinary=ordinary,
    )


def step_lines(step: SourceRow, before: SourceRow | None) -> list[dict[str, Any]]:
    """The amounts that differ from what stood before, meter by meter."""
    old: Rates = before.rates if before else {}
    when = {
        "context": step.context,
        "currency": step.currency,
        "old_currency": before.currency if before else "",
        "from": step.valid_from.isoformat(),
        "to": step.valid_to.isoformat() if step.valid_to else None,
        "hours": f"{step.daily_from:%H:%M} to {step.daily_to:%H:%M} UTC" if step.daily_from and step.daily_to else "",
    }
    return [
        {"meter": meter, **_amounts(old.get(meter), step.rates.get(meter)), **when}
        for meter in in_order(dict.fromkeys([*old, *step.rates]))
        if not same_rates(one(old, meter), one(step.rates, meter)) or (before is not None and before.currency != step.currency)
    ]


def one(rates: Rates, meter: str) -> Rates:
    """The rates of one meter alone."""
    return {meter: rates[meter]} if meter in rates else {}


def _amounts(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "per": (new or old or {}).get("per", 1),
        "old": _amount(old),
        "new": _amount(new),
        "old_tiers": old.get("tiers", []) if old else [],
        "new_tiers": new.get("tiers", []) if new else [],
    }


def _amount(rate: Mapping[str, Any] | None) -> str | None:
    return None if rate is None else rate.get("base") or f"x {rate['factor']}"


def _end_line(row: PriceRow, end: datetime) -> dict[str, Any]:
    return {
        "meter": "",
        "context": row.context,
        "currency": row.currency,
        "from": end.isoformat(),
        "to": None,
        "old": None,
        "new": None,
        "per": 0,
    }


def rates_now(said: SourceModel, now: datetime) -> tuple[Rates, str]:
    """The ordinary amounts in force now as the source says them, and their currency."""
    ordinary = [row for row in said.rows if row.chain == ORDINARY]
    row = standing_at(now, sorted(ordinary, key=lambda each: each.valid_from))
    return (row.rates, row.currency) if row else ({}, "USD")


def model_digest(said: SourceModel) -> str:
    """A hash of the prices a source states for a model."""
    return hashlib.sha256(msgspec.json.encode(said.rows, order="deterministic")).hexdigest()

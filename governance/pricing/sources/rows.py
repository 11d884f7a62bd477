"""What every price source delivers: providers, models and their rows as plain values, ready to be compared with the book."""

import hashlib
from datetime import UTC, datetime, time
from typing import Any

import msgspec

# Where a source states no beginning, its first price holds for all calls before.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class SourceRow(msgspec.Struct, frozen=True):
    """One price of one model in [valid_from, valid_to); `rates` as PriceRow stores them."""

    valid_from: datetime
    valid_to: datetime | None
    rates: dict[str, dict[str, Any]]
    context: dict[str, str] = {}
    daily_from: time | None = None
    daily_to: time | None = None
    precedence: int = 0
    currency: str = "USD"
    announced_at: datetime | None = None

    @property
    def chain(self) -> tuple[Any, ...]:
        """Rows with the same chain follow each other in time."""
        return chain_key(self.context, self.daily_from, self.daily_to)


class SourceModel(msgspec.Struct, frozen=True):
    """A model as its provider sells it."""

    slug: str
    match: dict[str, Any]
    rows: list[SourceRow]
    name: str = ""
    context_window: int | None = None
    is_deprecated: bool = False


class SourceProvider(msgspec.Struct, frozen=True):
    """A provider with its models, in the order in which they are tried."""

    slug: str
    name: str
    match: dict[str, Any] | None
    model_match: dict[str, Any] | None
    fallbacks: list[str]
    models: list[SourceModel]


class Listing(msgspec.Struct, frozen=True):
    """What one reading of a source says: its providers, and how many entries were left out for which reason."""

    providers: list[SourceProvider]
    left_out: dict[str, int] = {}

    @property
    def models(self) -> int:
        return sum(len(provider.models) for provider in self.providers)


def chain_key(context: dict[str, str], daily_from: time | None, daily_to: time | None) -> tuple[Any, ...]:
    """What tells one chain of a model's rows from another."""
    return (tuple(sorted(context.items())), daily_from, daily_to)


def digest(providers: list[SourceProvider], *extra: bytes) -> str:
    """A hash of everything the source says, so that an unchanged one is recognised."""
    found = hashlib.sha256(msgspec.json.encode(providers, order="deterministic"))
    for part in extra:
        found.update(part)
    return found.hexdigest()

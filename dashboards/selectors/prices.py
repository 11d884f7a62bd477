"""What the pages of prices show of the book: a model with its amounts at an instant, and the same model at other providers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from governance.pricing.book import Book, CatalogueModel, Row
from governance.pricing.models import Model, Provider
from governance.pricing.naming import family_key
from governance.pricing.sources.rows import BEGINNING

MILLION = 1_000_000


@dataclass(frozen=True)
class Offer:
    """A model of one provider with its ordinary price at an instant. Amounts are per million tokens in `currency`; None: not charged on its own."""

    model: CatalogueModel
    at: datetime

    @cached_property
    def row(self) -> Row | None:
        return self.model.row_at(self.at)

    @property
    def slug(self) -> str:
        return self.model.slug

    @property
    def provider(self) -> str:
        return self.model.provider

    @property
    def currency(self) -> str:
        return self.row.currency if self.row else "USD"

    @property
    def input(self) -> Decimal | None:
        return self.amount("input_tokens")

    @property
    def output(self) -> Decimal | None:
        return self.amount("output_tokens")

    @property
    def cache_read(self) -> Decimal | None:
        return self.amount("cache_read_tokens")

    @property
    def since(self) -> datetime | None:
        """When the price took effect; None when the lists do not say, or there is no price."""
        return None if self.row is None or self.row.valid_from == BEGINNING else self.row.valid_from

    @property
    def kinds(self) -> str:
        """What the price depends on beside the tokens: in a few words."""
        found = ["long context"] if self.row and any(rate.get("tiers") for rate in self.row.rates.values()) else []
        if self.model.daily:
            found.append("hours")
        found += sorted({value for row in self.model.special if row.holds(self.at) for value in row.context.values()})
        return ", ".join(found)

    def amount(self, meter: str) -> Decimal | None:
        """The base amount for a million units of a meter of tokens."""
        if self.row is None:
            return None
        return None if (rate := self.row.rates.get(meter)) is None else per_million(rate)


def price_day(instant: datetime, zone: ZoneInfo) -> date:
    """The day that a price begins or ends on, as it was said: price lists give days in UTC, people of the organization give theirs."""
    said = instant.astimezone(UTC)
    return said.date() if said.time() == time.min else instant.astimezone(zone).date()


def per_million(rate: Mapping[str, Any]) -> Decimal:
    """A stored rate's base amount for a million units."""
    return Decimal(rate["base"]) * MILLION / int(rate["per"])


def provider_names() -> dict[str, str]:
    """{slug: name} of every provider of the book."""
    return dict(Provider.objects.order_by("name").values_list("slug", "name"))


def makers_named(models: Iterable[CatalogueModel]) -> list[str]:
    """The makers that occur, in order."""
    return sorted({model.maker for model in models if model.maker})


def model_row(provider: str, slug: str) -> Model | None:
    """The catalogue's row of a model by the names under which it is stored."""
    return Model.objects.select_related("provider").filter(provider__slug=provider, slug=slug).first()


def offers_elsewhere(book: Book, model: CatalogueModel, at: datetime) -> list[Offer]:
    """The same model at the providers that sell it, this one included: told by its maker and its name without owner, region and version."""
    wanted = family_key(model.slug)
    same = (other for other in book.models() if other.maker == model.maker and family_key(other.slug) == wanted)
    return [Offer(other, at) for other in same]

"""One call's cost line by line, from the price row that rated it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from governance.pricing.book import current_book
from governance.pricing.models import PriceRow
from governance.pricing.usage import Line, Usage
from ingest.models import UsageEvent


@dataclass(frozen=True, slots=True)
class Bill:
    """The lines, their sum, and the price row (None: unpriced). `reason` says why there is no price or no arithmetic."""

    lines: Sequence[Line]
    total: Decimal | None
    price: PriceRow | None
    reason: str = ""

    @property
    def is_same_as_stored(self) -> bool:
        return bool(self.lines)


def usage_of(call: UsageEvent) -> Usage:
    """The call's metered quantities."""
    units = {name: Decimal(str(quantity)) for name, quantity in call.units.items()} if call.units else None
    return Usage(
        input_tokens=call.input_tokens,
        cache_read_tokens=call.cache_read_tokens,
        cache_write_5m_tokens=call.cache_write_5m_tokens,
        cache_write_1h_tokens=call.cache_write_1h_tokens,
        output_tokens=call.output_tokens,
        reasoning_tokens=call.reasoning_tokens,
        units=units,
    )


def call_lines(call: UsageEvent) -> Bill:
    """The arithmetic behind the call's stored cost, at the prices of the moment it was made."""
    price = PriceRow.objects.select_related("model__provider").filter(pk=call.price_id).first() if call.price_id else None
    if call.cost is None:
        return Bill((), None, price, "No price was known for this model when the call was made: it counts in tokens, not in money.")
    lines = current_book().explain(provider=call.provider, model=call.model, at=call.occurred_at, usage=usage_of(call))
    total = sum((line.cost for line in lines), Decimal(0))
    return Bill(lines, total, price)

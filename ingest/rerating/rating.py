"""Rates stored calls anew: which of a row's columns the present prices would change. Reads nothing but what it is given."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from governance.pricing.book import Book
from governance.pricing.terms import Terms
from governance.pricing.usage import Rating, Usage
from ingest.services.amend_statements import AMENDABLE
from ingest.services.prepare import METERED

# What a rating says that an event keeps.
RATED = tuple(name for name in Rating.__struct_fields__ if name in AMENDABLE)
# Where all of these are as they were, the call is rated as it was.
DECIDING = ("cost", "list_cost", "price_id", "term_id", "exchange_rate", "model")
# What a page of events selects besides what sums look at.
ALSO = ("units", *RATED)


class Rerater:
    """The prices and the organization's own terms of one moment."""

    also = ALSO

    def __init__(self, book: Book, terms: Terms) -> None:
        self.book, self.terms = book, terms

    def changes(self, row: Any) -> Mapping[str, Any] | None:
        """What becomes of the call. None where it has no price now: one that it has is never taken away."""
        rating = self.rating(row)
        if rating.cost is None or all(getattr(rating, name) == getattr(row, name) for name in DECIDING):
            return None
        return {name: getattr(rating, name) for name in RATED}

    def rating(self, row: Any) -> Rating:
        """The call by the prices that were in force when it was made."""
        usage = Usage(
            row.input_tokens, row.cache_read_tokens, row.cache_write_5m_tokens, row.cache_write_1h_tokens, row.output_tokens, row.reasoning_tokens,
            {name: Decimal(amount) for name, amount in row.units.items()} if row.units else None,
        )
        return self.terms.rate(
            self.book, provider=row.provider, model=row.model_reported, at=row.occurred_at, usage=usage, context=row.tags, team_id=row.team_id,
            is_metered=row.billing_mode == METERED,
        )

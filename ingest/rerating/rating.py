"""Rates stored calls anew: which of a row's columns the present prices would change. Reads nothing but what it is given."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance.pricing.book import Book
from governance.pricing.linear import Linear, linear_of
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

    def linear(self, kind: Any, at: datetime) -> Linear | None:
        """What all plain calls of a kind (a row of `statements.KINDS`) that was told at an instant cost by token. None: rate them one by one.

        One by one too where they would get other names, which moves them to other sums.
        """
        found = linear_of(
            self.terms, self.book, provider=kind.provider, model=kind.model_reported, at=at, context=kind.said, team_id=kind.team or None, is_metered=kind.is_metered
        )
        if found is None or not found.bands:
            return found
        return found if (*found.names, found.currency) == (kind.provider, kind.model, kind.maker, kind.tier, kind.currency) else None

    def turns(self, first: datetime, last: datetime) -> list[datetime]:
        """The instants in (first, last) at which the same call may begin to cost something else, in order: between two of them it never does."""
        return sorted(self.book.turns(first, last) | self.terms.turns(first, last))

    def said_keys(self) -> list[str]:
        """What calls can say of themselves, among their tags, that prices and terms look at."""
        return sorted(self.book.context_keys.union(*(term.context for term in self.terms.terms)))

"""What is priced and what pricing answers: plain values, shared by the floors."""

from datetime import datetime
from decimal import Decimal

import msgspec

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")


class Usage(msgspec.Struct, frozen=True):
    """The metered quantities of one call. Buckets are disjoint, except that reasoning is part of output. None: not known."""

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    units: dict[str, Decimal] | None = None


class Line(msgspec.Struct, frozen=True):
    """One line of a call's arithmetic: quantity x amount / per = cost."""

    meter: str
    quantity: Decimal
    amount: Decimal
    per: int
    cost: Decimal


class Rating(msgspec.Struct, frozen=True):
    """What a call costs, or why that is not known. `cost` has 15 decimal places; None means unpriced, never zero.

    `provider`, `model`, `maker` and `tier` are the catalogue's names where the model was recognised, else what was reported.
    `cost` and `list_cost` are in `currency`; the price is in `price_currency` (empty: no price), of which one unit is
    `exchange_rate` units of `currency` (None: the same). `list_cost` is what the call costs by the price book alone, None where
    that tells no price; `term_id` names the organization's own term that made `cost`.
    """

    provider: str
    model: str
    maker: str
    tier: str
    cost: Decimal | None
    currency: str
    price_id: int | None
    reason: str = ""
    list_cost: Decimal | None = None
    price_currency: str = ""
    exchange_rate: Decimal | None = None
    term_id: int | None = None


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """What a call comes to in its price's currency (empty: no price), to the last digit; None and why where it has no price."""

    provider: str
    model: str
    maker: str
    tier: str
    amount: Decimal | None
    currency: str
    price_id: int | None
    reason: str = ""


class ModelPrice(msgspec.Struct, frozen=True):
    """A model recognised in the catalogue, and the price row valid for it at an instant (None: no row then)."""

    provider: str
    model: str
    maker: str
    tier: str
    price_id: int | None
    valid_from: datetime | None
    currency: str

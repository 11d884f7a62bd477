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
    """

    provider: str
    model: str
    maker: str
    tier: str
    cost: Decimal | None
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

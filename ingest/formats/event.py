"""The usage event as every format module delivers it and as the REST door takes it: one model call, not yet attributed or priced."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=200)]
ShortName = Annotated[str, Meta(max_length=80)]
Label = Annotated[str, Meta(max_length=40)]
# Above any real call and far below what a sum of millions of them could overflow.
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Quantity = Annotated[Decimal, Meta(ge=0, le=1_000_000_000)]
Amount = Annotated[Decimal, Meta(ge=0, le=1_000_000_000)]
Instant = Annotated[datetime, Meta(tz=True)]
BillingMode = Literal["metered", "subscription", "self-hosted"]


class UsageEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One model call. Only `occurred_at`, `model` and one of `id` and `request_id` are required.

    Token buckets are disjoint (`input_tokens` is what no cache served), except that `reasoning_tokens` is part of
    `output_tokens`. A count that is not known is absent, never 0.
    """

    occurred_at: Instant
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    id: Name = ""
    request_id: Name = ""
    provider: ShortName = ""
    harness: ShortName = ""
    harness_version: ShortName = ""
    gateway: ShortName = ""
    team: Name = ""
    project: Name = ""
    member: Annotated[str, Meta(max_length=254)] = ""
    session: Name = ""
    parent_session: Name = ""
    task: Name = ""
    trace: Name = ""
    parent: Name = ""
    role: Label = ""
    task_class: Label = ""
    environment: ShortName = ""
    input_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_5m_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    units: dict[Label, Quantity] | None = None
    latency_ms: Milliseconds | None = None
    ttft_ms: Milliseconds | None = None
    status: Label = "ok"
    reported_cost: Amount | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    billing_mode: BillingMode | None = None
    authorization: UUID | None = None
    tags: dict[Name, Annotated[str, Meta(max_length=1000)]] | None = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event of a request, in the request's order."""

    index: int
    status: Literal["accepted", "duplicate", "conflict", "rejected"]
    id: str = ""
    code: str = ""
    reason: str = ""
    field: str = ""

"""The way from a request to what ran and what a grant would do, without an import upwards: the floor that knows registers itself here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from governance.approvals.models import ApprovalRequest
from governance.tenancy.access import Actor


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What ran on one model: calls, tokens in and out, and the billed cost (None: nothing of it has a price)."""

    provider: str
    model: str
    calls: int
    tokens: int
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class CallSeen:
    """One of the last calls."""

    at: datetime
    provider: str
    model: str
    status: str
    input_tokens: int | None
    output_tokens: int | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class BudgetEffect:
    """One budget that the money would be spent from, the asked one first, and what the grant would do to it.

    Amounts are in the request's currency or unit; None where the budget counts something else. `binds` is whether it would stop
    the work before the grant is spent.
    """

    budget: int
    name: str
    is_asked: bool
    is_hard: bool
    is_frozen: bool
    spent: Decimal | None
    held: Decimal | None
    limit: Decimal | None
    limit_after: Decimal | None
    left_after: Decimal | None
    consequence: str
    exhausted_at: datetime | None
    binds: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decider should know.

    `of` says whose work `models` is ("session", or "requester" in the present period where no session is named). `burn_per_minute`
    is the billed cost over its last fifteen minutes; `lasts_minutes` how long what is left once it is granted lasts at that pace (low and high, eight
    of ten outcomes). `usable` is what of the amount could be spent before a wider hard budget stops the work; `warning` says so.
    """

    of: str
    models: Sequence[ModelUse]
    last_calls: Sequence[CallSeen]
    burn_per_minute: Decimal
    lasts_minutes: tuple[Decimal, Decimal] | None
    overrun: Decimal
    buys: Decimal
    usable: Decimal
    warning: str
    budgets: Sequence[BudgetEffect]


class Source(Protocol):
    """Knows usage."""

    def __call__(self, actor: Actor, request: ApprovalRequest, *, now: datetime) -> Evidence:
        """What speaks for and against the request, as things stand now. Only for a request that the actor may see."""


_registered: list[Source] = []


def register(source: Source) -> None:
    """Makes the source known; called once when the applications are ready."""
    _registered[:] = [source]


def evidence_of(actor: Actor, request: ApprovalRequest, *, now: datetime) -> Evidence:
    """The evidence. Raises LookupError when no floor above knows usage."""
    if not _registered:
        raise LookupError("no source of evidence is registered")
    return _registered[0](actor, request, now=now)

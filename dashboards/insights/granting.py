"""What granting a request does to every budget it touches, in figures and in one word of consequence each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """A budget period as it stands. `exhausted_at` is its forecast with the granted amount spent on top, None: within."""

    name: str
    spent: Decimal
    held: Decimal
    allowance: Decimal
    is_hard: bool
    is_frozen: bool
    is_asked: bool
    exhausted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of the table: before, after, and the consequence. `tone` is ok, warn or danger."""

    balance: Balance
    after: Decimal
    limit_after: Decimal
    consequence: str
    tone: str
    at: datetime | None = None


def effects(balances: Sequence[Balance], amount: Decimal, *, has_hand_freeze: bool = False) -> list[Effect]:
    """The effect on each balance, in the order given. Spent and held money counts; the amount is taken to be spent in full."""
    others_block = has_hand_freeze or any(balance.is_frozen and not balance.is_asked for balance in balances)
    return [
        asked_effect(balance, amount, is_blocked_elsewhere=others_block) if balance.is_asked else wider_effect(balance, amount)
        for balance in balances
    ]


def asked_effect(balance: Balance, amount: Decimal, *, is_blocked_elsewhere: bool) -> Effect:
    """The period the request is for: its limit grows by the amount."""
    limit = balance.allowance + amount
    after = balance.spent + amount
    if balance.spent + balance.held >= limit:
        return Effect(balance, after, limit, "stays frozen: already past it", "danger")
    if balance.is_frozen and is_blocked_elsewhere:
        return Effect(balance, after, limit, "has room, but stays frozen", "warn")
    if balance.is_frozen:
        return Effect(balance, after, limit, "resumes", "ok")
    return Effect(balance, after, limit, "more room", "ok")


def wider_effect(balance: Balance, amount: Decimal) -> Effect:
    """A budget above: its limit stays, and the amount is spent from it."""
    after = balance.spent + amount
    if balance.is_frozen:
        return Effect(balance, after, balance.allowance, "frozen itself", "danger")
    if after + balance.held > balance.allowance:
        text = "would freeze" if balance.is_hard else "passes its limit"
        return Effect(balance, after, balance.allowance, text, "danger" if balance.is_hard else "warn")
    if balance.exhausted_at is not None:
        return Effect(balance, after, balance.allowance, "passes by forecast", "warn", balance.exhausted_at)
    return Effect(balance, after, balance.allowance, "within", "ok")

"""What granting a request does to every budget it touches, in figures and in one word of consequence each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Balance:
    """A budget period as it stands. `exhausted_at` is its forecast with the granted amount spent on top, None: within.

    `is_comparable`: whether it counts what the request is for; else its figures are in tokens, calls or another currency.
    """

    name: str
    spent: Decimal
    held: Decimal
    allowance: Decimal
    is_hard: bool
    is_frozen: bool
    is_asked: bool
    exhausted_at: datetime | None = None
    is_comparable: bool = True
    budget_id: int = 0

    @property
    def left(self) -> Decimal:
        """What may still be spent; below zero where more was spent than allowed."""
        return self.allowance - self.spent - self.held


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of the table: the limit and what is left to spend once it is granted, and the consequence.

    `left_after` is before anything of it is spent. `tone` is ok, warn or danger.
    """

    balance: Balance
    limit_after: Decimal
    left_after: Decimal
    consequence: str
    tone: str
    at: datetime | None = None


def buys(asked: Balance, amount: Decimal) -> Decimal:
    """What of the amount can be spent: the rest makes up for what the period is over its limit already."""
    return min(amount, max(asked.left + amount, ZERO))


def usable(balances: Sequence[Balance], amount: Decimal) -> Decimal:
    """What of the amount can be spent before a wider hard budget stops the work; nothing where one is frozen."""
    found = next((buys(balance, amount) for balance in balances if balance.is_asked), amount)
    for balance in balances:
        if not balance.is_asked and balance.is_frozen:
            return ZERO
        if not balance.is_asked and balance.is_hard and balance.is_comparable:
            found = min(found, max(balance.left, ZERO))
    return found


def binding(balances: Sequence[Balance], amount: Decimal) -> list[str]:
    """The names of the wider budgets that stop the work before the amount is spent: the frozen ones, else those with the least left."""
    wider = [balance for balance in balances if not balance.is_asked]
    frozen = [balance.name for balance in wider if balance.is_frozen]
    bought = next((buys(balance, amount) for balance in balances if balance.is_asked), amount)
    most = usable(balances, amount)
    short = [balance.name for balance in wider if balance.is_hard and balance.is_comparable and max(balance.left, ZERO) == most < bought]
    return frozen or short


def effects(balances: Sequence[Balance], amount: Decimal, *, has_hand_freeze: bool = False) -> list[Effect]:
    """The effect on each balance, in the order given, the asked one among them. What can be spent of the amount is taken to be spent."""
    others_block = has_hand_freeze or any(balance.is_frozen and not balance.is_asked for balance in balances)
    spending = next((buys(balance, amount) for balance in balances if balance.is_asked), amount)
    return [
        asked_effect(balance, amount, is_blocked_elsewhere=others_block) if balance.is_asked else wider_effect(balance, spending)
        for balance in balances
    ]


def asked_effect(balance: Balance, amount: Decimal, *, is_blocked_elsewhere: bool) -> Effect:
    """The period the request is for: its limit grows by the amount."""
    limit, left = balance.allowance + amount, balance.left + amount
    if left <= 0:
        return Effect(balance, limit, left, "still over its limit" if left < 0 else "still nothing left", "danger")
    if balance.is_frozen and is_blocked_elsewhere:
        return Effect(balance, limit, left, "has room, but stays frozen", "warn")
    if balance.is_frozen:
        return Effect(balance, limit, left, "resumes", "ok")
    return Effect(balance, limit, left, "more room" if amount else "has room", "ok")


def wider_effect(balance: Balance, spending: Decimal) -> Effect:
    """A budget above: its limit stays, and what the grant buys is spent from it."""
    if balance.is_frozen:
        return Effect(balance, balance.allowance, balance.left, "frozen itself", "danger")
    if not balance.is_comparable:
        return Effect(balance, balance.allowance, balance.left, "counts something else", "")
    if spending > balance.left:
        text = "would freeze" if balance.is_hard else "passes its limit"
        return Effect(balance, balance.allowance, balance.left, text, "danger" if balance.is_hard else "warn")
    if balance.exhausted_at is not None:
        return Effect(balance, balance.allowance, balance.left, "passes by forecast", "warn", balance.exhausted_at)
    return Effect(balance, balance.allowance, balance.left, "within", "ok")

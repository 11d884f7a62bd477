"""Charges usage to every budget it counts against: the last step of the storing transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from governance import sql
from governance.budgets.calls import Call
from governance.budgets.models import Freeze, ThresholdCrossing
from governance.budgets.rules import QUARTER_HOUR, PeriodKey, Rule, Rules, quarter_hour
from governance.budgets.services import tell
from governance.budgets.services.freezes import freeze_by_budget
from governance.budgets.services.periods import Spent, periods_ensure, periods_move_send
from governance.tenancy.access import Actor

HUNDRED = Decimal(100)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spend:
    """What some calls that are alike used in one quarter hour. Unpriced calls have no part in `amount`."""

    call: Call
    occurred_at: datetime
    amount: Decimal
    tokens: int
    calls: int
    unpriced_calls: int


def charge_send(
    *, actor: Actor, rules: Rules, spends: Sequence[Spend], released: Mapping[int, Decimal], now: datetime
) -> sql.Answer | None:
    """Moves the periods' balances, and freezes what reached a hard limit; the last writes of the caller's transaction but `charge_follow`.

    `released` is what settled holds give back, by period id. Waits for nothing, so that it can be part of a pipeline;
    the rows of the cursor are for `charge_follow`.
    """
    return totals_send(actor=actor, rules=rules, totals=period_totals(rules, spends), released=released, now=now)


def totals_send(*, actor: Actor, rules: Rules, totals: Spent, released: Mapping[int, Decimal], now: datetime) -> sql.Answer | None:
    """As `charge_send`, by what the spends come to already: for whoever has that before anything is locked."""
    organization_id = actor.organization.pk
    periods_ensure(organization_id=organization_id, rules=rules, keys=[key for key, _ in totals], now=now)
    return periods_move_send(organization_id=organization_id, spent=totals, released=released, now=now)


def charge_follow(*, actor: Actor, rules: Rules, moved: Sequence[Any], now: datetime) -> None:
    """Records the freezes that the move put in force and the thresholds that it passed, and tells of them."""
    for period in moved:
        if period.froze:
            _freeze(actor, rules.by_id[period.budget_id], period, now)
        if period.spent > period.spent_before and period.budget_id in rules.by_id:
            _note_thresholds(actor, rules.by_id[period.budget_id], period, now=now)


@dataclass(slots=True)
class _Used:
    """What a budget counts in one quarter hour for one session and task, where it looks at these."""

    rule: Rule
    first: Spend
    amount: Decimal = ZERO
    tokens: int = 0
    calls: int = 0
    unpriced_calls: int = 0

    def add(self, spend: Spend) -> None:
        self.amount += spend.amount
        self.tokens += spend.tokens
        self.calls += spend.calls
        self.unpriced_calls += spend.unpriced_calls


def period_totals(rules: Rules, spends: Sequence[Spend]) -> dict[tuple[PeriodKey, datetime | None], tuple[Decimal, int]]:
    """(amount in the budget's measure, calls) for each period the spends count against; for rolling ones by quarter hour."""
    totals: dict[tuple[PeriodKey, datetime | None], tuple[Decimal, int]] = {}
    for used in _used_by_quarter(rules, spends):
        rule, at = used.rule, used.first.occurred_at
        key = rules.period(rule, at, used.first.call)
        if key is not None:
            place = key, quarter_hour(at) if rule.rolling_hours else None
            amount, calls = totals.get(place, (ZERO, 0))
            measured = rule.measured(amount=used.amount, tokens=used.tokens, calls=used.calls, unpriced_calls=used.unpriced_calls)
            totals[place] = (amount + measured, calls + used.calls)
    return totals


def _used_by_quarter(rules: Rules, spends: Sequence[Spend]) -> Iterable[_Used]:
    """What each budget counts, by quarter hours, each of which lies in one period: many spends have it in common, and a period is dear to name."""
    found: dict[tuple[int, int, str, str], _Used] = {}
    for spend in spends:
        call, at = spend.call, spend.occurred_at
        is_notional, quarter = call.is_notional, int(at.timestamp()) // QUARTER_HOUR
        for rule in rules.matching(call):
            if at < rule.counts_from or (is_notional and not rule.counts_notional):
                continue
            kind = rule.scope_kind
            place = rule.id, quarter, call.session_key if kind == "session" else "", call.task if kind == "task" else ""
            used = found.get(place)
            if used is None:
                used = found[place] = _Used(rule, spend)
            used.add(spend)
    return found.values()


def _freeze(actor: Actor, rule: Rule, period: Any, now: datetime) -> None:
    """Records the freeze that the balance's own statement has put in force."""
    facts = {"budget": rule.id, "period": period.id, "session": period.session_key, "task": period.task_key, "spent": period.spent, "limit": period.limit_amount + period.topup}
    freeze = Freeze(period_id=period.id, session_key=period.session_key, reason=f"{rule.name}: limit reached"[:300], started_at=now)
    freeze_by_budget(actor=actor, freeze=freeze, facts=facts)
    tell.frozen(actor.organization, rule, period)


def _note_thresholds(actor: Actor, rule: Rule, period: Any, *, now: datetime) -> None:
    """Records each threshold this charge passed. One in force is told once; it ends when the spend has fallen well below it.

    Of several passed at once the highest is told. Where the charge also froze, the notice of the freeze tells it all: a second one about
    the percentage would say the same.
    """
    allowance = period.limit_amount + period.topup
    if allowance <= 0 or (period.ends_at is not None and period.ends_at <= now):
        return
    highest = None
    for percent in sorted(rule.thresholds):
        mark = allowance * percent / HUNDRED
        if period.spent_before < mark <= period.spent:
            crossing, is_first = ThresholdCrossing.objects.get_or_create(
                organization=actor.organization, period_id=period.id, percent=percent, ended_at=None, defaults={"spent": period.spent}
            )
            highest = crossing if is_first else highest
    if highest is not None and not period.froze:
        tell.threshold_passed(actor.organization, rule, period, highest)

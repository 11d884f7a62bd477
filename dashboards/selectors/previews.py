"""What making or changing a budget would freeze and thaw at this moment, before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from governance.budgets.calls import filters_checked
from governance.budgets.ledger import LedgerSum, ledger
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.rules import rule_of
from governance.budgets.selectors import limit_preview
from governance.periods import window_at
from governance.tenancy.access import Actor
from governance.tenancy.directory import Directory, directory_of
from governance.tenancy.models import Organization

RECENT = timedelta(days=1)
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Touched:
    """A period that would change its state: what it is called and what it has spent."""

    name: str
    session_key: str
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """`spent` is what the present window holds already; for session budgets the sum over the sessions of the last day."""

    freezes: Sequence[Touched]
    thaws: Sequence[Touched]
    spent: Decimal
    calls: int
    sessions: int
    limit: Decimal
    is_template: bool

    @property
    def shown_freezes(self) -> Sequence[Touched]:
        return self.freezes[:SHOWN]

    @property
    def shown_thaws(self) -> Sequence[Touched]:
        return self.thaws[:SHOWN]

    @property
    def more_freezes(self) -> int:
        return max(len(self.freezes) - SHOWN, 0)

    @property
    def more_thaws(self) -> int:
        return max(len(self.thaws) - SHOWN, 0)


def creation_preview(actor: Actor, wanted: Mapping[str, Any], *, now: datetime) -> Preview:
    """What a new budget would begin with: the ledger's sums of its present window, and what of that is at the limit."""
    organization = Organization.objects.get(pk=actor.organization.pk)
    directory = directory_of(organization, organization.config_version)
    budget = budget_wanted(wanted, organization)
    sums = present_sums(directory, budget, organization, now)
    is_template = budget.scope_kind in (Budget.ScopeKind.SESSION, Budget.ScopeKind.TASK)
    alive = [found for found in sums if not is_template or found.last_at > now - RECENT]
    limit = wanted["limit_amount"]
    reached = [found for found in alive if budget.action == Budget.Action.FREEZE and found.amount >= limit]
    return Preview(
        freezes=[touched(found, wanted["name"]) for found in sorted(reached, key=lambda found: -found.amount)],
        thaws=(),
        spent=sum((found.amount for found in alive), Decimal(0)),
        calls=sum(found.calls for found in alive),
        sessions=len(alive) if is_template else 0,
        limit=limit,
        is_template=is_template,
    )


def present_sums(directory: Directory, budget: Budget, organization: Organization, now: datetime) -> Sequence[LedgerSum]:
    """What the ledger has for the budget's present window; of a rolling one as one sum."""
    kind: Any = budget.period_kind
    window = window_at(kind, now, organization.zone, organization.year_starts_in, anchor_day=budget.anchor_day)
    budget.counts_from = window.starts_at
    rule = rule_of(budget)
    sums = ledger().sums(directory, rule, starts_at=rule.slides_from(now) or window.starts_at, ends_at=window.ends_at)
    if rule.rolling_hours is None or not sums:
        return sums
    amount = sum((found.amount for found in sums), Decimal(0))
    return [LedgerSum("", amount, sum(found.calls for found in sums), max(found.last_at for found in sums))]


def touched(found: LedgerSum, name: str) -> Touched:
    subject = f"Session {found.session_key}" if found.session_key else f"Task {found.task_key}" if found.task_key else name
    return Touched(subject, found.session_key, found.amount)


def budget_wanted(wanted: Mapping[str, Any], organization: Organization) -> Budget:
    """The wanted budget, not saved. Names are the form's: rows are given by id."""
    is_hard = bool(wanted["is_hard"])
    return Budget(
        id=0, organization=organization, name=wanted["name"], scope_kind=wanted["scope_kind"], team_id=wanted.get("team"),
        project_id=wanted.get("project"), member_id=wanted.get("member"), service_account_id=wanted.get("service_account"),
        api_key_id=wanted.get("api_key"), filters=filters_checked(wanted.get("filters") or {}), period_kind=wanted["period_kind"],
        rolling_hours=wanted.get("rolling_hours"), anchor_day=wanted.get("anchor_day") or 1, measure=wanted.get("measure") or "money",
        limit_amount=wanted["limit_amount"], currency=organization.currency, is_hard=is_hard,
        action=wanted.get("action") or ("freeze" if is_hard else "notify"), unpriced_call_amount=wanted.get("unpriced_call_amount"),
        counts_notional=bool(wanted.get("counts_notional")), thresholds=list(wanted.get("thresholds", ())),
    )


def change_preview(actor: Actor, budget: Budget, period: BudgetPeriod, *, limit_amount: Decimal, is_hard: bool) -> Preview:
    """What another limit would do to the periods that run now."""
    found = limit_preview(actor, budget, limit_amount=limit_amount, is_hard=is_hard)

    def listed(rows: Sequence[BudgetPeriod]) -> list[Touched]:
        return [Touched(f"Session {row.session_key}" if row.session_key else budget.name, row.session_key, row.spent) for row in rows]

    return Preview(
        freezes=listed(found.freezes),
        thaws=listed(found.thaws),
        spent=period.spent,
        calls=period.calls,
        sessions=0,
        limit=limit_amount,
        is_template=budget.scope_kind == Budget.ScopeKind.SESSION,
    )

"""What making or changing a budget would freeze and thaw at this moment, before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from governance.budgets.ledger import LedgerSum, ledger
from governance.budgets.models import Budget, BudgetPeriod
from governance.budgets.rules import Rule
from governance.budgets.selectors import limit_preview
from governance.periods import window_at
from governance.tenancy.access import Actor
from governance.tenancy.directory import directory_of
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
    window = window_at(wanted["period_kind"], now, organization.zone, organization.year_starts_in)
    sums = ledger().sums(
        directory,
        rule_of(wanted, starts_at=window.starts_at, currency=organization.currency),
        starts_at=window.starts_at,
        ends_at=window.ends_at,
    )
    is_template = wanted["scope_kind"] == Budget.ScopeKind.SESSION
    alive = [found for found in sums if not is_template or found.last_at > now - RECENT]
    limit = wanted["limit_amount"]
    reached = [found for found in alive if wanted["is_hard"] and found.amount >= limit]
    return Preview(
        freezes=[touched(found, wanted["name"]) for found in sorted(reached, key=lambda found: -found.amount)],
        thaws=(),
        spent=sum((found.amount for found in alive), Decimal(0)),
        calls=sum(found.calls for found in alive),
        sessions=len(alive) if is_template else 0,
        limit=limit,
        is_template=is_template,
    )


def touched(found: LedgerSum, name: str) -> Touched:
    return Touched(f"Session {found.session_key}" if found.session_key else name, found.session_key, found.amount)


def rule_of(wanted: Mapping[str, Any], *, starts_at: datetime, currency: str) -> Rule:
    """The wanted budget as the hot path would have it."""
    return Rule(
        id=0,
        scope_kind=wanted["scope_kind"],
        team_id=wanted.get("team"),
        project_id=wanted.get("project"),
        member_id=wanted.get("member"),
        period_kind=wanted["period_kind"],
        limit_amount=wanted["limit_amount"],
        is_hard=wanted["is_hard"],
        thresholds=wanted.get("thresholds", ()),
        unpriced_call_amount=wanted.get("unpriced_call_amount"),
        counts_notional=bool(wanted.get("counts_notional")),
        counts_from=starts_at,
        name=wanted["name"],
        currency=currency,
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

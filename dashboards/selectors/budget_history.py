"""Who changed a budget and what: its versions side by side, and the acts that change none of its facts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dashboards.components.figures import money_text
from governance.audit.models import AuditRecord
from governance.budgets.models import Budget, BudgetVersion
from governance.tenancy.access import Actor, Right, scoped

SHOWN = 30
AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
WORDS = {
    "name": "Name", "limit_amount": "Limit", "action": "At the limit", "downgrade_models": "Models that go on", "thresholds": "Tells at (%)",
    "warns_ahead": "Tells ahead", "rollover_cap": "Carries over at most", "fails_open": "When out of reach",
}  # fmt: skip
AMOUNTS = ("limit_amount", "rollover_cap")
ACTIONS = {"freeze": "freezes", "ask": "refuses what does not fit", "downgrade": "cheaper models only", "notify": "tells only"}
MAKING = ("budget.created", "budget.changed")
TRUTHS = {"fails_open": ("calls go on", "calls are refused"), "warns_ahead": ("yes", "no")}


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the history: the version's number where it made one, and what moved as (what, before, after)."""

    action: str
    actor_label: str
    at: datetime
    number: int | None
    changes: list[tuple[str, str | None, str]]


def history_of(actor: Actor, budget: Budget) -> list[Step] | None:
    """Who changed the budget, latest first; None for those who may not read the record."""
    if not (actor.can(Right.VIEW_AUDIT) or actor.can(Right.MANAGE_BUDGETS)):
        return None
    rows = list(scoped(actor, BudgetVersion.objects.filter(budget=budget)).select_related("by__user").order_by("-number")[: SHOWN + 1])
    facts = {row.number: row.facts for row in rows}
    records = list(scoped(actor, AuditRecord.objects.filter(target_kind="budget", target_id=str(budget.pk))).order_by("-at", "-id")[: 2 * SHOWN])
    # A version and its record are written together: what the one does not tell, which program it was, the other does.
    labels = [record.actor_label for record in records if record.action in MAKING] + [""] * len(rows)
    steps = [_version(row, facts.get(row.number - 1), budget, label) for row, label in zip(rows[:SHOWN], labels, strict=False)]
    steps += [Step("Retired", record.actor_label, record.at, None, []) for record in records if record.action == "budget.retired"]
    return sorted(steps, key=lambda step: step.at, reverse=True)


def _version(row: BudgetVersion, before: Mapping[str, Any] | None, budget: Budget, label: str) -> Step:
    who = str(row.by or label or "Weighhouse")
    if before is None:
        return Step("Created", who, row.at, row.number, [("Limit", None, _words("limit_amount", row.facts.get("limit_amount"), budget))])
    changes: list[tuple[str, str | None, str]] = [
        (WORDS[name], _words(name, before.get(name), budget), _words(name, row.facts.get(name), budget))
        for name in WORDS
        if before.get(name) != row.facts.get(name)
    ]
    return Step("Changed", who, row.at, row.number, changes)


def _words(name: str, value: Any, budget: Budget) -> str:
    """A fact of a version as people write it."""
    if name in AMOUNTS:
        return money_text(Decimal(str(value)), budget.unit) if value is not None and AMOUNT.fullmatch(str(value)) else "nothing"
    if name in TRUTHS:
        return TRUTHS[name][0 if value else 1]
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return ACTIONS.get(str(value), str(value)) if name == "action" else str(value)

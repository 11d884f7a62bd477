"""What a budget limits, over which window, and what happens at the limit, in words."""

from calendar import day_name
from collections.abc import Iterable, Mapping
from typing import Any

from governance.budgets.calls import POOLS, TAG
from governance.budgets.models import Budget, TopUp
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Member, Project, Team

ACTIONS = {
    "freeze": "freezes at the limit",
    "ask": "refuses what does not fit",
    "downgrade": "lets only cheaper models on at the limit",
    "notify": "tells at the limit",
}
LABEL_WORDS = {"task_class": "task class", "billing_mode": "billing", "environment": "environment"}
Names = Mapping[tuple[str, int], str]


def scope_words(budget: Budget) -> str:
    """ "the whole organization", "team Platform", "every session of Platform"."""
    if budget.scope_kind == Budget.ScopeKind.ORGANIZATION:
        return "all calls" if budget.filters else "the whole organization"
    named = {"team": budget.team, "project": budget.project, "member": budget.member, "service account": budget.service_account}
    parts = [(kind, str(row)) for kind, row in named.items() if row is not None]
    if budget.api_key is not None:
        parts.append(("key", budget.api_key.name))
    if not budget.is_template:
        return " ".join(parts[0]) if parts else budget.scope_kind
    joins = {"team": "of", "project": "in", "member": "of", "service account": "by", "key": "with key"}
    return " ".join([f"every {budget.scope_kind}", *(f"{joins[kind]} {name}" for kind, name in parts)])


def window_words(budget: Budget) -> str:
    """ "month", "month from the 15th", "any 24 hours", "week from Wednesday", "all time"."""
    kind, day = budget.period_kind, budget.anchor_day
    if budget.rolling_hours:
        hours = budget.rolling_hours
        return f"any {hours // 24} days" if hours % 24 == 0 and hours > 24 else f"any {hours} hour{'s' if hours > 1 else ''}"
    if kind == Budget.Kind.LIFETIME:
        return "all time"
    if day == 1:
        return kind
    return f"{kind} from {day_name[day - 1]}" if kind == Budget.Kind.WEEK else f"{kind} from the {ordinal(day)}"


def per_window(budget: Budget) -> str:
    """After an amount: "a month", "in any 24 hours", "in all"."""
    if budget.period_kind == Budget.Kind.LIFETIME and not budget.rolling_hours:
        return "in all"
    return f"{'in' if budget.rolling_hours else 'a'} {window_words(budget)}"


def ordinal(day: int) -> str:
    ending = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def pool_names(actor: Actor, budgets: Iterable[Budget]) -> Names:
    """The names of the teams, projects and members that share budgets, by kind and id: a query for each kind that is used."""
    wanted: dict[str, set[int]] = {}
    for budget in budgets:
        for name in POOLS:
            wanted.setdefault(name, set()).update(budget.filters.get(name, ()))
    rows: dict[str, Any] = {"team": Team.objects.all(), "project": Project.objects.all(), "member": Member.objects.select_related("user")}
    return {(kind, row.pk): str(row) for kind, ids in wanted.items() if ids for row in scoped(actor, rows[kind].filter(pk__in=ids))}


def filter_words(budget: Budget, names: Names) -> list[str]:
    """What a call must be besides in scope: "provider anthropic or openai", "shared by Platform and Data"."""
    found = []
    for name, values in sorted(budget.filters.items()):
        if name in POOLS:
            found.append(f"of {name}s {', '.join(names.get((name, value), '(removed)') for value in values)}")
        else:
            label = f"tag {name[len(TAG) :]}" if name.startswith(TAG) else LABEL_WORDS.get(name, name)
            found.append(f"{label} {' or '.join(str(value) for value in values)}")
    return found


def topup_words(topup: TopUp) -> str:
    """What kind of top-up it is, with the other budget."""
    if topup.kind == TopUp.Kind.CARRY:
        return "Carried over"
    if topup.kind == TopUp.Kind.TRANSFER:
        other = topup.other_period.budget.name if topup.other_period else "a budget that is gone"
        return f"Moved from {other}" if topup.amount > 0 else f"Moved to {other}"
    return "Granted"

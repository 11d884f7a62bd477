"""Whom a budget is for, by the names that programs use: slugs, e-mails, names of service accounts and ids of keys."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.db.models import Model, QuerySet

from governance.budgets.calls import POOLS
from governance.budgets.description_budgets import BudgetIn
from governance.budgets.models import Budget
from governance.budgets.services.drafts import BudgetFacts
from governance.errors import Invalid
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import ApiKey, Member, Project, ServiceAccount, Team

ROWS: dict[str, tuple[type[Model], str]] = {
    "team": (Team, "slug"), "project": (Project, "slug"), "member": (Member, "user__email"), "service_account": (ServiceAccount, "name"), "key": (ApiKey, "pk"),
}  # fmt: skip
SAME_NAME = ("name", "currency", "rolling_hours", "anchor_day", "measure", "action", "downgrade_models", "thresholds", "warns_ahead", "fails_open", "rollover_cap",
             "unpriced_call_amount", "counts_notional")  # fmt: skip
Names = Mapping[tuple[str, int], str]


def facts_of(actor: Actor, wanted: BudgetIn) -> BudgetFacts:
    """The wanted budget as the service takes it. Raises Invalid for names that nothing here has."""
    facts: dict[str, Any] = {name: getattr(wanted, name) for name in SAME_NAME}
    facts |= {"scope_kind": wanted.scope, "period_kind": wanted.period, "limit_amount": wanted.limit}
    for name in ROWS:
        given = getattr(wanted, name)
        facts["api_key" if name == "key" else name] = None if given is None else _row(actor, name, given)
    facts["filters"] = {name: [_row(actor, name, value).pk for value in values] if name in POOLS else values for name, values in wanted.filters.items()}
    return cast("BudgetFacts", facts)


def _row(actor: Actor, name: str, given: str | int) -> Any:
    model, column = ROWS[name]
    lookup = f"{column}__iexact" if name == "member" else column
    rows: QuerySet[Any] = scoped(actor, model._default_manager.all())
    row = None if "\0" in str(given) or (name == "key" and not 0 < int(given) < 2**63) else rows.filter(**{lookup: given}).first()
    if row is None:
        raise Invalid(f"There is no {name.replace('_', ' ')} {str(given)[:80]!r} here.", field=name)
    return row


def pool_names(actor: Actor, budgets: Iterable[Budget]) -> Names:
    """The slugs and e-mails of those who share the budgets, by kind and id: a query for each kind that is used."""
    wanted: dict[str, set[int]] = {}
    for budget in budgets:
        for kind in POOLS:
            wanted.setdefault(kind, set()).update(budget.filters.get(kind, ()))
    found: dict[tuple[str, int], str] = {}
    for kind, ids in wanted.items():
        model, column = ROWS[kind]
        if ids:
            rows: QuerySet[Any] = scoped(actor, model._default_manager.filter(pk__in=ids))
            found |= {(kind, pk): name for pk, name in rows.order_by().values_list("pk", column)}
    return found


def named(budget: Budget, names: Names) -> dict[str, Any]:
    """Whom the budget is for and what narrows it, in the names that `facts_of` takes."""
    return {
        "team": budget.team.slug if budget.team else None,
        "project": budget.project.slug if budget.project else None,
        "member": budget.member.user.email if budget.member else None,
        "service_account": budget.service_account.name if budget.service_account else None,
        "key": budget.api_key_id,
        "filters": {
            kind: [names.get((kind, value), str(value)) for value in values] if kind in POOLS else values for kind, values in budget.filters.items()
        },
    }



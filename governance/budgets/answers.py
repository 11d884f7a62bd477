"""Budgets as the API shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from governance.budgets.models import Budget, BudgetPeriod, BudgetVersion
from governance.budgets.owners import Names, named, pool_names
from governance.budgets.previews import Preview, Touched
from governance.budgets.refused import Refused, refused_by_periods
from governance.budgets.tree import depth_of, position_of, present_periods, team_tree
from governance.money import digits
from governance.notices.links import budget_link
from governance.tenancy.access import Actor, scoped

PERIODS_SHOWN = 24
VERSIONS_SHOWN = 50


def budgets_out(actor: Actor, budgets: Sequence[Budget], *, now: datetime) -> list[dict[str, Any]]:
    """The budgets in the order of the tree, with their present windows."""
    tree, names, present = team_tree(actor), pool_names(actor, budgets), present_periods(actor, budgets, now=now)
    ordered = sorted(budgets, key=lambda budget: position_of(budget, tree))
    refused = refused_by_periods(actor, [period.pk for period in present.values() if period.pk])
    return [
        budget_out(budget, names, present[budget.pk], refused=refused.get(present[budget.pk].pk)) | {"depth": depth_of(budget, tree)} for budget in ordered
    ]


def budget_out(budget: Budget, names: Names, present: BudgetPeriod, *, refused: Refused | None) -> dict[str, Any]:
    """One budget without its place in the tree."""
    return {
        "id": budget.pk, "name": budget.name, "scope": budget.scope_kind, **named(budget, names), "period": budget.period_kind,
        "rolling_hours": budget.rolling_hours, "anchor_day": budget.anchor_day, "measure": budget.measure, "unit": budget.unit,
        "limit": digits(budget.limit_amount), **_quoted(budget), "quoted_currency": budget.quoted_currency,
        "action": budget.action, "downgrade_models": budget.downgrade_models, "thresholds": budget.thresholds,
        "warns_ahead": budget.warns_ahead, "fails_open": budget.fails_open,
        "rollover_cap": None if budget.rollover_cap is None else digits(budget.rollover_cap),
        "unpriced_call_amount": None if budget.unpriced_call_amount is None else digits(budget.unpriced_call_amount),
        "counts_notional": budget.counts_notional, "version": budget.version, "active": budget.is_active,
        "present": None if budget.is_template else period_out(present, refused), "url": budget_link(budget.organization.slug, budget.pk),
    }  # fmt: skip


def budget_detail(actor: Actor, budget: Budget, *, now: datetime) -> dict[str, Any]:
    """One budget with its windows and versions, latest first."""
    found = budgets_out(actor, [budget], now=now)[0]
    periods = scoped(actor, BudgetPeriod.objects.filter(budget=budget, session_key="", task_key="")).order_by("-starts_at", "-pk")[:PERIODS_SHOWN]
    versions = scoped(actor, BudgetVersion.objects.filter(budget=budget)).select_related("by__user").order_by("-number")[:VERSIONS_SHOWN]
    refused = refused_by_periods(actor, [period.pk for period in periods])
    return found | {
        "periods": [period_out(period, refused.get(period.pk)) for period in periods],
        "versions": [{"number": row.number, "at": row.at, "by": str(row.by) if row.by else None, "facts": row.facts} for row in versions],
    }


def period_out(period: BudgetPeriod, refused: Refused | None = None) -> dict[str, Any]:
    return {
        "id": period.pk, "starts_at": period.slides_from or period.starts_at, "ends_at": period.ends_at, "limit": digits(period.limit_amount),
        **_quoted(period), "exchange_rate": None if period.exchange_rate is None else digits(period.exchange_rate),
        "topup": digits(period.topup), "spent": digits(period.spent), "held": digits(period.held), "left": digits(period.left), "calls": period.calls,
        "frozen_at": period.frozen_at, **refused_out(refused),
    }  # fmt: skip


def refused_out(refused: Refused | None) -> dict[str, Any]:
    """How many calls were refused, and since when."""
    return {"refused_calls": refused.calls if refused else 0, "refused_since": refused.since if refused else None, "refused_last_at": refused.last_at if refused else None}


def _quoted(row: Budget | BudgetPeriod) -> dict[str, str | None]:
    return {"quoted_limit": None if row.quoted_limit is None else digits(row.quoted_limit)}


def preview_out(preview: Preview) -> dict[str, Any]:
    def listed(rows: Sequence[Touched]) -> list[dict[str, Any]]:
        return [{"name": row.name, "session": row.session_key, "task": row.task_key, "spent": digits(row.spent)} for row in rows]

    return {
        "freezes": listed(preview.freezes), "thaws": listed(preview.thaws), "spent": digits(preview.spent), "calls": preview.calls,
        "limit": digits(preview.limit), "unit": preview.unit, "refuses": preview.refuses,
        "quoted_limit": None if preview.quoted_limit is None else digits(preview.quoted_limit), "quoted_currency": preview.quoted_currency,
        "exchange_rate": None if preview.exchange_rate is None else digits(preview.exchange_rate),
    }  # fmt: skip

"""Budgets are made, changed and retired. A new one counts at once what its first window already holds."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from governance.audit.services import audit_record
from governance.budgets.ledger import LedgerSum, ledger
from governance.budgets.models import Budget, BudgetPeriod, Session, ThresholdCrossing
from governance.budgets.rules import Rule, rules_at
from governance.budgets.services.endings import LARGEST_HOLD
from governance.budgets.services.freezes import period_locked, period_review
from governance.errors import Conflict, Forbidden, Invalid
from governance.money import AmountTooLarge, quantize
from governance.periods import Window, window_at
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.directory import Directory, directory_at
from governance.tenancy.models import Member, Organization, Project, Team
from governance.tenancy.services import currency_check, organization_touch

RECENT = timedelta(days=1)
# Calls may be reported for an instant this far ahead (a client's clock), and a little longer ago than now.
AHEAD = timedelta(days=1)
CHANGEABLE = ("name", "limit_amount", "is_hard", "thresholds")


@transaction.atomic
def budget_create(  # noqa: PLR0913
    *, actor: Actor, name: str, scope_kind: str, team: Team | None = None, project: Project | None = None, member: Member | None = None,
    period_kind: str, limit_amount: Decimal, currency: str | None = None, is_hard: bool = True, thresholds: Iterable[int] = (50, 80, 100),
    unpriced_call_amount: Decimal | None = None, counts_notional: bool = False,
) -> Budget:
    """Makes a budget. Usage of the present window counts from the start; what it has already reached freezes now."""
    require(actor, Right.MANAGE_BUDGETS)
    if any(row is not None and row.organization_id != actor.organization.pk for row in (team, project, member)):
        raise Forbidden("This belongs to another organization.")
    organization_touch(actor.organization)
    organization = Organization.objects.get(pk=actor.organization.pk)
    budget = Budget(
        organization=organization, name=name.strip(), scope_kind=scope_kind, team=team, project=project, member=member, period_kind=period_kind,
        limit_amount=_limit(limit_amount), currency=currency or organization.currency, is_hard=is_hard, thresholds=_thresholds(thresholds),
        unpriced_call_amount=unpriced_call_amount, counts_notional=counts_notional, counts_from=_first_instant(organization, period_kind),
    )
    currency_check(budget.currency)
    _check(budget)
    budget.save()
    audit_record(actor=actor, action="budget.created", target=("budget", budget.pk), new=budget_facts(budget))
    _count_present_window(actor, organization, budget)
    return budget


def _check(budget: Budget) -> None:
    """The model's own rules, as a sentence with the field. Raises Invalid."""
    if budget.unpriced_call_amount is not None and not 0 <= budget.unpriced_call_amount <= LARGEST_HOLD:
        raise Invalid(f"A call without a price is charged from 0 to {LARGEST_HOLD:,}.", field="unpriced_call_amount")
    try:
        budget.full_clean()
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        if field == "__all__":
            raise Invalid("The scope, its team, project or member, and the period do not fit together.", field="scope_kind") from error
        raise Invalid(" ".join(problems), field=field) from error


def _limit(amount: Decimal) -> Decimal:
    try:
        amount = quantize(amount)
    except AmountTooLarge as error:
        raise Invalid("That is more than a budget can hold.", field="limit_amount") from error
    if amount < 0:
        raise Invalid("A limit is not negative.", field="limit_amount")
    return amount


def _thresholds(percents: Iterable[int]) -> list[int]:
    found = sorted(set(percents))
    if any(not 1 <= percent <= 1000 for percent in found):
        raise Invalid("Thresholds are percentages from 1 to 1000.", field="thresholds")
    return found


def _first_instant(organization: Organization, period_kind: str) -> datetime:
    if period_kind not in Budget.Kind.values:
        raise Invalid(f"{period_kind} is not a kind of period.", field="period_kind")
    return window_at(period_kind, timezone.now(), organization.zone, organization.year_starts_in).starts_at  # type: ignore[arg-type]


def _count_present_window(actor: Actor, organization: Organization, budget: Budget) -> None:
    """Makes the periods from now on with the spend the ledger has for them, and freezes those at their limit.

    Of old sessions only those that ran within a day are frozen now; an older one would be on its next call.
    """
    directory = directory_at(organization)
    rule = rules_at(directory).by_id[budget.pk]
    now = timezone.now()
    sums = [(window, found) for window in _windows_from(now, rule, organization) for found in _counted(directory, rule, window)]
    periods = BudgetPeriod.objects.bulk_create(
        BudgetPeriod(
            organization=organization, budget=budget, starts_at=window.starts_at, ends_at=window.ends_at, session_key=found.session_key,
            limit_amount=budget.limit_amount, is_hard=budget.is_hard, spent=found.amount, calls=found.calls,
        )
        for window, found in sums
    )
    for period, (_, found) in zip(periods, sums, strict=True):
        if period.spent >= period.limit_amount and (not period.session_key or found.last_at > now - RECENT):
            period_review(actor=actor, period=period, reason="limit reached before the budget was made")
    _note_passed_thresholds(periods, budget)


def _windows_from(now: datetime, rule: Rule, organization: Organization) -> list[Window]:
    """The present window and those that calls may have been reported for ahead of time."""
    windows = [window_at(rule.period_kind, now, organization.zone, organization.year_starts_in)]
    while (ends_at := windows[-1].ends_at) is not None and ends_at <= now + AHEAD:
        windows.append(window_at(rule.period_kind, ends_at, organization.zone, organization.year_starts_in))
    return windows


def _counted(directory: Directory, rule: Rule, window: Window) -> Sequence[LedgerSum]:
    return ledger().sums(directory, rule, starts_at=window.starts_at, ends_at=window.ends_at)


def _note_passed_thresholds(periods: Iterable[BudgetPeriod], budget: Budget) -> None:
    """Thresholds already passed are recorded without telling: whoever makes or changes the budget sees them."""
    passed = (
        ThresholdCrossing(organization=budget.organization, period=period, percent=percent, spent=period.spent)
        for period in periods
        for percent in budget.thresholds
        if period.allowance > 0 and period.spent >= period.allowance * percent / 100
    )
    ThresholdCrossing.objects.bulk_create(passed, ignore_conflicts=True)


@transaction.atomic
def budget_change(*, actor: Actor, budget: Budget, **changes: Any) -> Budget:
    """Changes name, limit_amount, is_hard or thresholds; the periods that run now follow, and freeze or thaw with it."""
    require(actor, Right.MANAGE_BUDGETS)
    budget = _locked(actor, budget)
    if not budget.is_active:
        raise Conflict("This budget was retired.")
    if unknown := set(changes) - set(CHANGEABLE):
        raise Invalid(f"{', '.join(sorted(unknown))} cannot be changed: retire this budget and make another.", field=min(unknown))
    if "limit_amount" in changes:
        changes["limit_amount"] = _limit(changes["limit_amount"])
    if "thresholds" in changes:
        changes["thresholds"] = _thresholds(changes["thresholds"])
    changes = {name: value for name, value in changes.items() if getattr(budget, name) != value}
    if not changes:
        return budget
    old = {name: getattr(budget, name) for name in changes}
    for name, value in changes.items():
        setattr(budget, name, value)
    _check(budget)
    budget.save(update_fields=[*changes, "updated_at"])
    audit_record(actor=actor, action="budget.changed", target=("budget", budget.pk), old=old, new=changes)
    _present_periods_follow(actor, budget)
    return budget


@transaction.atomic
def budget_retire(*, actor: Actor, budget: Budget) -> Budget:
    """Ends a budget: nothing counts against it any more and its freezes end. Its history stays."""
    require(actor, Right.MANAGE_BUDGETS)
    budget = _locked(actor, budget)
    if not budget.is_active:
        return budget
    budget.is_active = False
    budget.save(update_fields=["is_active", "updated_at"])
    audit_record(actor=actor, action="budget.retired", target=("budget", budget.pk), old=budget_facts(budget))
    for period_id in _open(budget).filter(frozen_at__isnull=False).order_by("id").values_list("pk", flat=True):
        period_review(actor=actor, period=period_locked(actor, period_id), reason="the budget was retired")
    return budget


def _locked(actor: Actor, budget: Budget) -> Budget:
    if budget.organization_id != actor.organization.pk:
        raise Forbidden("This belongs to another organization.")
    organization_touch(actor.organization)
    return Budget.objects.select_for_update(of=("self",)).select_related("organization").get(pk=budget.pk)


def _open(budget: Budget) -> Any:
    return BudgetPeriod.objects.filter(organization=budget.organization_id, budget=budget).filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))


def _present_periods_follow(actor: Actor, budget: Budget) -> None:
    """Locks the open periods in id order, gives them the budget's limit, and freezes or thaws where that changes their state."""
    locked = list(_open(budget).order_by("id").select_for_update(no_key=True).values_list("pk", flat=True))
    rows = BudgetPeriod.objects.filter(organization=budget.organization_id, pk__in=locked)
    rows.update(limit_amount=budget.limit_amount, is_hard=budget.is_hard, refused_at=None, refused_amount=None)
    _note_passed_thresholds(rows.filter(spent__gt=0), budget)
    is_reached = Q(spent__gte=F("limit_amount") + F("topup"), is_hard=True)
    turning = rows.filter(Q(frozen_at__isnull=False) & ~is_reached | Q(frozen_at=None) & is_reached & _recent(budget)).order_by("id")
    for period_id in list(turning.values_list("pk", flat=True)):
        period_review(actor=actor, period=period_locked(actor, period_id), reason="the limit was changed")


def _recent(budget: Budget) -> Q:
    """For a session template, the sessions that ran within a day; else everything."""
    if budget.scope_kind != Budget.ScopeKind.SESSION:
        return Q()
    live = Session.objects.filter(organization=budget.organization_id, last_at__gte=timezone.now() - RECENT)
    return Q(session_key__in=live.values("key"))


def budget_facts(budget: Budget) -> dict[str, Any]:
    """The budget as the audit record keeps it."""
    names = (
        "name", "scope_kind", "team_id", "project_id", "member_id", "period_kind", "limit_amount", "currency", "is_hard", "thresholds",
        "unpriced_call_amount", "counts_notional", "counts_from",
    )
    return {name: getattr(budget, name) for name in names}


"""Budgets are made, changed and retired. A new one counts at once what its first window already holds."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Unpack

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from governance.audit.services import audit_record, plain
from governance.budgets.ledger import LedgerSum, ledger
from governance.budgets.models import Budget, BudgetPeriod, BudgetVersion, Session, ThresholdCrossing, TopUp
from governance.budgets.quoted import limit_of, quoted_changes
from governance.budgets.rules import Rule, rules_at
from governance.budgets.services.drafts import HARD, BudgetFacts, budget_check, budget_drafted, stored, window_of
from governance.budgets.services.freezes import period_locked, period_review
from governance.budgets.services.rolling import slices_of
from governance.errors import Conflict, Forbidden, Invalid
from governance.money import written
from governance.periods import BEGINNING, Window
from governance.pricing.terms import exchanged, terms_load
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.directory import Directory, directory_at
from governance.tenancy.models import Organization
from governance.tenancy.services import organization_touch

RECENT = timedelta(days=1)
# Calls may be reported for an instant this far ahead (a client's clock), and a little longer ago than now.
AHEAD = timedelta(days=1)
CHANGEABLE = ("name", "limit_amount", "action", "thresholds", "downgrade_models", "fails_open", "rollover_cap", "warns_ahead")


@transaction.atomic
def budget_create(*, actor: Actor, **facts: Unpack[BudgetFacts]) -> Budget:
    """Makes a budget. Usage of the present window counts from the start; what it has already reached freezes now."""
    require(actor, Right.MANAGE_BUDGETS)
    organization_touch(actor.organization)
    organization = Organization.objects.get(pk=actor.organization.pk)
    budget = budget_drafted(organization, facts)
    budget.save()
    version_keep(actor=actor, budget=budget)
    audit_record(actor=actor, action="budget.created", target=("budget", budget.pk), new=budget_facts(budget))
    _count_present_window(actor, organization, budget)
    return budget


def version_keep(*, actor: Actor, budget: Budget) -> None:
    """Keeps the budget as it stands now under its number."""
    BudgetVersion.objects.create(
        organization=budget.organization, budget=budget, number=budget.version, at=timezone.now(), by=actor.member,
        facts=plain(budget_facts(budget)),
    )


def _count_present_window(actor: Actor, organization: Organization, budget: Budget) -> None:
    """Makes the periods from now on with the spend the ledger has for them, and freezes those at their limit.

    Of old sessions and tasks only those that ran within a day are frozen now; an older one would be on its next call.
    """
    directory = directory_at(organization)
    rule = rules_at(directory).by_id[budget.pk]
    now = timezone.now()
    if rule.rolling_hours is not None:
        _count_rolling(actor, directory, rule, budget)
        return
    windows = _windows_from(now, rule, organization)
    sums = [(window, found) for window in windows for found in _counted(directory, rule, window)]
    if not budget.is_template and windows[0] not in [window for window, _ in sums]:
        # The present window is there from the start, so that it can be asked on, moved to and carried from.
        sums.insert(0, (windows[0], LedgerSum("", Decimal(0), 0, now)))
    terms = terms_load(directory) if budget.quoted_limit is not None else None
    limits = {window: limit_of(budget, terms, starts_at=window.starts_at, ends_at=window.ends_at) for window, _ in sums}
    periods = BudgetPeriod.objects.bulk_create(
        BudgetPeriod(
            organization=organization, budget=budget, starts_at=window.starts_at, ends_at=window.ends_at, session_key=found.session_key,
            task_key=found.task_key, limit_amount=limits[window].amount, quoted_limit=limits[window].quoted,
            exchange_rate=limits[window].exchange_rate, is_hard=budget.is_hard, freezes_at_limit=rule.freezes_at_limit,
            spent=found.amount, calls=found.calls,
        )
        for window, found in sums
    )
    for period, (_, found) in zip(periods, sums, strict=True):
        is_template = bool(period.session_key or period.task_key)
        if period.spent >= period.limit_amount and (not is_template or found.last_at > now - RECENT):
            period_review(actor=actor, period=period, reason="limit reached before the budget was made")
    _note_passed_thresholds(periods, budget)


def _count_rolling(actor: Actor, directory: Directory, rule: Rule, budget: Budget) -> None:
    """Makes the one period of a rolling budget, with its quarter hours."""
    period = BudgetPeriod.objects.create(
        organization=budget.organization, budget=budget, starts_at=BEGINNING, ends_at=None, slides_from=budget.counts_from,
        limit_amount=budget.limit_amount, is_hard=budget.is_hard, freezes_at_limit=rule.freezes_at_limit,
    )
    slices_of(directory, rule, period)
    totals = period.slices.aggregate(spent=Sum("spent"), calls=Sum("calls"))
    period.spent, period.calls = totals["spent"] or Decimal(0), totals["calls"] or 0
    period.save(update_fields=["spent", "calls"])
    period_review(actor=actor, period=period, reason="limit reached before the budget was made")
    _note_passed_thresholds([period], budget)


def _windows_from(now: datetime, rule: Rule, organization: Organization) -> list[Window]:
    """The present window and those that calls may have been reported for ahead of time."""
    windows = [window_of(organization, rule, now)]
    while (ends_at := windows[-1].ends_at) is not None and ends_at <= now + AHEAD:
        windows.append(window_of(organization, rule, ends_at))
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
def budget_change(*, actor: Actor, budget: Budget, seen: int | None = None, **changes: Any) -> Budget:
    """Changes what CHANGEABLE names; the periods that run now follow, and freeze or thaw with it. Each change is a version.

    `is_hard` stands for the action: freeze where true, notify where false. Raises Conflict when the budget is no longer of the version
    `seen`: a form that names every field would undo what somebody else has changed.
    """
    require(actor, Right.MANAGE_BUDGETS)
    budget = _locked(actor, budget)
    if not budget.is_active:
        raise Conflict("This budget was retired.")
    if seen is not None and seen != budget.version:
        raise Conflict("Somebody else has changed this budget since you opened it. Look at what it says now and change that.", version=budget.version)
    changes = _changes_checked(budget, changes)
    changes = {name: value for name, value in changes.items() if getattr(budget, name) != value}
    if not changes:
        return budget
    old = {name: getattr(budget, name) for name in changes}
    for name, value in changes.items():
        setattr(budget, name, value)
    budget.is_hard = budget.action in HARD
    budget.version += 1
    budget_check(budget)
    budget.save(update_fields=[*changes, "is_hard", "version", "updated_at"])
    version_keep(actor=actor, budget=budget)
    audit_record(actor=actor, action="budget.changed", target=("budget", budget.pk), old=old, new=changes)
    _present_periods_follow(actor, budget)
    return budget


def _changes_checked(budget: Budget, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes as they are stored. Raises Invalid."""
    if "is_hard" in changes:
        is_hard = changes.pop("is_hard")
        if is_hard != budget.is_hard:
            changes.setdefault("action", (Budget.Action.FREEZE if is_hard else Budget.Action.NOTIFY).value)
    if unknown := set(changes) - set(CHANGEABLE):
        raise Invalid(f"{', '.join(sorted(unknown))} cannot be changed: retire this budget and make another.", field=min(unknown))
    return quoted_changes(budget, {name: stored(name, value) for name, value in changes.items()})


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
    return Budget.objects.select_for_update(of=("self",), no_key=True).select_related("organization").get(pk=budget.pk)


def _open(budget: Budget) -> Any:
    return BudgetPeriod.objects.filter(organization=budget.organization_id, budget=budget).filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))


def _present_periods_follow(actor: Actor, budget: Budget) -> None:
    """Locks the open periods in id order, gives them the budget's limit, and freezes or thaws where that changes their state."""
    locked = list(_open(budget).order_by("id").select_for_update(no_key=True).values_list("pk", flat=True))
    rows = BudgetPeriod.objects.filter(organization=budget.organization_id, pk__in=locked)
    _check_moved(locked, budget)
    freezes = budget.action == Budget.Action.FREEZE
    rows.update(limit_amount=budget.limit_amount, is_hard=budget.is_hard, freezes_at_limit=freezes, refused_at=None, refused_amount=None)
    if budget.quoted_limit is not None:
        for period in rows.filter(exchange_rate__isnull=False):
            limit = exchanged(budget.quoted_limit, period.exchange_rate or Decimal(1))
            rows.filter(pk=period.pk).update(quoted_limit=budget.quoted_limit, limit_amount=limit)
    _note_passed_thresholds(rows.filter(spent__gt=0), budget)
    is_reached = Q(spent__gte=F("limit_amount") + F("topup"), is_hard=True, freezes_at_limit=True)
    turning = rows.filter(Q(frozen_at__isnull=False) & ~is_reached | Q(frozen_at=None) & is_reached & _recent(budget)).order_by("id")
    for period_id in list(turning.values_list("pk", flat=True)):
        period_review(actor=actor, period=period_locked(actor, period_id), reason="the limit was changed")


def _check_moved(period_ids: list[int], budget: Budget) -> None:
    """No limit falls below what was moved out of a period for good. Raises Conflict."""
    lasting = TopUp.objects.filter(organization=budget.organization_id, period__in=period_ids, ended_at=None, ends_at=None)
    short = lasting.order_by().values("period").annotate(amount=Sum("amount")).filter(amount__lt=-budget.limit_amount).order_by("amount").first()
    if short is not None:
        raise Conflict(f"{written(-short['amount'])} {budget.unit} was moved out of its period: the limit cannot be lower.", field="limit_amount")


def _recent(budget: Budget) -> Q:
    """For a template, the sessions and tasks that ran within a day; else everything."""
    live = Session.objects.filter(organization=budget.organization_id, last_at__gte=timezone.now() - RECENT)
    if budget.scope_kind == Budget.ScopeKind.SESSION:
        return Q(session_key__in=live.values("key"))
    return Q(task_key__in=live.values("task")) if budget.scope_kind == Budget.ScopeKind.TASK else Q()


def budget_facts(budget: Budget) -> dict[str, Any]:
    """The budget as the audit record keeps it."""
    names = (
        "name", "scope_kind", "team_id", "project_id", "member_id", "service_account_id", "api_key_id", "filters", "period_kind", "rolling_hours",
        "anchor_day", "measure", "limit_amount", "currency", "quoted_limit", "quoted_currency", "is_hard", "action", "downgrade_models", "thresholds", "warns_ahead", "fails_open",
        "rollover_cap", "unpriced_call_amount", "counts_notional", "counts_from",
    )
    return {name: getattr(budget, name) for name in names}


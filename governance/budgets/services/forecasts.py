"""Tells ahead: which budgets will reach their limit before their window ends, once for each crossing and with a margin."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.budgets.ledger import ledger
from governance.budgets.models import BudgetPeriod, ThresholdCrossing
from governance.budgets.rules import Rule, rules_of
from governance.budgets.services import tell
from governance.forecast import HISTORY_DAYS, Forecast, forecast
from governance.periods import local_midnight
from governance.tenancy.access import Actor
from governance.tenancy.directory import Directory, directory_of
from governance.tenancy.models import Organization

# The percent under which the forecast's crossing is kept.
AHEAD = 0
# Below this part of the limit the forecast falls before reaching it again is news.
WELL_BELOW = Decimal("0.95")
# The part of a window that has to be over before its forecast is told.
YOUNG = 10


def turn(*, is_told: bool, expected: Decimal, allowance: Decimal) -> Literal["tell", "end"] | None:
    """What a look at the forecast of a period's end changes: tells what is not told yet, ends what has fallen well below the limit."""
    if not is_told:
        return "tell" if expected >= allowance else None
    return "end" if expected < allowance * WELL_BELOW else None


def forecasts_look(*, actor: Actor, now: datetime | None = None) -> int:
    """Looks at the present window of each of the organization's budgets that warn ahead. Returns of how many it told."""
    now = now or timezone.now()
    organization = Organization.objects.get(pk=actor.organization.pk)
    directory = directory_of(organization, organization.config_version)
    rows = BudgetPeriod.objects.filter(
        organization=organization, session_key="", task_key="", starts_at__lte=now, ends_at__gt=now, budget__is_active=True, budget__warns_ahead=True
    )
    rules = rules_of(directory).by_id
    return sum(_look(actor, directory, rules[period.budget_id], period, now=now) for period in rows.order_by("pk") if period.budget_id in rules)


def _look(actor: Actor, directory: Directory, rule: Rule, period: BudgetPeriod, *, now: datetime) -> bool:
    if period.ends_at is None or (now - period.starts_at) * YOUNG < period.ends_at - period.starts_at:
        return False
    course = period_forecast(directory, rule, period, now=now)
    if course is None or course.allowance <= 0:
        return False
    return _turn(actor, rule, period, course, now=now)


@transaction.atomic
def _turn(actor: Actor, rule: Rule, period: BudgetPeriod, course: Forecast, *, now: datetime) -> bool:
    """Tells, or ends what was told. A period that has used up its limit is told of by its freeze or by its thresholds."""
    told = ThresholdCrossing.objects.filter(organization=actor.organization, period=period, percent=AHEAD, ended_at=None)
    change = turn(is_told=told.exists(), expected=course.at_end.expected, allowance=course.allowance)
    if change == "end":
        told.update(ended_at=now)
    if change != "tell" or period.spent >= course.allowance:
        return False
    crossing, is_first = ThresholdCrossing.objects.get_or_create(
        organization=actor.organization, period=period, percent=AHEAD, ended_at=None, defaults={"spent": period.spent}
    )
    if is_first:
        facts = {"expected": course.at_end.expected, "limit": course.allowance, "exhausted_at": course.exhausted_at, "crossing": crossing.pk}
        audit_record(actor=actor, action="budget_period.forecast_told", target=("budget_period", period.pk), new=facts)
        tell.forecast_exceeds(actor.organization, rule, period, course)
    return is_first


def period_forecast(directory: Directory, rule: Rule, period: BudgetPeriod, *, now: datetime) -> Forecast | None:
    """The course of a running period to its end; None with too little history."""
    return forecast(
        spent=period.spent, allowance=period.allowance, history=history_of(directory, rule, now=now), now=now, ends_at=period.ends_at, zone=directory.zone
    )


def history_of(directory: Directory, rule: Rule, *, now: datetime) -> Mapping[date, Decimal]:
    """What the budget counted on each of the last full local days, in its measure."""
    today = now.astimezone(directory.zone).date()
    first = local_midnight(today - timedelta(days=HISTORY_DAYS), directory.zone)
    found = ledger().course(directory, rule, starts_at=first, ends_at=local_midnight(today, directory.zone), step="day")
    return {at.astimezone(directory.zone).date(): amount for at, amount in found.items()}

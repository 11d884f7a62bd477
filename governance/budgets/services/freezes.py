"""Freezes by hand, the end of freezes, and top-ups that make room again."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.budgets.models import BudgetPeriod, Freeze, Session, ThresholdCrossing, TopUp
from governance.errors import Conflict, Invalid, NotFound
from governance.money import LARGEST, quantize
from governance.tenancy.access import Actor, Right, require, visible

# So far below its threshold a spend falls before passing it again is news.
HYSTERESIS_PERCENT = 5


@transaction.atomic
def session_freeze(*, actor: Actor, session_key: str, reason: str) -> Freeze:
    """Refuses further calls of a session until somebody resumes it. Freezing it again changes nothing."""
    require(actor, Right.FREEZE)
    if not reason.strip():
        raise Invalid("Say why, so that the person at the other end knows.", field="reason")
    session = _session(actor, session_key)
    freeze, is_new = Freeze.objects.get_or_create(
        organization=actor.organization, session_key=session.key, cause=Freeze.Cause.HAND, ended_at=None,
        defaults={"reason": reason.strip()[:300], "started_at": timezone.now(), "started_by": actor.member},
    )
    if is_new:
        audit_record(actor=actor, action="freeze.started", target=("freeze", freeze.pk), new={"session": session.key, "reason": freeze.reason})
    return freeze


@transaction.atomic
def session_resume(*, actor: Actor, session_key: str, reason: str = "") -> list[Freeze]:
    """Ends the freeze by hand of a session. Raises Conflict when a budget is what holds it: that takes a top-up."""
    require(actor, Right.FREEZE)
    session = _session(actor, session_key)
    active = list(Freeze.objects.select_for_update(of=("self",)).filter(organization=actor.organization, session_key=session.key, ended_at=None))
    by_hand = [freeze for freeze in active if freeze.cause == Freeze.Cause.HAND]
    if active and not by_hand:
        raise Conflict("A budget holds this session. Grant it more, or raise the budget's limit.", freeze=active[0].pk)
    for freeze in by_hand:
        freeze_end(actor=actor, freeze=freeze, reason=reason or "resumed by hand")
    return by_hand


def _session(actor: Actor, session_key: str) -> Session:
    session = visible(actor, Session.objects.all()).filter(key=session_key).first()
    if session is None:
        raise NotFound("There is no such session here.")
    return session


def freeze_end(*, actor: Actor, freeze: Freeze, reason: str) -> None:
    """Marks a freeze as ended. For a budget's freeze the caller has taken `frozen_at` off the period."""
    freeze.ended_at = timezone.now()
    freeze.ended_by = actor.member
    freeze.end_reason = reason[:300]
    freeze.save(update_fields=["ended_at", "ended_by", "end_reason"])
    facts = {"session": freeze.session_key, "period": freeze.period_id, "reason": freeze.end_reason}
    audit_record(actor=actor, action="freeze.ended", target=("freeze", freeze.pk), old={"started_at": freeze.started_at}, new=facts)


def period_topup(*, actor: Actor, period_id: int, amount: Decimal, ends_at: datetime | None = None, reason: str = "") -> TopUp:
    """Adds money to one period until `ends_at` (or the period's end) and ends its freeze when there is room again.

    Runs in the caller's transaction; takes the period's row lock. Raises NotFound, Invalid for an amount that is not
    above zero, and Conflict when the period is over.
    """
    amount = quantize(amount)
    if amount <= 0:
        raise Invalid("A top-up is more than zero.", field="amount")
    period = period_locked(actor, period_id)
    now = timezone.now()
    if period.ends_at is not None and period.ends_at <= now:
        raise Conflict("That budget period is over. Ask again for the present one.", period=period.pk)
    if ends_at is not None and ends_at <= now:
        raise Invalid("A top-up ends in the future.", field="ends_at")
    if period.allowance + amount >= LARGEST:
        raise Invalid("That is more than a budget can hold.", field="amount")
    topup = TopUp.objects.create(
        organization=actor.organization, period=period, amount=amount, granted_at=now, ends_at=ends_at, granted_by=actor.member
    )
    old = period.topup
    period.topup = old + amount
    period.refused_at = period.refused_amount = None
    period.save(update_fields=["topup", "refused_at", "refused_amount"])
    facts = {"topup": period.topup, "amount": amount, "ends_at": ends_at, "reason": reason}
    audit_record(actor=actor, action="budget_period.topped_up", target=("budget_period", period.pk), old={"topup": old}, new=facts)
    period_review(actor=actor, period=period, reason=reason or "topped up")
    return topup


@transaction.atomic
def topup_end(*, actor: Actor, topup_id: int) -> bool:
    """Takes an expired top-up off its period, which may freeze it again. False when it had ended already."""
    topup = TopUp.objects.filter(organization=actor.organization, pk=topup_id).first()
    if topup is None:
        return False
    period = period_locked(actor, topup.period_id)
    topup = TopUp.objects.select_for_update().get(pk=topup_id)
    if topup.ended_at is not None:
        return False
    topup.ended_at = timezone.now()
    topup.save(update_fields=["ended_at"])
    old = period.topup
    period.topup = old - topup.amount
    period.save(update_fields=["topup"])
    audit_record(
        actor=actor, action="budget_period.topup_ended", target=("budget_period", period.pk), old={"topup": old}, new={"topup": period.topup}
    )
    period_review(actor=actor, period=period, reason="the top-up ended")
    return True


def period_locked(actor: Actor, period_id: int) -> BudgetPeriod:
    """The period with its row lock held. Raises NotFound outside the actor's organization."""
    period = (
        BudgetPeriod.objects.select_for_update(of=("self",), no_key=True).select_related("budget")
        .filter(organization=actor.organization, pk=period_id).first()
    )
    if period is None:
        raise NotFound("There is no such budget period here.")
    return period


def period_review(*, actor: Actor, period: BudgetPeriod, reason: str) -> None:
    """Freezes or thaws a locked period so that its state fits its balance and limit."""
    is_over = period.ends_at is not None and period.ends_at <= timezone.now()
    is_reached = period.is_hard and period.freezes_at_limit and period.spent >= period.allowance and not is_over and period.budget.is_active
    _end_crossings(period)
    if is_reached == (period.frozen_at is not None):
        return
    if is_reached:
        period.frozen_at = timezone.now()
        period.save(update_fields=["frozen_at"])
        freeze = Freeze.objects.create(
            organization=actor.organization, cause=Freeze.Cause.BUDGET, period=period, session_key=period.session_key,
            reason=f"{period.budget.name}: {reason}"[:300], started_at=period.frozen_at, started_by=actor.member,
        )
        facts = {"budget": period.budget_id, "period": period.pk, "session": period.session_key}
        audit_record(actor=actor, action="freeze.started", target=("freeze", freeze.pk), new=facts)
        return
    period.frozen_at = None
    period.save(update_fields=["frozen_at"])
    for freeze in Freeze.objects.filter(organization=actor.organization, period=period, cause=Freeze.Cause.BUDGET, ended_at=None):
        freeze_end(actor=actor, freeze=freeze, reason=reason)


def _end_crossings(period: BudgetPeriod) -> None:
    """Ends the thresholds that the spend has fallen well below, so that they are told again when it passes them again."""
    if period.allowance > 0:
        percent = period.spent * 100 / period.allowance
        ThresholdCrossing.objects.filter(
            organization=period.organization_id, period=period, ended_at=None, percent__gt=percent + HYSTERESIS_PERCENT
        ).update(ended_at=timezone.now())


def ended_period_freezes_end(*, actor: Actor, now: datetime) -> int:
    """Ends the freezes of periods that are over: the next window is another row, which starts free."""
    ended = BudgetPeriod.objects.filter(organization=actor.organization, frozen_at__isnull=False, ends_at__lte=now).order_by("id")
    count = 0
    for period_id in list(ended.values_list("pk", flat=True)):
        with transaction.atomic():
            period = period_locked(actor, period_id)
            period_review(actor=actor, period=period, reason="the period is over")
            count += 1
    return count


def refusal_note(*, organization_id: int, period_id: int, amount: Decimal, now: datetime) -> None:
    """Notes on a period that a hold did not fit, so that pages can say a session is blocked before it is frozen."""
    sql.execute(
        "UPDATE budget_period SET refused_at = %s, refused_amount = %s WHERE organization_id = %s AND id = %s",
        [now, amount, organization_id, period_id],
    )

"""Freezes of budgets, the record of all that start and end, and top-ups that make room again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.budgets.models import BudgetPeriod, Freeze, Session, ThresholdCrossing, TopUp
from governance.errors import Conflict, Invalid, NotFound
from governance.money import LARGEST, quantize
from governance.notices.links import budget_link, freezes_link, session_link
from governance.notices.models import Signal
from governance.notices.signals import signal_add
from governance.tenancy.access import Actor
from governance.tenancy.models import Member

# So far below its threshold a spend falls before passing it again is news.
HYSTERESIS_PERCENT = 5


def freeze_by_budget(*, actor: Actor, freeze: Freeze, facts: Mapping[str, Any]) -> None:
    """Records the freeze of a period whose row says `frozen_at` already. That of a session's or task's own limit is found by the session."""
    freeze.organization, freeze.cause = actor.organization, Freeze.Cause.BUDGET
    freeze.scope_kind = Freeze.ScopeKind.SESSION if freeze.session_key else Freeze.ScopeKind.PERIOD
    freeze.scope_key = freeze.session_key
    freeze.save(force_insert=True)
    freeze_record(actor=actor, freeze=freeze, facts=facts)


def freeze_record(*, actor: Actor, freeze: Freeze, facts: Mapping[str, Any]) -> None:
    """The audit row and the signal of a freeze that was just made."""
    audit_record(actor=actor, action="freeze.started", target=("freeze", freeze.pk), new=facts)
    signal_add(organization=actor.organization, kind=Signal.Kind.FREEZE_STARTED, facts=_told(actor, freeze) | {"reason": freeze.reason}, team_id=_team(freeze))


def freeze_end(*, actor: Actor, freeze: Freeze, reason: str) -> None:
    """Marks a freeze as ended. For a budget's freeze the caller has taken `frozen_at` off the period."""
    freeze.ended_at = timezone.now()
    freeze.ended_by = actor.member
    freeze.end_reason = reason[:300]
    freeze.save(update_fields=["ended_at", "ended_by", "end_reason"])
    facts = {"session": freeze.session_key, "period": freeze.period_id, "reason": freeze.end_reason}
    if freeze.period is None:
        facts |= {"scope_kind": freeze.scope_kind, "scope_key": freeze.scope_key}
    audit_record(actor=actor, action="freeze.ended", target=("freeze", freeze.pk), old={"started_at": freeze.started_at}, new=facts)
    signal_add(organization=actor.organization, kind=Signal.Kind.FREEZE_ENDED, facts=_told(actor, freeze) | {"reason": freeze.end_reason}, team_id=_team(freeze))


def _told(actor: Actor, freeze: Freeze) -> dict[str, Any]:
    """What programs are told of a freeze, in names that usage goes by."""
    return {
        "freeze": freeze.pk, "scope_kind": freeze.scope_kind, "scope_key": freeze.label, "cause": freeze.cause, "session": freeze.session_key,
        "budget": freeze.period.budget_id if freeze.period is not None else None, "by": actor.label, "url": freeze_link(actor.organization.slug, freeze),
        "member": holder.user.email if (holder := _holder(freeze)) is not None else "",
    }


def _holder(freeze: Freeze) -> Member | None:
    """The person whose calls a freeze of a member or of a key stops."""
    return freeze.member if freeze.api_key is None else freeze.api_key.member


def _team(freeze: Freeze) -> int | None:
    """The team whose channels hear of it. None: only those of the whole organization."""
    if freeze.session_key:
        return Session.objects.filter(organization=freeze.organization_id, key=freeze.session_key).values_list("team_id", flat=True).first()
    if (holder := _holder(freeze)) is not None:
        return holder.team_id
    if freeze.api_key is not None and freeze.api_key.service_account is not None:
        return freeze.api_key.service_account.team_id
    return freeze.period.budget.team_id if freeze.period is not None else freeze.team_id


def freeze_link(slug: str, freeze: Freeze) -> str:
    """The page on which a freeze is seen and ended."""
    if freeze.session_key:
        return session_link(slug, freeze.session_key)
    return budget_link(slug, freeze.period.budget_id) if freeze.period is not None else freezes_link(slug)


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
        freeze = Freeze(
            period=period, session_key=period.session_key, reason=f"{period.budget.name}: {reason}"[:300], started_at=period.frozen_at,
            started_by=actor.member,
        )
        facts = {"budget": period.budget_id, "period": period.pk, "session": period.session_key}
        freeze_by_budget(actor=actor, freeze=freeze, facts=facts)
        return
    period.frozen_at = None
    period.save(update_fields=["frozen_at"])
    for freeze in Freeze.objects.filter(organization=actor.organization, period=period, cause=Freeze.Cause.BUDGET, ended_at=None):
        freeze_end(actor=actor, freeze=freeze, reason=reason)


UNFIT = f"""
SELECT p.id, p.frozen_at IS NOT NULL AS is_frozen FROM budget_period p JOIN budget b ON b.organization_id = p.organization_id AND b.id = p.budget_id
WHERE p.organization_id = %(organization)s AND p.id = ANY(%(ids)s::bigint[]) AND (
    (p.is_hard AND p.freezes_at_limit AND p.spent >= p.limit_amount + p.topup AND (p.ends_at IS NULL OR p.ends_at > %(now)s) AND b.is_active)
        <> (p.frozen_at IS NOT NULL)
    OR p.limit_amount + p.topup > 0 AND EXISTS (
        SELECT FROM threshold_crossing c WHERE c.organization_id = %(organization)s AND c.period_id = p.id AND c.ended_at IS NULL
            AND c.percent > p.spent * 100 / (p.limit_amount + p.topup) + {HYSTERESIS_PERCENT})
) ORDER BY p.id
"""  # noqa: S608 - built from constants


def periods_review(*, actor: Actor, ids: Sequence[int], reason: str, now: datetime) -> tuple[list[int], list[int]]:
    """Freezes, thaws and ends thresholds of those of the locked periods that their balances no longer fit. Returns (frozen, thawed)."""
    frozen: list[int] = []
    thawed: list[int] = []
    for row in sql.rows(UNFIT, {"organization": actor.organization.pk, "ids": list(ids), "now": now}):
        period = period_locked(actor, row.id)
        period_review(actor=actor, period=period, reason=reason)
        if (period.frozen_at is not None) != row.is_frozen:
            (thawed if row.is_frozen else frozen).append(period.pk)
    return frozen, thawed


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

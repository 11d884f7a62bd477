"""Months are closed, so that what was reported of them stands, and reopened."""

from datetime import date, datetime

from django.db import transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid, NotFound
from governance.periods import add_months
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.models import MonthClose, Organization
from governance.tenancy.services import organization_touch

# Before it nobody called a model; and what a close bounds is computed with, which the first years of all do not bear.
FIRST_MONTH = date(2000, 1, 1)


@transaction.atomic
def month_close(*, actor: Actor, month: date, reason: str, now: datetime | None = None) -> MonthClose:
    """Closes a local month that is over, named by its first day. From the commit on nothing that was counted in it moves.

    One that is closed stays as it is. Raises Forbidden, and Invalid for a month that is not over or no reason.
    """
    require(actor, Right.CLOSE_MONTHS)
    now = now or timezone.now()
    month, reason = month.replace(day=1), _said(reason)
    if month >= now.astimezone(actor.organization.zone).date().replace(day=1):
        raise Invalid("This month is not over yet.", field="month")
    if month < FIRST_MONTH:
        raise Invalid("Nothing can have been counted in this month.", field="month")
    organization_touch(actor.organization)
    row, is_new = MonthClose.objects.get_or_create(
        organization=actor.organization,
        month=month,
        reopened_at=None,
        defaults={"closed_at": now, "closed_by": actor.member, "reason": reason},
    )
    if is_new:
        audit_record(actor=actor, action="month.closed", target=("month", f"{month:%Y-%m}"), new={"month": month, "reason": reason})
    return row


@transaction.atomic
def month_reopen(*, actor: Actor, month: date, reason: str, now: datetime | None = None) -> MonthClose:
    """Lets a closed month move again. What was posted for it elsewhere stays there. Raises Forbidden, Invalid without a reason, and NotFound."""
    require(actor, Right.CLOSE_MONTHS)
    month, reason = month.replace(day=1), _said(reason)
    organization_touch(actor.organization)
    row = scoped(actor, MonthClose.objects.select_for_update(of=("self",))).filter(month=month, reopened_at=None).first()
    if row is None:
        raise NotFound("This month is not closed.")
    row.reopened_at, row.reopened_by, row.reopen_reason = now or timezone.now(), actor.member, reason
    row.save(update_fields=["reopened_at", "reopened_by", "reopen_reason"])
    audit_record(
        actor=actor,
        action="month.reopened",
        target=("month", f"{month:%Y-%m}"),
        old={"closed_at": row.closed_at, "reason": row.reason},
        new={"reason": reason},
    )
    return row


def days_open_check(organization: Organization, first: date, until: date | None = None, *, field: str) -> None:
    """Raises Conflict where the local days [first, until) reach into a closed month; no month is closed until the transaction ends.

    For what is counted by the day and cannot be posted as a difference, such as fees. `until` None: without an end.
    """
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    closed = MonthClose.objects.filter(organization=organization, reopened_at=None, month__gt=add_months(first.replace(day=1), -1))
    if until is not None:
        closed = closed.filter(month__lt=until)
    last = closed.order_by("-month").first()
    if last is not None:
        raise Conflict(
            f"{last.month:%B %Y} is closed, and this would change its figures. Take a later day, or have finance reopen the month.",
            field=field,
        )


def month_named(text: str) -> date:
    """The month of a text such as 2026-10. Raises Invalid."""
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError:
        raise Invalid("Write a month as 2026-10.", field="month") from None


def _said(reason: str) -> str:
    if not reason.strip():
        raise Invalid("Say why, so that whoever reads the record knows.", field="reason")
    return reason.strip()[:300]

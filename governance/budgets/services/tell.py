"""Notices and signals that budgets cause, written into the outbox in the causing transaction."""

from typing import Any

from django.utils import timezone

from governance.budgets.models import Session, ThresholdCrossing
from governance.budgets.rules import Rule
from governance.forecast import Forecast
from governance.notices import messages
from governance.notices.links import budget_link, session_link
from governance.notices.models import Notice, Signal
from governance.notices.services import notice_add
from governance.notices.signals import signal_add
from governance.tenancy.access import members_who_decide
from governance.tenancy.models import Member, Organization


def frozen(organization: Organization, rule: Rule, period: Any) -> None:
    """Tells those who may decide, and the person whose session it is, that a hard limit was reached."""
    message = messages.budget_frozen(
        budget=rule.name, spent=period.spent, limit=period.limit_amount + period.topup, currency=rule.unit, zone=organization.zone,
        ends_at=period.ends_at, session=period.session_key, link=_link(organization, rule, period),
    )
    key = f"frozen:{period.id}:{period.limit_amount + period.topup}"
    _add(organization, rule, period, message=message, key=key, kind=Notice.Kind.FROZEN)


def threshold_passed(organization: Organization, rule: Rule, period: Any, crossing: ThresholdCrossing) -> None:
    """Tells that a period passed a percentage of its limit."""
    person = _person(organization, rule, period) if period.session_key else None
    message = messages.budget_threshold(
        budget=rule.name, percent=crossing.percent, spent=period.spent, limit=period.limit_amount + period.topup, currency=rule.unit,
        zone=organization.zone, ends_at=period.ends_at, session=period.session_key, member=str(person) if person else "",
        link=_link(organization, rule, period),
    )
    _add(organization, rule, period, message=message, key=f"threshold:{period.id}:{crossing.percent}:{crossing.pk}", kind=Notice.Kind.THRESHOLD)
    facts = {
        "budget": rule.id, "budget_name": rule.name, "period": period.id, "percent": crossing.percent, "spent": period.spent, "limit": period.limit_amount + period.topup,
        "unit": rule.unit, "session": period.session_key, "member": str(person) if person else "", "period_ends_at": period.ends_at,
        "url": _link(organization, rule, period),
    }  # fmt: skip
    signal_add(organization=organization, kind=Signal.Kind.THRESHOLD_PASSED, facts=facts, team_id=_team_id(organization, rule, period))


def _team_id(organization: Organization, rule: Rule, period: Any) -> int | None:
    """The team whose channels hear of it: the budget's, else that of the session or member it is for."""
    if rule.team_id is not None:
        return rule.team_id
    if period.session_key:
        return Session.objects.filter(organization=organization, key=period.session_key).values_list("team_id", flat=True).first()
    return Member.objects.filter(organization=organization, pk=rule.member_id).values_list("team_id", flat=True).first() if rule.member_id else None


def forecast_exceeds(organization: Organization, rule: Rule, period: Any, course: Forecast) -> None:
    """Tells people and programs that a period's limit will be reached before the period ends."""
    link, expected = budget_link(organization.slug, rule.id), course.at_end.expected
    if course.exhausted_at is None or period.ends_at is None:
        return
    message = messages.budget_forecast(
        budget=rule.name, spent=period.spent, limit=course.allowance, expected=expected, currency=rule.unit, zone=organization.zone,
        exhausted_at=course.exhausted_at, ends_at=period.ends_at, link=link,
    )
    _add(organization, rule, period, message=message, key=f"forecast:{period.id}:{timezone.now():%Y%m%d%H%M%S}", kind=Notice.Kind.FORECAST)
    signal_add(organization=organization, kind=Signal.Kind.FORECAST, facts={
        "budget": rule.id, "budget_name": rule.name, "period": period.id, "spent": period.spent, "limit": course.allowance, "unit": rule.unit,
        "expected": expected, "exhausted_at": course.exhausted_at, "period_ends_at": period.ends_at, "url": link,
    }, team_id=_team_id(organization, rule, period))


def _link(organization: Organization, rule: Rule, period: Any) -> str:
    """The page of the session that a period is for, else of the budget."""
    slug = organization.slug
    return session_link(slug, period.session_key) if period.session_key else budget_link(slug, rule.id)


def _add(organization: Organization, rule: Rule, period: Any, *, message: messages.Message, key: str, kind: Notice.Kind) -> None:
    """Tells the person whose budget or session it is, and those who may decide. Being frozen oneself is a kind of its own, and comes first."""
    if person := _person(organization, rule, period):
        own = Notice.Kind.OWN_FROZEN if kind == Notice.Kind.FROZEN else kind
        notice_add(organization=organization, recipients=[person], subject=message.subject, body=message.body, key=key, kind=own)
    others = [member for member in members_who_decide(organization, rule.team_id) if person is None or member.pk != person.pk]
    notice_add(organization=organization, recipients=others, subject=message.subject, body=message.body, key=key, kind=kind)


def _person(organization: Organization, rule: Rule, period: Any) -> Member | None:
    """The member the budget or the session belongs to."""
    member_id = rule.member_id
    if member_id is None and period.session_key:
        member_id = (
            Session.objects.filter(organization=organization, key=period.session_key).values_list("member_id", flat=True).first()
        )
    return Member.objects.filter(organization=organization, pk=member_id).select_related("user").first() if member_id else None

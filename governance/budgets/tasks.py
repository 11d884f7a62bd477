"""Celery edge of budgets: what time alone changes."""

from celery import shared_task
from django.utils import timezone

from governance.budgets import services
from governance.budgets.calls import Call
from governance.budgets.models import BudgetPeriod, Refusal, TopUp
from governance.budgets.rules import rules_of
from governance.budgets.services.periods import periods_ensure
from governance.tenancy.access import system_actor
from governance.tenancy.directory import Attribution, directory_of
from governance.tenancy.models import Organization

NOBODY = Call(Attribution(None, None, None))


@shared_task
def holds_expire() -> int:
    """Gives back the holds whose time is over."""
    return services.holds_expire()


@shared_task
def topups_expire() -> int:
    """Takes top-ups that have ended off their periods."""
    due = TopUp.objects.filter(ended_at=None, ends_at__lte=timezone.now()).select_related("organization").order_by("organization", "id")
    return sum(services.topup_end(actor=system_actor(topup.organization), topup_id=topup.pk) for topup in due)


@shared_task
def periods_roll() -> int:
    """Makes the present periods of budgets that have seen no call yet; closes those that are over, and carries over what they leave."""
    now = timezone.now()
    count = 0
    for organization in Organization.objects.order_by("id"):
        services.periods_close(actor=system_actor(organization), now=now)
        rules = rules_of(directory_of(organization, organization.config_version))
        keys = [rules.period(rule, now, NOBODY) for rule in rules.by_id.values() if rule.scope_kind not in ("session", "task")]
        periods_ensure(organization_id=organization.pk, rules=rules, keys=[key for key in keys if key is not None], now=now)
        if BudgetPeriod.objects.filter(organization=organization, frozen_at__isnull=False, ends_at__lte=now).exists():
            count += services.ended_period_freezes_end(actor=system_actor(organization), now=now)
    return count


@shared_task
def periods_slide() -> int:
    """Moves rolling windows on."""
    rows = Organization.objects.filter(pk__in=BudgetPeriod.objects.filter(slides_from__isnull=False).values("organization")).order_by("id")
    return sum(services.periods_slide(actor=system_actor(organization)) for organization in rows)


@shared_task
def refusals_fold() -> int:
    """Adds refused calls up by the hour."""
    rows = Organization.objects.filter(pk__in=Refusal.objects.filter(hour=None).values("organization")).order_by("id")
    return sum(services.refusals_fold(organization_id=organization.pk, now=timezone.now()) for organization in rows)


@shared_task
def links_forget() -> int:
    """Lets go of what authorizations said long ago of which session began which."""
    return services.links_forget(now=timezone.now())


@shared_task
def forecasts_look() -> int:
    """Tells of the budgets that will reach their limit before their window ends."""
    return sum(services.forecasts_look(actor=system_actor(organization)) for organization in Organization.objects.order_by("id"))

"""Reads of the outbox and of channels."""

from django.db.models import Count, Q, QuerySet

from governance.notices.models import Delivery, Endpoint, Notice
from governance.tenancy import access
from governance.tenancy.access import Actor, Right


def notices_dead(actor: Actor) -> QuerySet[Notice]:
    """The notices that were given up after the last attempt, newest first. Needs the right to see the record."""
    access.require(actor, Right.VIEW_AUDIT)
    return access.scoped(actor, Notice.objects.filter(state=Notice.State.DEAD)).order_by("-created_at", "-id")


def endpoints_present(actor: Actor) -> QuerySet[Endpoint]:
    """The organization's channels by name, with how many deliveries wait and were not taken."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    real = Q(deliveries__signal__isnull=False)
    rows = access.scoped(actor, Endpoint.objects.filter(is_removed=False)).select_related("team", "organization")
    return rows.annotate(
        waiting=Count("deliveries", filter=real & Q(deliveries__state=Delivery.State.WAITING)),
        dead=Count("deliveries", filter=real & Q(deliveries__state=Delivery.State.DEAD)),
    ).order_by("name", "id")


def deliveries_of(actor: Actor, endpoint: Endpoint) -> QuerySet[Delivery]:
    """What went or goes to a channel, newest first."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    rows = access.scoped(actor, Delivery.objects.filter(endpoint=endpoint))
    return rows.select_related("signal", "endpoint__organization").order_by("-id")

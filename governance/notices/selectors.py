"""Reads of the outbox."""

from django.db.models import QuerySet

from governance.notices.models import Notice
from governance.tenancy import access
from governance.tenancy.access import Actor, Right


def notices_dead(actor: Actor) -> QuerySet[Notice]:
    """The notices that were given up after the last attempt, newest first. Needs the right to see the record."""
    access.require(actor, Right.VIEW_AUDIT)
    return access.scoped(actor, Notice.objects.filter(state=Notice.State.DEAD)).order_by("-created_at", "-id")

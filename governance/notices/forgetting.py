"""Drops from the outbox what was delivered or given up long ago; the record of decisions and freezes is elsewhere and stays."""

from datetime import timedelta

from django.utils import timezone

from governance.notices.models import Delivery, Notice, Signal
from governance.notices.tokens import links_forget

KEPT_FOR = timedelta(days=90)


def outbox_forget() -> int:
    """Deletes deliveries, notices and signals older than KEPT_FOR that nothing waits for. Returns how many rows."""
    before = timezone.now() - KEPT_FOR
    done = Delivery.objects.filter(created_at__lt=before).exclude(state=Delivery.State.WAITING).delete()[0]
    done += Notice.objects.filter(created_at__lt=before).exclude(state__in=(Notice.State.WAITING, Notice.State.HELD)).delete()[0]
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING, signal__isnull=False).values("signal_id")
    done += Signal.objects.filter(at__lt=before).exclude(pk__in=waiting).delete()[0]
    return done + links_forget()

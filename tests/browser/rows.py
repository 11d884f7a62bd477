"""Rows that the demo has none of, made in a house's own process: a channel and what it did not take, a lost mail, a trial on history, a re-rating, a link that decides."""

import json
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from governance.approvals.models import ApprovalRequest
from governance.notices.endpoints import endpoint_create
from governance.notices.models import Delivery, Endpoint, Notice, Signal
from governance.notices.signals import signal_add
from governance.notices.tokens import link_make
from governance.tenancy.access import Actor, member_actor
from governance.tenancy.models import Member
from ingest.guard.history import trial_run
from ingest.guard.models import GuardRule
from ingest.guard.services import trial_create
from ingest.importing.services import import_create
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create


def rows_made(slug: str, email: str) -> str:
    """Makes them as the person with the address, and gives the named parts of the addresses they are at, as JSON."""
    owner = Member.objects.select_related("organization", "team").get(organization__slug=slug, user__email=email)
    actor = member_actor(owner)
    pending = ApprovalRequest.objects.filter(organization=owner.organization, state=ApprovalRequest.State.PENDING).latest("created_at")
    link = link_make(organization=owner.organization, request_id=pending.pk, member=owner)
    delivery = delivery_refused(actor)
    return json.dumps(
        {
            "endpoint_id": str(delivery.endpoint_id),
            "delivery_id": str(delivery.pk),
            "notice_id": str(mail_lost(owner).pk),
            "trial_id": str(trial_done(actor)),
            "token": link.rpartition("/")[2],
            "run_id": str(run_worked_out(actor)),
            "attribution_run_id": str(attribution_run(actor)),
            "import_id": str(file_sent(actor)),
            "call_id": str(UsageEvent.objects.filter(organization=owner.organization, cost__gt=0).latest("occurred_at").id),
            "client": "claude-code",
            "provider": "anthropic",
            "model": "claude-opus-4-6",
        }
    )


def delivery_refused(actor: Actor) -> Delivery:
    """What a channel was sent and did not take. Its address is a number, so that no name has to be looked up; nobody sends to it here."""
    kind = Signal.Kind.FREEZE_STARTED
    made = endpoint_create(actor=actor, channel=Endpoint.Channel.WEBHOOK, name="Billing", address="https://1.1.1.1/hooks/weighhouse", kinds=[kind])
    with transaction.atomic():
        signal_add(organization=actor.organization, kind=kind, facts={"scope_kind": "session", "scope_key": "cc-7f31d04b92ae", "reason": "The limit is reached. " * 12})
    delivery = Delivery.objects.get(endpoint=made.endpoint)
    delivery.state, delivery.attempts, delivery.last_status, delivery.last_ms = Delivery.State.DEAD, 12, 503, 840
    delivery.last_error, delivery.last_answer = "It answered 503.", "upstream connect error or disconnect before headers " * 4
    delivery.save()
    return delivery


def mail_lost(owner: Member) -> Notice:
    return Notice.objects.create(
        organization=owner.organization, member=owner, recipient=owner.user.email, subject="Platform is at 80 % of its limit", body="80 %", key="lost",
        state=Notice.State.DEAD, attempts=8, next_attempt_at=timezone.now(), last_error="550 5.1.1 there is no such mailbox.",
    )  # fmt: skip


def run_worked_out(actor: Actor) -> int:
    """A re-rating of the last days that says what it would change, as the worker leaves it."""
    now = timezone.now()
    run = run_create(actor=actor, reason="The contract says other prices", starts_at=now - timedelta(days=3), ends_at=now)
    return int(run.pk)


def attribution_run(actor: Actor) -> int:
    """A run of the attribution rules over the last days."""
    now = timezone.now()
    run = run_create(actor=actor, kind=ReratingRun.Kind.ATTRIBUTION, reason="The shop has a rule now", starts_at=now - timedelta(days=3), ends_at=now)
    return int(run.pk)


def file_sent(actor: Actor) -> int:
    """A file that waits to be looked at, with a row that would be refused."""
    table = b"timestamp,model,input_tokens\n2026-10-20T10:00:00Z,claude-sonnet-4-5,1200\nyesterday,claude-sonnet-4-5,900\n"
    return int(import_create(actor=actor, file_name="october.csv", sent=[table]).pk)


def trial_done(actor: Actor) -> int:
    """A rule of the demo's guard, tried on its last days as the worker does it."""
    rule, now = GuardRule.objects.filter(organization=actor.organization, kind=GuardRule.Kind.BURN).earliest("id"), timezone.now()
    trial = trial_create(actor=actor, kind=rule.kind, parameters=rule.parameters, starts_at=now - timedelta(days=14), ends_at=now)
    trial_run(trial.pk)
    return trial.pk

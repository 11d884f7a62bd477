"""Sends what waits for webhooks and Slack channels: to each endpoint in order and by one worker at a time, at least once.

An endpoint that does not answer keeps its line waiting. A message that was answered with a refusal ASIDE_AFTER times steps aside, and is
tried again on its own while those behind it go on.
"""

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import TypeAlias

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from governance import sql
from governance.notices.endpoints import switch
from governance.notices.links import channel_link
from governance.notices.messages import channel_switched_off
from governance.notices.models import Delivery, Endpoint, Notice
from governance.notices.parcels import Outcome, attempt, delay_after
from governance.notices.services import notice_add
from governance.tenancy.access import members_who_decide, system_actor

log = logging.getLogger(__name__)

ATTEMPTS = 12
ASIDE_AFTER = 5
# Well above what one attempt may take (outgoing.SECONDS and the resolver's): after it another worker takes the endpoint.
LEASE = timedelta(seconds=60)
RUN_SECONDS = 60.0
TURN = 20  # parcels to one endpoint before others get their turn
LONGEST_WAIT = timedelta(hours=1)  # of what an answer's Retry-After may ask for
FAILING_FOR = timedelta(days=5)
# More signals of one kind that wait for one Slack channel than this become one message.
STORM = 5
GATHERED_MOST = 100
GONE = 410
State = Delivery.State
Off: TypeAlias = Endpoint.Off

TAKE = """
UPDATE notice_endpoint SET held_until = %(until)s::timestamptz, hold = hold + 1
WHERE id = (
    SELECT e.id FROM notice_endpoint e
    WHERE e.off = '' AND NOT e.is_removed AND (e.held_until IS NULL OR e.held_until <= %(now)s::timestamptz) AND EXISTS (
        SELECT 1 FROM notice_delivery d
        WHERE d.endpoint_id = e.id AND d.state = 'waiting' AND d.next_attempt_at <= %(now)s::timestamptz AND (d.is_aside OR NOT EXISTS (
            SELECT 1 FROM notice_delivery b WHERE b.endpoint_id = d.endpoint_id AND b.state = 'waiting' AND NOT b.is_aside AND b.id < d.id)))
    ORDER BY e.held_until NULLS FIRST, e.id
    LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, hold
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run did, in attempts."""

    taken: int = 0
    failed: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.taken + other.taken, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Hold:
    """A worker's right to send to an endpoint. It ends when another one has taken the endpoint."""

    endpoint_id: int
    number: int


def deliveries_send(*, threads: int = 1) -> Sent:
    """Sends what is due, in so many threads, until nothing is left or the run has lasted a minute. Any number of runs may go on at once."""
    until = monotonic() + RUN_SECONDS
    if threads == 1:
        return _send_until(until)
    with ThreadPoolExecutor(threads, thread_name_prefix="deliveries") as pool:
        return sum((run.result() for run in [pool.submit(_send_in_thread, until) for _ in range(threads)]), Sent())


def _send_in_thread(until: float) -> Sent:
    try:
        return _send_until(until)
    finally:
        connection.close()


def _send_until(until: float) -> Sent:
    done = Sent()
    while monotonic() < until and (hold := _take()) is not None:
        done += _send_line(hold, until)
    return done


def _take() -> Hold | None:
    """An endpoint with something due that no worker has, the one that waited longest for its turn."""
    now = timezone.now()
    with transaction.atomic():
        found = sql.rows(TAKE, {"now": now, "until": now + LEASE})
    return Hold(found[0].id, found[0].hold) if found else None


def _send_line(hold: Hold, until: float) -> Sent:
    """Sends to one endpoint until nothing is due, its turn is over, or the hold is lost."""
    done = Sent()
    for _ in range(TURN):
        if monotonic() >= until or not (parcel := _next(hold)):
            break
        outcome = attempt(parcel[0].endpoint, parcel)
        _note(hold, parcel, outcome)
        done += Sent(taken=1) if outcome.is_taken else Sent(failed=1)
    Endpoint.objects.filter(pk=hold.endpoint_id, hold=hold.number).update(held_until=timezone.now())
    return done


@transaction.atomic
def _next(hold: Hold) -> list[Delivery]:
    """What is sent next, its attempt counted before it is made and the hold renewed. Empty: nothing is due, or the hold is lost.

    A delivery whose attempts were all used up by crashes, so that no failure was ever noted, is given up here.
    """
    now = timezone.now()
    held = Endpoint.objects.filter(pk=hold.endpoint_id, hold=hold.number, off=Off.NOT, is_removed=False)
    if not held.update(held_until=now + LEASE):
        return []
    while (found := _due(hold.endpoint_id, now)) is not None:
        if found.attempts < ATTEMPTS:
            parcel = _parcel(found)
            Delivery.objects.filter(pk__in=[delivery.pk for delivery in parcel]).update(
                attempts=F("attempts") + 1, next_attempt_at=now + LEASE
            )
            return parcel
        Delivery.objects.filter(pk=found.pk).update(state=State.DEAD, last_error="Every attempt ended without an answer.")
    return []


def _due(endpoint_id: int, now: datetime) -> Delivery | None:
    """The head of the line when it is due, else the longest due of those that stand aside."""
    waiting = Delivery.objects.filter(endpoint_id=endpoint_id, state=State.WAITING).select_related("endpoint__organization", "signal")
    head = waiting.filter(is_aside=False).order_by("id").first()
    if head is not None and head.next_attempt_at <= now:
        return head
    return waiting.filter(is_aside=True, next_attempt_at__lte=now).order_by("next_attempt_at", "id").first()


def _parcel(head: Delivery) -> list[Delivery]:
    """The delivery; for Slack together with those right behind it that tell of the same, when they are many."""
    if head.endpoint.channel != Endpoint.Channel.SLACK or head.is_aside or head.signal is None:
        return [head]
    line = (
        Delivery.objects.filter(endpoint_id=head.endpoint_id, state=State.WAITING, is_aside=False).select_related("signal").order_by("id")
    )
    same = []
    for delivery in line[:GATHERED_MOST]:
        if delivery.signal is None or delivery.signal.kind != head.signal.kind:
            break
        same.append(delivery)
    return [head, *same[1:]] if len(same) > STORM else [head]


@transaction.atomic
def _note(hold: Hold, parcel: list[Delivery], outcome: Outcome) -> None:
    """Marks how the attempt went; not when the hold was lost meanwhile, because then another worker is at it."""
    endpoint = (
        Endpoint.objects.select_related("organization")
        .select_for_update(of=("self",), no_key=True)
        .filter(pk=hold.endpoint_id, hold=hold.number)
        .first()
    )
    if endpoint is None:
        return
    rows = Delivery.objects.filter(pk__in=[delivery.pk for delivery in parcel], state=State.WAITING)
    noted = {"last_status": outcome.status, "last_error": outcome.error, "last_answer": outcome.text, "last_ms": outcome.ms}
    if outcome.is_taken:
        rows.update(state=State.SENT, sent_at=timezone.now(), **noted)
        Endpoint.objects.filter(pk=endpoint.pk, failing_since__isnull=False).update(failing_since=None)
        return
    attempts = parcel[0].attempts + 1
    rows.update(
        state=State.DEAD if attempts >= ATTEMPTS else State.WAITING,
        is_aside=parcel[0].is_aside or (outcome.status is not None and attempts >= ASIDE_AFTER),
        next_attempt_at=timezone.now() + _wait(attempts, outcome),
        **noted,
    )
    log.warning("channel %s: attempt %s of %s failed: %s", endpoint.pk, attempts, ATTEMPTS, outcome.error)
    _note_failure(endpoint, outcome, attempts)


def _wait(attempts: int, outcome: Outcome) -> timedelta:
    """The schedule's wait, or a longer one that the answer asked for."""
    asked = timedelta(seconds=min(outcome.retry_after or 0.0, LONGEST_WAIT.total_seconds()))
    return max(delay_after(attempts, random.random()), asked)  # noqa: S311 - spreads load, guards nothing


def _note_failure(endpoint: Endpoint, outcome: Outcome, attempts: int) -> None:
    """Switches the endpoint off when it is gone, or has failed for days without one success. The caller holds its row."""
    now = timezone.now()
    if outcome.status == GONE:
        _switch_off(endpoint, Off.GONE, outcome)
    elif endpoint.failing_since is None:
        Endpoint.objects.filter(pk=endpoint.pk).update(failing_since=now)
    elif now - endpoint.failing_since >= FAILING_FOR and attempts >= ASIDE_AFTER:
        _switch_off(endpoint, Off.FAILING, outcome)


def _switch_off(endpoint: Endpoint, off: Off, outcome: Outcome) -> None:
    organization = endpoint.organization
    switch(system_actor(organization), endpoint, off)
    link = channel_link(organization.slug, endpoint.pk)
    message = channel_switched_off(name=endpoint.name, why=off.label, last=outcome.error, link=link)
    notice_add(
        organization=organization, recipients=members_who_decide(organization, endpoint.team_id), subject=message.subject, body=message.body,
        key=f"channel:{endpoint.pk}:{endpoint.hold}", kind=Notice.Kind.CHANNEL,
    )  # fmt: skip

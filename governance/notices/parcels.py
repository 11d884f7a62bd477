"""One attempt: what is sent to an endpoint for one delivery, or for many that Slack gets as one message, and what came of it."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from governance.errors import DomainError
from governance.notices import outgoing, sealing, signing, slack, tokens
from governance.notices.addresses import Unreachable
from governance.notices.models import Delivery, Endpoint, Signal
from governance.notices.payloads import TEST, webhook_body
from governance.notices.tokens import link_make

TEST_FACTS = {"message": "A test from Weighhouse. Whoever reads this channel gets what happens here."}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: the answer's status (None: no answer), why it failed, how the answer begins, how long it took."""

    status: int | None
    error: str
    text: str = ""
    ms: int = 0
    retry_after: float | None = None

    @property
    def is_taken(self) -> bool:
        return not self.error

    def note_on(self, delivery: Delivery) -> None:
        delivery.last_status, delivery.last_error, delivery.last_answer, delivery.last_ms = self.status, self.error, self.text, self.ms


def attempt(endpoint: Endpoint, parcel: Sequence[Delivery]) -> Outcome:
    """Sends the parcel. Never raises for what the other side does."""
    started = time.monotonic()
    try:
        body, headers = content(endpoint, parcel)
        answer = outgoing.post(sealing.opened(endpoint.address), body=body, headers=headers, allows_private=settings.WEBHOOKS_ALLOW_PRIVATE)
    except (Unreachable, DomainError) as error:
        return Outcome(None, str(error), ms=round((time.monotonic() - started) * 1000))
    return Outcome(answer.status, _refusal(answer), answer.text, answer.ms, answer.retry_after)


def content(endpoint: Endpoint, parcel: Sequence[Delivery]) -> tuple[bytes, dict[str, str]]:
    """Body and headers: signed for webhooks, blocks for Slack."""
    first = parcel[0]
    if endpoint.channel == Endpoint.Channel.SLACK:
        return json.dumps(_slack_message(endpoint, parcel), ensure_ascii=False).encode(), {"Content-Type": "application/json"}
    body = body_of(first)
    signed = signing.headers(secrets_of(endpoint), message_id=message_id(first), timestamp=int(timezone.now().timestamp()), body=body)
    return body, {"Content-Type": "application/json", **signed}


def body_of(delivery: Delivery, *, with_link: bool = True) -> bytes:
    """The body of one delivery. Without the link that decides where a page shows it to whoever manages the channel."""
    endpoint = delivery.endpoint
    if endpoint.channel == Endpoint.Channel.SLACK:
        return json.dumps(_slack_message(endpoint, [delivery], with_link=with_link), ensure_ascii=False).encode()
    return webhook_body(kind=_kind(delivery), at=_at(delivery), organization=endpoint.organization.slug, facts=_facts(delivery))


def message_id(delivery: Delivery) -> str:
    """The webhook-id: the same at every attempt."""
    return f"msg_{delivery.message_id.hex}"


def secrets_of(endpoint: Endpoint) -> list[str]:
    """The secrets that sign now, the new one first."""
    found = [sealing.opened(endpoint.secret)]
    if endpoint.old_secret and endpoint.old_secret_ends_at is not None and endpoint.old_secret_ends_at > timezone.now():
        found.append(sealing.opened(endpoint.old_secret))
    return found


def _slack_message(endpoint: Endpoint, parcel: Sequence[Delivery], *, with_link: bool = True) -> dict[str, Any]:
    organization, first = endpoint.organization, parcel[0]
    if len(parcel) > 1:
        return slack.gathered(_kind(first), [_facts(delivery) for delivery in parcel], organization=organization.name)
    return slack.message(
        _kind(first), _facts(first), organization=organization.name, zone=organization.zone, decide_link=_decide_link(first) if with_link else ""
    )


def _decide_link(delivery: Delivery) -> str:
    """The one-use link that leads to the decision, for whoever of the channel may decide."""
    if _kind(delivery) != Signal.Kind.REQUEST_FILED:
        return ""
    request_id, ends_at = UUID(str(_facts(delivery)["request"])), _at(delivery) + tokens.LASTS
    return link_make(
        organization=delivery.endpoint.organization, request_id=request_id, member=None, expires_at=ends_at, seed=delivery.message_id.hex
    )


def _kind(delivery: Delivery) -> str:
    return delivery.signal.kind if delivery.signal is not None else TEST


def _at(delivery: Delivery) -> datetime:
    return delivery.signal.at if delivery.signal is not None else delivery.created_at


def _facts(delivery: Delivery) -> dict[str, Any]:
    facts: dict[str, Any] = delivery.signal.facts if delivery.signal is not None else TEST_FACTS
    return facts


def _refusal(answer: outgoing.Answer) -> str:
    if answer.is_taken:
        return ""
    if 300 <= answer.status < 400:
        return f"It answered {answer.status}: redirects are not followed. Enter the address it leads to."
    return f"It answered {answer.status}."


def delay_after(attempts: int, spread: float) -> timedelta:
    """How long to wait after so many failed attempts (1 or more): 5 s, times 4 each time, 12 h at most; `spread` from 0 to 1 moves it by up to a fifth."""
    seconds = min(5.0 * 4 ** min(attempts - 1, 12), 43_200.0)
    return timedelta(seconds=seconds * (0.8 + 0.4 * spread))

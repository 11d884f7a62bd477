"""Calls that two sources report: team Payments runs Claude Code through the LiteLLM gateway. Pure: the same plan gives the same reports.

The harness tells of them by OpenTelemetry, the gateway by its callback. Of some the gateway tells nothing, of some it knows better how many tokens
came back, and the first of a day is not alike enough to tell.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from hashlib import blake2b

import msgspec

from ingest.formats.event import UsageEvent

TEAM, HARNESS, GATEWAY = "payments", "claude-code", "litellm"
DAYS = 7
LOST_SHARE, CORRECTED_SHARE = 0.07, 0.08


def is_told_twice(event: UsageEvent) -> bool:
    """Whether the call went through the gateway as well. Seats of a subscription go to the vendor themselves."""
    return event.team == TEAM and event.harness == HARNESS and event.billing_mode is None


def harness_report(event: UsageEvent) -> UsageEvent:
    """The call as Claude Code tells of it: with the vendor's request id."""
    return msgspec.structs.replace(event, request_id=f"req_{digest(event.id)}") if is_told_twice(event) else event


def gateway_reports(events: Iterable[UsageEvent]) -> Iterator[UsageEvent]:
    """What the gateway tells of a day's calls, in their order. `events` are the harness's reports."""
    measured = 0
    for event in events:
        if not is_told_twice(event):
            continue
        luck = int(digest(f"{event.id}/luck")[:8], 16) / 2**32
        is_measured = event.status == "ok"
        measured += is_measured
        if is_measured and measured == 1:
            yield gateway_report(event, more=1)
        elif luck < LOST_SHARE:
            continue
        elif luck < LOST_SHARE + CORRECTED_SHARE and is_measured:
            # Where the vendor's id was passed on, the reports are one whatever they count.
            yield msgspec.structs.replace(gateway_report(event, more=(event.output_tokens or 0) // 12 + 1), request_id=event.request_id)
        else:
            yield gateway_report(event)


def gateway_report(event: UsageEvent, *, more: int = 0) -> UsageEvent:
    """The call as LiteLLM tells of it: all input in one count, and so many tokens of output more."""
    inputs = (event.input_tokens, event.cache_read_tokens, event.cache_write_5m_tokens)
    known = [count for count in inputs if count is not None]
    name = digest(f"{event.id}/gateway")
    return UsageEvent(
        id=name, occurred_at=event.occurred_at + timedelta(milliseconds=240), provider=event.provider, model=event.model, gateway=GATEWAY, team=event.team,
        session=event.session, input_tokens=sum(known) if known else None, output_tokens=None if event.output_tokens is None else event.output_tokens + more,
        latency_ms=None if event.latency_ms is None else max(event.latency_ms - 380, 1), status=event.status,
    )  # fmt: skip


def digest(text: str) -> str:
    """24 characters that are the text's alone."""
    return blake2b(text.encode(), digest_size=12).hexdigest()

"""What the simulated organization's senders got wrong: some of it a rule mends at the door, the rest waits for somebody."""

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec

from governance.tenancy.access import Actor
from governance.tenancy.models import ApiKey
from ingest.demo.simulation import Plan
from ingest.formats import native
from ingest.formats.batch import Unreadable
from ingest.models import RejectedInput
from ingest.quarantine.models import QuarantineRule
from ingest.quarantine.services import refusals_mend, rule_create
from ingest.rejections import Misfit, misfits_keep, unread_note
from ingest.services import events_store

DOOR = "rest"
# Of an in-house tool: its counts came as text until a rule read them as numbers.
AS_TEXT: tuple[dict[str, Any], ...] = tuple({"input_tokens": text, "output_tokens": 210} for text in ("1,204", "18,990", "3,377"))
# A name of its own for who called, a time that could be two days, and a count below zero.
WRONG: tuple[dict[str, Any], ...] = (
    *({"input_tokens": size, "output_tokens": 120, "user_name": name} for size, name in ((812, "mira.kovac"), (1_530, "pavel.novak"), (640, "aoife.byrne"))),
    *({"occurred_at": when, "input_tokens": 900, "output_tokens": 80} for when in ("03/11/2026 09:12", "03/11/2026 09:40")),
    {"input_tokens": 2_400, "output_tokens": -1},
)  # fmt: skip
BROKEN_OFF = b'{"events": [{"id": "nightly-3981", "occurred_at": "2026-11-03T02:10:00Z", "model": "claude-haiku-4-5", "input_tok'
UNREAD = Counter({"inhouse-agent": 14})


def quarantine_load(*, actor: Actor, plan: Plan, key: ApiKey) -> None:
    """The inputs and the rule, once: an organization that has had a rule keeps what it has."""
    if QuarantineRule.objects.filter(organization=actor.organization).exists():
        return
    rule_create(actor=actor, action=QuarantineRule.Action.NUMBER, field="input_tokens", door=DOOR)
    came = native.parse(
        msgspec.json.encode({"events": [_event(plan, number, odd) for number, odd in enumerate((*AS_TEXT, *WRONG))]}), limit=100
    )
    mended = refusals_mend(organization_id=actor.organization.pk, door=DOOR, refused=came.refused)
    events_store(actor=actor, api_key=key, source=DOOR, events=[mended[place].event for place in sorted(mended)])
    misfits = [
        Misfit(kind=RejectedInput.Kind.REJECTED, code=one.fault.code, reason=one.fault.reason, field=one.fault.field, payload=one.payload)
        for place, one in enumerate(came.refused)
        if place not in mended
    ]
    misfits_keep(api_key=key, door=DOOR, misfits=[*misfits, _broken_off()])
    unread_note(api_key=key, door="otlp", unread=UNREAD)


def _event(plan: Plan, number: int, odd: dict[str, Any]) -> dict[str, Any]:
    at = plan.until - timedelta(hours=3, minutes=11 * number)
    return {
        "id": f"inhouse-{plan.tag}-{number}",
        "occurred_at": at.isoformat(),
        "provider": "anthropic",
        "model": "claude-haiku-4-5",
        "team": "data",
        "harness": "inhouse-tool",
        **odd,
    }


def _broken_off() -> Misfit:
    """A body whose connection broke off."""
    try:
        native.parse(BROKEN_OFF, limit=100)
    except Unreadable as error:
        return Misfit(kind=RejectedInput.Kind.ENVELOPE, code=error.code, reason=error.detail, payload=BROKEN_OFF)
    raise AssertionError("half of a JSON document was read")

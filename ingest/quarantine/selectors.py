"""Reads of quarantine: what is kept by its kind, the rules, and what a rule would make of what is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Count, Max, Q, QuerySet

from governance.tenancy.access import Actor, Right, require, scoped
from ingest.formats import native
from ingest.formats.event import UsageEvent
from ingest.models import RejectedInput
from ingest.quarantine.mending import MARK, Fix, changed
from ingest.quarantine.models import QuarantineRule

COUNTED = ("accepted", "duplicate")
# What stands for a number of inputs of which nothing is kept.
NUMBERS_ONLY = ("not_kept", "format_unknown")
# A rule changes an event's fields: not a body that cannot be read, nor an id that two calls were given, nor what was not kept.
MENDABLE = Q(kind=RejectedInput.Kind.REJECTED) & ~Q(code__in=NUMBERS_ONLY) & ~Q(payload=b"")
# Of bodies only one whose sender named a wrong media type or charset may be read when it is sent again.
SENDABLE = MENDABLE | (Q(kind=RejectedInput.Kind.ENVELOPE, code__startswith="unsupported_", is_whole=True) & ~Q(payload=b""))
TRIED_ON = 500
SHOWN = 3


class Kind(NamedTuple):
    """What kept inputs have in common: the door, why it was refused, and the field."""

    door: str
    code: str
    field: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rule would do to what is kept: of `kept` inputs `changed` are changed and `counted` could be counted. Some before and after."""

    kept: int
    changed: int
    counted: int
    examples: Sequence[tuple[str, str, str]]


def rules_visible(actor: Actor) -> QuerySet[QuarantineRule]:
    """The organization's rules, in the order in which they are applied. Raises Forbidden."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return scoped(actor, QuarantineRule.objects.all()).order_by("id")


def waiting(actor: Actor) -> QuerySet[RejectedInput]:
    """What is kept and not counted yet."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return scoped(actor, RejectedInput.objects.exclude(replay_outcome__in=COUNTED)).order_by("-received_at", "-id")


def kinds_of(actor: Actor) -> list[dict[str, Any]]:
    """What waits by its kind, the most of it first: door, code, field, how many, how many of them a rule could mend or sending them again could help, the last one's time."""
    rows = waiting(actor).order_by().values("door", "code", "field")
    rows = rows.annotate(number=Count("id"), mendable=Count("id", filter=MENDABLE), sendable=Count("id", filter=SENDABLE), last_at=Max("received_at"))
    return [dict(row) for row in rows.order_by("-number", "door", "code", "field")]


def may_send_again(actor: Actor, row: RejectedInput) -> bool:
    """Whether one input may be counted when it is sent through again as it was kept."""
    return row.is_whole and waiting(actor).filter(SENDABLE, pk=row.pk).exists()


def kept_of(actor: Actor, kind: Kind) -> QuerySet[RejectedInput]:
    """What waits of a kind and could be replayed."""
    return waiting(actor).filter(door=kind.door, code=kind.code, field=kind.field).exclude(code__in=NUMBERS_ONLY)


def rule_try(actor: Actor, fix: Fix, others: Sequence[Fix], kind: Kind | None = None) -> Tried:
    """What a rule after the others would do to what is kept, of one kind or of all. Nothing is changed."""
    rows = kept_of(actor, kind) if kind is not None else waiting(actor).exclude(code__in=NUMBERS_ONLY)
    kept = hit = counted = 0
    examples: list[tuple[str, str, str]] = []
    for payload, door in rows.values_list("payload", "door")[:TRIED_ON]:
        kept += 1
        found = changed(bytes(payload), [*others, fix], door)
        if found is None or fix.id not in found[1]:
            continue
        hit += 1
        why = _why_not(found[0])
        counted += not why
        if len(examples) < SHOWN:
            examples.append((_shown(bytes(payload)), _shown(found[0]), why))
    return Tried(kept, hit, counted, examples)


def _why_not(payload: bytes) -> str:
    """Why an event still cannot be counted; "" when it can."""
    if MARK in payload:
        return "A part of it was taken out when it was kept; what comes in from now on is mended."
    found = native.read(payload, 0)
    return "" if isinstance(found, UsageEvent) else found.fault.reason


def _shown(payload: bytes) -> str:
    text = payload.decode("utf-8", "replace")
    return text if len(text) <= 600 else f"{text[:600]}…"

"""Makes one call of several reports: whose figures stand, and what only another knows. Pure, and the same in whatever order reports came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from ingest.formats.event import UsageEvent
from ingest.once.fingerprint import total
from ingest.once.sources import TRUST, kind_of

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
INPUTS = BUCKETS[:4]
# These are one report's together: counts of two would not fit each other, unless both come to the same input.
FIGURES = (*BUCKETS, "units", "status")
NAMED_NOTHING = ("", "unknown")
# What says which report it is, or is settled elsewhere.
OWN = ("occurred_at", "id", "request_id", "authorization", "tags", "model", *FIGURES)
OTHERS = tuple(field.name for field in msgspec.structs.fields(UsageEvent) if field.name not in OWN)


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a call: by which source, what it said with its key's defaults, and whose key brought it."""

    source: str
    event: UsageEvent
    body_hash: UUID
    key_member_id: int | None = None


def merged(reports: Sequence[Report], trust: Sequence[str] = TRUST) -> tuple[UsageEvent, int | None]:
    """The call that the reports tell of, and the member whose key brought it; the time and ids are those of the first report.

    Labels come from the most trusted report that says them.
    """
    ordered = sorted(reports, key=lambda one: (rank(one.source, trust), -known(one.event), one.body_hash))
    figures = figures_of(ordered)
    fields: dict[str, Any] = {name: getattr(figures, name) for name in FIGURES}
    inputs = inputs_of(ordered, figures)
    fields |= {name: getattr(inputs, name) for name in INPUTS}
    fields["model"] = next((one.event.model for one in ordered if one.event.model not in NAMED_NOTHING), figures.model)
    for name in OTHERS:
        default = getattr(reports[0].event, name)
        fields[name] = next((value for one in ordered if is_said(value := getattr(one.event, name))), default)
    tags: dict[str, str] = {}
    for one in reversed(ordered):
        tags |= one.event.tags or {}
    # Of what was paid, amount and currency belong together.
    fields["currency"] = next((one.event.currency for one in ordered if one.event.reported_cost is not None), reports[0].event.currency)
    member = next((one.key_member_id for one in ordered if one.key_member_id is not None), None)
    return msgspec.structs.replace(reports[0].event, **fields, tags=tags or None), member


def is_said(value: Any) -> bool:
    return value is not None and value != ""


def rank(source: str, trust: Sequence[str]) -> int:
    kind = kind_of(source)
    return list(trust).index(kind) if kind in trust else len(trust)


def known(event: UsageEvent) -> int:
    """How many of the counts the report knows."""
    return sum(getattr(event, name) is not None for name in BUCKETS)


def figures_of(ordered: Sequence[Report]) -> UsageEvent:
    """The report whose figures stand: the most trusted that has any, or one that agrees with it in sum and tells caches apart where it does not."""
    events = [one.event for one in ordered]
    best = next((event for event in events if event.input_tokens is not None or event.output_tokens is not None), events[0])
    alike = [event for event in events if sums(event) == sums(best) and event.status == best.status]
    return max([best, *alike], key=known)


def inputs_of(ordered: Sequence[Report], figures: UsageEvent) -> UsageEvent:
    """The report that says what of the input caches read and wrote: the one whose figures stand, or one of the same input that tells more of it.

    A gateway that counts all input together knows how much it was and not what it costs.
    """
    events = [one.event for one in ordered if sums(one.event)[0] == sums(figures)[0] and one.event.status == figures.status]
    return max([figures, *events], key=lambda event: sum(getattr(event, name) is not None for name in INPUTS))


def sums(event: UsageEvent) -> tuple[int | None, int | None]:
    return total([getattr(event, name) for name in INPUTS]), event.output_tokens

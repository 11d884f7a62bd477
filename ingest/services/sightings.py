"""Reports of a call that another source, or another line of the same file, reported before: alike in what is counted, they are no conflict."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from ingest.formats.event import Outcome, UsageEvent
from ingest.models import EventIdentity
from ingest.models import UsageEvent as Stored

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")


def sightings_settle(*, organization_id: int, events: Sequence[UsageEvent], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, in which a conflict with a stored call of the same counts is a duplicate: it differs in labels, times or the model's spelling.

    A transcript and the telemetry of one call name the same request and the same counts, and little else alike.
    """
    doubtful = {UUID(outcome.id): outcome for outcome in outcomes if outcome.status == "conflict"}
    if not doubtful:
        return list(outcomes)
    counted = counts_stored(organization_id, list(doubtful))
    return [as_duplicate(outcome, events[outcome.index], counted) if outcome.status == "conflict" else outcome for outcome in outcomes]


def counts_stored(organization_id: int, keys: Sequence[UUID]) -> dict[UUID, tuple[int | None, ...]]:
    """The counts of stored calls by key, failed ones with none."""
    places = dict(EventIdentity.objects.filter(organization=organization_id, key__in=keys).values_list("key", "occurred_at"))
    rows = Stored.objects.filter(organization=organization_id, occurred_at__in=set(places.values()), id__in=keys)
    return {row[0]: tuple(row[1:]) for row in rows.values_list("id", *COUNTS)}


def as_duplicate(outcome: Outcome, event: UsageEvent, counted: dict[UUID, tuple[int | None, ...]]) -> Outcome:
    stored = counted.get(UUID(outcome.id))
    if stored is None or not are_alike(stored, tuple(getattr(event, name) for name in COUNTS)):
        return outcome
    return msgspec.structs.replace(outcome, status="duplicate", code="", reason="", field="", differs=())


def are_alike(stored: Sequence[int | None], reported: Sequence[int | None]) -> bool:
    """Whether no count differs. One that a source leaves out is 0 where the other says so."""
    return all((one or 0) == (other or 0) for one, other in zip(stored, reported, strict=True))

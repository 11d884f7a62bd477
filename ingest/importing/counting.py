"""Rows of a file put through the storing transaction: what becomes of each, and which events were stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec
from django.utils import timezone

from governance.pricing.book import Book
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor
from ingest.formats.event import Fault, Outcome, UsageEvent
from ingest.importing.mapping import Row, parts_of
from ingest.importing.values import Unclear
from ingest.once.models import EventSighting
from ingest.once.sources import door_of
from ingest.services import events_store
from ingest.services.sightings import sightings_settle

# Names that clients make up are told apart by it: the same row of two files is the same call.
SOURCE = "import"
EMPTY = "empty_total"
FEW, MANY = 1_000, 1_000_000


@dataclass(slots=True)
class Counted:
    """What became of some rows: `outcomes` by the row's place among them (None: a total of nothing), and the events that are stored now.

    `told` are the reports (ids of event_sighting) of calls that others had told of before.
    """

    outcomes: list[Outcome | None]
    keys: list[UUID] = field(default_factory=list)
    instants: list[datetime] = field(default_factory=list)
    told: list[int] = field(default_factory=list)


class Thresholds:
    """Whether a model's price rises with a call's input, which a total of many calls must not be taken for."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._known: dict[tuple[str, str], bool] = {}

    def has(self, event: UsageEvent) -> bool:
        name = (event.provider, event.model)
        if name not in self._known:
            few, many = (self._amount(event, count) for count in (FEW, MANY))
            self._known[name] = few is not None and many is not None and many * FEW > few * MANY
        return self._known[name]

    def _amount(self, event: UsageEvent, count: int):  # type: ignore[no-untyped-def]
        usage = Usage(input_tokens=count, output_tokens=0)
        return self._book.weigh(provider=event.provider, model=event.model, at=event.occurred_at, usage=usage).amount


def rows_count(*, actor: Actor, rows: Sequence[Row], thresholds: Thresholds, are_totals: bool, now: datetime | None = None) -> Counted:
    """Counts the rows' events, within the caller's transaction.

    A total that is shared out is counted whole or not at all: its first part decides.
    """
    now = now or timezone.now()
    done = Counted([None] * len(rows))
    firsts: list[tuple[int, UsageEvent]] = []
    others: dict[int, list[UsageEvent]] = {}
    for place, row in enumerate(rows):
        if row.event is None:
            done.outcomes[place] = _refused(row.fault)
            continue
        try:
            parts = parts_of(row, has_thresholds=thresholds.has(row.event)) if are_totals else [row.event]
        except Unclear as error:
            done.outcomes[place] = _refused(Fault("too_much", str(error), ""))
            continue
        firsts.append((place, parts[0]))
        others[place] = parts[1:]
    for place, outcome in _store(actor, firsts, done, now):
        done.outcomes[place] = outcome
    rest = [(place, part) for place, _ in firsts if _is(done.outcomes[place], "accepted") for part in others[place]]
    for place, outcome in _store(actor, rest, done, now):
        if outcome.status == "rejected":
            done.outcomes[place] = outcome
    return done


def _refused(fault: Fault | None) -> Outcome | None:
    if fault is None or fault.code == EMPTY:
        return None
    return Outcome(0, "rejected", code=fault.code, reason=fault.reason, field=fault.field)


def _is(outcome: Outcome | None, status: str) -> bool:
    return outcome is not None and outcome.status == status


def _told(actor: Actor, known: Sequence[UUID], now: datetime) -> list[int]:
    """The reports of calls known before that this transaction has kept."""
    if not known:
        return []
    kept = EventSighting.objects.filter(organization=actor.organization, event_id__in=known, seen_at=now)
    return [pk for pk, source in kept.order_by("pk").values_list("pk", "source") if door_of(source) == SOURCE]


def _store(actor: Actor, placed: Sequence[tuple[int, UsageEvent]], done: Counted, now: datetime) -> list[tuple[int, Outcome]]:
    events = [event for _, event in placed]
    if not events:
        return []
    stored = events_store(actor=actor, api_key=None, source=SOURCE, events=events, now=now)
    outcomes = sightings_settle(organization_id=actor.organization.pk, events=events, outcomes=stored)
    for outcome in outcomes:
        if outcome.status == "accepted":
            done.keys.append(UUID(outcome.id))
            done.instants.append(events[outcome.index].occurred_at)
    done.told += _told(actor, [UUID(outcome.id) for outcome in stored if outcome.status == "duplicate" and outcome.id], now)
    return [(placed[outcome.index][0], msgspec.structs.replace(outcome, index=0)) for outcome in outcomes]

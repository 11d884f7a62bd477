"""The door for what others write: POST /api/v1/events/<format>, with records of a gateway, a vendor or a harness."""

from collections.abc import Sequence

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from governance.budgets.api import actor_of, api_key_of
from governance.errors import Invalid, NotFound
from governance.tenancy.access import Actor
from governance.tenancy.models import ApiKey
from ingest import services
from ingest.doors import schema
from ingest.doors.body import media_type
from ingest.doors.door import Door, misfits_of
from ingest.doors.events import JSON_TYPES, LINE_TYPES, answer
from ingest.doors.labels import cloud_event, labels_of
from ingest.formats import native, records, streams
from ingest.formats.batch import BadBody, Parsed, Unreadable, Unsupported
from ingest.formats.event import Outcome, UsageEvent
from ingest.rejections import misfits_keep
from ingest.services.sightings import sightings_settle

CLOUD_TYPES = ("application/cloudevents+json", "application/cloudevents-batch+json")
STREAM_TYPE = "text/event-stream"


class RecordsDoor(Door):
    """Takes records in a format that is named in the address. A body that can be read is answered 2xx, whatever is wrong with records in it."""

    @schema.records_post
    def post(self, request: Request, format_name: str) -> HttpResponse:
        if format_name not in records.record_formats():
            raise NotFound(f"There is no format `{format_name[:80]}`; known are {', '.join(sorted(records.record_formats()))}.")
        self.name = format_name
        try:
            labels = labels_of(request._request)
        except Invalid as error:
            # Whoever sends this sends it with every post, and may well not read the answer.
            self.envelope_keep(api_key_of(request), Unreadable("invalid_label", error.detail), b"")
            raise
        try:
            body = self.body(request._request)
            parsed = self.parsed(request._request, body, labels, client=str(api_key_of(request).pk))
        except BadBody as error:
            # Records can hold prompts, so nothing of a body that cannot be read is kept but that it came.
            self.envelope_keep(api_key_of(request), error, b"")
            raise
        return answer(self.outcomes(actor_of(request), api_key_of(request), parsed), request.META.get("QUERY_STRING", ""))

    def parsed(self, request: HttpRequest, body: bytes, labels: dict[str, object], *, client: str) -> Parsed:
        """The calls in a body: records of the format, or events that a collector has read from such records already."""
        kind = media_type(request)
        if kind not in (*JSON_TYPES, *LINE_TYPES, *CLOUD_TYPES, STREAM_TYPE):
            raise Unsupported("unsupported_media_type", f"'{kind[:80]}' is not taken; send JSON, a list of records or one per line.")
        if native.ENVELOPE.match(body):
            return native.parse(body, limit=settings.INGEST_MAX_EVENTS)
        if kind == STREAM_TYPE:
            body = streams.collected(body)
        body = cloud_event(request, body)
        return records.parse(body, name=self.name, labels=labels, received_at=timezone.now(), is_lines=kind in LINE_TYPES, client=client)

    def outcomes(self, actor: Actor, api_key: ApiKey, parsed: Parsed) -> list[Outcome]:
        """What became of every call, by the record that reported it."""
        found: list[Outcome] = []
        for start in range(0, len(parsed.events), settings.INGEST_MAX_EVENTS):
            part = self.counted(actor, api_key, parsed.events[start : start + settings.INGEST_MAX_EVENTS])
            found += [msgspec.structs.replace(outcome, index=start + outcome.index) for outcome in part]
        refused = self.refused_take(actor, api_key, parsed.refused)
        if parsed.positions is not None:
            found = [msgspec.structs.replace(outcome, index=parsed.positions[outcome.index]) for outcome in found]
        return sorted([*found, *refused], key=lambda outcome: outcome.index)

    def mended_store(self, actor: Actor, api_key: ApiKey, events: Sequence[UsageEvent], *, keeps_misfits: bool) -> list[Outcome]:
        return self.counted(actor, api_key, events) if events else []

    def counted(self, actor: Actor, api_key: ApiKey, events: Sequence[UsageEvent]) -> list[Outcome]:
        """Puts calls through the storing transaction. One that another source reported too is a duplicate where its counts are alike."""
        stored = services.events_store_together(actor=actor, api_key=api_key, source=self.name, events=events)
        outcomes = sightings_settle(organization_id=actor.organization.pk, events=events, outcomes=stored)
        misfits_keep(api_key=api_key, door=self.name, misfits=misfits_of(outcomes, events))
        return outcomes

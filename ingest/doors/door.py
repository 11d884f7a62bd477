"""What every door of ingest has in common: the key's scope, a body read under limits, and misfits kept."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import HttpRequest

from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.models import ApiKey, Scope
from governance.tenancy.views import ProgramView
from ingest import services
from ingest.doors.body import body_read
from ingest.formats.batch import BadBody, Refusal
from ingest.formats.event import Outcome, UsageEvent
from ingest.models import RejectedInput
from ingest.quarantine.services import refusals_mend
from ingest.rejections import PAYLOAD_BYTES, Misfit, misfits_keep


class Door(ProgramView):
    """A view that takes usage in. It reads the body itself, so that limits hold before anything is parsed."""

    scope = Scope.INGEST
    parser_classes = ()
    throttle_classes = ()
    name = ""

    def body(self, request: HttpRequest, max_decoded_bytes: int = settings.INGEST_MAX_DECODED_BYTES) -> bytes:
        return body_read(request, max_body_bytes=settings.INGEST_MAX_BODY_BYTES, max_decoded_bytes=max_decoded_bytes)

    def envelope_keep(self, api_key: ApiKey, error: BadBody, body: bytes) -> None:
        """Keeps a body that cannot be read, or its beginning."""
        is_whole = bool(body) and len(body) <= PAYLOAD_BYTES
        misfit = Misfit(
            kind=RejectedInput.Kind.ENVELOPE, code=error.code, reason=error.detail, payload=body[:PAYLOAD_BYTES], is_whole=is_whole
        )
        misfits_keep(api_key=api_key, door=self.name, misfits=[misfit])

    def store(
        self,
        actor: Actor,
        api_key: ApiKey,
        events: Sequence[UsageEvent],
        *,
        keeps_misfits: bool = True,
        unconfirmed: Remembered | None = None,
    ) -> list[Outcome]:
        """Puts the events through the storing transaction; what it does not count is kept, unless it was before.

        Raises KeyMoved, with nothing written, when the key is `unconfirmed` and has changed.
        """
        if not events:
            return []
        outcomes = services.events_store_together(actor=actor, api_key=api_key, source=self.name, events=events, unconfirmed=unconfirmed)
        if not keeps_misfits:
            return outcomes
        misfits_keep(api_key=api_key, door=self.name, misfits=misfits_of(outcomes, events))
        return outcomes

    def refused_take(self, actor: Actor, api_key: ApiKey, refused: Sequence[Refusal], *, keeps_misfits: bool = True) -> list[Outcome]:
        """What became of events that could not be taken as they came: those that the organization's rules mend are stored, the others kept."""
        if not refused:
            return []
        mended = refusals_mend(organization_id=api_key.organization_id, door=self.name, refused=refused)
        places = sorted(mended)
        stored = self.mended_store(actor, api_key, [mended[place].event for place in places], keeps_misfits=keeps_misfits)
        outcomes = {places[one.index]: msgspec.structs.replace(one, index=refused[places[one.index]].index) for one in stored}
        if keeps_misfits:
            self.refused_keep(api_key, [one for place, one in enumerate(refused) if place not in outcomes])
        return [outcomes.get(place) or one.outcome for place, one in enumerate(refused)]

    def mended_store(self, actor: Actor, api_key: ApiKey, events: Sequence[UsageEvent], *, keeps_misfits: bool) -> list[Outcome]:
        """Stores events that rules have mended, as the door stores others."""
        return self.store(actor, api_key, events, keeps_misfits=keeps_misfits)

    def refused_keep(self, api_key: ApiKey, refused: Iterable[Refusal]) -> None:
        misfits_keep(api_key=api_key, door=self.name, misfits=misfits_of_refused(refused))


def misfits_of_refused(refused: Iterable[Refusal]) -> list[Misfit]:
    """What could not be read as events."""
    return [
        Misfit(kind=RejectedInput.Kind.REJECTED, code=one.fault.code, reason=one.fault.reason, field=one.fault.field, payload=one.payload)
        for one in refused
    ]


def misfits_of(outcomes: Sequence[Outcome], events: Sequence[UsageEvent]) -> list[Misfit]:
    """What the storing transaction did not count."""
    return [misfit_of(outcome, events[outcome.index]) for outcome in outcomes if outcome.status in ("conflict", "rejected")]


def misfit_of(outcome: Outcome, event: UsageEvent) -> Misfit:
    """An event that the storing transaction did not count, in the form in which it can be replayed."""
    return Misfit(
        kind=RejectedInput.Kind.CONFLICT if outcome.status == "conflict" else RejectedInput.Kind.REJECTED,
        code=outcome.code or outcome.status,
        reason=outcome.reason,
        field=outcome.field,
        payload=msgspec.json.encode(event),
        call=UUID(outcome.id) if outcome.status == "conflict" else None,
        differs=outcome.differs,
    )

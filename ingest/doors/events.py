"""The REST door: POST /api/v1/events."""

from collections.abc import Sequence

import msgspec
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from governance.budgets.api import actor_of, api_key_of
from governance.tenancy.access import Actor
from governance.tenancy.authentication import KeyMoved, Remembered, RememberedKeyAuthentication, confirmed, unconfirmed_of
from governance.tenancy.models import ApiKey
from governance.tenancy.problems import problem
from ingest.doors import repeats, schema
from ingest.doors.body import media_type
from ingest.doors.door import Door
from ingest.doors.schema import EventsAnswer
from ingest.formats import native
from ingest.formats.batch import BadBody, Parsed, Unsupported
from ingest.formats.event import Outcome

JSON_TYPES = ("application/json", "text/json", "")
LINE_TYPES = ("application/x-ndjson", "application/jsonl", "application/ndjson", "application/x-jsonlines")
SINGLE_STATUS = {"accepted": 201, "duplicate": 200, "conflict": 409, "rejected": 422}
CONFLICT_TITLE = "This call is known with other content"
REJECTED_TITLE = "The event cannot be counted"


encoder = msgspec.json.Encoder()


class EventsDoor(Door):
    """Takes usage events: one, many in {"events": […]}, or one per line."""

    name = "rest"
    authentication_classes = (RememberedKeyAuthentication,)

    @schema.events_post
    def post(self, request: Request) -> HttpResponse | Response:
        body = b""
        try:
            # Read first, so that a body sent under the wrong media type can be looked at and sent through again.
            body = self.body(request._request)
            parsed = native.parse(body, limit=settings.INGEST_MAX_EVENTS, is_lines=lines_expected(request._request))
        except BadBody as error:
            confirmed(request)
            self.envelope_keep(api_key_of(request), error, body)
            raise
        if parsed.positions is not None or not parsed.events or "HTTP_IDEMPOTENCY_KEY" in request.META:
            confirmed(request)
        key = repeats.key_of(request)
        if key is None:
            return answered(self.outcomes_plain(request, parsed), parsed, request)
        return self.post_once(request, parsed, key=key, body=body)

    def outcomes_plain(self, request: Request, parsed: Parsed) -> list[Outcome]:
        """What became of every event; a key that was only remembered is asked for by the transaction that stores them."""
        try:
            return self.outcomes(actor_of(request), api_key_of(request), parsed, unconfirmed=unconfirmed_of(request))
        except KeyMoved:
            confirmed(request)
            return self.outcomes(actor_of(request), api_key_of(request), parsed)

    def post_once(self, request: Request, parsed: Parsed, *, key: str, body: bytes) -> HttpResponse | Response:
        """The answer under an Idempotency-Key. Raises Conflict when the key was used for another body."""
        actor, api_key = actor_of(request), api_key_of(request)
        with transaction.atomic():
            claim = repeats.claim(organization_id=api_key.organization_id, key=key, body=body, now=timezone.now())
            is_first = claim.accepted is None
            outcomes = self.outcomes(actor, api_key, parsed, keeps_misfits=is_first)
            response = answered(outcomes if is_first else claim.as_first(outcomes), parsed, request)
            if response.status_code >= 400:
                claim.release()
            elif is_first:
                claim.note(outcomes)
            else:
                response[repeats.REPLAYED] = "true"
        return response

    def outcomes(
        self, actor: Actor, api_key: ApiKey, parsed: Parsed, *, keeps_misfits: bool = True, unconfirmed: Remembered | None = None
    ) -> list[Outcome]:
        """What became of every event of the body, in its order."""
        stored = self.store(actor, api_key, parsed.events, keeps_misfits=keeps_misfits, unconfirmed=unconfirmed)
        if parsed.positions is None:
            return stored
        refused = self.refused_take(actor, api_key, parsed.refused, keeps_misfits=keeps_misfits)
        placed = [msgspec.structs.replace(outcome, index=parsed.positions[outcome.index]) for outcome in stored]
        return sorted([*placed, *refused], key=lambda outcome: outcome.index)


def lines_expected(request: HttpRequest) -> bool:
    """Whether the content type says that each line is an event. Raises Unsupported for a type that is no JSON."""
    kind = media_type(request)
    if kind in LINE_TYPES:
        return True
    if kind in JSON_TYPES:
        return False
    raise Unsupported("unsupported_media_type", f"'{kind[:80]}' is not taken; send application/json or application/x-ndjson.")


def answered(outcomes: Sequence[Outcome], parsed: Parsed, request: Request) -> HttpResponse | Response:
    return single_answer(outcomes[0]) if parsed.is_single else answer(outcomes, request.META.get("QUERY_STRING", ""))


def answer(outcomes: Sequence[Outcome], query: str) -> HttpResponse:
    """200, with every outcome or, for ?results=errors, those that were not accepted."""
    counts = dict.fromkeys(SINGLE_STATUS, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    listed = [outcome for outcome in outcomes if outcome.status != "accepted"] if "results=errors" in query.split("&") else list(outcomes)
    return HttpResponse(encoder.encode(EventsAnswer(**counts, results=listed)), content_type="application/json")


def single_answer(outcome: Outcome) -> HttpResponse | Response:
    """The answer to one event sent by itself says in its status what became of it."""
    status = SINGLE_STATUS[outcome.status]
    if status >= 400:
        title = CONFLICT_TITLE if outcome.status == "conflict" else REJECTED_TITLE
        extra = {"id": outcome.id} | ({"field": outcome.field} if outcome.field else {})
        return problem(status, outcome.code or outcome.status, title, outcome.reason, **extra, **differs_of(outcome))
    counts = dict.fromkeys(SINGLE_STATUS, 0) | {outcome.status: 1}
    return HttpResponse(encoder.encode(EventsAnswer(**counts, results=[outcome])), status=status, content_type="application/json")


def differs_of(outcome: Outcome) -> dict[str, object]:
    """In what a conflict differs from what was counted, for a problem document."""
    return {"differs": msgspec.to_builtins(outcome.differs)} if outcome.differs else {}

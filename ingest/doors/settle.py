"""The door that ends an authorization: POST /api/v1/authorizations/<id>/settle, with the amount or with the call itself."""

from decimal import Decimal
from uuid import UUID

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from governance.budgets.api import actor_of, api_key_of, authorization_facts
from governance.budgets.description import authorization_settle_post
from governance.budgets.models import Authorization
from governance.budgets.selectors import authorization_of
from governance.budgets.services import CLOCK_SKEW, authorization_settle, lease_end
from governance.errors import Forbidden, Invalid
from governance.tenancy.models import Scope
from governance.tenancy.problems import problem
from ingest.doors import schema
from ingest.doors.door import Door
from ingest.doors.events import CONFLICT_TITLE, REJECTED_TITLE, SINGLE_STATUS, differs_of
from ingest.formats import native
from ingest.formats.batch import fault_of
from ingest.formats.event import Outcome, UsageEvent
from ingest.quarantine.services import refusals_mend

MAX_BODY_BYTES = 256 * 1024


class SettleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body, with the event still to be read."""

    amount: Decimal | None = None
    event: msgspec.Raw = msgspec.Raw()


class Settlement(msgspec.Struct, frozen=True):
    """What a call cost, or the call itself: one of the two."""

    amount: Decimal | None = None
    event: UsageEvent | None = None


class SettleDoor(Door):
    """Takes the end of a call that was authorized."""

    scope = Scope.AUTHORIZE
    name = "rest"  # an id that a client made up means the same call here and at /events

    @authorization_settle_post(body=Settlement, event=schema.EVENT)
    def post(self, request: Request, authorization_id: UUID) -> Response:
        actor = actor_of(request)
        found = authorization_of(actor, authorization_id)
        asked = self.asked(request)
        if asked.amount is not None:
            settled = authorization_settle(actor=actor, authorization_id=found.pk, amount=asked.amount)
            return Response(authorization_facts(settled))
        outcome, is_of_lease = self.event_store(request, found, bytes(asked.event))
        if (status := SINGLE_STATUS[outcome.status]) >= 400 and outcome.status != "conflict":
            return problem(status, outcome.code or outcome.status, REJECTED_TITLE, outcome.reason, id=outcome.id, field=outcome.field)
        settled = lease_end(actor=actor, authorization_id=found.pk) if is_of_lease else authorization_of(actor, found.pk)
        if outcome.status == "conflict":
            return problem(status, outcome.code, CONFLICT_TITLE, outcome.reason, id=outcome.id, state=settled.state, **differs_of(outcome))
        return Response(authorization_facts(settled) | {"event": {"id": outcome.id, "status": outcome.status}})

    def asked(self, request: Request) -> SettleIn:
        """The body. Raises BadBody or Invalid."""
        body = self.body(request._request, MAX_BODY_BYTES)
        try:
            asked = msgspec.json.decode(body, type=SettleIn)
        except native.NOT_DECODED as error:
            found = fault_of(error)
            raise Invalid(found.reason, field=found.field) from error
        if (asked.amount is None) == (not bytes(asked.event)):
            raise Invalid("Send `amount`, or `event`, and not both.", field="amount")
        return asked

    def event_store(self, request: Request, found: Authorization, body: bytes) -> tuple[Outcome, bool]:
        """What became of the event, which is the call's that the authorization was for; and whether it is the last call of a lease."""
        api_key = api_key_of(request)
        if Scope.INGEST not in api_key.scopes:
            raise Forbidden("Reporting the call itself takes a key with the scope `ingest`; settle with its amount.", scope=Scope.INGEST)
        event = native.read(body, 0)
        if not isinstance(event, UsageEvent):
            mended = refusals_mend(organization_id=api_key.organization_id, door=self.name, refused=[event])
            if not mended:
                self.refused_keep(api_key, [event])
                return event.outcome, False
            event = mended[0].event
        if event.authorization not in (None, found.pk):
            raise Invalid("The event names another authorization.", field="event.authorization")
        named = msgspec.structs.replace(event, authorization=found.pk)
        outcome = self.store(actor_of(request), api_key, [named])[0]
        is_counted = outcome.status in ("accepted", "duplicate")
        return outcome, found.is_lease and is_counted and event.occurred_at >= found.created_at - CLOCK_SKEW

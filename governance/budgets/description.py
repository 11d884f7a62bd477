"""What OpenAPI says of authorizations and sessions: bodies, answers and examples."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from governance.budgets.services import AuthorizationIn, ExtensionIn
from governance.tenancy.openapi import KEY_NEEDED, Problem, problems

State = Literal["held", "settling", "settled", "voided", "expired"]


class AuthorizationOut(msgspec.Struct, frozen=True, kw_only=True):
    """A hold on money before a call."""

    id: UUID
    state: State
    amount: Decimal
    currency: str
    session: str
    created_at: datetime
    expires_at: datetime
    reported_cost: Decimal | None
    settled_cost: Decimal | None
    lease: bool
    remaining: Decimal | None

    field_notes: ClassVar[dict[str, str]] = {
        "state": (
            "`held`: the amount is held. `settling`: the reported cost is held until the call's event comes. "
            "`settled`, `voided`, `expired`: nothing is held."
        ),
        "amount": "What was held: as asked for, estimated from model and tokens, or with `allow_partial` what there was; with what extensions added.",
        "lease": "Whether many calls are made on it, each of which draws it down.",
        "remaining": "Of a lease that holds: what is left of it in money. Null otherwise, and where no budget in money applies.",
        "expires_at": "When the hold is given back unless it ends before; for `settling` a day after it was settled.",
        "reported_cost": "What the caller said the call cost. Never counted as spend.",
        "settled_cost": "What the events that name this authorization cost by the price book.",
    }


class AuthorizationGranted(AuthorizationOut, frozen=True, kw_only=True):
    """The call may go on."""

    left: Decimal | None
    priced: bool
    bound_by: "StandingBudget | None"
    tokens: int | None = None
    notice: str | None = None

    field_notes: ClassVar[dict[str, str]] = {
        **AuthorizationOut.field_notes,
        "priced": (
            "False: no amount was given and none could be told from model and tokens. "
            "Then the highest `unpriced_call_amount` of the budgets that apply is held, or nothing where none has one."
        ),
        "notice": "Only where `priced` is false: what is held for want of a price.",
        "bound_by": "Where less was granted than asked for (`allow_partial`): the budget that has no more. Null otherwise, and when asked again under the same key.",
        "tokens": "With `bound_by`, where a budget counts tokens: how many were granted, input included.",
        "left": "What the tightest hard budget has left after this hold; null when no hard budget applies.",
    }


class AuthorizationExtended(AuthorizationOut, frozen=True, kw_only=True):
    """The call may go on for longer, or on more."""

    left: Decimal | None

    field_notes: ClassVar[dict[str, str]] = {
        **AuthorizationOut.field_notes, "left": "What the tightest hard budget has left after this; null when no hard budget applies.",
    }


class EventCounted(msgspec.Struct, frozen=True):
    """What became of the event that came with the settlement."""

    id: str
    status: Literal["accepted", "duplicate"]


class AuthorizationSettled(AuthorizationOut, frozen=True, kw_only=True):
    """The end of a call that was authorized."""

    event: EventCounted | None = None

    field_notes: ClassVar[dict[str, str]] = {**AuthorizationOut.field_notes, "event": "Where an event was sent."}


class StandingBudget(msgspec.Struct, frozen=True):
    """The budget that stands against a call."""

    id: int
    name: str
    scope: str
    period: int
    starts_at: datetime
    ends_at: datetime | None


class Decider(msgspec.Struct, frozen=True):
    """Somebody who may grant more."""

    name: str
    email: str


class StandingFreeze(msgspec.Struct, frozen=True):
    """What refuses calls, why, by whom and since when."""

    id: int
    scope: Literal["period", "session", "team", "member", "provider", "model", "key", "organization"]
    name: str
    cause: Literal["budget", "hand", "guard", "key"]
    reason: str
    started_at: datetime
    started_by: str | None
    period: int | None
    url: str

    field_notes: ClassVar[dict[str, str]] = {
        "scope": "What is frozen; `period` is what a budget covers. A session's freeze reaches all sessions below it, a team's the teams below.",
        "name": "The session's key, the team's slug, the member's address, the key's prefix, or the provider's or model's name.",
        "period": "The budget period that caused it.",
        "url": "The page on which it is seen and ended.",
    }


class BudgetExceeded(Problem, frozen=True, kw_only=True):
    """A budget or a freeze stands against the call: which, by how much, and who can grant more."""

    is_frozen: bool
    session: str
    approvers: list[Decider]
    request_url: str
    budget: StandingBudget | None = None
    currency: str = ""
    limit: Decimal | None = None
    spent: Decimal | None = None
    held: Decimal | None = None
    left: Decimal | None = None
    amount: Decimal | None = None
    short_by: Decimal | None = None
    freeze: int | None = None
    frozen_by: StandingFreeze | None = None

    field_notes: ClassVar[dict[str, str]] = {
        "is_frozen": "True: every call is refused until somebody acts. False: only calls of more than `left`.",
        "approvers": "People who may decide a request; approvers of the team first.",
        "request_url": "The page where a person asks for more. Programs file at /api/v1/approvals.",
        "limit": "With top-ups.",
        "held": "Without what this call itself holds already, where it is asked for again.",
        "left": "Limit less spent and held; negative after an excess. Of a soft budget, what the largest sum (1,000,000,000,000) leaves room for.",
        "short_by": "By how much the amount passes what is left.",
        "budget": "Absent when a freeze that is not the budget's own stands against the call.",
        "freeze": "The id of `frozen_by`.",
        "frozen_by": "The freeze that stands against the call: of the session or one above it, or of a team, member, provider, model, key or everything.",
    }


class AuthorizationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one entry: its status, and the body that the entry would have got alone."""

    status: Literal[200, 201, 402, 409, 422]
    id: UUID | None = None
    state: State | None = None
    amount: Decimal | None = None
    left: Decimal | None = None
    expires_at: datetime | None = None
    code: str = ""
    detail: str = ""
    field: str = ""
    is_frozen: bool = False
    budget: StandingBudget | None = None

    field_notes: ClassVar[dict[str, str]] = {
        "status": "201 and 200: held, with all that AuthorizationGranted has. 402: refused, with all that BudgetExceeded has. 409 and 422: a problem document.",
    }


class AuthorizationsIn(msgspec.Struct, frozen=True):
    """Up to 1,000 authorizations that are asked for together."""

    authorizations: list[AuthorizationIn]


class AuthorizationsOut(msgspec.Struct, frozen=True):
    """An answer for each, in order."""

    authorizations: list[AuthorizationAnswer]


class SessionBudget(msgspec.Struct, frozen=True):
    """A period that a session's calls count against."""

    id: int
    name: str
    scope: str
    period: int
    is_hard: bool
    starts_at: datetime
    ends_at: datetime | None
    limit: Decimal
    topup: Decimal
    spent: Decimal
    held: Decimal
    left: Decimal
    frozen_at: datetime | None


class SessionOut(msgspec.Struct, frozen=True):
    """How a session stands."""

    session: str
    state: Literal["running", "idle", "closed", "blocked", "frozen"]
    freeze: StandingFreeze | None
    calls: int
    errors: int
    unpriced_calls: int
    tokens: int
    cost: Decimal
    notional_cost: Decimal
    currency: str
    first_at: datetime
    last_at: datetime
    refused_calls: int
    refused_since: datetime | None
    refused_last_at: datetime | None
    budgets: list[SessionBudget]
    url: str

    field_notes: ClassVar[dict[str, str]] = {
        "state": "`frozen`: every call is refused. `blocked`: the last call asked for did not fit, a smaller one may. "
        "Else `running` with a call in the last five minutes, `closed` when it was ended or a day without one, `idle` between.",
        "refused_calls": "How often a call of it that was asked for was refused, by whatever stood against it.",
        "budgets": "The session's own first, the organization's last.",
    }


ID = "019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10"
HELD: dict[str, Any] = {
    "id": ID, "state": "held", "amount": "0.096", "currency": "USD", "session": "s-7f31", "created_at": "2026-11-21T10:04:00Z",
    "expires_at": "2026-11-21T10:09:00Z", "reported_cost": None, "settled_cost": None,
    "lease": False, "remaining": None,
}
REFUSED = {
    "type": "urn:weighhouse:problem:budget_exceeded", "title": "A budget or a freeze stands against this call", "status": 402, "code": "budget_exceeded",
    "detail": "The budget “Every session” for session s-7f31 has too little left: 0.05 USD left of 100.00, 0.096 asked for.",
    "is_frozen": False,
    "budget": {"id": 4, "name": "Every session", "scope": "session", "period": 911, "starts_at": "1970-01-01T00:00:00Z", "ends_at": None},
    "session": "s-7f31", "currency": "USD", "limit": "100", "spent": "99.90", "held": "0.05", "left": "0.05", "amount": "0.096", "short_by": "0.046",
    "approvers": [{"name": "Kim", "email": "kim@example.com"}],
    "request_url": "https://weighhouse.example.com/o/acme/approvals/new?period=911&session=s-7f31",
}
SESSION: dict[str, Any] = {
    "session": "s-7f31", "state": "running", "freeze": None, "calls": 212, "errors": 3, "unpriced_calls": 0, "tokens": 5_210_334,
    "cost": "87.5960", "notional_cost": "0", "currency": "USD", "first_at": "2026-11-21T08:31:12Z", "last_at": "2026-11-21T10:04:00Z",
    "refused_calls": 0, "refused_since": None, "refused_last_at": None,
    "budgets": [{
        "id": 4, "name": "Every session", "scope": "session", "period": 911, "is_hard": True, "starts_at": "1970-01-01T00:00:00Z", "ends_at": None,
        "limit": "100", "topup": "0", "spent": "87.5960", "held": "0", "left": "12.4040", "frozen_at": None,
    }],
    "url": "https://weighhouse.example.com/o/acme/sessions/s-7f31",
}
COUNTED = {"id": "5f2a7c54-0c63-8e6b-6f3c-0de3f9b0a2d4", "status": "accepted"}
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER,
    description=(
        "1 to 200 printable characters; the same as `id` in the body. The same key with the same body gives the authorization made first "
        "(200) and holds nothing more, or 402 with `is_frozen` where a freeze has come in between; with another body it is a 409. A refusal is not kept: the same key may be tried again."
    ),
)

authorization_post = extend_schema(
    operation_id="authorizations_hold",
    tags=["authorizations"],
    auth=KEY_NEEDED,
    summary="Ask whether a call may go on, and hold its estimate",
    description=(
        "Holds `amount`, or what the price book makes of model and tokens, against every budget that applies to the labels: all or none. "
        "The hold ends by the event that names it in `authorization`, by settle, by DELETE, or after `ttl_seconds`."
    ),
    parameters=[IDEMPOTENCY],
    request=AuthorizationIn,
    responses={
        (201, "application/json"): OpenApiResponse(AuthorizationGranted, description="Held against every budget that applies."),
        (200, "application/json"): OpenApiResponse(AuthorizationGranted, description="Held before, by the same request under the same key."),
        (402, "application/problem+json"): OpenApiResponse(BudgetExceeded, description="A budget or a freeze stands against the call."),
        **problems(s409="The key was used for another request, or for one whose hold has ended (`authorization_over`).", s422="Something in the request is not valid; `field` says where."),
    },
    examples=[
        OpenApiExample("Estimate by tokens", request_only=True, value={
            "session": "s-7f31", "team": "platform", "provider": "anthropic", "model": "claude-sonnet-4-5",
            "input_tokens": 12000, "max_output_tokens": 4000, "ttl_seconds": 300,
        }),
        OpenApiExample("A given amount", request_only=True, value={"session": "s-7f31", "amount": "0.25"}),
        OpenApiExample("Held", response_only=True, status_codes=["201"], value=HELD | {"left": "12.404", "priced": True, "bound_by": None}),
        OpenApiExample("Refused", response_only=True, status_codes=["402"], media_type="application/problem+json", value=REFUSED),
    ],
)

authorization_get = extend_schema(
    operation_id="authorizations_get",
    tags=["authorizations"],
    summary="See an authorization",
    responses={(200, "application/json"): AuthorizationOut, **problems(404)},
    examples=[OpenApiExample("Held", response_only=True, status_codes=["200"], value=HELD)],
)

authorization_delete = extend_schema(
    operation_id="authorizations_void",
    tags=["authorizations"],
    summary="Give a hold back because the call is not made",
    description="Voiding twice is the same as once. A hold that was settled or has expired is a 409.",
    responses={
        (200, "application/json"): AuthorizationOut,
        **problems(404, s409="The hold has ended otherwise."),
    },
    examples=[OpenApiExample("Voided", response_only=True, status_codes=["200"], value=HELD | {"state": "voided"})],
)

authorizations_batch_post = extend_schema(
    operation_id="authorizations_batch",
    tags=["authorizations"],
    summary="Ask for up to 1,000 authorizations together",
    description=(
        "Each entry is answered as if it had come alone, in order: its `status` is 201, 200, 402, 409 or 422, beside what the single answer has. Each is "
        "held in every budget that applies or in none, whatever becomes of the others; earlier entries take what later ones find gone."
    ),
    parameters=[OpenApiParameter(
        "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER,
        description="Stands for `<key>/0`, `<key>/1` and so on as the `id` of entries that have none.",
    )],
    request=AuthorizationsIn,
    responses={(200, "application/json"): AuthorizationsOut, **problems(s422="The body is not such a list, or it is too long.")},
    examples=[
        OpenApiExample("Two calls", request_only=True, value={"authorizations": [{"session": "s-7f31", "amount": "0.25"}, {"session": "s-8a02", "amount": "5"}]}),
        OpenApiExample("One held, one refused", response_only=True, status_codes=["200"], value={
            "authorizations": [{"status": 201} | HELD | {"left": "12.404", "priced": True, "bound_by": None}, REFUSED],
        }),
    ],
)

authorization_extend_post = extend_schema(
    operation_id="authorizations_extend",
    tags=["authorizations"],
    summary="Give a hold or a lease more time, more money, or both",
    description=(
        "`ttl_seconds` counts from now and never shortens. `amount`, `tokens` and, of a lease, `calls` are held in addition, in every budget that the "
        "authorization holds against or in none, in the windows of now. Refused as a hold is, and then it stays as it was. Only what is `held` "
        "and not past `expires_at` can be extended."
    ),
    parameters=[OpenApiParameter(
        "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER,
        description="1 to 200 printable characters; the same as `id` in the body. The same key with the same body extends once; with another body it is a 409.",
    )],
    request=ExtensionIn,
    responses={
        (200, "application/json"): AuthorizationExtended,
        (402, "application/problem+json"): OpenApiResponse(BudgetExceeded, description="A budget or a freeze stands against it. The hold is untouched."),
        **problems(404, s409="The hold has ended (`authorization_over`), or the key was used for another extension.", s422="Something in the request is not valid; `field` says where."),
    },
    examples=[
        OpenApiExample("A minute and a dollar more", request_only=True, value={"ttl_seconds": 60, "amount": "1.00"}),
        OpenApiExample("Extended", response_only=True, status_codes=["200"], value=HELD | {"amount": "1.096", "left": "11.404"}),
    ],
)

session_get = extend_schema(
    operation_id="sessions_get",
    tags=["sessions"],
    summary="How a session stands: its totals, whether it is frozen, and its budgets",
    responses={(200, "application/json"): SessionOut, **problems(404)},
    examples=[OpenApiExample("Running", response_only=True, status_codes=["200"], value=SESSION)],
)


def authorization_settle_post(*, body: type[msgspec.Struct], event: Any) -> Any:
    """The description of settling; the body and the example of an event are known to the floor above."""
    answer = HELD | {"state": "settled", "settled_cost": "0.0832"}
    return extend_schema(
        operation_id="authorizations_settle",
        tags=["authorizations"],
        summary="Say how an authorized call ended",
        description=(
            "With `event`, the call itself as at /api/v1/events: it is counted and priced, and the hold is given back in the same transaction. "
            "The key then needs the scope `ingest` too. With `amount`, what the call cost: that much stays held until the call's event comes, at "
            "most a day, as far as hard budgets have room for it; settling again with another amount corrects it. "
            "An amount is never counted as spend, only events are. Settle, event, expiry and DELETE may come in any order and more "
            "than once: the money is held or spent once. An event that is known with other content, or that named another authorization when it "
            "was counted, leaves this hold as it is, to be voided or to expire; so does one that happened more than five minutes before the "
            "authorization was made."
        ),
        request={"application/json": body},
        responses={
            (200, "application/json"): AuthorizationSettled,
            **problems(
                404,
                s403="An event was sent with a key that lacks the scope `ingest`.",
                s409="Settled with another amount before and nothing is held any more, voided, or the event is known with other content.",
                s422="Something in the request is not valid; `field` says where.",
            ),
        },
        examples=[
            OpenApiExample("With the call", request_only=True, media_type="application/json", value={"event": event}),
            OpenApiExample("With the amount", request_only=True, media_type="application/json", value={"amount": "0.0832"}),
            OpenApiExample("Settled", response_only=True, status_codes=["200"], value=answer | {"event": COUNTED}),
        ],
    )

"""What OpenAPI says of plans and seats: bodies, answers and examples."""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from governance.tenancy.openapi import problems

Period = Literal["month", "year"]
Measure = Literal["", "tokens", "calls", "notional"]
DAYS = {"valid_from": "The first local day.", "valid_to": "The first local day without it. Null: it goes on."}
TERMS_NOTES = {
    "fee": "Per seat and period.",
    "currency": "Of the fee. The organization's own where it is left out.",
    "anchor": "The first day of a billing period. The day the terms begin where it is left out.",
    "included_measure": "What is included is counted in: `tokens`, `calls`, or `notional`, usage at list price. Empty: nothing is counted.",
    "included_amount": "Per seat and period.",
    **DAYS,
}
COVER_NOTES = {"harness": "Whose calls the seats are for, as usage names it. Empty: any.", "provider": "As usage names it. Empty: any."}


class TermsChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Other terms from a day on; what is left out stays as it was."""

    valid_from: date
    fee: Decimal | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    period: Period | msgspec.UnsetType = msgspec.UNSET
    anchor: date | msgspec.UnsetType = msgspec.UNSET
    included_measure: Measure | msgspec.UnsetType = msgspec.UNSET
    included_amount: Decimal | msgspec.UnsetType | None = msgspec.UNSET

    field_notes: ClassVar[dict[str, str]] = TERMS_NOTES


class PlanIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new plan; harness or provider is needed."""

    name: str
    fee: Decimal
    valid_from: date
    harness: str = ""
    provider: str = ""
    currency: str | None = None
    period: Period = "month"
    anchor: date | None = None
    included_measure: Measure = ""
    included_amount: Decimal | None = None

    field_notes: ClassVar[dict[str, str]] = TERMS_NOTES | COVER_NOTES


class TermsOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a seat costs and includes for some days."""

    fee: Decimal
    currency: str
    period: Period
    anchor: date
    included_measure: Measure
    included_amount: Decimal | None
    valid_from: date
    valid_to: date | None

    field_notes: ClassVar[dict[str, str]] = TERMS_NOTES


class PlanOut(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with all its terms, oldest first."""

    id: int
    name: str
    harness: str
    provider: str
    terms: list[TermsOut]

    field_notes: ClassVar[dict[str, str]] = COVER_NOTES


class PlanList(msgspec.Struct, frozen=True):
    """Plans by name."""

    items: list[PlanOut]


class EndIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on it is no more."""

    ends_on: date

    field_notes: ClassVar[dict[str, str]] = {"ends_on": "The first local day without it."}


class SeatIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seat for a member."""

    plan: int
    member: str
    valid_from: date
    valid_to: date | None = None

    field_notes: ClassVar[dict[str, str]] = {"plan": "Its id.", "member": "By e-mail.", **DAYS}


class SeatOut(msgspec.Struct, frozen=True, kw_only=True):
    """A member's seat of a plan."""

    id: int
    plan: int
    plan_name: str
    member: str
    valid_from: date
    valid_to: date | None

    field_notes: ClassVar[dict[str, str]] = {"member": "By e-mail.", **DAYS}


class SeatCost(SeatOut, frozen=True, kw_only=True):
    """A seat with its cost in the days asked for."""

    days: int
    cost: Decimal | None

    field_notes: ClassVar[dict[str, str]] = {
        **DAYS, "days": "How many of the days it is held.", "cost": "In the organization's currency. Null where no exchange rate is known.",
    }  # fmt: skip


class SeatList(msgspec.Struct, frozen=True, kw_only=True):
    """Seats by person, with what they cost in the days [from, to)."""

    first: date = msgspec.field(name="from")
    until: date = msgspec.field(name="to")
    currency: str
    cost: Decimal
    unconverted: int
    items: list[SeatCost]

    field_notes: ClassVar[dict[str, str]] = {"cost": "Of the seats whose cost is known.", "unconverted": "Seats whose cost is not."}


PLAN_ID = OpenApiParameter("plan_id", OpenApiTypes.INT, OpenApiParameter.PATH)
SEAT_ID = OpenApiParameter("seat_id", OpenApiTypes.INT, OpenApiParameter.PATH)
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER,
    description="1 to 200 printable characters, for a day. The same key with the same body gives the first answer again with `Idempotency-Replayed: true`.",
)  # fmt: skip
MADE: dict[str, Any] = {
    "name": "Claude Team, premium",
    "harness": "claude-code",
    "fee": "125",
    "valid_from": "2026-09-01",
    "included_measure": "tokens",
    "included_amount": "400000000",
}
FIRST_TERMS: dict[str, Any] = {
    "fee": "125", "currency": "USD", "period": "month", "anchor": "2026-09-01", "included_measure": "tokens", "included_amount": "400000000",
    "valid_from": "2026-09-01", "valid_to": None,
}  # fmt: skip
PLAN: dict[str, Any] = {"id": 3, "name": "Claude Team, premium", "harness": "claude-code", "provider": "", "terms": [FIRST_TERMS]}
CHANGED = PLAN | {"terms": [FIRST_TERMS | {"valid_to": "2026-12-01"}, FIRST_TERMS | {"fee": "150", "valid_from": "2026-12-01"}]}
ENDED = PLAN | {"terms": [FIRST_TERMS | {"valid_to": "2026-12-01"}]}
SEAT: dict[str, Any] = {
    "id": 41,
    "plan": 3,
    "plan_name": "Claude Team, premium",
    "member": "kim@acme.example",
    "valid_from": "2026-09-01",
    "valid_to": None,
}
SEATS = {
    "from": "2026-11-01",
    "to": "2026-11-16",
    "currency": "USD",
    "cost": "62.5",
    "unconverted": 0,
    "items": [SEAT | {"days": 15, "cost": "62.5"}],
}


def answer(status: int, shape: Any, sentence: str) -> dict[Any, Any]:
    """A response for extend_schema."""
    return {(status, "application/json"): OpenApiResponse(shape, description=sentence)}


plans_list = extend_schema(
    operation_id="plans_list", tags=["plans"], summary="List plans with what their seats cost", responses=answer(200, PlanList, "By name, those that ended too."),
    examples=[OpenApiExample("Plans", response_only=True, status_codes=["200"], value={"items": [PLAN]})],
)  # fmt: skip
plans_create = extend_schema(
    operation_id="plans_create", tags=["plans"], summary="Make a plan", parameters=[IDEMPOTENCY], request=PlanIn,
    responses={**answer(201, PlanOut, "It is there."), **problems(409, 422)},
    examples=[
        OpenApiExample("Seats of a coding agent", request_only=True, value=MADE),
        OpenApiExample("Made", response_only=True, status_codes=["201"], value=PLAN),
    ],
)  # fmt: skip
plan_get = extend_schema(
    operation_id="plans_get", tags=["plans"], summary="Read a plan", parameters=[PLAN_ID], responses={**answer(200, PlanOut, "The plan."), **problems(404)},
    examples=[OpenApiExample("A plan", response_only=True, status_codes=["200"], value=PLAN)],
)  # fmt: skip
plan_change = extend_schema(
    operation_id="plans_change", tags=["plans"], summary="Other terms from a day on", parameters=[PLAN_ID, IDEMPOTENCY], request=TermsChange,
    description="The present terms end on that day and stay as they are for the days before. A change that changes nothing makes no row.",
    responses={**answer(200, PlanOut, "With the new terms."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("A higher fee", request_only=True, value={"valid_from": "2026-12-01", "fee": "150"}),
        OpenApiExample("Changed", response_only=True, status_codes=["200"], value=CHANGED),
    ],
)  # fmt: skip
plan_end = extend_schema(
    operation_id="plans_end", tags=["plans"], summary="End a plan and its seats", parameters=[PLAN_ID, IDEMPOTENCY], request=EndIn,
    responses={**answer(200, PlanOut, "It ends on that day."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("From December on", request_only=True, value={"ends_on": "2026-12-01"}),
        OpenApiExample("Ended", response_only=True, status_codes=["200"], value=ENDED),
    ],
)  # fmt: skip
seats_list = extend_schema(
    operation_id="seats_list", tags=["seats"], summary="List seats and what they cost in some days",
    description="Those of the people that the key's holder may see, held on one of the days: the running month where none are given.",
    parameters=[
        OpenApiParameter("from", OpenApiTypes.DATE, description="The first local day."),
        OpenApiParameter("to", OpenApiTypes.DATE, description="The day after the last, at most ten years later."),
    ],
    responses={**answer(200, SeatList, "By person."), **problems(422)},
    examples=[OpenApiExample("Half a month", response_only=True, status_codes=["200"], value=SEATS)],
)  # fmt: skip
seats_give = extend_schema(
    operation_id="seats_give", tags=["seats"], summary="Give a seat", parameters=[IDEMPOTENCY], request=SeatIn,
    description="The same seat given again changes nothing. A person has one seat at a time for the same calls.",
    responses={**answer(201, SeatOut, "The seat."), **problems(s409="The person has another seat for these calls then.", s422="No such plan or member, or days outside the plan's.")},
    examples=[
        OpenApiExample("From September on", request_only=True, value={"plan": 3, "member": "kim@acme.example", "valid_from": "2026-09-01"}),
        OpenApiExample("Given", response_only=True, status_codes=["201"], value=SEAT),
    ],
)  # fmt: skip
seat_end = extend_schema(
    operation_id="seats_end", tags=["seats"], summary="End a seat", parameters=[SEAT_ID, IDEMPOTENCY], request=EndIn,
    description="An end may be set earlier. On the day it began: it never was.",
    responses={**answer(200, SeatOut, "It ends on that day."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("From December on", request_only=True, value={"ends_on": "2026-12-01"}),
        OpenApiExample("Ended", response_only=True, status_codes=["200"], value=SEAT | {"valid_to": "2026-12-01"}),
    ],
)  # fmt: skip

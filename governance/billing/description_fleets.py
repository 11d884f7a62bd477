"""What OpenAPI says of own hardware: bodies, answers and examples."""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from governance.billing.description import DAYS, IDEMPOTENCY, EndIn, answer
from governance.tenancy.openapi import problems

Basis = Literal["hours", "work"]
Schedule = Literal["always", "entered"]
NOTES = {
    "model": "As usage names it. Its calls with billing mode `self-hosted` share the cost by their tokens.",
    "provider": "As usage names it. Empty: any.",
    "rate": "Per GPU and hour.",
    "currency": "Of the rate. The organization's own where it is left out.",
    "basis": "`hours`: paid for every hour it is there. `work`: paid for the hours that its tokens take at `tokens_per_hour`.",
    "schedule": "`always`: around the clock. `entered`: the hours of each month are entered.",
    "tokens_per_hour": "What the whole fleet serves in an hour, tokens of every kind.",
    "hosted_model": "The same model as somebody sells it by the token, to compare with.",
    **DAYS,
}


class FleetChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a fleet is from a day on; what is left out stays."""

    valid_from: date
    gpus: int | msgspec.UnsetType = msgspec.UNSET
    gpu_kind: str | msgspec.UnsetType = msgspec.UNSET
    rate: Decimal | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    basis: Basis | msgspec.UnsetType = msgspec.UNSET
    schedule: Schedule | msgspec.UnsetType = msgspec.UNSET
    tokens_per_hour: int | msgspec.UnsetType | None = msgspec.UNSET
    hosted_provider: str | msgspec.UnsetType = msgspec.UNSET
    hosted_model: str | msgspec.UnsetType = msgspec.UNSET

    field_notes: ClassVar[dict[str, str]] = NOTES


class FleetIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hardware that serves a model."""

    name: str
    model: str
    gpus: int
    rate: Decimal
    valid_from: date
    provider: str = ""
    currency: str | None = None
    gpu_kind: str = ""
    basis: Basis = "hours"
    schedule: Schedule = "always"
    tokens_per_hour: int | None = None
    hosted_provider: str = ""
    hosted_model: str = ""

    field_notes: ClassVar[dict[str, str]] = NOTES


class HoursOut(msgspec.Struct, frozen=True):
    """The hours entered for a month."""

    month: date
    hours: Decimal


class FleetOut(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a fleet; rows of one name follow each other."""

    id: int
    name: str
    model: str
    provider: str
    gpus: int
    gpu_kind: str
    rate: Decimal
    currency: str
    basis: Basis
    schedule: Schedule
    tokens_per_hour: int | None
    hosted_provider: str
    hosted_model: str
    valid_from: date
    valid_to: date | None
    hours: list[HoursOut]

    field_notes: ClassVar[dict[str, str]] = NOTES


class FleetMonthOut(msgspec.Struct, frozen=True, kw_only=True):
    """A month of a model that is over and fixed. Amounts are in the organization's currency."""

    model: str
    month: date
    gpu_hours: Decimal | None
    amount: Decimal | None
    tokens: int
    calls: int
    per_mtok: Decimal | None
    hosted_per_mtok: Decimal | None

    field_notes: ClassVar[dict[str, str]] = {
        "amount": "Null where hours or an exchange rate were not known.",
        "per_mtok": "Null also where nothing ran.",
    }


class FleetList(msgspec.Struct, frozen=True):
    """Fleets by name, and the months that are fixed, latest first."""

    items: list[FleetOut]
    months: list[FleetMonthOut]


class HoursIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hours a fleet ran in a month."""

    month: date
    hours: Decimal

    field_notes: ClassVar[dict[str, str]] = {"month": "Any day of it.", "hours": "Entered again, the later number counts."}


ID = OpenApiParameter("fleet_id", OpenApiTypes.INT, OpenApiParameter.PATH)
MADE: dict[str, Any] = {
    "name": "H100 pool", "model": "qwen3-coder-30b", "gpus": 4, "gpu_kind": "H100", "rate": "2.40", "valid_from": "2026-09-01", "tokens_per_hour": 30_000_000,
    "hosted_provider": "openrouter", "hosted_model": "qwen/qwen3-coder-30b-a3b-instruct",
}  # fmt: skip
FLEET: dict[str, Any] = MADE | {
    "id": 5, "provider": "", "rate": "2.4", "currency": "USD", "basis": "hours", "schedule": "entered", "valid_to": None, "hours": [{"month": "2026-09-01", "hours": "412"}]
}  # fmt: skip
MONTH: dict[str, Any] = {
    "model": "qwen3-coder-30b", "month": "2026-09-01", "gpu_hours": "1648", "amount": "3955.2", "tokens": 9_100_000_000, "calls": 41_200,
    "per_mtok": "0.43463736263736263", "hosted_per_mtok": "0.21",
}  # fmt: skip
CHANGED = FLEET | {"id": 6, "gpus": 8, "valid_from": "2026-12-01", "hours": []}
HOURS = {"month": "2026-10-01", "hours": "388.5"}

fleets_list = extend_schema(
    operation_id="fleets_list", tags=["fleets"], summary="List own hardware and its fixed months", responses=answer(200, FleetList, "Every row, those that ended too."),
    examples=[OpenApiExample("A pool", response_only=True, status_codes=["200"], value={"items": [FLEET], "months": [MONTH]})],
)  # fmt: skip
fleets_create = extend_schema(
    operation_id="fleets_create", tags=["fleets"], summary="Add own hardware", parameters=[IDEMPOTENCY], request=FleetIn,
    responses={**answer(201, FleetOut, "It is there."), **problems(409, 422)},
    examples=[
        OpenApiExample("Four GPUs around the clock", request_only=True, value=MADE),
        OpenApiExample("Made", response_only=True, status_codes=["201"], value=FLEET | {"schedule": "always", "hours": []}),
    ],
)  # fmt: skip
fleet_get = extend_schema(
    operation_id="fleets_get", tags=["fleets"], summary="Read a row of a fleet", parameters=[ID], responses={**answer(200, FleetOut, "The row."), **problems(404)},
    examples=[OpenApiExample("A pool", response_only=True, status_codes=["200"], value=FLEET)],
)  # fmt: skip
fleet_change = extend_schema(
    operation_id="fleets_change", tags=["fleets"], summary="What a fleet is from a day on", parameters=[ID, IDEMPOTENCY], request=FleetChange,
    description="The present row ends on that day and another begins; the answer is that one.",
    responses={**answer(200, FleetOut, "The new row."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("Twice the GPUs", request_only=True, value={"valid_from": "2026-12-01", "gpus": 8}),
        OpenApiExample("Changed", response_only=True, status_codes=["200"], value=CHANGED),
    ],
)  # fmt: skip
fleet_end = extend_schema(
    operation_id="fleets_end", tags=["fleets"], summary="End a fleet", parameters=[ID, IDEMPOTENCY], request=EndIn,
    responses={**answer(200, FleetOut, "It ends on that day."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("From December on", request_only=True, value={"ends_on": "2026-12-01"}),
        OpenApiExample("Ended", response_only=True, status_codes=["200"], value=FLEET | {"valid_to": "2026-12-01"}),
    ],
)  # fmt: skip
fleet_hours = extend_schema(
    operation_id="fleets_hours", tags=["fleets"], summary="Enter the hours of a month", parameters=[ID, IDEMPOTENCY], request=HoursIn,
    responses={**answer(200, FleetOut, "With the hours."), **problems(404, s409="The month is fixed, or the fleet runs around the clock.", s422="Not so many hours.")},
    examples=[
        OpenApiExample("October", request_only=True, value=HOURS),
        OpenApiExample("Entered", response_only=True, status_codes=["200"], value=FLEET | {"hours": [*FLEET["hours"], HOURS]}),
    ],
)  # fmt: skip

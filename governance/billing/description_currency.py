"""What OpenAPI says of the organization's currency and of the rule that picks exchange rates: bodies, answers and examples."""

from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from drf_spectacular.utils import OpenApiExample, extend_schema

from governance.billing.description import IDEMPOTENCY, answer
from governance.tenancy.openapi import problems

RateBasis = Literal["day", "month"]


class ReportingCurrencyIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The currency that costs, budgets and reports are to be in."""

    currency: str


class ReportingCurrencyOut(msgspec.Struct, frozen=True, kw_only=True):
    """The currency that costs, budgets and reports are in."""

    currency: str
    is_fixed: bool

    field_notes: ClassVar[dict[str, str]] = {"is_fixed": "Usage was counted, or a budget set, in it: it stays."}


class ExchangeRuleIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which day's rate converts the calls of a local day, from one on."""

    basis: RateBasis
    valid_from: date
    days_good_for: Annotated[int, msgspec.Meta(ge=1, le=400)] = 7

    field_notes: ClassVar[dict[str, str]] = {
        "basis": "`day`: that of the call's day or the last before it. `month`: that of the first day of the month, for all of the month.",
        "days_good_for": "How old a rate may be.",
    }


class ExchangeRuleOut(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, and from which local day on it holds."""

    basis: RateBasis
    valid_from: date
    days_good_for: int


class ExchangeRuleList(msgspec.Struct, frozen=True):
    """Rules, the one that began last first. Before the first of them: by day, good for 7 days."""

    items: list[ExchangeRuleOut]


RULE: dict[str, Any] = {"basis": "month", "valid_from": "2026-11-01", "days_good_for": 31}
CURRENCY: dict[str, Any] = {"currency": "EUR", "is_fixed": False}

currency_get = extend_schema(
    operation_id="organization_currency", tags=["organization"], summary="The currency that costs, budgets and reports are in",
    responses=answer(200, ReportingCurrencyOut, "It, and whether it stays."),
    examples=[OpenApiExample("Euro", response_only=True, status_codes=["200"], value=CURRENCY)],
)  # fmt: skip
currency_set = extend_schema(
    operation_id="organization_currency_set", tags=["organization"], summary="Count in another currency", parameters=[IDEMPOTENCY], request=ReportingCurrencyIn,
    description="Only before usage is counted and budgets are set: what was counted is not converted afterwards. Prices, fees and limits may be in any currency.",
    responses={**answer(200, ReportingCurrencyOut, "It is set."), **problems(409, 422)},
    examples=[
        OpenApiExample("Euro", request_only=True, value={"currency": "EUR"}),
        OpenApiExample("Set", response_only=True, status_codes=["200"], value=CURRENCY),
    ],
)  # fmt: skip
rules_list = extend_schema(
    operation_id="exchange_rules_list", tags=["exchange-rates"], summary="List the rules that pick exchange rates",
    responses=answer(200, ExchangeRuleList, "The one that began last first."),
    examples=[OpenApiExample("By month", response_only=True, status_codes=["200"], value={"items": [RULE]})],
)  # fmt: skip
rules_set = extend_schema(
    operation_id="exchange_rules_set", tags=["exchange-rates"], summary="Say which day's rate converts calls", parameters=[IDEMPOTENCY], request=ExchangeRuleIn,
    responses={**answer(201, ExchangeRuleOut, "It holds from that day on."), **problems(422)},
    examples=[
        OpenApiExample("By month", request_only=True, value=RULE),
        OpenApiExample("Set", response_only=True, status_codes=["201"], value=RULE),
    ],
)  # fmt: skip

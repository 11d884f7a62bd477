"""What OpenAPI says of own terms, commitments, credits, markups and exchange rates: bodies, answers and examples."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from governance.billing.description import IDEMPOTENCY, answer
from governance.tenancy.openapi import problems

BalanceKind = Literal["commitment", "credit"]
MOST_RATES_AT_ONCE = 500
SCOPE_NOTES = {
    "provider": "As the price book names it. Empty: any.",
    "model": "As the price book names it. Empty: any.",
    "team": "By slug, with the teams below it. Null: any.",
}
TERM_NOTES = {
    **SCOPE_NOTES,
    "context": 'The kind of call it is for, such as {"processing": "batch"}. Empty: every kind.',
    "rates": "Own amounts of one model by meter: an amount for the meter's usual units (a million tokens), or {per, base, tiers, least}.",
    "amounts_off": "Amounts off the list's by meter, written as `rates`. Not together with own amounts.",
    "percent_off": "From 0 to 100, by itself or beside either.",
    "currency": "Of `rates` and `amounts_off`. The organization's own where it is left out.",
    "valid_from": "The first instant.",
    "valid_to": "The first instant without it. Null: it goes on.",
}
DAY_NOTES = {"starts_on": "The first local day.", "ends_on": "The first local day without it. Null: it goes on."}


class RateIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount for `per` units, the meter's usual ones where it is left out.

    `tiers` apply above so many input tokens of the call to all units; with `marginal` above so many units of the meter, to those beyond.
    `least` is the smallest quantity that is billed.
    """

    base: Decimal
    per: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
    tiers: Annotated[list[tuple[Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)], Decimal]], msgspec.Meta(max_length=20)] = []
    marginal: bool = False
    least: Decimal | None = None


class TermIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new term: own amounts, amounts off, or a percent off, by itself or beside either."""

    name: str
    valid_from: datetime
    valid_to: datetime | None = None
    provider: str = ""
    model: str = ""
    team: str | None = None
    context: dict[str, str] = {}
    rates: dict[str, Decimal | RateIn] = {}
    amounts_off: dict[str, Decimal | RateIn] = {}
    percent_off: Decimal = Decimal(0)
    currency: str = ""

    field_notes: ClassVar[dict[str, str]] = TERM_NOTES


class TermOut(msgspec.Struct, frozen=True, kw_only=True):
    """A term. Of those that fit a call the first in the order of docs/terms.md applies."""

    id: int
    name: str
    provider: str
    model: str
    team: str | None
    context: dict[str, str]
    rates: dict[str, Any]
    amounts_off: dict[str, Any]
    percent_off: Decimal
    currency: str
    valid_from: datetime
    valid_to: datetime | None

    field_notes: ClassVar[dict[str, str]] = TERM_NOTES


class AgreedTermList(msgspec.Struct, frozen=True):
    """Terms, the one that began last first."""

    items: list[TermOut]


class TermEndIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which instant on the term holds no more."""

    valid_to: datetime


class BalanceIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new commitment or credit."""

    kind: BalanceKind
    name: str
    amount: Decimal
    starts_on: date
    ends_on: date | None = None
    currency: str = ""
    provider: str = ""
    model: str = ""
    team: str | None = None

    field_notes: ClassVar[dict[str, str]] = {**SCOPE_NOTES, **DAY_NOTES, "currency": "The organization's own where it is left out."}


class BalanceOut(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment or credit. What is used of it follows from what its scope was billed."""

    id: int
    kind: BalanceKind
    name: str
    amount: Decimal
    currency: str
    exchange_rate: Decimal | None
    provider: str
    model: str
    team: str | None
    starts_on: date
    ends_on: date | None

    field_notes: ClassVar[dict[str, str]] = {
        **SCOPE_NOTES, **DAY_NOTES, "exchange_rate": "Its currency in the organization's on the first day. Null: the same currency.",
    }  # fmt: skip


class BalanceList(msgspec.Struct, frozen=True):
    """Commitments and credits, the one that began last first."""

    items: list[BalanceOut]


class BalanceEndIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which local day on it counts no more."""

    ends_on: date


class MarkupIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is added to a team's cost from a local day on; 0 ends it."""

    percent: Decimal
    valid_from: date
    team: str | None = None

    field_notes: ClassVar[dict[str, str]] = {"percent": "From -100 to 1000.", "team": "By slug. Null: every team that has none of its own."}


class MarkupOut(msgspec.Struct, frozen=True, kw_only=True):
    """A markup."""

    id: int
    percent: Decimal
    valid_from: date
    team: str | None


class MarkupList(msgspec.Struct, frozen=True):
    """Markups, the one that began last first."""

    items: list[MarkupOut]


class ExchangeRateIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One unit of `base` is `rate` units of `quote` from the local day on."""

    base: str
    quote: str
    day: date
    rate: Decimal


class ExchangeRatesIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of the organization's own."""

    rates: Annotated[list[ExchangeRateIn], msgspec.Meta(min_length=1, max_length=MOST_RATES_AT_ONCE)]


class ExchangeRateOut(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of `base` is `rate` units of `quote` from the day on. Of two of a pair and day the later one added counts."""

    base: str
    quote: str
    day: date
    rate: Decimal
    source: str
    is_own: bool

    field_notes: ClassVar[dict[str, str]] = {"is_own": "Whether the organization added it; these go before the installation's."}


class ExchangeRateList(msgspec.Struct, frozen=True):
    """Exchange rates, the organization's own first, the latest day first."""

    currency: str
    items: list[ExchangeRateOut]

    field_notes: ClassVar[dict[str, str]] = {"currency": "What the organization counts in."}


class ExchangeRatesAdded(msgspec.Struct, frozen=True):
    """How many rates are new; those that stood there already are left as they are."""

    added: int


TERM_ID = OpenApiParameter("term_id", OpenApiTypes.INT, OpenApiParameter.PATH)
BALANCE_ID = OpenApiParameter("balance_id", OpenApiTypes.INT, OpenApiParameter.PATH)
TERM: dict[str, Any] = {
    "id": 7, "name": "MSA-2026-11", "provider": "anthropic", "model": "", "team": None, "context": {}, "rates": {}, "amounts_off": {}, "percent_off": "12",
    "currency": "USD", "valid_from": "2026-11-01T00:00:00Z", "valid_to": None,
}  # fmt: skip
BALANCE: dict[str, Any] = {
    "id": 4, "kind": "commitment", "name": "Committed use 2026", "amount": "120000", "currency": "USD", "exchange_rate": None, "provider": "anthropic",
    "model": "", "team": None, "starts_on": "2026-01-01", "ends_on": "2027-01-01",
}  # fmt: skip
MARKUP: dict[str, Any] = {"id": 2, "percent": "4.5", "valid_from": "2026-11-01", "team": None}
RATE: dict[str, Any] = {"base": "EUR", "quote": "USD", "day": "2026-11-20", "rate": "1.0841"}
FILE = "day,base,quote,rate\n2026-11-20,EUR,USD,1.0841\n2026-11-20,EUR,CNY,7.8123\n"
ADDED = OpenApiExample("Added", response_only=True, status_codes=["200"], value={"added": 2})

terms_list = extend_schema(
    operation_id="price_terms_list", tags=["prices"], summary="List the organization's own terms",
    description="Takes a key of the organization, or of a member whose role may read the record.",
    responses=answer(200, AgreedTermList, "Those that ended too."),
    examples=[OpenApiExample("A discount", response_only=True, status_codes=["200"], value={"items": [TERM]})],
)  # fmt: skip
terms_add = extend_schema(
    operation_id="price_terms_add", tags=["prices"], summary="Add a term", parameters=[IDEMPOTENCY], request=TermIn,
    description="It ends the one that stood for the same provider, model, team and kind of call, and holds for calls that are stored from then on.",
    responses={**answer(201, TermOut, "It is there."), **problems(409, 422)},
    examples=[
        OpenApiExample("A percent off", request_only=True, value={"name": "MSA-2026-11", "provider": "anthropic", "percent_off": "12", "valid_from": "2026-11-01T00:00:00Z"}),
        OpenApiExample("Own amounts", request_only=True, value={
            "name": "Order form 88", "provider": "anthropic", "model": "claude-sonnet-4-5", "valid_from": "2026-12-01T00:00:00Z",
            "rates": {"input_tokens": "2.4", "output_tokens": {"per": 1000000, "base": "12"}},
        }),
        OpenApiExample("Added", response_only=True, status_codes=["201"], value=TERM),
    ],
)  # fmt: skip
terms_end = extend_schema(
    operation_id="price_terms_end", tags=["prices"], summary="End a term", parameters=[TERM_ID, IDEMPOTENCY], request=TermEndIn,
    description="Earlier than it would otherwise. At the instant it began: it never applied.",
    responses={**answer(200, TermOut, "It ends then."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("From December on", request_only=True, value={"valid_to": "2026-12-01T00:00:00Z"}),
        OpenApiExample("Ended", response_only=True, status_codes=["200"], value=TERM | {"valid_to": "2026-12-01T00:00:00Z"}),
    ],
)  # fmt: skip
balances_list = extend_schema(
    operation_id="price_balances_list", tags=["prices"], summary="List commitments and credits",
    responses=answer(200, BalanceList, "Those that ended too."),
    examples=[OpenApiExample("A commitment", response_only=True, status_codes=["200"], value={"items": [BALANCE]})],
)  # fmt: skip
balances_add = extend_schema(
    operation_id="price_balances_add", tags=["prices"], summary="Add a commitment or a credit", parameters=[IDEMPOTENCY], request=BalanceIn,
    responses={**answer(201, BalanceOut, "It is there."), **problems(422)},
    examples=[
        OpenApiExample("A commitment", request_only=True, value={
            "kind": "commitment", "name": "Committed use 2026", "amount": "120000", "provider": "anthropic", "starts_on": "2026-01-01", "ends_on": "2027-01-01",
        }),
        OpenApiExample("Added", response_only=True, status_codes=["201"], value=BALANCE),
    ],
)  # fmt: skip
balances_end = extend_schema(
    operation_id="price_balances_end", tags=["prices"], summary="End a commitment or a credit", parameters=[BALANCE_ID, IDEMPOTENCY], request=BalanceEndIn,
    responses={**answer(200, BalanceOut, "It ends on that day."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("From December on", request_only=True, value={"ends_on": "2026-12-01"}),
        OpenApiExample("Ended", response_only=True, status_codes=["200"], value=BALANCE | {"ends_on": "2026-12-01"}),
    ],
)  # fmt: skip
markups_list = extend_schema(
    operation_id="price_markups_list", tags=["prices"], summary="List what is added where cost is charged on", responses=answer(200, MarkupList, "All of them."),
    examples=[OpenApiExample("Every team", response_only=True, status_codes=["200"], value={"items": [MARKUP]})],
)  # fmt: skip
markups_set = extend_schema(
    operation_id="price_markups_set", tags=["prices"], summary="Set a markup from a day on", parameters=[IDEMPOTENCY], request=MarkupIn,
    responses={**answer(201, MarkupOut, "It is there."), **problems(422)},
    examples=[
        OpenApiExample("Every team", request_only=True, value={"percent": "4.5", "valid_from": "2026-11-01"}),
        OpenApiExample("Set", response_only=True, status_codes=["201"], value=MARKUP),
    ],
)  # fmt: skip
rates_list = extend_schema(
    operation_id="exchange_rates_list", tags=["exchange-rates"], summary="List exchange rates of some days",
    description="The organization's own and those of the installation, from `from` on: of the last 31 days where it is left out, of at most 366 days.",
    parameters=[
        OpenApiParameter("from", OpenApiTypes.DATE, description="The first local day."),
        OpenApiParameter("to", OpenApiTypes.DATE, description="The day after the last."),
    ],
    responses={**answer(200, ExchangeRateList, "Own rates first."), **problems(422)},
    examples=[OpenApiExample("One", response_only=True, status_codes=["200"], value={"currency": "USD", "items": [RATE | {"source": "ecb", "is_own": False}]})],
)  # fmt: skip
rates_add = extend_schema(
    operation_id="exchange_rates_add", tags=["exchange-rates"], summary="Add exchange rates of the organization's own", parameters=[IDEMPOTENCY], request=ExchangeRatesIn,
    description="They go before the installation's and convert calls that are stored from then on. Rates are never changed; a later row corrects.",
    responses={**answer(200, ExchangeRatesAdded, "They are there."), **problems(422)},
    examples=[OpenApiExample("Two", request_only=True, value={"rates": [RATE, RATE | {"quote": "CNY", "rate": "7.8123"}]}), ADDED],
)  # fmt: skip
rates_upload = extend_schema(
    operation_id="exchange_rates_upload", tags=["exchange-rates"], summary="Upload a file of exchange rates", parameters=[IDEMPOTENCY],
    description="A CSV with the columns day, base, quote and rate, or the European Central Bank's CSV, XML or ZIP, at most 2 MiB. "
    "A file that is wrong in any part changes nothing.",
    request={"text/csv": OpenApiTypes.STR, "application/xml": OpenApiTypes.STR},
    responses={**answer(200, ExchangeRatesAdded, "They are there."), **problems(422)},
    examples=[OpenApiExample("Pairs", request_only=True, media_type="text/csv", value=FILE), ADDED],
)  # fmt: skip

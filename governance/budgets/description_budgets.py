"""What OpenAPI says of budgets: bodies, answers and examples."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from governance.tenancy.openapi import problems

Scope = Literal["organization", "team", "project", "member", "service_account", "key", "session", "task"]
PeriodKind = Literal["session", "task", "rolling", "day", "week", "month", "quarter", "year", "lifetime"]
Measure = Literal["money", "tokens", "calls"]
Action = Literal["freeze", "ask", "downgrade", "notify"]
LIMIT_NOTES = {
    "currency": "What the limit is given in, where that is not the organization's currency: each window's limit is it at the rate of the window's first day.",
    "limit": "In the measure: an amount of money, tokens or calls. Money is in the organization's currency, or in the one that the limit was given in.",
    "action": (
        "At the limit. `freeze`: every call is refused until somebody grants more. `ask`: what does not fit is refused. "
        "`downgrade`: all models but `downgrade_models` are refused. `notify`: nothing is refused."
    ),
    "thresholds": "Percents of the limit that are told of, once for each crossing.",
    "warns_ahead": "Whether it is told when the forecast reaches the limit before the window ends.",
    "fails_open": "Whether gateways let calls on while they cannot reach Weighhouse.",
    "rollover_cap": "The most of what a window of the calendar leaves that goes on to the next. Null: nothing does.",
}
SCOPE_NOTES = {
    "scope": "`session` and `task` are templates: each session or task in scope has a period of its own.",
    "team": "By slug. With the teams below it.",
    "project": "By slug.",
    "member": "By e-mail.",
    "service_account": "By name.",
    "key": "By id.",
    "filters": (
        "What a call must be besides: provider, maker, model, tier, harness, gateway, role, task_class, environment, billing_mode or tag:<key> → "
        "the values that count; team (slugs), project (slugs) and member (e-mails) make a pool."
    ),
    "period": "`rolling` counts the last `rolling_hours`.",
    "anchor_day": "The day of the month (1 to 28) that months, quarters and years begin on, or the weekday (1 is Monday) of weeks.",
    "unpriced_call_amount": "Charged for a call that has no price. Null: nothing is.",
    "counts_notional": "Whether subscription usage counts at list price.",
}


class BudgetChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What can be changed of a budget; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    limit: Decimal | msgspec.UnsetType = msgspec.UNSET
    action: Action | msgspec.UnsetType = msgspec.UNSET
    downgrade_models: list[str] | msgspec.UnsetType = msgspec.UNSET
    thresholds: list[int] | msgspec.UnsetType = msgspec.UNSET
    warns_ahead: bool | msgspec.UnsetType = msgspec.UNSET
    fails_open: bool | msgspec.UnsetType = msgspec.UNSET
    rollover_cap: Decimal | msgspec.UnsetType | None = msgspec.UNSET

    field_notes: ClassVar[dict[str, str]] = LIMIT_NOTES


class BudgetIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new budget."""

    name: str
    scope: Scope
    period: PeriodKind
    limit: Decimal
    currency: str | None = None
    team: str | None = None
    project: str | None = None
    member: str | None = None
    service_account: str | None = None
    key: int | None = None
    filters: dict[str, list[str]] = {}
    rolling_hours: int | None = None
    anchor_day: int = 1
    measure: Measure = "money"
    action: Action = "freeze"
    downgrade_models: list[str] = []
    thresholds: tuple[int, ...] = (50, 80, 100)
    warns_ahead: bool = True
    fails_open: bool = True
    rollover_cap: Decimal | None = None
    unpriced_call_amount: Decimal | None = None
    counts_notional: bool = False

    field_notes: ClassVar[dict[str, str]] = LIMIT_NOTES | SCOPE_NOTES


class TransferIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Moves what this budget's present period has left to the present period of another."""

    to: int
    amount: Decimal
    reason: str

    field_notes: ClassVar[dict[str, str]] = {"to": "The other budget's id.", "amount": "In the measure both budgets share."}


class PeriodOut(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a budget."""

    id: int | None
    starts_at: datetime
    ends_at: datetime | None
    limit: Decimal
    quoted_limit: Decimal | None
    exchange_rate: Decimal | None
    topup: Decimal
    spent: Decimal
    held: Decimal
    left: Decimal
    calls: int
    frozen_at: datetime | None
    refused_calls: int
    refused_since: datetime | None
    refused_last_at: datetime | None

    field_notes: ClassVar[dict[str, str]] = {
        "id": "Null as long as nothing was counted in it.",
        "topup": "What was granted, carried over and moved, in force now. Negative where more was moved away.",
        "starts_at": "Of a rolling window: from when on it counts now.",
        "refused_calls": "How often it, as the budget that binds, stood against a call that was asked for.",
    }


class BudgetOut(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as the tree has it."""

    id: int
    name: str
    scope: Scope
    team: str | None
    project: str | None
    member: str | None
    service_account: str | None
    key: int | None
    filters: dict[str, list[str]]
    period: PeriodKind
    rolling_hours: int | None
    anchor_day: int
    measure: Measure
    unit: str
    limit: Decimal
    quoted_limit: Decimal | None
    quoted_currency: str
    action: Action
    downgrade_models: list[str]
    thresholds: list[int]
    warns_ahead: bool
    fails_open: bool
    rollover_cap: Decimal | None
    unpriced_call_amount: Decimal | None
    counts_notional: bool
    version: int
    active: bool
    depth: int
    present: PeriodOut | None
    url: str

    field_notes: ClassVar[dict[str, str]] = LIMIT_NOTES | SCOPE_NOTES | {
        "unit": "What its amounts count: a currency, `tokens` or `calls`.",
        "depth": "How far down the tree it stands: the organization 0.",
        "present": "The window that runs now; null for templates.",
    }


class BudgetList(msgspec.Struct, frozen=True):
    """Budgets in the order of the tree."""

    items: list[BudgetOut]


class VersionOut(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stood from an instant on."""

    number: int
    at: datetime
    by: str | None
    facts: dict[str, Any]

    field_notes: ClassVar[dict[str, str]] = {"by": "Null where a key of the organization or the product itself did it: see the record."}


class BudgetDetail(BudgetOut, frozen=True, kw_only=True):
    """One budget with its windows and versions, latest first."""

    periods: list[PeriodOut]
    versions: list[VersionOut]


class TouchedOut(msgspec.Struct, frozen=True):
    """A period that would change its state."""

    name: str
    session: str
    task: str
    spent: Decimal


QUOTED_NOTES = {
    "quoted_limit": "The limit as it is given in another currency.",
    "quoted_currency": "Empty: the organization's.",
    "exchange_rate": "What makes `limit` of it: of the present window's first day. Null for windows that never end; these keep the rate of the day it was given.",
}


class PreviewOut(msgspec.Struct, frozen=True, kw_only=True):
    """What it would do at this moment."""

    freezes: list[TouchedOut]
    thaws: list[TouchedOut]
    spent: Decimal
    calls: int
    limit: Decimal
    unit: str
    refuses: int
    quoted_limit: Decimal | None
    quoted_currency: str
    exchange_rate: Decimal | None

    field_notes: ClassVar[dict[str, str]] = QUOTED_NOTES | {"refuses": "Periods at the limit that would not freeze, but refuse what does not fit."}


class TransferOut(msgspec.Struct, frozen=True, kw_only=True):
    """Both budgets after the transfer."""

    given: PeriodOut
    received: PeriodOut


ID = OpenApiParameter("budget_id", OpenApiTypes.INT, OpenApiParameter.PATH)
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER,
    description="1 to 200 printable characters, for a day. The same key with the same body gives the first answer again with `Idempotency-Replayed: true`.",
)  # fmt: skip
MADE: dict[str, Any] = {
    "name": "Platform, tokens on flagships", "scope": "team", "team": "platform", "filters": {"tier": ["flagship"]}, "period": "month",
    "measure": "tokens", "limit": "50000000", "action": "downgrade", "downgrade_models": ["claude-haiku-4-5"],
}  # fmt: skip
WINDOW: dict[str, Any] = {
    "id": 911, "starts_at": "2026-10-31T23:00:00Z", "ends_at": "2026-11-30T23:00:00Z", "limit": "500", "quoted_limit": None, "exchange_rate": None,
    "topup": "0", "spent": "318.42", "held": "1.5",
    "left": "180.08", "calls": 2114, "frozen_at": None, "refused_calls": 0, "refused_since": None, "refused_last_at": None,
}  # fmt: skip
STANDING: dict[str, Any] = {
    "id": 4, "name": "Platform", "scope": "team", "team": "platform", "project": None, "member": None, "service_account": None, "key": None, "filters": {},
    "period": "month", "rolling_hours": None, "anchor_day": 1, "measure": "money", "unit": "USD", "limit": "500", "quoted_limit": None, "quoted_currency": "",
    "action": "freeze", "downgrade_models": [],
    "thresholds": [50, 80, 100], "warns_ahead": True, "fails_open": True, "rollover_cap": None, "unpriced_call_amount": None, "counts_notional": False,
    "version": 1, "active": True, "depth": 1, "present": WINDOW, "url": "https://weighhouse.example.com/o/acme/budgets/4",
}  # fmt: skip
FACTS: dict[str, Any] = {
    "name": "Platform", "action": "freeze", "filters": {}, "is_hard": True, "measure": "money", "team_id": 3, "currency": "USD", "member_id": None,
    "anchor_day": 1, "api_key_id": None, "fails_open": True, "project_id": None, "scope_kind": "team", "thresholds": [50, 80, 100],
    "counts_from": "2026-09-30T22:00:00+00:00", "period_kind": "month", "warns_ahead": True, "limit_amount": "500.000000000000000", "rollover_cap": None,
    "rolling_hours": None, "counts_notional": False, "downgrade_models": [], "service_account_id": None, "unpriced_call_amount": None,
}  # fmt: skip
MADE_FACTS = FACTS | {
    "name": MADE["name"], "action": "downgrade", "filters": MADE["filters"], "is_hard": False, "measure": "tokens",
    "counts_from": "2026-10-31T23:00:00+00:00", "limit_amount": "50000000.000000000000000", "downgrade_models": MADE["downgrade_models"],
}  # fmt: skip
MADE_AT = {"number": 1, "at": "2026-10-02T08:00:00Z", "by": "Kim", "facts": FACTS}
DETAIL = STANDING | {"periods": [WINDOW], "versions": [MADE_AT]}
EMPTY = WINDOW | {"id": 912, "limit": MADE["limit"], "spent": "0", "held": "0", "left": MADE["limit"], "calls": 0}
MADE_DETAIL = STANDING | MADE | {
    "id": 12, "unit": "tokens", "depth": 2, "present": EMPTY, "url": "https://weighhouse.example.com/o/acme/budgets/12", "periods": [EMPTY],
    "versions": [MADE_AT | {"at": "2026-11-21T10:05:00Z", "facts": MADE_FACTS}],
}  # fmt: skip
RAISED = WINDOW | {"limit": "750", "left": "430.08"}
CHANGED = STANDING | {
    "limit": "750", "version": 2, "present": RAISED, "periods": [RAISED],
    "versions": [{"number": 2, "at": "2026-11-21T10:05:00Z", "by": "Kim", "facts": FACTS | {"limit_amount": "750.000000000000000"}}, MADE_AT],
}  # fmt: skip
RETIRED = DETAIL | {"active": False}
UNQUOTED = {"quoted_limit": None, "quoted_currency": "", "exchange_rate": None}
PREVIEW = {"freezes": [], "thaws": [], "spent": "41200380", "calls": 1730, "limit": MADE["limit"], "unit": "tokens", "refuses": 0, **UNQUOTED}
FREEZING = {
    "freezes": [{"name": "Platform", "session": "", "task": "", "spent": "318.42"}], "thaws": [], "spent": "318.42", "calls": 2114, "limit": "300",
    "unit": "USD", "refuses": 0, **UNQUOTED,
}  # fmt: skip
GIVEN = {
    "given": WINDOW | {"topup": "-100", "left": "80.08"},
    "received": WINDOW | {"id": 915, "limit": "800", "topup": "100", "spent": "790.2", "held": "0", "left": "109.8", "calls": 3391},
}
MOVED = {"to": 9, "amount": "100", "reason": "The migration needs it this month."}


def _answer(status: int, shape: Any, sentence: str) -> dict[Any, Any]:
    return {(status, "application/json"): OpenApiResponse(shape, description=sentence)}


budgets_list = extend_schema(
    operation_id="budgets_list", tags=["budgets"], summary="List budgets with their present windows",
    description="Those that the key's holder may see, in the order of the tree.",
    parameters=[OpenApiParameter("active", OpenApiTypes.BOOL, description="false: those that were retired")],
    responses={**_answer(200, BudgetList, "The tree."), **problems(422)},
    examples=[OpenApiExample("The tree", response_only=True, status_codes=["200"], value={"items": [STANDING]})],
)  # fmt: skip
budgets_create = extend_schema(
    operation_id="budgets_create", tags=["budgets"], summary="Make a budget", parameters=[IDEMPOTENCY], request=BudgetIn,
    description="Usage of the present window counts from the start; what it has already reached freezes now.",
    responses={**_answer(201, BudgetDetail, "It is in force."), **problems(409, 422)},
    examples=[
        OpenApiExample("A team's tokens on flagships", request_only=True, value=MADE),
        OpenApiExample("Made", response_only=True, status_codes=["201"], value=MADE_DETAIL),
    ],
)  # fmt: skip
budgets_preview = extend_schema(
    operation_id="budgets_preview", tags=["budgets"], summary="What a new budget would freeze now", request=BudgetIn,
    responses={**_answer(200, PreviewOut, "Nothing was written."), **problems(422)},
    examples=[
        OpenApiExample("A team's tokens on flagships", request_only=True, value=MADE),
        OpenApiExample("It would freeze nothing", response_only=True, status_codes=["200"], value=PREVIEW),
    ],
)  # fmt: skip
budget_get = extend_schema(
    operation_id="budgets_get", tags=["budgets"], summary="Read a budget with its windows and versions", parameters=[ID],
    responses={**_answer(200, BudgetDetail, "The budget."), **problems(404)},
    examples=[OpenApiExample("A budget", response_only=True, status_codes=["200"], value=DETAIL)],
)  # fmt: skip
budget_change = extend_schema(
    operation_id="budgets_change", tags=["budgets"], summary="Change a budget", parameters=[ID, IDEMPOTENCY], request=BudgetChange,
    description="Windows that run now follow, and freeze or thaw with it. Each change is a version.",
    responses={**_answer(200, BudgetDetail, "As it is now."), **problems(404, 409, 422)},
    examples=[
        OpenApiExample("A higher limit", request_only=True, value={"limit": "750"}),
        OpenApiExample("Changed", response_only=True, status_codes=["200"], value=CHANGED),
    ],
)  # fmt: skip
budget_preview = extend_schema(
    operation_id="budgets_preview_change", tags=["budgets"], summary="What a change would freeze and thaw now", parameters=[ID], request=BudgetChange,
    responses={**_answer(200, PreviewOut, "Nothing was written."), **problems(404, 422)},
    examples=[
        OpenApiExample("It would freeze", response_only=True, status_codes=["200"], value=FREEZING),
        OpenApiExample("A lower limit", request_only=True, value={"limit": "300"}),
    ],
)  # fmt: skip
budget_retire = extend_schema(
    operation_id="budgets_retire", tags=["budgets"], summary="Retire a budget", parameters=[ID, IDEMPOTENCY], request=None,
    description="Nothing counts against it any more and its freezes end; its history stays. Retiring it again changes nothing.",
    responses={**_answer(200, BudgetDetail, "It is retired."), **problems(404)},
    examples=[OpenApiExample("Retired", response_only=True, status_codes=["200"], value=RETIRED)],
)  # fmt: skip
budget_transfer = extend_schema(
    operation_id="budgets_transfer", tags=["budgets"], summary="Move what a budget has left to another", parameters=[ID, IDEMPOTENCY], request=TransferIn,
    responses={**_answer(201, TransferOut, "Both sides."), **problems(404, s409="Less is left, or a period is over.", s422="Not the same measure, or no amount.")},
    examples=[
        OpenApiExample("To another team", request_only=True, value=MOVED),
        OpenApiExample("Moved", response_only=True, status_codes=["201"], value=GIVEN),
    ],
)  # fmt: skip

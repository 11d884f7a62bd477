"""The usage event as every format module delivers it and as the REST door takes it: one model call, not yet attributed or priced."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=200)]
ShortName = Annotated[str, Meta(max_length=80)]
Label = Annotated[str, Meta(max_length=40)]
# Above any real call and far below what a sum of millions of them could overflow.
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=2_147_483_647)]
# Bounds on decimals are checked by `fault`: the decoder bounds only integers and floats.
LARGEST_DECIMAL = Decimal(1_000_000_000)
DECIMAL_PLACES = 30
MAX_TAGS = 64
MAX_UNITS = 64
Instant = Annotated[datetime, Meta(tz=True)]
BillingMode = Literal["metered", "subscription", "self-hosted"]
BILLING_MODES: tuple[str, ...] = get_args(BillingMode)


class UsageEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One model call. Only `occurred_at`, `model` and one of `id` and `request_id` are required.

    Token buckets are disjoint (`input_tokens` is what no cache served), except that `reasoning_tokens` is part of
    `output_tokens`. A count that is not known is absent, never 0.
    """

    occurred_at: Instant
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    id: Name = ""
    request_id: Name = ""
    provider: ShortName = ""
    harness: ShortName = ""
    harness_version: ShortName = ""
    gateway: ShortName = ""
    team: Name = ""
    project: Name = ""
    member: Annotated[str, Meta(max_length=254)] = ""
    session: Name = ""
    parent_session: Name = ""
    task: Name = ""
    trace: Name = ""
    parent: Name = ""
    role: Label = ""
    task_class: Label = ""
    environment: ShortName = ""
    input_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_5m_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    units: dict[Label, Decimal] | None = None
    latency_ms: Milliseconds | None = None
    ttft_ms: Milliseconds | None = None
    status: Label = "ok"
    reported_cost: Decimal | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    billing_mode: BillingMode | None = None
    authorization: UUID | None = None
    tags: dict[Name, Annotated[str, Meta(max_length=1000)]] | None = None

    field_notes: ClassVar[dict[str, str]] = {
        "occurred_at": "When the call ended, with a time zone.",
        "model": "As the client names it; aliases are resolved by the price book.",
        "id": "The client's own id of the call, once and for all. Needed where there is no `request_id`.",
        "request_id": "The vendor's id of the call. The same call reported by several sources is counted once by it.",
        "provider": "Who bills: anthropic, openai, aws, openrouter…",
        "harness": "The agent or tool that made the call: claude-code, codex, opencode…",
        "gateway": "The proxy the call went through: litellm, openrouter…",
        "team": "A team's slug. An unknown one is kept and listed, and creates no team.",
        "project": "A project's slug.",
        "member": "An e-mail address or another name the person is known by.",
        "session": "One run of an agent. Session budgets hold it.",
        "task": "One piece of work; may span sessions.",
        "trace": "Calls that belong together, such as a panel and its judge.",
        "parent": "The call or span that caused this one.",
        "role": "What the call was for: planner, worker, judge, retriever…",
        "task_class": "code, research, extract, translate…",
        "input_tokens": "Input that no cache served.",
        "cache_read_tokens": "Input read from a cache.",
        "cache_write_5m_tokens": "Input written to a cache for five minutes.",
        "cache_write_1h_tokens": "Input written to a cache for an hour.",
        "output_tokens": "Output, reasoning included.",
        "reasoning_tokens": "The part of `output_tokens` that was reasoning.",
        "units": "Other metered quantities by name: web_searches, images, audio_seconds…",
        "latency_ms": "From request to the end of the answer.",
        "ttft_ms": "From request to the first token.",
        "status": "`ok`, or what went wrong; a failed call has no counts unless the vendor billed some.",
        "reported_cost": "What the client says the call cost; shown beside the price book's cost, never used for it.",
        "billing_mode": "`subscription` counts at list price, apart from billed spend.",
        "authorization": "The authorization that held money for this call; the event settles it.",
        "tags": "Free labels. `processing: batch`, `service_tier: flex`, `speed: fast` and the like choose the vendor's price for such calls.",
    }


class ContentDifference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field in which an event differs from the one that was counted under its id."""

    field: str
    first: str | None = None
    now: str | None = None
    is_withheld: bool = False

    field_notes: ClassVar[dict[str, str]] = {
        "field": "A field of the event; one unit or tag is named with a point, such as `tags.branch`.",
        "first": "What was counted, as text. Absent or null: it said nothing there, or it is withheld.",
        "now": "What this one says. Absent or null: nothing.",
        "is_withheld": "true: another key reported the first, so what it said is not told to a key that may not read usage.",
    }


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event of a request, in the request's order."""

    index: int
    status: Literal["accepted", "duplicate", "conflict", "rejected"]
    id: str = ""
    code: str = ""
    reason: str = ""
    field: str = ""
    differs: tuple[ContentDifference, ...] = ()

    field_notes: ClassVar[dict[str, str]] = {
        "differs": "Of a conflict: in what it differs from what was counted, as far as that is stored; at most 30 fields."
    }


class Fault(NamedTuple):
    """Why a well-formed event cannot be taken: a stable code, a sentence, and the field."""

    code: str
    reason: str
    field: str


def fault(event: UsageEvent) -> Fault | None:
    """The first rule the event breaks that its types do not express; None when it can be taken."""
    if not event.id.strip() and not event.request_id.strip():
        return Fault("missing_id", "One of `id` and `request_id` is needed, so that the call is counted once.", "id")
    if not event.model.strip():
        return Fault("invalid_field", "The text is empty.", "model")
    if event.reasoning_tokens is not None and event.output_tokens is not None and event.reasoning_tokens > event.output_tokens:
        return Fault("invalid_field", "Reasoning is part of output, so it cannot be more than `output_tokens`.", "reasoning_tokens")
    if event.reported_cost is not None and not is_storable(event.reported_cost):
        return Fault("invalid_field", AMOUNT_RULE, "reported_cost")
    return fault_of_lists(event) if event.units or event.tags else None


def fault_of_lists(event: UsageEvent) -> Fault | None:
    units, tags = event.units or {}, event.tags or {}
    if len(units) > MAX_UNITS:
        return Fault("invalid_field", f"At most {MAX_UNITS} units are taken.", "units")
    if not all(is_storable(quantity) for quantity in units.values()):
        return Fault("invalid_field", AMOUNT_RULE, "units")
    return Fault("invalid_field", f"At most {MAX_TAGS} tags are taken.", "tags") if len(tags) > MAX_TAGS else None


AMOUNT_RULE = f"A number from 0 to {LARGEST_DECIMAL:,} with at most {DECIMAL_PLACES} digits after the point is expected."


def is_storable(number: Decimal) -> bool:
    """Whether a decimal is finite, not negative, and of a size that stays cheap to write out."""
    if not number.is_finite() or not 0 <= number <= LARGEST_DECIMAL:
        return False
    return number.as_tuple().exponent >= -DECIMAL_PLACES  # type: ignore[operator]


def fault_in_full(event: UsageEvent) -> Fault | None:
    """As `fault`, and whether all text can be stored and shown."""
    if broken := fault(event):
        return broken
    if field := control_character_field(event):
        return Fault("control_character", f"`{field}` holds a character that no label can hold, such as NUL or a line break.", field)
    return None


def control_character_field(event: UsageEvent) -> str:
    """The first field whose text holds a control character, which the database or a page could not show; "" for none."""
    for name in TEXT_FIELDS:
        if has_control_character(getattr(event, name)):
            return name
    for name in ("units", "tags"):
        if any(has_control_character(text) for item in (getattr(event, name) or {}).items() for text in item if isinstance(text, str)):
            return name
    return ""


def has_control_character(text: str) -> bool:
    # Nearly all text is printable, which is asked in one step.
    return not text.isprintable() and any(character < " " for character in text)


TEXT_FIELDS = tuple(field.name for field in msgspec.structs.fields(UsageEvent) if field.default == "" or field.name in ("model", "status"))

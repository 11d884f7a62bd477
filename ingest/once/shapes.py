"""Bodies of the API of calls that are told of more than once: reports, pairs, whose figures stand, and coverage."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec

Reason = Annotated[str, msgspec.Meta(max_length=250)]
Kind = Literal["vendor", "gateway", "harness"]


class ReportDifference(msgspec.Struct, frozen=True):
    """One thing in which a report differs from the call as it counts."""

    field: str
    reported: str
    counted: str | None

    field_notes: ClassVar[dict[str, str]] = {"field": "A count, status, reported_cost or model.", "counted": "Null: unknown."}


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One report of a call."""

    id: int | None
    source: str
    kind: str
    door: str
    how: str
    own_id: str
    reported_at: datetime
    seen_at: datetime
    differs: list[ReportDifference]

    field_notes: ClassVar[dict[str, str]] = {
        "id": "What to split it off by. Null where it is the only one.",
        "kind": "vendor, gateway or harness.",
        "door": "The format it came in.",
        "how": "By what it was recognised: first (it came first), same-id, matched (session, tokens and time, when it came), pass (the whole session), by-hand.",
        "own_id": "The id it was reported under.",
        "reported_at": "The time it gave the call.",
        "seen_at": "When it came in.",
    }


class CallReports(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its reports, the first that came first."""

    call: UUID
    occurred_at: datetime
    session: str
    model: str
    reports: list[CallReport]

    field_notes: ClassVar[dict[str, str]] = {"call": "The call's id now: another than asked for, where that one was joined to it."}


class SplitIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a report is split off."""

    reason: Reason = ""


class SplitOut(msgspec.Struct, frozen=True):
    """The call that was split, and the one that is counted besides it now."""

    call: UUID
    new: UUID


class JoinIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The call that is the same one, and why."""

    other: UUID
    reason: Reason = ""


class JoinOut(msgspec.Struct, frozen=True):
    """The call that stays."""

    call: UUID

    field_notes: ClassVar[dict[str, str]] = {"call": "The one whose reports are trusted more. The other's id leads to it from now on."}


class PairCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a pair as it counts."""

    call: UUID
    occurred_at: datetime
    provider: str
    model: str
    sources: list[str]
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    output_tokens: int | None
    cost: str | None

    field_notes: ClassVar[dict[str, str]] = {
        "sources": "Who told of it, such as gateway:litellm.",
        "input_tokens": "What no cache served; null where it is not known, as for all counts.",
        "cost": "In the organization's currency; null where the call has no price.",
    }


class CallPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two calls that may be one, the earlier first."""

    id: int
    session: str
    noted_at: datetime
    calls: list[PairCall]


class CallPairs(msgspec.Struct, frozen=True):
    """Pairs that nobody has decided, latest first; `next` goes into `before` for older ones, null at the end."""

    pairs: list[CallPair]
    next: int | None


class PairDecided(msgspec.Struct, frozen=True):
    """A pair that was kept apart."""

    id: int
    state: str


class TrustIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each kind of source once, the most trusted first."""

    kinds: Annotated[list[Kind], msgspec.Meta(min_length=3, max_length=3)]


class TrustOut(msgspec.Struct, frozen=True):
    """Whose figures stand where reports of a call differ, the most trusted kind of source first."""

    kinds: list[str]
    is_default: bool

    field_notes: ClassVar[dict[str, str]] = {"is_default": "Whether nobody has ordered them otherwise."}


class CoverageGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one group by who told of them."""

    group: str
    calls: int
    both: int
    gateway_only: int
    harness_only: int
    other: int
    sources: dict[str, int]

    field_notes: ClassVar[dict[str, str]] = {
        "group": "A harness, gateway or session by name, a team or project by id; empty for calls that name none.",
        "both": "A gateway and a harness told of them.",
        "other": "Only a vendor's own answer did.",
        "sources": "Calls by each set of sources, such as {“gateway:litellm+harness:otlp”: 12}.",
    }


class CoverageOut(msgspec.Struct, frozen=True, kw_only=True):
    """Who told of the calls from `since` to before `until`: together, and by group, the most calls first."""

    since: datetime
    until: datetime
    by: str
    total: CoverageGroup
    groups: list[CoverageGroup]
    is_cut: bool

    field_notes: ClassVar[dict[str, str]] = {
        "is_cut": "Whether there are more groups than the 1,000 that are listed. The total has all of them."
    }

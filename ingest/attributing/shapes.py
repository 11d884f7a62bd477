"""Bodies of the API of attribution: rules, runs, tests, and members with their names."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

Word = Annotated[str, msgspec.Meta(max_length=254)]
Slug = Annotated[str, msgspec.Meta(max_length=80)]
Id = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Operator = Literal["is", "is_not", "starts_with", "like", "is_set", "is_empty"]


class AttributionCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call has to say for a rule to match. One of the values is enough."""

    field: Annotated[str, msgspec.Meta(min_length=1, max_length=204)]
    op: Operator = "is"
    values: Annotated[list[Word], msgspec.Meta(max_length=50)] = []

    field_notes: ClassVar[dict[str, str]] = {
        "field": (
            "team, project, member, email_domain, key, repository, harness, gateway, provider, maker, model, tier, door, session, task, role, task_class, environment, "
            "billing_mode or tag:<name>."
        ),
        "op": "`like` takes * for any characters and ? for one. Letters' case does not matter.",
        "values": "None for is_set and is_empty.",
    }


class AttributionRuleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule. What it does not set is left out or empty; at least one thing is set."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    conditions: Annotated[list[AttributionCondition], msgspec.Meta(min_length=1, max_length=20)]
    overrides: bool = False
    team: Slug = ""
    project: Slug = ""
    role: Annotated[str, msgspec.Meta(max_length=40)] = ""
    task_class: Annotated[str, msgspec.Meta(max_length=40)] = ""
    environment: Slug = ""
    billing_mode: Literal["", "metered", "subscription", "self-hosted"] = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    is_active: bool = True

    field_notes: ClassVar[dict[str, str]] = {
        "overrides": "Whether it holds where the call or its key says otherwise.",
        "team": "A team's slug.",
        "project": "A project's slug.",
        "starts_at": "For calls made from then on (RFC 3339, with its offset); null: any.",
        "ends_at": "For calls made before then; null: any.",
    }


class AttributionRuleOut(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with its place in the order."""

    id: int
    position: int
    name: str
    conditions: list[AttributionCondition]
    overrides: bool
    team: str
    project: str
    role: str
    task_class: str
    environment: str
    billing_mode: str
    starts_at: datetime | None
    ends_at: datetime | None
    is_active: bool


class AttributionRulesOut(msgspec.Struct, frozen=True):
    """The rules in the order in which they are asked, and what of the last 30 days' spend belongs to a team."""

    items: list[AttributionRuleOut]
    allocated_share: str | None

    field_notes: ClassVar[dict[str, str]] = {"allocated_share": "From 0 to 1; null when nothing was spent."}


class AttributionOrderIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules by id, the first one first."""

    rule_ids: Annotated[list[Id], msgspec.Meta(max_length=200)]


class AttributionTestIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as POST /api/v1/events takes it; id and time may be left out."""

    event: dict[str, Any]


class AttributionDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided of a call, and by whom."""

    what: str
    value: str
    by: str
    rule_id: int | None


class AttributionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as it was asked: what it would set, and what becomes of that."""

    rule_id: int
    name: str
    is_in_force: bool
    matches: bool
    conditions: list[dict[str, Any]]
    sets: list[dict[str, str]]


class AttributionTestOut(msgspec.Struct, frozen=True):
    """What the rules make of an event, and why. Nothing is stored."""

    decided: list[AttributionDecision]
    rules: list[AttributionLine]


class AttributionRunIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The calls that are attributed anew, and why."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    starts_at: datetime
    ends_at: datetime
    team_ids: Annotated[list[Id], msgspec.Meta(max_length=50)] = []
    moves_owners: bool = False

    field_notes: ClassVar[dict[str, str]] = {
        "starts_at": "The first call may be made then (RFC 3339, with its offset).",
        "ends_at": "The last call was made before then; at most 400 days later.",
        "team_ids": "Only calls of these teams, with those below. Empty: every call.",
        "moves_owners": "Whether calls follow a member or project that is in another team now.",
    }


class AttributionRunOut(msgspec.Struct, frozen=True, kw_only=True):
    """A run over history: how far it is, and what it changed. With a `draft` it tries a rule that is not saved, and is never applied."""

    id: int
    state: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    team_ids: list[int]
    moves_owners: bool
    draft: dict[str, Any] | None
    made_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    events_total: int | None
    events_seen: int
    events_changed: int
    cost_before: str
    cost_after: str
    preview: dict[str, Any] | None

    field_notes: ClassVar[dict[str, str]] = {
        "state": "previewing, ready (start it), running, paused, done, cancelled or failed.",
        "preview": "What would move from team to team by month (`moves`), in what calls change (`fields`), by which rules, and of which budgets. Null until it is worked out.",
    }


class AttributionRunsOut(msgspec.Struct, frozen=True):
    """Runs, newest first; `next` goes into `before` for older ones, null at the end."""

    runs: list[AttributionRunOut]
    next: int | None


class MemberNames(msgspec.Struct, frozen=True, kw_only=True):
    """A member and the other names by which usage knows them."""

    id: int
    email: str
    name: str
    team: str
    aliases: list[str]


class MembersOut(msgspec.Struct, frozen=True):
    """The members by name, and people whom usage names and nobody here goes by."""

    items: list[MemberNames]
    unknown: list[dict[str, Any]]


class AliasIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another name of a member in usage, such as an e-mail address."""

    alias: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]

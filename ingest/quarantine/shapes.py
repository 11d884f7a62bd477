"""Bodies of the API of quarantine: what is kept, its kinds, replays, and rules."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec

from ingest.formats.event import ContentDifference

Action = Literal["rename", "default", "map", "number", "drop"]
Field = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Value = Annotated[str, msgspec.Meta(max_length=254)]
Door = Annotated[str, msgspec.Meta(max_length=40)]
DOOR = "The door it came in by, such as rest, otlp-logs or litellm."


class QuarantineKindIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What kept inputs have in common: the door, why they were refused, and the field that is to blame."""

    door: Door
    code: Annotated[str, msgspec.Meta(max_length=60)]
    field: Annotated[str, msgspec.Meta(max_length=120)] = ""

    field_notes: ClassVar[dict[str, str]] = {"door": DOOR, "code": "Why it was refused, as the sender was told."}


class QuarantineKindOut(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a kind waits, and since when none came."""

    door: str
    code: str
    field: str
    number: int
    mendable: int
    sendable: int
    last_at: datetime

    field_notes: ClassVar[dict[str, str]] = {
        "mendable": "How many of them a rule could mend: events of which something was kept.",
        "sendable": "How many of them may be counted when they are sent through again: not broken bodies, nor ids that two calls were given.",
    }


class QuarantineKindsOut(msgspec.Struct, frozen=True):
    """What waits by its kind, the most of it first."""

    kinds: list[QuarantineKindOut]


class QuarantineInputOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not counted."""

    id: int
    kind: str
    door: str
    code: str
    field: str
    reason: str
    is_whole: bool
    received_at: datetime
    replayed_at: datetime | None
    replay_outcome: str
    call: UUID | None
    differs: list[ContentDifference]

    field_notes: ClassVar[dict[str, str]] = {
        "call": "Of a conflict, the call that was counted under its id.",
        "differs": "Of a conflict, in what it differs from that call, as far as that was stored when it came; at most 30 fields.",
        "kind": "rejected (an event), conflict (an event whose id another one has) or envelope (a whole body).",
        "door": DOOR,
        "is_whole": "false: a part of it was cut or taken out when it was kept, so it is not replayed as it is.",
        "replay_outcome": "What became of it when it was sent through again: accepted, duplicate, conflict or rejected; empty: it was not.",
    }


class QuarantineInputsOut(msgspec.Struct, frozen=True):
    """Kept inputs, newest first; `next` goes into `before` for older ones, null at the end."""

    inputs: list[QuarantineInputOut]
    next: int | None


class QuarantinePayloadOut(QuarantineInputOut, frozen=True, kw_only=True):
    """A kept input with what is kept of it: the event's JSON or the body, without prompts and secrets."""

    payload: str


class QuarantineReplayIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent through in the kept input's place; empty: the input itself, mended by the rules in force."""

    corrected: Annotated[str, msgspec.Meta(max_length=65_536)] = ""


class QuarantineOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event."""

    status: str
    code: str
    reason: str
    field: str


class QuarantineReplayOut(msgspec.Struct, frozen=True):
    """The input as it stands now, and what became of each event in it."""

    input: QuarantineInputOut
    results: list[QuarantineOutcome]


class QuarantineKindReplayOut(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind's replay went."""

    counted: int
    refused: int
    incomplete: int
    left: int

    field_notes: ClassVar[dict[str, str]] = {
        "incomplete": "They cannot be sent as they are: a part was taken out when they were kept.",
        "left": "Not tried yet: ask again.",
    }


class QuarantineRuleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change to the fields of events that would be refused."""

    action: Action
    field: Field
    target: Annotated[str, msgspec.Meta(max_length=120)] = ""
    value: Value = ""
    was: Value = ""
    door: Door = ""
    is_active: bool = True

    field_notes: ClassVar[dict[str, str]] = {
        "action": "rename: read the field as `target`; default: set it to `value` where it is missing; map: replace `was` by `value`; number: read text as a number; drop: leave it out.",
        "field": "As the sender writes it; for default a field of an event.",
        "target": "A field of an event, or tags. and a name.",
        "door": "Empty: every door.",
        "is_active": "Whether it is in force.",
    }


class QuarantineRuleOut(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, and how many events are counted because of the rules it stood among."""

    id: int
    action: str
    field: str
    target: str
    value: str
    was: str
    door: str
    is_active: bool
    made_by: str
    created_at: datetime
    mended: int
    mended_at: datetime | None


class QuarantineRulesOut(msgspec.Struct, frozen=True):
    """The rules in the order in which they are applied."""

    rules: list[QuarantineRuleOut]


class QuarantineTryIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that is not made yet, and the kind to try it on; null: all that is kept."""

    rule: QuarantineRuleIn
    kind: QuarantineKindIn | None = None


class QuarantineExample(msgspec.Struct, frozen=True, kw_only=True):
    """A kept input before and after; `why_not` is empty where it could be counted."""

    before: str
    after: str
    why_not: str


class QuarantineTryOut(msgspec.Struct, frozen=True, kw_only=True):
    """Of `kept` inputs the rule changes `changed`, and `counted` could be counted then."""

    kept: int
    changed: int
    counted: int
    examples: list[QuarantineExample]

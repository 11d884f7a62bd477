"""Keeps second reports of calls: what each said, and under which keys its call is known from now on. Part of the storing transaction."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from governance import sql
from governance.tenancy.models import ApiKey
from ingest.formats.event import BILLING_MODES, UsageEvent
from ingest.services.identity import other_keys
from ingest.services.prepare import Claim
from ingest.services.recognition import Overtaken, Second, told_by

# The event is held, so that it is neither joined to another nor split while a report is added to it.
EVENTS = f"""
SELECT e.*, i.source AS told_by, i.body_hash,
    EXISTS (SELECT FROM event_sighting g WHERE g.organization_id = %(organization)s AND g.event_id = e.id) AS is_shared
FROM {sql.unnest("x", {"key": "uuid", "occurred_at": "timestamptz"})}
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = x.occurred_at AND e.id = x.key
JOIN event_identity i ON i.organization_id = %(organization)s AND i.key = x.key
WHERE e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
ORDER BY e.occurred_at, e.id FOR KEY SHARE OF e
"""  # noqa: S608 - built from constants
# A report that was parted from the call it shares an id with is known by what it said.
PARTED = """
SELECT own_key, body_hash, event_id FROM event_sighting
WHERE organization_id = %(organization)s AND own_key = ANY(%(keys)s::uuid[]) AND body_hash = ANY(%(hashes)s::uuid[])
"""
COLUMNS = {
    "event_id": "uuid",
    "event_at": "timestamptz",
    "source": "text",
    "own_key": "uuid",
    "keys": "uuid[]",
    "own_id": "text",
    "body_hash": "uuid",
    "reported": "jsonb",
    "reported_at": "timestamptz",
    "seen_at": "timestamptz",
    "api_key_id": "bigint",
    "key_member_id": "bigint",
    "how": "text",
    "is_settled": "boolean",
}
ADD = f"""
INSERT INTO event_sighting (organization_id, {", ".join(COLUMNS)})
SELECT %(organization)s, {", ".join(f"x.{name}" for name in COLUMNS)}
FROM json_to_recordset(%(rows)s::json) AS x({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())})
ON CONFLICT (organization_id, event_id, own_key, body_hash) DO NOTHING
"""  # noqa: S608 - built from constants
POINT = f"""
UPDATE event_identity i SET event_id = x.event_id, occurred_at = x.occurred_at
FROM {sql.unnest("x", {"key": "uuid", "event_id": "uuid", "occurred_at": "timestamptz"})}
WHERE i.organization_id = %(organization)s AND i.key = x.key
"""  # noqa: S608 - built from constants
NOTE_PAIRS = f"""
INSERT INTO sighting_pair (organization_id, first_key, second_key, session, state, noted_at, decided_by)
SELECT %(organization)s, x.first_key, x.second_key, x.session, x.state, %(now)s, ''
FROM {sql.unnest("x", {"first_key": "uuid", "second_key": "uuid", "session": "text", "state": "text"})}
ON CONFLICT (organization_id, first_key, second_key) DO UPDATE SET state = excluded.state
WHERE sighting_pair.state = 'undecided' AND excluded.state = 'linked'
"""  # noqa: S608 - built from constants
DEFAULTED = ("team", "project", "member", "provider", "harness", "gateway", "role", "task_class", "environment", "billing_mode")
# Columns of usage_event that are named differently in what was reported.
COLUMN_NAMES = {
    "id": "external_id", "model": "model_reported", "team": "team_label", "project": "project_label", "member": "member_label",
    "currency": "reported_currency", "authorization": "authorization_id",
}  # fmt: skip


def seconds_record(
    *,
    organization_id: int,
    api_key: ApiKey | None,
    seconds: Sequence[Second],
    new: Mapping[UUID, Claim],
    fresh_keys: AbstractSet[UUID],
    now: datetime,
) -> dict[int, UUID]:
    """Keeps the reports, and of each call's first report what it said. Returns the event each report is of now, by the claim's index.

    `new` are the claims that this transaction stores as calls, by key. Raises Overtaken when a call is not there any more.
    """
    parted = _parted(organization_id, seconds)
    places = {second.claim.index: parted.get((second.claim.key, second.claim.body_hash), second.event_id) for second in seconds}
    fresh = [second for second in seconds if (second.claim.key, second.claim.body_hash) not in parted]
    if not fresh:
        return places
    firsts = [
        Second(new[key], key, new[key].event.occurred_at, "first") for key in {second.event_id for second in fresh if not second.is_stored}
    ]
    rows = [_row(second, api_key, now) | {"is_settled": True} for second in firsts]
    rows += _firsts_stored(organization_id, fresh) + [_row(second, api_key, now) for second in fresh]
    sql.execute(ADD, {"organization": organization_id, "rows": msgspec.json.encode(rows).decode()})
    pointed = {
        key: second for second in fresh for key in (second.claim.key, *second.claim.others) if key in fresh_keys and key != second.event_id
    }
    if pointed:
        ordered = sorted(pointed)
        sql.execute(POINT, {
            "organization": organization_id, "key": ordered, "event_id": [pointed[key].event_id for key in ordered],
            "occurred_at": [pointed[key].at for key in ordered],
        })  # fmt: skip
    return places


def pairs_note(*, organization_id: int, pairs: Sequence[tuple[UUID, UUID, str, str]], now: datetime) -> None:
    """Notes pairs (event, event, session, state) that a later pass or a person settles. What was decided stays."""
    found = {(min(one, other), max(one, other)): (session, state) for one, other, session, state in pairs if one != other}
    if found:
        ordered = sorted(found)
        sql.execute(NOTE_PAIRS, {
            "organization": organization_id, "first_key": [pair[0] for pair in ordered], "second_key": [pair[1] for pair in ordered],
            "session": [found[pair][0] for pair in ordered], "state": [found[pair][1] for pair in ordered], "now": now,
        })  # fmt: skip


def _parted(organization_id: int, seconds: Sequence[Second]) -> dict[tuple[UUID, UUID], UUID]:
    keys = sorted({second.claim.key for second in seconds if second.is_stored})
    if not keys:
        return {}
    hashes = [second.claim.body_hash for second in seconds]
    rows = sql.rows(PARTED, {"organization": organization_id, "keys": keys, "hashes": hashes})
    return {(row.own_key, row.body_hash): row.event_id for row in rows}


def _firsts_stored(organization_id: int, seconds: Sequence[Second]) -> list[dict[str, Any]]:
    """The first reports of stored calls that had no second one yet, as rows. Holds the calls."""
    places = {second.event_id: second.at for second in seconds if second.is_stored}
    if not places:
        return []
    ordered = sorted(places.items(), key=lambda one: (one[1], one[0]))
    stored = sql.rows(EVENTS, {
        "organization": organization_id, "key": [key for key, _ in ordered], "occurred_at": [at for _, at in ordered],
        "first": ordered[0][1], "last": ordered[-1][1],
    })  # fmt: skip
    if len(stored) < len(places):
        raise Overtaken
    return [first_row(row) for row in stored if not row.is_shared]


def first_row(row: Any) -> dict[str, Any]:
    """The first report of a stored event (a row of usage_event with `told_by` and `body_hash`), as a row."""
    event = reported_of(row)
    return {
        "event_id": row.id, "event_at": row.occurred_at, "source": told_by(row), "own_key": row.id, "keys": [row.id, *other_keys(event, row.id)],
        "own_id": event.request_id or event.id, "body_hash": row.body_hash, "reported": event, "reported_at": row.occurred_at,
        "seen_at": row.received_at, "api_key_id": row.api_key_id, "key_member_id": None if row.member_label else row.member_id, "how": "first",
        "is_settled": True,
    }  # fmt: skip


def _row(second: Second, api_key: ApiKey | None, now: datetime) -> dict[str, Any]:
    claim = second.claim
    event = with_defaults(claim.event, api_key.defaults if api_key is not None else {})
    return {
        "event_id": second.event_id, "event_at": second.at, "source": claim.source, "own_key": claim.key, "keys": [claim.key, *claim.others],
        "own_id": event.request_id or event.id, "body_hash": claim.body_hash, "reported": event, "reported_at": event.occurred_at, "seen_at": now,
        "api_key_id": api_key.pk if api_key is not None else None, "key_member_id": api_key.member_id if api_key is not None else None,
        "how": second.how, "is_settled": False,
    }  # fmt: skip


def with_defaults(event: UsageEvent, defaults: Mapping[str, str]) -> UsageEvent:
    """The report with the labels of the key that brought it, where it says none itself."""
    said = {name: defaults[name] for name in DEFAULTED if defaults.get(name) and not getattr(event, name)}
    return msgspec.structs.replace(event, **said) if said else event


def reported_of(row: Any) -> UsageEvent:
    """A stored event as it was reported, with its key's defaults. Names are those that the catalogue knows."""
    fields = {name: getattr(row, COLUMN_NAMES.get(name, name)) for name in UsageEvent.__struct_fields__}
    # Rules may have set other ones.
    fields |= {name: value for name, value in ((row.ruled or {}).get("was") or {}).items() if name in fields}
    fields["units"] = {name: Decimal(value) for name, value in row.units.items()} if row.units else None
    fields["billing_mode"] = fields["billing_mode"] if fields["billing_mode"] in BILLING_MODES else None
    fields["tags"] = row.tags or None
    return UsageEvent(**fields)


def report_decoded(reported: Mapping[str, Any]) -> UsageEvent:
    """What a sighting keeps of a report."""
    return msgspec.convert(reported, UsageEvent, strict=False)

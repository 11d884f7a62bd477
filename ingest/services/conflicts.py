"""Says in what a report differs from the one that was counted under its id, as far as what is stored of that tells."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from governance import sql
from governance.pricing.catalogue import provider_family
from governance.tenancy.models import ApiKey, Scope
from ingest.formats.event import ContentDifference, Outcome, UsageEvent
from ingest.services.prepare import METERED, Claim
from ingest.services.recognition import Known
from ingest.services.recording import DEFAULTED, report_decoded, reported_of, with_defaults

MOST_TOLD = 30
LONGEST = 254
NAMED = 5
REASON = "An event with this id was counted with other content; this one is kept aside."
# Not compared: the hold that a report names is no part of what it says of the call.
FIELDS = tuple(name for name in UsageEvent.__struct_fields__ if name not in ("authorization", "units", "tags"))
# What came first under a key: what was kept of that report, else the event itself, which no other report has corrected then.
FIRST = f"""
SELECT e.*, x.key AS under, g.reported, coalesce(g.api_key_id, e.api_key_id) AS told_with
FROM {sql.unnest("x", {"key": "uuid", "event_id": "uuid", "occurred_at": "timestamptz"})}
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = x.occurred_at AND e.id = x.event_id
LEFT JOIN LATERAL (
    SELECT s.reported, s.api_key_id FROM event_sighting s
    WHERE s.organization_id = %(organization)s AND s.event_id = x.event_id AND x.key = ANY (s.keys) ORDER BY s.id LIMIT 1
) g ON true
WHERE e.occurred_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
"""  # noqa: S608 - built from constants


def conflicts_told(
    *, organization_id: int, api_key: ApiKey | None, conflicts: Sequence[tuple[Claim, Known]], claims: Sequence[Claim]
) -> list[Outcome]:
    """The outcome of each report whose id was counted with other content, naming the fields. `claims` are all of the batch.

    What the first said is told to the key that reported it, and to one that may read usage.
    """
    together = {(claim.key, claim.body_hash): claim.event for claim in reversed(claims)}
    apart = [(claim, known) for claim, known in conflicts if (claim.key, known.body_hash) not in together]
    stored = _stored(organization_id, apart)
    found: list[Outcome] = []
    for claim, known in conflicts:
        if (first := together.get((claim.key, known.body_hash))) is not None:
            told = differences(first, claim.event)
        elif (row := stored.get(claim.key)) is not None:
            told = _against(row, claim.event, api_key)
        else:
            told = []
        found.append(_outcome(claim, known.event_id, told[:MOST_TOLD]))
    return found


def differences(first: UsageEvent, now: UsageEvent, *, passing: Sequence[str] = ()) -> list[ContentDifference]:
    """The fields in which two reports differ, but for those to be passed over; units and tags each by its own name."""
    said, says = _values(first), _values(now)
    names = [name for name in (*FIELDS, *sorted((said.keys() | says.keys()) - set(FIELDS))) if name not in passing]
    return [
        ContentDifference(name, _written(said.get(name)), _written(says.get(name))) for name in names if said.get(name) != says.get(name)
    ]


def _stored(organization_id: int, conflicts: Sequence[tuple[Claim, Known]]) -> dict[UUID, Any]:
    """The events that were counted, by the key they are known by. One that retention has dropped is not there."""
    if not conflicts:
        return {}
    rows = sql.rows(FIRST, {
        "organization": organization_id, "key": [claim.key for claim, _ in conflicts], "event_id": [known.event_id for _, known in conflicts],
        "occurred_at": [known.at for _, known in conflicts], "first": min(known.at for _, known in conflicts), "last": max(known.at for _, known in conflicts),
    })  # fmt: skip
    return {row.under: row for row in rows}


def _against(row: Any, event: UsageEvent, api_key: ApiKey | None) -> list[ContentDifference]:
    first = report_decoded(row.reported) if row.reported is not None else reported_of(row)
    own = api_key is None or row.told_with == api_key.pk
    # The labels of the first's key are in what is stored: another key's say nothing against them. A provider that was not said was worked out.
    unsaid = {name for name in DEFAULTED if not getattr(event, name)}
    now = with_defaults(event, api_key.defaults if api_key is not None else {})
    passing = unsaid if not own else {name for name in unsaid & {"provider"} if not getattr(now, name)}
    told = differences(first, now, passing=sorted(passing))
    if own or (api_key is not None and Scope.READ in api_key.scopes):
        return told
    return [ContentDifference(one.field, None, one.now, is_withheld=True) for one in told]


def _values(event: UsageEvent) -> dict[str, Any]:
    """What a report says, in the spelling in which events are stored; what it leaves out is None."""
    found: dict[str, Any] = {
        name: getattr(event, name) or None if isinstance(getattr(event, name), str) else getattr(event, name) for name in FIELDS
    }
    found |= {name: found[name].lower() for name in ("harness", "gateway") if found[name]}
    found["provider"] = provider_family(event.provider) or None
    found["billing_mode"] = event.billing_mode or METERED
    lists: Mapping[str, Mapping[str, Any]] = {"units": event.units or {}, "tags": event.tags or {}}
    return found | {f"{kind}.{name}": value for kind, values in lists.items() for name, value in values.items()}


def _written(value: Any) -> str | None:
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, datetime) else format(value, "f") if isinstance(value, Decimal) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _outcome(claim: Claim, event_id: UUID, told: Sequence[ContentDifference]) -> Outcome:
    field = "request_id" if claim.event.request_id else "id"
    return Outcome(claim.index, "conflict", str(event_id), "identity_conflict", f"{REASON}{_named(told)}", field, tuple(told))


def _named(told: Sequence[ContentDifference]) -> str:
    """A sentence with the names of what differs; empty where nothing is stored that tells."""
    if not told:
        return ""
    names = [one.field for one in told[:NAMED]]
    return f" It differs in {', '.join(names)}{f' and {len(told) - NAMED} more' if len(told) > NAMED else ''}."

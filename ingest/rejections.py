"""Keeps what came in and was not counted, within bounds and without prompts and secrets, so that an admin can look at it and send it again."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from governance import sql
from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid
from governance.ids import hash16
from governance.tenancy import access
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import ApiKey
from ingest import services
from ingest.formats import native
from ingest.formats.batch import BadBody
from ingest.formats.event import ContentDifference, Outcome
from ingest.formats.secrets import without_secrets
from ingest.models import RejectedInput
from ingest.quarantine.mending import mended
from ingest.quarantine.services import fixes_of, mended_note
from ingest.redaction import REMOVED, broken_redacted, payload_redacted, tag_redacted

# A client that sends rubbish all day can fill neither the disk nor the page.
MOST_AN_HOUR = 1_000
MOST_AT_ONCE = 250
MOST_KEPT = 10_000
MOST_BYTES = 64 * 1024 * 1024
PAYLOAD_BYTES = 65_536
NOT_KEPT = "not_kept"
UNREAD = "format_unknown"
# A row of these codes stands for as many inputs as it says, of which nothing else was kept.
STANDS_FOR = f"CASE WHEN code IN ('{NOT_KEPT}', '{UNREAD}') THEN (convert_from(payload, 'UTF8')::json ->> 'count')::bigint ELSE 1 END"
MOST_CLIENTS = 20
DROP_OLDEST = """
DELETE FROM rejected_input WHERE organization_id = %(organization)s AND id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER newest AS place, sum(octet_length(payload)) OVER newest AS bytes
        FROM rejected_input WHERE organization_id = %(organization)s WINDOW newest AS (ORDER BY received_at DESC, id DESC)
    ) kept WHERE place > %(most)s OR bytes > %(bytes)s)
"""
# What is kept as a client's name, so that a prompt or a key under that field is not.
NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}")
# The outcome of a replay of several events is the worst of them.
WORST_FIRST = ("rejected", "conflict", "accepted", "duplicate")


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not counted: an event, or a whole body (kind envelope). `payload` is native event JSON or the body.

    `call` is the event that was counted under the id of a conflict, `differs` in what the two differ.
    """

    kind: RejectedInput.Kind
    code: str
    reason: str
    field: str = ""
    payload: bytes = b""
    is_whole: bool = True
    call: UUID | None = None
    differs: tuple[ContentDifference, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """Who a kept event says made the call and passed it on, whatever else is wrong with it."""

    harness: Any = ""
    gateway: Any = ""


def misfits_keep(*, api_key: ApiKey, door: str, misfits: Sequence[Misfit]) -> int:
    """Keeps them for the key's organization, up to the bounds; what is over them is counted in one row an hour. Returns how many were kept."""
    if not misfits:
        return 0
    now = timezone.now()
    mine = RejectedInput.objects.filter(organization=api_key.organization_id)
    # Only what there is room for is made ready, and that before the lock, under which the room is measured again.
    rows = [row_of(misfit, api_key=api_key, door=door, now=now) for misfit in misfits[: room_in(mine, now)]]
    with transaction.atomic():
        lock_of(api_key.organization_id)
        room = room_in(mine, now)
        RejectedInput.objects.bulk_create(rows[:room])
        uncounted = Counter(told_of(misfit.payload, api_key) for misfit in misfits[min(room, len(rows)) :])
        for told, count in by_client(uncounted).items():
            count_up(mine, api_key=api_key, door=door, code=NOT_KEPT, count=count, now=now, told=told)
        oldest_drop(api_key.organization_id)
    return min(room, len(rows))


def room_in(mine: QuerySet[RejectedInput], now: datetime) -> int:
    """How many may be kept of one request now, so that no single one can fill the hour."""
    kept = mine.filter(received_at__gt=now - timedelta(hours=1)).count()
    return max(0, min(MOST_AT_ONCE, MOST_AN_HOUR - kept))


def unread_note(*, api_key: ApiKey, door: str, unread: Counter[str]) -> None:
    """Notes, once an hour and client, that a client sends what no format here reads yet. Its records may hold prompts: none is kept."""
    if not unread:
        return
    now = timezone.now()
    with transaction.atomic():
        lock_of(api_key.organization_id)
        mine = RejectedInput.objects.filter(organization=api_key.organization_id)
        for client, count in unread.most_common(MOST_CLIENTS):
            told = Told(name_of(client), "")
            count_up(mine, api_key=api_key, door=door, code=UNREAD, count=count, now=now, client=client, told=told)
        oldest_drop(api_key.organization_id)


def rejected_inputs(actor: Actor) -> QuerySet[RejectedInput]:
    """What the actor's organization sent that was not counted, newest first."""
    return access.scoped(actor, RejectedInput.objects.all()).order_by("-received_at", "-id")


def rejected_input_get(actor: Actor, rejected_id: int) -> RejectedInput:
    """One of them. Raises NotFound."""
    return access.get_scoped(actor, RejectedInput.objects.all(), pk=rejected_id)


@transaction.atomic
def rejected_replay(*, actor: Actor, rejected: RejectedInput, corrected: str = "") -> list[Outcome]:
    """Sends a kept input through its door again, or `corrected` in its place, and notes what became of it.

    Raises Forbidden, Conflict when it was counted already, and Invalid when a part of it was not kept or cannot be read.
    """
    access.require(actor, Right.MANAGE_ORGANIZATION)
    row = access.get_scoped(actor, RejectedInput.objects.select_for_update(), pk=rejected.pk)
    if row.replay_outcome in ("accepted", "duplicate"):
        raise Conflict("This input was replayed already and is counted.")
    outcomes = replayed(actor, row, corrected_payload(corrected) if corrected else mended_payload(row) or whole_payload(row))
    old = {"replayed_at": row.replayed_at, "replay_outcome": row.replay_outcome}
    row.replayed_at, row.replay_outcome = timezone.now(), worst(outcomes)
    row.save(update_fields=["replayed_at", "replay_outcome"])
    new: dict[str, object] = {"replayed_at": row.replayed_at, "replay_outcome": row.replay_outcome}
    if corrected:
        new["corrected"] = without_secrets(corrected)
    audit_record(actor=actor, action="rejected_input.replayed", target=("rejected_input", row.pk), old=old, new=new)
    return outcomes


def mended_payload(row: RejectedInput) -> bytes:
    """What the organization's rules make of a kept event that they mend; empty where they do not."""
    found = mended(bytes(row.payload), fixes_of(row.organization_id), row.door) if row.payload else None
    if found is None:
        return b""
    mended_note(row.organization_id, [found])
    return msgspec.json.encode(found.event)


def whole_payload(row: RejectedInput) -> bytes:
    if row.is_whole and row.payload:
        return bytes(row.payload)
    raise Invalid("A part of this input was cut or taken out when it was kept; correct it first, or have its sender send it again.")


def corrected_payload(text: str) -> bytes:
    payload = text.encode()
    if "\x00" in text:
        raise Invalid("A correction has no NUL characters.")
    if len(payload) > PAYLOAD_BYTES:
        raise Invalid(f"A correction may have {PAYLOAD_BYTES:,} bytes.")
    if REMOVED.partition("{")[0] in text:
        raise Invalid("Replace or delete first what says [removed: …].")
    return payload


def replayed(actor: Actor, row: RejectedInput, payload: bytes) -> list[Outcome]:
    """What became of each event of the payload this time."""
    try:
        parsed = native.parse(payload, limit=settings.INGEST_MAX_EVENTS)
    except BadBody as error:
        return [Outcome(index=0, status="rejected", code=error.code, reason=error.detail)]
    api_key = ApiKey.objects.select_related("organization").filter(organization=actor.organization, pk=row.api_key_id or 0).first()
    stored = services.events_store(actor=actor, api_key=api_key, source=row.door, events=parsed.events) if parsed.events else []
    return [*stored, *(refusal.outcome for refusal in parsed.refused)]


def worst(outcomes: Sequence[Outcome]) -> str:
    statuses = {outcome.status for outcome in outcomes}
    return next((status for status in WORST_FIRST if status in statuses), "rejected")


def row_of(misfit: Misfit, *, api_key: ApiKey, door: str, now: datetime) -> RejectedInput:
    is_cut = len(misfit.payload) > PAYLOAD_BYTES or not misfit.is_whole
    kept = broken_redacted(misfit.payload[:PAYLOAD_BYTES]) if is_cut else payload_redacted(misfit.payload)
    told = told_of(misfit.payload, api_key)
    return RejectedInput(
        organization_id=api_key.organization_id,
        kind=misfit.kind,
        door=door,
        code=misfit.code[:60],
        reason=without_secrets(misfit.reason.replace("\x00", " ")),
        field=without_secrets(misfit.field.replace("\x00", " "))[:120],
        payload=kept.payload[:PAYLOAD_BYTES],
        is_whole=kept.is_whole and not is_cut,
        api_key_id=api_key.pk,
        harness=told.harness,
        gateway=told.gateway,
        received_at=now,
        call_id=misfit.call,
        differs=[differing(one) for one in misfit.differs],
    )


def differing(one: ContentDifference) -> dict[str, Any]:
    """A field in which a conflict differs, without secrets."""
    kept = {"field": without_secrets(one.field), "is_withheld": one.is_withheld}
    values = {"first": one.first, "now": one.now}
    return kept | {name: None if value is None else tag_redacted(one.field, value) for name, value in values.items()}


def told_of(payload: bytes, api_key: ApiKey) -> Told:
    """The harness and gateway that an event names, else the key's, as far as these are names."""
    try:
        told = msgspec.json.decode(payload, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = Told()
    return Told(*(name_of(getattr(told, name) or api_key.defaults.get(name)) for name in Told.__struct_fields__))


def name_of(value: object) -> str:
    """The name in lower case; empty for anything that is none."""
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if NAME.fullmatch(name) and without_secrets(name) == name else ""


def by_client(counted: Counter[Told]) -> Counter[Told]:
    """The same number by its most frequent clients; the others are of nobody known."""
    found = Counter(dict(counted.most_common(MOST_CLIENTS)))
    found[Told()] += counted.total() - found.total()
    return +found


def count_up(
    mine: QuerySet[RejectedInput], *, api_key: ApiKey, door: str, code: str, count: int, now: datetime, told: Told, client: str = ""
) -> None:
    """Adds to the one row of this hour that stands for inputs of which nothing is kept but their number."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    named = {"harness": told.harness, "gateway": told.gateway}
    row = mine.filter(code=code, door=door, field=client[:120], received_at__gte=hour, **named).first()
    before = msgspec.json.decode(bytes(row.payload))["count"] if row else 0
    row = row or RejectedInput(
        organization_id=api_key.organization_id,
        kind=RejectedInput.Kind.REJECTED,
        door=door,
        code=code,
        field=client[:120],
        is_whole=False,
        api_key_id=api_key.pk,
        **named,
    )
    total = before + count
    row.reason = (
        f"{total:,} records of {client} were not read: Weighhouse has no format for them yet."
        if code == UNREAD
        else f"{total:,} more were refused in the hour from {hour:%H:%M} UTC; {MOST_AN_HOUR:,} an hour and {MOST_AT_ONCE:,} of one request are kept."
    )
    row.payload, row.received_at = msgspec.json.encode({"count": total}), now
    row.save()


def oldest_drop(organization_id: int) -> None:
    """Keeps the newest, MOST_KEPT and MOST_BYTES of them at most."""
    sql.execute(DROP_OLDEST, {"organization": organization_id, "most": MOST_KEPT, "bytes": MOST_BYTES})


def lock_of(organization_id: int) -> None:
    """Lets one transaction at a time count what an organization has kept, so that the bounds hold."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [hash16("rejected_input", str(organization_id)).int >> 65])

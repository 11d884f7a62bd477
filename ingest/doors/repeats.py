"""Honours Idempotency-Key: the same request under the same key gets the answer of the first, another one is refused.

Nothing of the answer is kept but which events it called accepted; everything else is the same whenever it is asked.
"""

import hashlib
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from rest_framework.request import Request

from governance import sql
from governance.errors import Conflict, Invalid
from governance.ids import hash16
from ingest.formats.event import Outcome

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST_KEY = 200
REMEMBERED = timedelta(days=1)
# A second request under the key waits here until the first is committed.
CLAIM = """
INSERT INTO idempotency_key (organization_id, key_hash, request_hash, created_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (organization_id, key_hash) DO UPDATE SET request_hash = excluded.request_hash, accepted = NULL, created_at = excluded.created_at
WHERE idempotency_key.created_at < %s
"""
FIRST = "SELECT request_hash, accepted FROM idempotency_key WHERE organization_id = %s AND key_hash = %s"
NOTE = "UPDATE idempotency_key SET accepted = %s WHERE organization_id = %s AND key_hash = %s"
RELEASE = "DELETE FROM idempotency_key WHERE organization_id = %s AND key_hash = %s"


class Claim(msgspec.Struct, frozen=True):
    """One use of a key. `accepted` says of each event whether the first answer called it accepted; None when this is the first."""

    organization_id: int
    key_hash: UUID
    accepted: bytes | None

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Remembers the answer, with the transaction that the events are stored in."""
        accepted = bytes(outcome.status == "accepted" for outcome in outcomes)
        sql.execute(NOTE, [zlib.compress(accepted, 1), self.organization_id, self.key_hash])

    def release(self) -> None:
        """Lets the key be used again, because nothing was counted under it."""
        sql.execute(RELEASE, [self.organization_id, self.key_hash])

    def as_first(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes as the first answer had them."""
        accepted = self.accepted or b""
        return [
            msgspec.structs.replace(outcome, status="accepted") if outcome.status == "duplicate" and was_accepted else outcome
            for outcome, was_accepted in zip(outcomes, accepted, strict=True)
        ]


def key_of(request: Request) -> str | None:
    """The request's key. Raises Invalid for one that is none."""
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Invalid(f"An {HEADER} has 1 to {LONGEST_KEY} printable characters.", field=HEADER)
    return key


def claim(*, organization_id: int, key: str, body: bytes, now: datetime) -> Claim:
    """The key for this body, to be called inside the storing transaction. Raises Conflict when it was used for another body."""
    key_hash, request_hash = hash16("events", key), UUID(bytes=hashlib.blake2b(body, digest_size=16).digest())
    if sql.execute(CLAIM, [organization_id, key_hash, request_hash, now, now - REMEMBERED]):
        return Claim(organization_id, key_hash, None)
    first = sql.rows(FIRST, [organization_id, key_hash])[0]
    if first.request_hash != request_hash:
        raise Conflict(f"This {HEADER} was used for another request; nothing of this one was stored.", field=HEADER)
    return Claim(organization_id, key_hash, zlib.decompress(first.accepted))

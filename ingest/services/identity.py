"""What makes two reports the same call, and what makes them differ: pure hashes of a usage event."""

import re
from collections.abc import Mapping
from uuid import UUID

import msgspec

from governance.ids import hash16
from governance.pricing.catalogue import provider_family
from ingest.formats.event import UsageEvent

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string")

# Ids that name one call in the whole world, by the shapes vendors give them: a UUID or its digits; a known prefix and enough after it.
UUID_LIKE = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
PREFIXED = re.compile(r"(?:req|msg|chatcmpl|cmpl|resp|gen|msg_bdrk|msg_vrtx|req_vrtx)[_-](?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_.-]{10,}")
# Others are taken for random when they are long and change often between letters and digits, which numbering by hand does not.
LONG = 20
TURN = re.compile(r"(?<=[A-Za-z])[0-9]|(?<=[0-9])[A-Za-z]")
TURNS = 4
# Tags in which formats keep what a call is known by besides its id.
ID_TAGS = ("vendor.request_id", "vendor.response_id")


def identity_key(event: UsageEvent, source: str, *, default_provider: str = "") -> UUID:
    """The key a call is counted once by: the vendor's request id, else the client's own id within its door.

    A request id that is unlike any other counts by itself, because sources spell the provider differently or leave it out. A
    short one, such as "1", counts within the provider that the event or else the key's default names. The price book has no say:
    a model it learns later must not make a call that comes again another one.
    """
    request_id = event.request_id.strip()
    if not request_id:
        return hash16("id", source, event.id)
    provider = "" if is_unmistakable(request_id) else provider_family(event.provider or default_provider)
    return hash16("request", provider, request_id)


def other_keys(event: UsageEvent, key: UUID) -> tuple[UUID, ...]:
    """Further keys that other sources may know the call by: the client's own id beside the vendor's, and ids that came along as tags.

    Only ids that no other call has for all that chance can do; and each in the namespace of request ids, because what one source
    has as its own id another has as the vendor's.
    """
    tags: Mapping[str, str] = event.tags or {}
    named = [event.id.strip() if event.request_id.strip() else "", *(tags.get(name, "").strip() for name in ID_TAGS)]
    found = (hash16("request", "", one) for one in dict.fromkeys(named) if one and is_unmistakable(one))
    return tuple(one for one in found if one != key)


def is_unmistakable(request_id: str) -> bool:
    """Whether no two calls of any providers have this request id, for all that chance can do."""
    if UUID_LIKE.fullmatch(request_id) or PREFIXED.fullmatch(request_id):
        return True
    return len(request_id) >= LONG and len(TURN.findall(request_id)) >= TURNS


def body_hash(event: UsageEvent, *, default_provider: str = "") -> UUID:
    """A hash of everything the event says of the call, the same for every spelling of the same values and whatever hold it names."""
    event = msgspec.structs.replace(event, authorization=None, provider=provider_family(event.provider or default_provider))
    return hash16(_encoder.encode(event).decode())

"""What makes two reports the same call, and what makes them differ: pure hashes of a usage event."""

from uuid import UUID

import msgspec

from governance.ids import hash16
from ingest.formats.event import UsageEvent

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string")

# What clients call a provider in one protocol and not in another; the key of a call must not depend on it.
SAME_PROVIDER = {"firstparty": "anthropic", "gcp.gen_ai": "google", "gemini": "google", "vertex_ai": "google", "bedrock": "aws"}


def identity_key(event: UsageEvent, source: str) -> UUID:
    """The key a call is counted once by: the vendor's request id within its provider, else the client's own id within its door."""
    if event.request_id:
        provider = event.provider.lower()
        return hash16("request", SAME_PROVIDER.get(provider, provider), event.request_id)
    return hash16("id", source, event.id)


def body_hash(event: UsageEvent) -> UUID:
    """A hash of everything the event says of the call, the same for every spelling of the same values and whatever hold it names."""
    if event.authorization is not None:
        event = msgspec.structs.replace(event, authorization=None)
    return hash16(_encoder.encode(event).decode())

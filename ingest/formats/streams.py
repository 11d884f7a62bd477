"""Server-sent events of one streamed answer, as one record with the events in a list. Pure."""

import msgspec

from ingest.formats.batch import TooLarge, Unreadable

MOST_EVENTS = 100_000
# Only these say something of usage; pieces of text in between are dropped undecoded.
MARKS = (b'"usage"', b'"usageMetadata"', b'"metadata"', b'"error"', b'"eval_count"')
json_value = msgspec.json.Decoder()


def collected(body: bytes) -> bytes:
    """{"stream": [...]} of the events in a text/event-stream body. Raises Unreadable and TooLarge."""
    events = []
    for line in body.splitlines():
        if not line.startswith(b"data:") or not any(mark in line for mark in MARKS):
            continue
        try:
            events.append(json_value.decode(line.removeprefix(b"data:").strip()))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unreadable("broken_json", "An event of the stream is not JSON.") from None
        if len(events) > MOST_EVENTS:
            raise TooLarge("too_many_events", f"A stream may have {MOST_EVENTS:,} events.")
    return msgspec.json.encode({"stream": events})

"""Identifiers: time-ordered UUIDs for our own rows, 16-byte hashes for other people's ids, numbers of rows as text names them."""

import hashlib
import secrets
import time
from uuid import UUID

# So many digits fit the widest whole number that PostgreSQL has.
LONGEST_NUMBER = 18


def row_id(text: str) -> int | None:
    """The number of a row as an address or a form names it; None for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def uuid7(now_ms: int | None = None) -> UUID:
    """A time-ordered random identifier (RFC 9562, version 7), so that new rows land at the end of an index."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def hash16(*parts: str) -> UUID:
    """A 16-byte hash of the parts; no two different lists of parts join to the same text."""
    text = "\x1f".join(parts)
    if text.count("\x1f") >= len(parts):  # one of the parts has a separator in it
        text = "\x1f".join(part.replace("\x1f", "\x1f\x1f") for part in parts)
    return UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest())

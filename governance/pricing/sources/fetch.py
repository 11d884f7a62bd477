"""Gets a price list from its address: only from the public internet, whole or not at all, in bounded time and size."""

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

import httpcore
import httpx
import stamina

from governance.errors import Invalid
from governance.notices import addresses
from governance.notices.addresses import Resolver, Unreachable
from governance.notices.outgoing import CheckedNetwork, CheckedTransport

SECONDS = 60.0
ATTEMPTS = 3
REDIRECTS = 3
# The largest list has 4 MB; ten times that and it is no price list any more.
MOST_BYTES = 40 * 1024 * 1024
MOST_SENT_BYTES = 20 * 1024 * 1024
USER_AGENT = "Weighhouse-Prices/1"
MOVED = frozenset({301, 302, 303, 307, 308})


class Passing(Unreachable):
    """A failure that the next attempt may not have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an answer is read, and for how long it is waited."""

    seconds: float = SECONDS
    sent_bytes: int = MOST_SENT_BYTES
    whole_bytes: int = MOST_BYTES
    attempts: int = ATTEMPTS


def fetch(url: str, *, allows_private: bool = False, resolver: Resolver | None = None, limits: Limits | None = None) -> bytes:
    """The body behind the address, decompressed. Raises Unreachable or Invalid with a sentence; what passes by itself is tried again."""
    bounds = limits or Limits()
    for attempt in stamina.retry_context(on=Passing, attempts=bounds.attempts, wait_initial=0.5, wait_max=4.0, timeout=bounds.seconds * 2):
        with attempt:
            return _follow(url, allows_private=allows_private, resolver=resolver, limits=bounds)
    raise AssertionError("the last attempt raises")


def _follow(url: str, *, allows_private: bool, resolver: Resolver | None, limits: Limits) -> bytes:
    deadline = time.monotonic() + limits.seconds
    for _ in range(REDIRECTS + 1):
        answer = _get(url, deadline=deadline, allows_private=allows_private, resolver=resolver, limits=limits)
        if isinstance(answer, bytes):
            return answer
        url = urljoin(url, answer)
    raise Unreachable(f"The address leads from one to another more than {REDIRECTS} times.")


def _get(url: str, *, deadline: float, allows_private: bool, resolver: Resolver | None, limits: Limits) -> bytes | str:
    """One request: the body, or where it has moved to. Each address is checked for itself."""
    target = addresses.target_of(url, allows_private=allows_private)
    network = CheckedNetwork(target, deadline=deadline, allows_private=allows_private, resolver=resolver)
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json, text/csv", "Accept-Encoding": "gzip"}
    try:
        with (
            httpx.Client(transport=CheckedTransport(network), trust_env=False, follow_redirects=False, timeout=limits.seconds) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code in MOVED and (moved := response.headers.get("location")):
                return str(moved)
            _check_status(response)
            return _body(response, limits)
    except (httpx.TimeoutException, httpcore.TimeoutException):
        raise Passing(f"{target.host} did not answer in full within {limits.seconds:.0f} seconds.") from None
    except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Passing(f"{target.host} cannot be read: {str(error)[:200] or type(error).__name__}.") from error
    except httpx.InvalidURL:
        raise Invalid("This is no address.", field="address") from None


def _check_status(response: httpx.Response) -> None:
    status, host = response.status_code, response.request.url.host
    if status == 429 or status >= 500:
        raise Passing(f"{host} answered {status}.")
    if status != 200:
        raise Unreachable(f"{host} answered {status} instead of the list.")


def _body(response: httpx.Response, limits: Limits) -> bytes:
    """The whole body. What is too large is not read to its end."""
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise Unreachable(f"The answer is compressed as {coding[:40]}, which was not asked for.")
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > limits.sent_bytes:
        raise Invalid(f"The answer has {int(declared):,} bytes, which no price list has.")
    whole = bytearray()
    pieces = _bounded(response.iter_raw(), limits.sent_bytes)
    for piece in pieces if coding in ("identity", "") else _unpacked(pieces, limits.whole_bytes):
        whole += piece
        if len(whole) > limits.whole_bytes:
            raise Invalid(f"The list has more than {limits.whole_bytes:,} bytes, which no price list has.")
    return bytes(whole)


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        sent += len(piece)
        if sent > most:
            raise Invalid(f"The answer has more than {most:,} bytes, which no price list has.")
        yield piece


def _unpacked(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Decompressed a little at a time, so that a small answer cannot become a large one in memory."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        for piece in pieces:
            yield unpacking.decompress(piece, most + 1)
        yield unpacking.flush()
    except zlib.error:
        raise Invalid("The answer says that it is compressed and is not.") from None
    if not unpacking.eof:
        raise Passing("The answer ended before it was complete.")

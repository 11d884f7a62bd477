"""Sends one signed body to one address: connects to the IP address that was checked, follows nothing, waits a bounded time, reads little."""

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore
import httpx

from governance.notices import addresses
from governance.notices.addresses import Resolver, Target, Unreachable

SECONDS = 10.0
CONNECT_SECONDS = 5.0
ANSWER_BYTES = 4096
USER_AGENT = "Weighhouse-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, how the body begins, seconds to wait that it asks for (None: none), milliseconds it took."""

    status: int
    text: str
    retry_after: float | None
    ms: int

    @property
    def is_taken(self) -> bool:
        return 200 <= self.status < 300


def post(url: str, *, body: bytes, headers: Mapping[str, str], allows_private: bool, resolver: Resolver | None = None) -> Answer:
    """Makes one attempt. Raises Unreachable (or Invalid for an address that may not be) when no answer came within SECONDS."""
    target = addresses.target_of(url, allows_private=allows_private)
    started = time.monotonic()
    network = CheckedNetwork(target, deadline=started + SECONDS, allows_private=allows_private, resolver=resolver)
    try:
        with (
            httpx.Client(transport=CheckedTransport(network), trust_env=False, follow_redirects=False, timeout=SECONDS) as client,
            client.stream(
                "POST", url, content=body, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
            ) as response,
        ):
            text = _beginning(response)
            return Answer(response.status_code, text, _retry_after(response), _ms(started))
    except (httpx.HTTPError, httpx.InvalidURL, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Unreachable(_sentence(error, time.monotonic() - started)) from error


class CheckedNetwork(httpcore.NetworkBackend):
    """Resolves the name once, checks what it stands for, and connects to exactly that; every wait ends at the deadline."""

    def __init__(self, target: Target, *, deadline: float, allows_private: bool, resolver: Resolver | None) -> None:
        self.target, self.deadline, self.allows_private, self.resolver = target, deadline, allows_private, resolver
        self.inner = httpcore.SyncBackend()

    def connect_tcp(  # noqa: PLR0917 - httpcore's signature
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = addresses.checked(self.target, allows_private=self.allows_private, resolver=self.resolver)
        for address in others:
            try:
                return self._connect(address, port, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, socket_options)

    def _connect(self, address: str, port: int, socket_options: Iterable[Any] | None) -> httpcore.NetworkStream:
        stream = self.inner.connect_tcp(address, port, timeout=min(CONNECT_SECONDS, left_of(self.deadline)), socket_options=socket_options)
        return _Stream(stream, self.deadline)


class _Stream(httpcore.NetworkStream):
    """A connection on which no single read or write starts a new count of the time."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self.inner, self.deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, left_of(self.deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, left_of(self.deadline))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, left_of(self.deadline)), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class CheckedTransport(httpx.BaseTransport):
    """httpx on a connection of our own making. The address stays in the request, so Host, SNI and certificate are those of the name."""

    def __init__(self, network: CheckedNetwork) -> None:
        self.pool = httpcore.ConnectionPool(ssl_context=_tls(), max_connections=1, max_keepalive_connections=0, network_backend=network)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path)
        content = request.stream if isinstance(request.stream, httpx.SyncByteStream) else b""
        answer = self.pool.handle_request(
            httpcore.Request(request.method, url, headers=request.headers.raw, content=content, extensions=request.extensions)
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        self.pool.close()


class _Body(httpx.SyncByteStream):
    """The answer's body as it comes."""

    def __init__(self, answer: httpcore.Response) -> None:
        self.answer = answer

    def __iter__(self) -> Any:
        yield from self.answer.iter_stream()

    def close(self) -> None:
        self.answer.close()


@cache
def _tls() -> ssl.SSLContext:
    """Certificates are checked against the usual authorities, or those of SSL_CERT_FILE."""
    return httpx.create_ssl_context()


def left_of(deadline: float) -> float:
    """Seconds left. Raises a timeout when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left


def _beginning(response: httpx.Response) -> str:
    """How the body begins, as text that can be stored; the rest is not read."""
    kept = b""
    for chunk in response.iter_raw():
        kept += chunk[: ANSWER_BYTES - len(kept)]
        if len(kept) >= ANSWER_BYTES:
            break
    return kept.decode("utf-8", "replace").replace("\x00", "\ufffd")


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else None


def _sentence(error: Exception, took: float) -> str:
    if isinstance(error, httpx.TimeoutException | httpcore.TimeoutException):
        return f"No answer within {took:.0f} seconds."
    return f"No answer: {str(error) or type(error).__name__}."[:500]


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)

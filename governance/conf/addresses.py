"""Where the page is reached: checks the address asked for, and names it to the programs that need it."""

import ipaddress
import socket
from dataclasses import dataclass

import psutil

# After the page's, for the stream.
PORTS_TRIED = 20


class AddressError(Exception):
    """The address cannot be used. The message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Address:
    """What the web server binds to."""

    bind: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.bind == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return False

    @property
    def is_everywhere(self) -> bool:
        return self.bind in ("0.0.0.0", "::")  # noqa: S104

    @property
    def url(self) -> str:
        """The address as a person on this machine types it."""
        host = "localhost" if self.is_loopback or self.is_everywhere else self.bind
        return f"http://{_bracketed(host)}:{self.port}"

    @property
    def public_url(self) -> str:
        """The address as it stands in links that are sent to people."""
        return f"http://{socket.gethostname()}:{self.port}" if self.is_everywhere else self.url

    @property
    def probe(self) -> str:
        """The host to ask whether the page answers."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104

    @property
    def allowed_hosts(self) -> list[str]:
        """The names under which requests are answered: this machine's own."""
        hosts = {"localhost", "127.0.0.1", "[::1]", _bracketed(self.bind)}
        if self.is_everywhere:
            hosts |= {socket.gethostname(), socket.getfqdn(), *_own_addresses()}
        return sorted(hosts - {"0.0.0.0", "[::]"})  # noqa: S104


def check_free(address: Address) -> None:
    """Raises AddressError when the web server could not bind to it."""
    try:
        found = socket.getaddrinfo(address.bind, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except socket.gaierror:
        raise AddressError(f"{address.bind} is not an address of this machine: name another one with BIND=.") from None
    except PermissionError:
        raise AddressError(f"Port {address.port} is not open to this user: name one above 1023 with PORT=.") from None
    except OSError as error:
        sentence = f"Port {address.port} on {address.bind} cannot be used ({error.strerror}): name another one, such as"
        raise AddressError(f"{sentence} PORT={_next(address.port)}.") from None


def stream_address(address: Address, port: int | None) -> Address:
    """Where the stream answers: at the port that was asked for, else at the next free one after the page's. Raises AddressError."""
    if port is not None:
        check_free(stream := Address(address.bind, port))
        return stream
    for number in range(address.port + 1, min(address.port + PORTS_TRIED, 65535) + 1):
        try:
            check_free(stream := Address(address.bind, number))
        except AddressError:
            continue
        return stream
    raise AddressError(f"No port after {address.port} is free for the stream: name one with --stream-port.")


def _next(port: int) -> int:
    return port + 1 if port < 65535 else 8000


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _own_addresses() -> set[str]:
    entries = (entry for interface in psutil.net_if_addrs().values() for entry in interface)
    hosts = (entry.address.partition("%")[0] for entry in entries if entry.family in (socket.AF_INET, socket.AF_INET6))
    return {_bracketed(host) for host in hosts}

"""Says where webhooks may go: nowhere inside our own network, judged by the addresses a name stands for and not by the name."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from governance.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

LONGEST = 2000
RESOLVE_SECONDS = 5.0
# Public by number, and the wire server of a cloud by use.
METADATA = frozenset(
    {ipaddress.ip_address("168.63.129.16"), ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
)
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class Unreachable(Exception):
    """Nothing was sent, or no answer came; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an address leads: host and port, and whether by TLS."""

    host: str
    port: int
    is_tls: bool


def target_of(url: str, *, allows_private: bool) -> Target:
    """Reads an address as people enter it. Raises Invalid with a sentence for whatever is not plain https (or http, inside one's own network)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid("This is no address: write https://host/path.", field="address") from None
    if parts.scheme not in ("https", "http") or not host:
        raise Invalid("Write the whole address, beginning with https://.", field="address")
    if parts.scheme == "http" and not allows_private:
        raise Invalid("Only https:// addresses are called: others can read and change what plain http carries.", field="address")
    if parts.username is not None or parts.password is not None:
        raise Invalid("Leave name and password out of the address; the signature says who is calling.", field="address")
    if len(url) > LONGEST or any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
        raise Invalid("This is no address: it has spaces or other characters that do not belong there, or is too long.", field="address")
    is_tls = parts.scheme == "https"
    return Target(host, port or (443 if is_tls else 80), is_tls)


def refusal_of(text: str, *, allows_private: bool) -> str:
    """Why an IP address may not be called, as words that go after "it is"; "" when it may."""
    address = _plain(ipaddress.ip_address(text))
    if address in METADATA or address.is_link_local:
        return "an address of the machine's own network or cloud (link-local or metadata)"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or _is_reserved(address):
        return "an address that leads nowhere"
    if not allows_private and not address.is_global:
        return "inside a private network"
    return ""


def checked(target: Target, *, allows_private: bool, resolver: Resolver | None = None) -> Sequence[str]:
    """The IP addresses to connect to, in the order to try. Every one that the name stands for has to be allowed; raises Unreachable otherwise."""
    found = (resolver or resolved)(target.host, target.port)
    for address in found:
        if refusal := refusal_of(address, allows_private=allows_private):
            raise Unreachable(f"{target.host} is not called: {address} is {refusal}.")
    return found


def resolved(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, in at most RESOLVE_SECONDS. Raises Unreachable."""
    answers: list[Sequence[str]] = []

    def ask() -> None:
        try:
            answers.append(list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))))
        except (OSError, UnicodeError):
            answers.append([])

    asking = threading.Thread(target=ask, name="resolve", daemon=True)
    asking.start()
    asking.join(RESOLVE_SECONDS)
    if not answers:
        raise Unreachable(f"The name {host} was not resolved within {RESOLVE_SECONDS:.0f} seconds.")
    if not answers[0]:
        raise Unreachable(f"There is no host of the name {host}.")
    return answers[0]


def _plain(address: Address) -> Address:
    """The IPv4 address inside one that only wraps it; others as they are."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    low = int(address) & 0xFFFFFFFF
    if inside is None and (any(address in network for network in NAT64) or (int(address) >> 32 == 0 and low > 1)):
        inside = ipaddress.IPv4Address(low)
    return inside or address


def _is_reserved(address: Address) -> bool:
    """Ranges nobody has: they are refused even where private networks are allowed."""
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.ip_network("0.0.0.0/8") or address in ipaddress.ip_network("240.0.0.0/4")
    return address.is_site_local

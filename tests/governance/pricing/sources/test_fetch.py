"""A price list is taken whole or not at all, from the public internet, in bounded time and size, and every refusal says why."""

import gzip
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from governance.errors import Invalid
from governance.notices.addresses import Unreachable
from governance.pricing.sources.fetch import Limits, fetch
from tests.governance.pricing.sources.list_server import ListServer, endless, list_server, whole

QUICK = Limits(seconds=1.0, sent_bytes=200_000, whole_bytes=500_000, attempts=2)


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    stamina.set_testing(True, attempts=2)
    yield
    stamina.set_testing(False)


@pytest.fixture
def server() -> Iterator[ListServer]:
    with list_server() as running:
        yield running


def got(server: ListServer) -> bytes:
    return fetch(server.url, allows_private=True, limits=QUICK)


def test_list_is_read_as_it_is(server: ListServer) -> None:
    server.answers = [whole(b'{"data": []}')]

    assert got(server) == b'{"data": []}'


def test_compressed_list_is_unpacked(server: ListServer) -> None:
    server.answers = [whole(gzip.compress(b"prices" * 1000), Content_Encoding="gzip")]

    assert got(server) == b"prices" * 1000


def test_list_that_has_moved_is_followed(server: ListServer) -> None:
    server.answers = [whole(b"", status=302, Location="/elsewhere.json"), whole(b"[]")]

    assert got(server) == b"[]"
    assert server.asked == ["/list.json", "/elsewhere.json"]


def test_failure_that_passes_is_tried_again(server: ListServer) -> None:
    server.answers = [whole(b"busy", status=503), whole(b"[]")]

    assert got(server) == b"[]"


@pytest.mark.parametrize(("status", "asked"), [(500, 2), (429, 2), (404, 1), (401, 1), (204, 1)])
def test_other_status_is_no_list(server: ListServer, status: int, asked: int) -> None:
    server.answers = [whole(b"", status=status)]

    with pytest.raises(Unreachable, match=str(status)):
        got(server)
    assert len(server.asked) == asked


def test_moving_in_circles_ends(server: ListServer) -> None:
    server.answers = [whole(b"", status=302, Location="/list.json")]

    with pytest.raises(Unreachable, match="from one to another"):
        got(server)


def test_redirect_to_the_machines_own_network_is_not_followed(server: ListServer) -> None:
    server.answers = [whole(b"", status=302, Location="http://169.254.169.254/latest/meta-data")]

    with pytest.raises(Unreachable, match="link-local or metadata"):
        got(server)


@pytest.mark.parametrize("location", ["ftp://example.com/x", "file:///etc/passwd", "http://user:pw@example.com/x"])
def test_redirect_to_something_else_is_not_followed(server: ListServer, location: str) -> None:
    server.answers = [whole(b"", status=302, Location=location)]

    with pytest.raises(Invalid):
        got(server)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.8", "192.168.1.1", "::1", "fd00::1", "169.254.169.254"])
def test_name_that_stands_for_a_private_address_is_not_called(address: str) -> None:
    with pytest.raises(Unreachable, match="is not called"):
        fetch("https://prices.example/list.json", resolver=lambda host, port: [address], limits=QUICK)


def test_plain_http_is_refused_on_the_public_internet() -> None:
    with pytest.raises(Invalid, match="https"):
        fetch("http://prices.example/list.json", limits=QUICK)


def test_name_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(Unreachable, match="no host of the name"):
        fetch("https://prices.invalid/list.json", limits=QUICK)


def test_three_hundred_megabytes_are_refused_unread(server: ListServer) -> None:
    server.answers = [endless(b"x" * 65536, declared=300 * 1024 * 1024)]

    with pytest.raises(Invalid, match="314,572,800 bytes"):
        got(server)


def test_body_that_never_ends_is_cut_off(server: ListServer) -> None:
    server.answers = [endless(b"x" * 65536)]

    with pytest.raises(Invalid, match="more than 200,000 bytes"):
        got(server)


def test_small_answer_that_unpacks_to_a_large_one_is_refused(server: ListServer) -> None:
    server.answers = [whole(gzip.compress(b"\0" * 100_000_000), Content_Encoding="gzip")]

    with pytest.raises(Invalid, match="more than 500,000 bytes"):
        got(server)


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (b"plain", "gzip", "says that it is compressed"),
        (b"x", "br", "not asked for"),
        (gzip.compress(b"x" * 999, mtime=0)[:-9], "gzip", "before it was"),
    ],
)
def test_broken_compression_is_refused(server: ListServer, body: bytes, coding: str, words: str) -> None:
    server.answers = [whole(body, Content_Encoding=coding)]

    with pytest.raises((Invalid, Unreachable), match=words):
        got(server)


def test_slow_answer_ends_at_the_deadline(server: ListServer) -> None:
    server.answers = [endless(b"x", pause=0.05)]

    with pytest.raises(Unreachable, match="within 1 seconds"):
        got(server)


def test_answer_that_breaks_off_is_not_taken(server: ListServer) -> None:
    server.answers = [whole(b'{"data": [', Content_Length="5000")]
    server.timeout = 1

    with pytest.raises(Unreachable):
        got(server)


def test_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    with list_server(own_certificate(tmp_path)) as server, pytest.raises(Unreachable, match="certificate"):
        got(server)


def own_certificate(folder: Path) -> ssl.SSLContext:
    """A server's side with a certificate it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prices.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    (folder / "chain.pem").write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem")
    return context

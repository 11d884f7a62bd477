"""Where webhooks may go: judged by the addresses that are really connected to, at save and at each delivery."""

import socket
import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from governance.errors import Invalid
from governance.notices import addresses, outgoing
from governance.notices.addresses import Target, Unreachable, checked, refusal_of, target_of
from governance.notices.endpoints import address_check
from tests.governance.notices.hook_server import HookServer

INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1", "fc00::1", "fd12:3456::1", "198.18.0.1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "::127.0.0.1", "192.0.2.1", "2001:db8::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200",
    "168.63.129.16", "224.0.0.1", "239.1.1.1", "ff02::1", "::ffff:224.0.0.1", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1", "fec0::1",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "172.32.0.1", "100.128.0.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_refused_unless_the_operator_allows_them(address: str) -> None:
    assert refusal_of(address, allows_private=False)
    assert refusal_of(address, allows_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_multicast_and_nowhere_are_refused_whatever_the_operator_says(address: str) -> None:
    assert refusal_of(address, allows_private=False)
    assert refusal_of(address, allows_private=True)


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_outside_may_be_called(address: str) -> None:
    assert refusal_of(address, allows_private=False) == ""


@given(number=st.integers(0, 2**32 - 1))
def test_wrapping_an_address_in_version_6_never_makes_it_callable(number: int) -> None:
    plain = socket.inet_ntoa(number.to_bytes(4, "big"))
    for wrapped in (f"::ffff:{plain}", f"64:ff9b::{plain}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"):
        for allows in (False, True):
            assert bool(refusal_of(wrapped, allows_private=allows)) == bool(refusal_of(plain, allows_private=allows))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/in", "ftp://hooks.example", "hooks.example/in", "https://", "https:///in", "https://user:word@hooks.example/", "https://hooks.example:99999/",
        "https://[::1", "https://hooks.example/a b", "https://hooks.example/\x00", "https://hooks.example\\@10.0.0.1/", "javascript:alert(1)", "https://hooks.example/" + "a" * 2000, "",
    ],
)  # fmt: skip
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        target_of(url, allows_private=False)
    assert refused.value.extra["field"] == "address"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.1.2.3", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_every_way_to_write_an_inner_address_is_refused_at_save(settings: Settings, host: str) -> None:
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    with pytest.raises(Invalid):
        address_check(f"https://{host}/in")


def test_one_inner_address_among_many_is_enough_to_refuse() -> None:
    target = Target("mixed.example", 443, is_tls=True)

    assert checked(target, allows_private=False, resolver=lambda host, port: ["8.8.8.8"]) == ["8.8.8.8"]
    with pytest.raises(Unreachable, match=r"10\.0\.0\.1 is inside a private network"):
        checked(target, allows_private=False, resolver=lambda host, port: ["8.8.8.8", "10.0.0.1"])


class Changing:
    """A resolver that says something else each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_name_that_moves_inside_after_it_was_saved_is_not_called(hooks: HookServer) -> None:
    moving = Changing(["8.8.8.8"], ["169.254.169.254"])
    url = f"http://moving.example:{hooks.server_address[1]}/in"
    assert checked(target_of(url, allows_private=True), allows_private=True, resolver=moving) == ["8.8.8.8"]

    with pytest.raises(Unreachable, match="metadata"):
        outgoing.post(url, body=b"{}", headers={}, allows_private=True, resolver=moving)


def test_the_name_is_resolved_once_and_that_address_is_connected_to_under_the_names_own_host(hooks: HookServer) -> None:
    """Were it resolved again to connect, the second answer would count."""
    rebinding = Changing(["127.0.0.1"], ["169.254.169.254"])
    port = hooks.server_address[1]

    answer = outgoing.post(f"http://rebinding.example:{port}/in?a=1", body=b"{}", headers={"X-Own": "1"}, allows_private=True, resolver=rebinding)

    assert (answer.status, rebinding.asked) == (204, 1)
    assert hooks.taken[0].headers["host"] == f"rebinding.example:{port}"
    assert hooks.taken[0].path == "/in?a=1"


def test_the_next_address_is_tried_when_the_first_does_not_answer(hooks: HookServer) -> None:
    port = hooks.server_address[1]
    answer = outgoing.post(f"http://two.example:{port}/", body=b"{}", headers={}, allows_private=True, resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert answer.is_taken


def test_redirects_are_not_followed(hooks: HookServer) -> None:
    hooks.answers = [(302, {"Location": "http://169.254.169.254/latest/meta-data"}, b"")]

    answer = outgoing.post(hooks.url, body=b"{}", headers={}, allows_private=True)

    assert (answer.status, answer.is_taken, len(hooks.taken)) == (302, False, 1)


def test_huge_answers_are_cut_and_never_read_whole(hooks: HookServer) -> None:
    hooks.answers = [(200, {}, b"x" * 50_000_000)]

    answer = outgoing.post(hooks.url, body=b"{}", headers={}, allows_private=True)

    assert (answer.status, len(answer.text)) == (200, outgoing.ANSWER_BYTES)


@pytest.mark.parametrize("field", ["waits", "drips"])
def test_slow_answers_end_at_the_deadline(hooks: HookServer, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Also one that sends a byte now and then, which no wait for the next byte would end."""
    monkeypatch.setattr(outgoing, "SECONDS", 1.0)
    setattr(hooks, field, 3.0 if field == "waits" else 0.1)
    started = time.monotonic()

    with pytest.raises(Unreachable, match="No answer within 1 seconds"):
        outgoing.post(hooks.url, body=b"{}", headers={}, allows_private=True)

    assert time.monotonic() - started < 2


def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "RESOLVE_SECONDS", 0.2)
    held = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: held.wait(5) and [])

    with pytest.raises(Unreachable, match="was not resolved"):
        addresses.resolved("slow.example", 443)
    held.set()


def test_a_port_where_nobody_listens_is_said_in_a_sentence() -> None:
    with pytest.raises(Unreachable, match="No answer"):
        outgoing.post("http://127.0.0.1:9/in", body=b"{}", headers={}, allows_private=True)


def test_proxies_of_the_environment_are_not_used(hooks: HookServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One would resolve the name for itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert outgoing.post(hooks.url, body=b"{}", headers={}, allows_private=True).is_taken

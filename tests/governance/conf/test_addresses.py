"""What follows from the address that the page is bound to."""

import socket

import pytest

from governance.conf.addresses import Address, AddressError, check_free, stream_address


@pytest.mark.parametrize("bind", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_is_reached_by_this_machine_only(bind: str) -> None:
    assert Address(bind, 8000).is_loopback
    assert Address(bind, 8000).public_url == "http://localhost:8000"


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7", "weigh.example"])
def test_anything_else_is_not(bind: str) -> None:
    assert not Address(bind, 8000).is_loopback


def test_own_names_are_answered_and_no_others() -> None:
    hosts = Address("0.0.0.0", 8000).allowed_hosts
    assert {"localhost", "127.0.0.1", socket.gethostname()} <= set(hosts)
    assert not {"*", "0.0.0.0"} & set(hosts)


def test_ipv6_addresses_are_bracketed() -> None:
    assert Address("2001:db8::1", 80).url == "http://[2001:db8::1]:80"
    assert "[2001:db8::1]" in Address("2001:db8::1", 80).allowed_hosts


def test_foreign_address_is_refused_with_a_sentence() -> None:
    with pytest.raises(AddressError, match="cannot be used"):
        check_free(Address("192.0.2.7", 8000))


def test_name_that_nobody_knows_is_refused_with_a_sentence() -> None:
    with pytest.raises(AddressError, match="is not an address of this machine"):
        check_free(Address("no-such-host.invalid", 8000))


def test_stream_answers_at_the_next_free_port_or_the_one_that_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as page, socket.create_server(("127.0.0.1", 0)) as taken:
        address, busy = Address("127.0.0.1", page.getsockname()[1]), taken.getsockname()[1]
        found = stream_address(address, None)
        assert (found.bind, address.port < found.port <= address.port + 20) == ("127.0.0.1", True)
        assert stream_address(Address("127.0.0.1", busy - 1), None).port != busy
        assert stream_address(address, found.port) == found
        with pytest.raises(AddressError, match=f"Port {busy} "):
            stream_address(address, busy)

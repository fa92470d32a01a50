"""Which addresses may be asked on behalf of a user who named one host."""

import ipaddress
from urllib.parse import urlsplit

import pytest

from actors.errors import AddressForbidden
from registry.remote.address import Reach, is_loopback_host, is_public, speaks_plainly, unmapped


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111"])
def test_public_addresses_may_be_asked(address: str) -> None:
    """Whoever redirects there."""
    assert is_public(ipaddress.ip_address(address))
    assert Reach("127.0.0.1").resolve(address, 443) == [ipaddress.ip_address(address)]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    ],
)
def test_other_addresses_may_not_be_asked_on_a_registrys_word(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, reserved, and IPv6 forms of them."""
    with pytest.raises(AddressForbidden, match="may not be asked"):
        Reach("registry.example").resolve(address, 80)
    with pytest.raises(AddressForbidden):
        Reach("registry.example").check_unresolved(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0"])
def test_some_addresses_may_not_even_be_named(address: str) -> None:
    """Where clouds keep a machine's secrets, and where nobody in particular is."""
    with pytest.raises(AddressForbidden):
        Reach(address).resolve(address, 80)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_named_host_may_be_private_and_redirect_to_itself(address: str) -> None:
    """On any port, and by its address."""
    reach = Reach(address)
    assert [str(each) for each in reach.resolve(address, 5000)] == [address]
    assert [str(each) for each in reach.resolve(address, 9000)] == [address]
    with pytest.raises(AddressForbidden):
        reach.resolve("127.0.0.9", 5000)


@pytest.mark.parametrize("name", ["localhost", "db.localhost", "printer.local", "metadata.internal", "LOCALHOST."])
def test_local_names_may_not_be_asked_through_a_proxy(name: str) -> None:
    """The proxy would resolve them in its own network."""
    with pytest.raises(AddressForbidden, match="local name"):
        Reach("registry.example").check_unresolved(name)
    Reach("registry.example").check_unresolved("cdn.example")


def test_loopback_is_known_by_name_and_address() -> None:
    """However it is written."""
    assert all(map(is_loopback_host, ("localhost", "a.localhost", "127.8.8.8", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback_host, ("example.org", "10.0.0.1", "localhost.example.org")))
    assert unmapped(ipaddress.ip_address("64:ff9b::a00:1")) == ipaddress.ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("url", "reason", "expected"),
    [
        ("https://127.0.0.1:5000", "tls: WRONG_VERSION_NUMBER", True),
        ("https://10.0.0.1:11434", "tls: WRONG_VERSION_NUMBER", True),
        ("https://10.0.0.1:5000", "tls: WRONG_VERSION_NUMBER", False),
        ("https://10.0.0.1", "tls: WRONG_VERSION_NUMBER", False),
        ("https://8.8.8.8:11434", "tls: WRONG_VERSION_NUMBER", False),
        ("https://10.0.0.1:11434", "tls: failed to verify certificate: self-signed", False),
        ("https://127.0.0.1:5000", "dial tcp 127.0.0.1:5000: connect: connection refused", False),
        ("http://127.0.0.1:5000", "tls: WRONG_VERSION_NUMBER", False),
    ],
)
def test_plain_http_is_used_unasked_only_where_it_is_usual(url: str, reason: str, *, expected: bool) -> None:
    """On this machine, and at our own port on a private network; never in place of a certificate that fails."""
    assert speaks_plainly(urlsplit(url), reason) is expected

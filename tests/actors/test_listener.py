"""Binding the HTTP address."""

import socket

import pytest

from actors.errors import ListenFailed
from actors.listener import listen


def test_listen_on_a_port_in_use_says_so_as_users_know_it() -> None:
    """The text is the one that scripts look for."""
    with listen("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ListenFailed) as caught:
            listen("127.0.0.1", port)
    assert caught.value.message == f"listen tcp 127.0.0.1:{port}: bind: address already in use"


def test_listen_right_after_a_connection_was_closed_works() -> None:
    """A restart must not wait for old connections to be forgotten."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = first.accept()
        accepted.close()
        client.close()
    listen("127.0.0.1", port).close()


def test_listen_on_a_foreign_address_raises() -> None:
    """An address of documentation (RFC 5737) is nobody's."""
    with pytest.raises(ListenFailed, match=r"listen tcp 192\.0\.2\.1:0: bind: cannot assign requested address"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_listen_on_an_unknown_host_raises(host: str) -> None:
    """Names that cannot even be looked up are no exception."""
    with pytest.raises(ListenFailed, match="no such host"):
        listen(host, 0)


def test_listen_on_ipv6_names_the_address_in_brackets() -> None:
    """As the URL would."""
    with listen("::1", 0) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ListenFailed, match=rf"listen tcp \[::1\]:{port}: bind"):
            listen("::1", port)

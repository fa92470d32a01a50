"""Which network addresses may be asked on behalf of a user who named one host.

A registry can answer with redirects, and those are the registry's word, not the user's. So the host that the user
named may be at any address but link-local ones, where clouds keep the secrets of their machines; every other host must
be at public addresses, or at one of the named host's own. Names are resolved here, and the connection goes to the
address that was checked: a name that resolves to something else the next moment gains nothing.

Behind a proxy the proxy resolves, so only addresses and local names given literally can be checked.
"""

import ipaddress
import socket
import threading
from urllib.parse import SplitResult

from actors.errors import AddressForbidden

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_IPV4_BITS = 0xFFFFFFFF
_PLAIN_PORT = 11434


class Reach:
    """The addresses that may be asked on behalf of one named host. Thread-safe."""

    def __init__(self, host: str) -> None:
        """Take the host as the user named it, without its port."""
        self._named = host.lower()
        self._lock = threading.Lock()
        self._own: frozenset[Address] = frozenset()

    def resolve(self, host: str, port: int) -> list[Address]:
        """Give the addresses of a host that may be connected to; blocks for a name server's deadline at most.

        Raises:
            AddressForbidden: it has none that may be asked.
            OSError: it cannot be resolved.
        """
        found = list(dict.fromkeys(_lookup(host, port)))
        if host.lower() == self._named:
            with self._lock:
                self._own |= frozenset(found)
            allowed = [each for each in found if not _is_never_asked(unmapped(each))]
        else:
            allowed = [each for each in found if each in self._own or is_public(unmapped(each))]
        if not allowed:
            raise _forbidden(host, found[0])
        return allowed

    def check_unresolved(self, host: str) -> None:
        """Check a host that a proxy will resolve.

        Raises:
            AddressForbidden: its literal address, or its local name, may not be asked.
        """
        try:
            address = unmapped(ipaddress.ip_address(host))
        except ValueError:
            name = host.lower().rstrip(".")
            if name != self._named and (name == "localhost" or name.endswith(_LOCAL_SUFFIXES)):
                raise AddressForbidden(f"{host} is a local name, to which {self._named} may not redirect") from None
            return
        is_allowed = not _is_never_asked(address) if host.lower() == self._named else is_public(address)
        if not is_allowed:
            raise _forbidden(host, address)


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the public internet."""
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_loopback_host(host: str) -> bool:
    """Tell whether a host, given by name or address, is this machine itself."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return unmapped(ipaddress.ip_address(name)).is_loopback
    except ValueError:
        return False


def speaks_plainly(url: SplitResult, reason: object) -> bool:
    """Tell whether a registry that was asked over TLS may be asked without.

    It may when it has answered, but not in TLS, and is this machine, or one of a private network at the port where
    llamactor and Ollama listen without TLS. Everywhere else only the user can decide that.
    """
    host = url.hostname or ""
    if url.scheme != "https" or not isinstance(reason, str) or not reason.startswith("tls: ") or "verify" in reason:
        return False
    if is_loopback_host(host):
        return True
    try:
        addresses = _lookup(host, url.port or 0) if url.port == _PLAIN_PORT else []
    except OSError:
        return False
    return bool(addresses) and all(unmapped(each).is_private for each in addresses)


def unmapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour or address


def _is_never_asked(address: Address) -> bool:
    is_elsewhere = address.is_multicast or address.is_unspecified
    return address.is_link_local or is_elsewhere or (address.is_reserved and not address.is_loopback)


def _lookup(host: str, port: int) -> list[Address]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope (`fe80::1%eth0`) makes an address link-local, which is refused anyway.
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]


def _forbidden(host: str, address: Address) -> AddressForbidden:
    where = str(address) if host == str(address) else f"{host} ({address})"
    return AddressForbidden(
        f"{where} may not be asked: it is no public address, and not the registry that was named", host=host
    )

"""Who may talk to the gateway from a browser: the CORS allow list, and the `Host` check against DNS rebinding."""

import ipaddress
import re
import socket
from collections.abc import Iterable

from actors.errors import InvalidRequest

ALLOWED_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
ALLOWED_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout,X-Api-Key,Anthropic-Version,Anthropic-Beta,"
    "Anthropic-Dangerous-Direct-Browser-Access"
)

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104  # origins, not addresses to bind
_BUILT_IN = (
    *(f"{scheme}://{host}{port}" for host in _LOCAL_HOSTS for scheme in ("http", "https") for port in ("", ":*")),
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)
_SCHEMES = (
    "http://",
    "https://",
    "chrome-extension://",
    "safari-extension://",
    "moz-extension://",
    "ms-browser-extension://",
)
_LOCAL_NAMES = {"", "localhost"}
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


class Origins:
    """The allow list of origins; `configured` comes before the built-in ones."""

    def __init__(self, configured: Iterable[str] = ()) -> None:
        entries = [*configured, *_BUILT_IN]
        for entry in entries:
            if entry.count("*") > 1:
                raise InvalidRequest(f"OLLAMA_ORIGINS: only one * is allowed per entry: {entry!r}")
            if "*" not in entry and not entry.startswith(_SCHEMES):
                raise InvalidRequest(
                    f"OLLAMA_ORIGINS: {entry!r} must contain * or start with one of {', '.join(_SCHEMES)}"
                )
        self.allows_all = "*" in entries
        self._exact = {entry for entry in entries if "*" not in entry}
        self._pattern = re.compile("|".join(re.escape(e).replace(r"\*", ".*") for e in entries if "*" in e))

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may call."""
        return self.allows_all or origin in self._exact or self._pattern.fullmatch(origin) is not None


def is_loopback(address: str) -> bool:
    """Tell whether an address to bind is a loopback one, so that the `Host` check applies."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def host_without_port(host: str) -> str:
    """Cut the port off a `Host` header, and the brackets off an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_local_name(host: str) -> bool:
    """Tell whether a host name can only mean this machine or its own network."""
    name = host.lower()
    return name in _LOCAL_NAMES or name.endswith(_LOCAL_SUFFIXES) or name == socket.gethostname().lower()


def is_local_address(host: str) -> bool:
    """Tell whether a host is an address of this machine or a private one."""
    if host == "127.0.0.1":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified or _is_ours(address)


def _is_ours(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))  # only addresses of our own interfaces can be bound
        except OSError:
            return False
    return True

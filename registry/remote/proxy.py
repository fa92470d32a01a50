"""Proxies, as the environment names them: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case."""

import base64
import urllib.request
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from actors.errors import InvalidRequest
from registry.remote.address import is_loopback_host

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    host: str
    port: int
    is_encrypted: bool
    authorization: str = ""
    """Value of `Proxy-Authorization`, or nothing."""


def proxy_for(url: SplitResult) -> Proxy | None:
    """Give the proxy through which a URL is asked, None for a direct connection; this machine is always asked directly.

    Raises:
        InvalidRequest: the environment names a proxy of a kind that is not supported.
    """
    host = url.hostname or ""
    proxies = urllib.request.getproxies_environment()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or is_loopback_host(host) or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidRequest(f"the proxy {parts.scheme}://{parts.hostname} is not supported: name an HTTP proxy")
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return Proxy(
        host=parts.hostname,
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        is_encrypted=parts.scheme == "https",
        authorization=f"Basic {base64.b64encode(credentials.encode()).decode()}" if parts.username else "",
    )
